"""The portraits world as an evaluation sees it: pictures whose truth can be drawn again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from styleclip.portraits.attributes import (
    ATTRIBUTES,
    CORRELATIONS,
    Portrait,
    visible,
)
from styleclip.portraits.renderer import mask, render
from styleclip.portraits.training import EVALUATION_SEED, portrait_of_seed

NAMES = tuple(attribute.name for attribute in ATTRIBUTES)
EXAMPLES_SEED = EVALUATION_SEED + 500_000  # renders that edits are compared with


@dataclass(frozen=True)
class PortraitsWorld:
    """Portraits of consecutive held-out seeds (``evaluation.protocol.World``)."""

    portraits: Sequence[Portrait]
    size: int

    @property
    def correlations(self) -> Sequence[tuple[tuple[str, str], tuple[str, str], float]]:
        return tuple((c.given, (c.attribute, c.value), c.factor) for c in CORRELATIONS)

    def redrawn(self, picture: int, targets: Mapping[str, str]) -> Tensor:
        """The truth with some attributes changed: [3,H,W] in [-1,1]."""
        return to_images([render(self.portraits[picture].replaced(**targets), self.size)])[0]

    def region(self, picture: int, targets: Mapping[str, str]) -> Tensor:
        """Where a change of these attributes is drawn, to whatever value: bool [H,W]."""
        masks = [mask(self.portraits[picture], name, size=self.size) for name in targets]
        return torch.from_numpy(np.logical_or.reduce(masks))

    def examples(self, targets: Mapping[str, str], count: int, seed: int) -> Tensor:
        """Renders of the world's portraits that show the targets: [count,3,H,W] in [-1,1]."""
        found: list[Portrait] = []
        candidate = EXAMPLES_SEED + 100_000 * (seed % 100)
        while len(found) < count:
            portrait = portrait_of_seed(candidate)
            candidate += 1
            seen = dict(zip(NAMES, visible(portrait), strict=True))
            if all(seen[n] and portrait.value(n) == value for n, value in targets.items()):
                found.append(portrait)
        return to_images([render(portrait, self.size) for portrait in found])


def held_out(count: int, first: int = EVALUATION_SEED) -> list[Portrait]:
    """Portraits of seeds that no training uses."""
    return [portrait_of_seed(first + i) for i in range(count)]


def to_images(pixels: Sequence[np.ndarray]) -> Tensor:
    """uint8 [H,W,3] each -> [N,3,H,W] in [-1,1]."""
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1


def truth_table(portraits: Sequence[Portrait]) -> tuple[Tensor, Tensor]:
    """Value indices [B,A] and whether each can be seen [B,A]."""
    truth = torch.tensor([portrait.values for portrait in portraits])
    return truth, torch.tensor([visible(portrait) for portrait in portraits])
