"""Whose face is it? A small network whose unit vectors are near for one person, far for two.

  [B,3,H,W] in [-1,1] -> [B,E] of length 1;  similarity = cosine
It plays the part of R in StyleCLIP's identity loss (eq. 2) where no network for photographs fits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class IdentityConfig:
    resolution: int = 64  # pixels it looks at; other pictures are resized
    widths: tuple[int, ...] = (32, 64, 128, 192)
    embedding: int = 32

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> IdentityConfig:
        return cls(**{**values, "widths": tuple(values["widths"])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class IdentityNetwork(nn.Module):
    """Strided convolutions, one residual step at each size, and a linear embedding."""

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        self.config = config
        widths = [3, *config.widths]
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.steps = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(8, b), nn.SiLU(), nn.Conv2d(b, b, 3, padding=1))
            for b in widths[1:]
        )
        side = config.resolution >> len(config.widths)
        self.features = nn.Linear(widths[-1] * side**2, 256)
        self.embedding = nn.Linear(256, config.embedding)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """[B,3,H,W] in [-1,1] -> [B,E] unit vectors."""
        return F.normalize(self.embedding(self.hidden(images)), dim=-1)

    def hidden(self, images: Tensor) -> Tensor:
        """The layer before the embedding: [B,256]."""
        size = self.config.resolution
        if images.shape[-2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        x = images.contiguous(memory_format=torch.channels_last)
        for down, step in zip(self.downs, self.steps, strict=True):
            x = down(x)
            x = x + step(x)
        return F.silu(self.features(F.silu(x).flatten(1)))
