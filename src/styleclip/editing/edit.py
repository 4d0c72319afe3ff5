"""An edit is a value: what all three methods of the paper return.

  style' = affine(w_plus + sum_i a_i dw_i) + sum_i a_i ds_i
Every step is computed from the unedited w_plus, so the order of a stack never matters. Strength 1
is the edit as found, 0 changes nothing, -1 is its opposite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.generators import Generator
from styleclip.prompts import PromptPair


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
    moved = w_plus
    for edit, strength in edits:
        if edit.w_plus_step is not None and strength != 0:
            moved = moved + strength * _fitting(edit.w_plus_step, w_plus)
    style = generator.affine(moved)
    for edit, strength in edits:
        if edit.style_step is not None and strength != 0:
            style = style + strength * _fitting(edit.style_step, style)
    return style


def _fitting(step: Tensor, latents: Tensor) -> Tensor:
    if step.shape[1:] != latents.shape[1:] or step.shape[0] not in (1, latents.shape[0]):
        raise ArgumentError(
            f"this edit has a step of shape {list(step.shape)}, which does not fit latents of "
            f"shape {list(latents.shape)}: it was made for another generator or other pictures"
        )
    return step.to(latents)
