"""The trunk that ArcFace and e4e share: residual units with squeeze and excitation (IR-SE).

  unit(x) = shortcut(x) + gate(r) r,   r = norm(conv(prelu(conv(norm(x)))))
  [B,3,H,W] in [-1,1] -> a map for each stage s: [B, widths[s], H/2^(s+1), W/2^(s+1)]
The "improved residual" unit of ArcFace (Deng et al. 2019, arXiv 1801.07698, sec. 3.1) with the gate
of Hu et al. 2018 (arXiv 1709.01507). IR-SE50 has 3 + 4 + 14 + 3 units. It is never trained here, so
batch normalisation is frozen: it always takes the stored statistics, in train mode too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError

STAGES = 4


@dataclass(frozen=True)
class TrunkConfig:
    """Channels and units of each stage; ``squeeze`` is what the gates divide the channels by.

    The defaults are IR-SE50, the trunk of the public files. Widths must differ from stage to stage:
    that is how a stage is told from the next in a file.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    squeeze: int = 16

    def __post_init__(self) -> None:
        if len(self.widths) != STAGES or len(self.units) != STAGES or min(self.units) < 1:
            raise ArgumentError(
                f"an IR-SE trunk has {STAGES} stages of one unit or more, got the widths "
                f"{self.widths} and the units {self.units}"
            )
        if any(a == b for a, b in zip(self.widths, self.widths[1:], strict=False)):
            raise ArgumentError(f"neighbouring stages must differ in width, got {self.widths}")
        if self.squeeze < 1 or min(self.widths) < self.squeeze:
            raise ArgumentError(
                f"a gate squeezes {self.widths} channels by {self.squeeze}, which leaves none: "
                "choose a squeeze from 1 to the smallest width"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrunkConfig:
        widths, units = tuple(values["widths"]), tuple(values["units"])
        return cls(widths, units, int(values["squeeze"]))


class Trunk(nn.Module):
    """Images [B,3,H,W] in [-1,1] -> the four stages' feature maps, finest first."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        first, *_ = config.widths
        self.stem = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.stem_norm = FrozenNorm(first)
        self.stem_slope = nn.PReLU(first)
        inputs, stages = first, []
        for width, units in zip(config.widths, config.units, strict=True):
            stage = [Unit(inputs, width, config.squeeze, stride=2)]
            stage += [Unit(width, width, config.squeeze) for _ in range(units - 1)]
            stages.append(nn.Sequential(*stage))
            inputs = width
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = images.contiguous(memory_format=torch.channels_last)
        x = self.stem_slope(self.stem_norm(self.stem(x)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Unit(nn.Module):
    """One residual unit; the second convolution strides, and so does the shortcut."""

    def __init__(self, inputs: int, outputs: int, squeeze: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.first_norm = FrozenNorm(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.slope = nn.PReLU(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.second_norm = FrozenNorm(outputs)
        self.squeeze = nn.Conv2d(outputs, outputs // squeeze, 1, bias=False)
        self.excite = nn.Conv2d(outputs // squeeze, outputs, 1, bias=False)
        self.shortcut: nn.Sequential | None = None
        if inputs != outputs:
            widen = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(widen, FrozenNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.slope(self.first(self.first_norm(x)))
        residual = self.second_norm(self.second(residual))
        gate = self.excite(F.relu(self.squeeze(residual.mean((2, 3), keepdim=True)))).sigmoid()
        # without a convolution of its own the shortcut takes every stride-th pixel
        past = x[..., :: self.stride, :: self.stride] if self.shortcut is None else self.shortcut(x)
        return torch.addcmul(past, gate, residual)


class FrozenNorm(nn.Module):
    """Batch normalisation with the stored statistics alone: [B,C] or [B,C,H,W]."""

    def __init__(self, width: int, affine: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, training=False)
