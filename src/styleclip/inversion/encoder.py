"""Image -> w_plus in one pass: the encoder of e4e (Tov et al. 2021, arXiv 2102.02766), small.

  w_plus_l = w + offset_l,   [B,3,H,W] in [-1,1] -> [B,L,D]
One w for all rows, and a small offset per row: the closer to a single w, the better it edits
(sec. 4 of the paper). The trunk is a plain residual network without normalisation layers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError


@dataclass(frozen=True)
class EncoderConfig:
    """``widths`` are the channels at resolution/2, /4, ... down to 4 pixels.

    ``resolution`` is what it reads; larger pictures are averaged down to it first.
    """

    resolution: int
    rows: int
    w_dim: int
    widths: tuple[int, ...] = (48, 96, 160, 256)
    hidden: int = 256

    def __post_init__(self) -> None:
        if self.resolution != 4 << len(self.widths):
            raise ArgumentError(
                f"{len(self.widths)} widths end at 4 pixels only from a resolution of "
                f"{4 << len(self.widths)}, got {self.resolution}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderConfig:
        return cls(**{**values, "widths": tuple(values["widths"])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class ResidualBlock(nn.Module):
    """x + g conv(lrelu(conv(x))), g learned from 0: the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(F.leaky_relu(self.first(x), 0.2))
        return x + self.gain * change


class Encoder(nn.Module):
    """Images [B,3,H,W] in [-1,1], H = W a multiple of its resolution -> w_plus [B,L,D]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = [12, *config.widths]  # the first layer sees 2x2 pixels as 12 channels
        stages: list[nn.Module] = []
        for i, (a, b) in enumerate(zip(channels, config.widths, strict=False)):
            stages.append(nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1))
            stages.append(nn.LeakyReLU(0.2))
            stages.append(ResidualBlock(b))
        self.trunk = nn.Sequential(*stages)
        self.hidden = nn.Linear(config.widths[-1] * 16, config.hidden)
        self.to_w = nn.Linear(config.hidden, config.w_dim)
        self.to_offsets = nn.Linear(config.hidden, config.rows * config.w_dim)
        nn.init.zeros_(self.to_offsets.weight)
        nn.init.zeros_(self.to_offsets.bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.features(images)
        offsets = self.to_offsets(hidden).unflatten(1, (self.config.rows, self.config.w_dim))
        w_plus: Tensor = self.to_w(hidden)[:, None] + offsets
        return w_plus  # [B,L,D]

    def single_w(self, images: Tensor) -> Tensor:
        """The shared w alone, without the offsets: [B,D]."""
        w: Tensor = self.to_w(self.features(images))
        return w

    def features(self, images: Tensor) -> Tensor:
        size = self.config.resolution
        shape = tuple(images.shape[1:])
        height = shape[-1] if shape else 0
        if shape != (3, height, height) or height % size or not height:
            raise ArgumentError(
                f"this encoder reads [B, 3, {size}, {size}] or a multiple of that size, "
                f"got {list(images.shape)}"
            )
        if height > size:
            images = F.avg_pool2d(images, height // size)
        x = F.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        return F.leaky_relu(self.hidden(F.leaky_relu(self.trunk(x).flatten(1), 0.2)), 0.2)
