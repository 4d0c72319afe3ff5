"""An edit is a value: what all three methods of the paper return.

  style' = affine(w_plus + sum_i a_i dw_i) + sum_i a_i ds_i
Every step is computed from the unedited w_plus, so the order of a stack never matters. Strength 1
is the edit as found, 0 changes nothing, -1 is its opposite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.generators import Generator
from styleclip.prompts import PromptPair

TRAINED = "trained"  # in ``config``: by a mapper that is not the model's own


@dataclass(frozen=True, eq=False)
class Edit:
    """A step in W+ [1 or B,L,D], in S [1 or B,S], or both, and where it came from."""

    method: str
    prompt: PromptPair
    w_plus_step: Tensor | None = None
    style_step: Tensor | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, generator: Generator, w_plus: Tensor, strength: float = 1.0) -> Tensor:
        """w_plus [B,L,D] -> style [B,S]."""
        return apply_edits(generator, w_plus, [(self, strength)])


def apply_edits(
    generator: Generator, w_plus: Tensor, edits: Sequence[tuple[Edit, float]]
) -> Tensor:
    """A stack of (edit, strength) applied to w_plus [B,L,D] -> style [B,S]."""
    for _, strength in edits:
        if not math.isfinite(strength):
            raise ArgumentError(f"a strength must be a finite number, got {strength}")
    moving = [(edit, strength) for edit, strength in edits if strength != 0]
    w_plus = _plus(w_plus, [(edit.w_plus_step, strength) for edit, strength in moving])
    style = generator.affine(w_plus)
    return _plus(style, [(edit.style_step, strength) for edit, strength in moving])


@dataclass(frozen=True)
class MovedChannel:
    """One style channel that an edit moves, and how far.

    ``change`` in units of the style, with its sign; ``deviations``, the same in standard deviations
    of the channel over random pictures, None if those are not known.
    """

    layer: str
    channel: int
    change: float
    deviations: float | None = None

    def __str__(self) -> str:
        return f"{self.layer}:{self.channel}"


def moved_channels(
    generator: Generator,
    w_plus: Tensor,
    edits: Edit | Sequence[tuple[Edit, float]],
    strength: float = 1.0,
    count: int = 8,
    std: Tensor | None = None,
) -> list[MovedChannel]:
    """The ``count`` channels of ``w_plus`` [1,L,D] that an edit, or a stack of them, moves most.

    Largest first: by deviations with ``std`` [S] (of ``Studio.style_statistics``), by style units
    without. Channels that stay are never listed, so there may be fewer, or none. An edit of any
    method: steps in W+ move what the affine layers make of them.
    """
    if len(w_plus) != 1:
        raise ArgumentError(f"channels are listed for one picture, got w_plus of {len(w_plus)}")
    stack = [(edits, 1.0)] if isinstance(edits, Edit) else list(edits)
    with torch.no_grad():
        after = apply_edits(generator, w_plus, [(each, strength * own) for each, own in stack])
        change = (after - generator.affine(w_plus))[0].double().cpu()  # [S]
    if std is not None and std.shape != change.shape:
        raise ArgumentError(f"expected a std of {len(change)} columns, got {list(std.shape)}")
    size = change if std is None else change / std.double().cpu().clamp(min=1e-8)
    columns = size.abs().argsort(descending=True, stable=True)[:count].tolist()
    found = []
    for column in columns:
        layer, channel = generator.layout.channel(column)
        deviations = None if std is None else float(size[column])
        found.append(MovedChannel(layer.name, channel, float(change[column]), deviations))
    return [each for each in found if each.change != 0]


def _plus(latents: Tensor, steps: Sequence[tuple[Tensor | None, float]]) -> Tensor:
    """latents + sum_i a_i step_i; steps are added by size, so rounding knows no order either."""
    moves = [
        strength * _fitting(step, latents).expand_as(latents)
        for step, strength in steps
        if step is not None
    ]
    if len(moves) > 1:
        moves = list(torch.stack(moves).sort(dim=0).values)
    return latents + sum(moves[1:], start=moves[0]) if moves else latents


def _fitting(step: Tensor, latents: Tensor) -> Tensor:
    if step.shape[1:] != latents.shape[1:] or step.shape[0] not in (1, latents.shape[0]):
        raise ArgumentError(
            f"this edit has a step of shape {list(step.shape)}, which does not fit latents of "
            f"shape {list(latents.shape)}: it was made for another generator or other pictures"
        )
    return step.to(latents)
