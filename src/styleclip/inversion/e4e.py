"""Image -> w_plus with the public encoders: e4e (2102.02766) and pSp (2008.00951), one network.

  trunk -> c3 [16 px], c2 [32], c1 [64];  p2 = up(c3) + lateral(c2),  p1 = up(p2) + lateral(c1)
  h_l = head_l(c3 for l < 3, p2 for l < 7, p1 beyond)
  e4e: w_plus_l = average + h_0 + h_l (h_0 alone for l = 0);   pSp: w_plus_l = average + h_l
[B,3,H,W] in [-1,1] -> [B,L,D]. The IR-SE50 trunk of ArcFace, a feature pyramid, and for every row
of W+ a head that strides down to one pixel (pSp sec. 3, e4e sec. 5). Evidence: e4e at 1024 pixels
agrees with a reference output; pSp and other sizes are tested on networks that this project filled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError
from styleclip.faces.irse import Trunk, TrunkConfig

COARSE, MEDIUM = 3, 7  # rows below read c3, rows below read p2, the others p1


@dataclass(frozen=True)
class PyramidConfig:
    """``base``: "first" has offsets from row 0 (e4e), "own" has every row by itself (pSp).

    ``resolution`` is what the trunk reads, 16 << n; larger pictures are averaged down to it.
    ``letterboxed``: only the middle three quarters of the rows are read, as of e4e's cars.
    """

    rows: int
    w_dim: int = 512
    base: Literal["first", "own"] = "first"
    resolution: int = 256
    letterboxed: bool = False
    trunk: TrunkConfig = field(default_factory=TrunkConfig)

    def __post_init__(self) -> None:
        if self.base not in ("first", "own"):
            raise ArgumentError(f'base is "first" (e4e) or "own" (pSp), got {self.base!r}')
        if self.rows < COARSE or self.resolution < 32 or self.resolution.bit_count() != 1:
            raise ArgumentError(
                f"this encoder has {COARSE} rows or more and reads a power of two of 32 pixels or "
                f"more, got {self.rows} rows at {self.resolution} pixels"
            )

    @property
    def levels(self) -> tuple[int, ...]:
        """Of each row, how many steps its map is finer than c3: 0, 1 or 2."""
        return tuple(int(row >= COARSE) + int(row >= MEDIUM) for row in range(self.rows))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PyramidConfig:
        return cls(**{**values, "trunk": TrunkConfig.from_dict(values["trunk"])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class PyramidEncoder(nn.Module):
    """Square images [B,3,H,W] in [-1,1] -> w_plus [B,L,D]."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.config = config
        _, fine, medium, coarse = config.trunk.widths
        steps = (config.resolution // 16).bit_length() - 1  # from c3 down to one pixel
        self.trunk = Trunk(config.trunk)
        self.lateral_medium = nn.Conv2d(medium, coarse, 1)
        self.lateral_fine = nn.Conv2d(fine, coarse, 1)
        self.heads = nn.ModuleList(
            Head(coarse, config.w_dim, steps + level) for level in config.levels
        )
        self.average: Tensor
        self.register_buffer("average", torch.zeros(config.rows, config.w_dim))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        offsets = self.offsets(images)
        return self.average + offsets

    def offsets(self, images: Tensor) -> Tensor:
        """w_plus before the average latent is added: [B,L,D]."""
        _, fine, medium, coarse = self.trunk(self._resized(images))
        maps = [coarse]
        for lateral, finer in ((self.lateral_medium, medium), (self.lateral_fine, fine)):
            maps.append(_enlarged(maps[-1], finer) + lateral(finer))
        rows = torch.stack(
            [head(maps[k]) for head, k in zip(self.heads, self.config.levels, strict=True)], dim=1
        )
        if self.config.base == "own":
            return rows
        return torch.cat([rows[:, :1], rows[:, :1] + rows[:, 1:]], dim=1)

    def _resized(self, images: Tensor) -> Tensor:
        size = self.config.resolution
        shape = tuple(images.shape[1:])
        height = shape[-1] if shape else 0
        if images.ndim != 4 or shape != (3, height, height) or not height:
            raise ArgumentError(
                f"this encoder reads square pictures [B, 3, H, H], got {list(images.shape)}"
            )
        if height % size == 0:
            images = F.avg_pool2d(images, height // size) if height > size else images
        else:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        return images[:, :, size // 8 : -size // 8] if self.config.letterboxed else images


class Head(nn.Module):
    """A map of 2^steps pixels -> one row of W+: convolutions of stride 2, then linear."""

    def __init__(self, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.downs = nn.ModuleList(
            nn.Conv2d(inputs if step == 0 else outputs, outputs, 3, stride=2, padding=1)
            for step in range(steps)
        )
        self.linear = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for down in self.downs:
            x = F.leaky_relu(down(x), 0.01)
        row: Tensor = self.linear(x.flatten(1))
        return row  # [B,D]


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    # corner on corner, as the public encoders were trained
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
