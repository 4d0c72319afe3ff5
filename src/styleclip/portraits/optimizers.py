"""The optimiser of the larger recipes: Muon for convolutions, Adam for everything else.

  Muon   a step is the orthogonalised momentum: every direction of a weight matrix moves alike
         (Jordan et al. 2024; torch.optim.Muon), so faint lines are learned beside large shapes
A convolution [O,I,k,k] is the matrix [O,k k I]. torch's Muon takes matrices only: it is given views
of the same memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class MuonForConvolutions(torch.optim.Muon):
    """torch's Muon on parameters [O,I,k,k]; a step has the size of Adam's at the same rate."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        groups = list(groups)
        self.convolutions = [p for group in groups for p in group["params"]]
        views = [{**group, "params": [_matrix(p) for p in group["params"]]} for group in groups]
        super().__init__(views, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the convolutions."""
        for parameter in self.convolutions:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def step(self, closure: Any = None) -> Any:
        """One step from the gradients of the convolutions."""
        views = [p for group in self.param_groups for p in group["params"]]
        for view, parameter in zip(views, self.convolutions, strict=True):
            gradient = parameter.grad
            view.grad = None if gradient is None else _rows(gradient).to(view)
        return super().step(closure)  # type: ignore[no-untyped-call]  # torch's stubs


def split_parameters(parameters: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Those for Muon (3x3 convolutions between features) and those for Adam."""
    convolutions: list[Tensor] = []
    others: list[Tensor] = []
    for parameter in parameters:
        square = parameter.ndim == 4 and parameter.shape[2] > 1 and min(parameter.shape[:2]) > 3
        (convolutions if square else others).append(parameter)
    return convolutions, others


def _rows(weight: Tensor) -> Tensor:
    """[O,I,k,k] -> [O,k k I]; a view where the memory is channels-last."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _matrix(parameter: Tensor) -> nn.Parameter:
    rows = _rows(parameter.data)
    if rows.data_ptr() != parameter.data_ptr():
        raise ValueError("the weights of a convolution must be channels-last")
    return nn.Parameter(rows)
