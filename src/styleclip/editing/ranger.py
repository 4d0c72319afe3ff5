"""Ranger, the optimiser of the official mappers: RAdam, Lookahead, centralised gradients.

g <- g - mean of g over all axes but the first     weights of more than one axis (2004.01461)
w <- RAdam(w, g)                                   (1908.03265), torch's
every 6 steps: s <- s + 0.5 (w - s), w <- s        slow weights s (1907.08610)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

EVERY = 6
SHARE = 0.5


class Ranger(torch.optim.RAdam):
    """``torch.optim.RAdam`` with the two additions; its defaults are Ranger's."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; the slow weights are part of the state and of ``state_dict``."""
        learning = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        for parameter in learning:
            assert parameter.grad is not None
            if parameter.grad.ndim > 1:
                axes = tuple(range(1, parameter.grad.ndim))
                parameter.grad -= parameter.grad.mean(dim=axes, keepdim=True)
        slow = {p: self._slow(p) for p in learning}
        super().step(closure)
        for parameter in learning:
            state: dict[str, Any] = self.state[parameter]
            state["slow"] = slow[parameter]
            if int(state["step"]) % EVERY == 0:
                state["slow"] += SHARE * (parameter - state["slow"])
                parameter.copy_(state["slow"])

    def _slow(self, parameter: nn.Parameter) -> Tensor:
        """The slow weights: of a new parameter, as it is. RAdam itself wants to find no state."""
        kept: Tensor | None = self.state[parameter].pop("slow", None) if self.state else None
        return parameter.detach().clone() if kept is None else kept
