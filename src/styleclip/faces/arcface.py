"""Whose face is it, on photographs: ArcFace with an IR-SE trunk (Deng et al. 2019, 1801.07698).

  [B,3,H,W] in [-1,1] -> 256 px -> rows 35:223, columns 32:220 -> 112 px -> trunk -> [B,512]
The R of StyleCLIP's identity loss (eq. 2), with the crop of its code, which is where FFHQ's
alignment puts a face. Unit vectors; similarity = cosine. It means nothing off faces. Evidence: on
crops IR-SE50 agrees with a reference output; where they lie is known from the code's text alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError
from styleclip.faces.irse import FrozenNorm, Trunk, TrunkConfig

ALIGNED = 256  # pixels of the aligned picture in which the crop is counted
CROP = (slice(35, 223), slice(32, 220))  # rows, columns: the face without hair and background


@dataclass(frozen=True)
class ArcFaceConfig:
    """The defaults are the public IR-SE50. ``scaled``: weight and bias in the last normalisation.

    ``resolution`` is what the trunk reads, a multiple of 16.
    """

    resolution: int = 112
    embedding: int = 512
    scaled: bool = True
    trunk: TrunkConfig = field(default_factory=TrunkConfig)

    def __post_init__(self) -> None:
        if self.resolution < 16 or self.resolution % 16:
            raise ArgumentError(
                f"ArcFace halves its pictures four times: its resolution must be a multiple of 16, "
                f"got {self.resolution}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ArcFaceConfig:
        return cls(**{**values, "trunk": TrunkConfig.from_dict(values["trunk"])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class ArcFace(nn.Module):
    """Aligned pictures of faces [B,3,H,W] in [-1,1], of any size -> unit vectors [B,E]."""

    def __init__(self, config: ArcFaceConfig) -> None:
        super().__init__()
        self.config = config
        width, side = config.trunk.widths[-1], config.resolution // 16
        self.trunk = Trunk(config.trunk)
        self.norm = FrozenNorm(width)
        self.embedding = nn.Linear(width * side**2, config.embedding)
        self.embedding_norm = FrozenNorm(config.embedding, affine=config.scaled)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """The whole aligned picture [B,3,H,W], as a generator of faces makes it -> [B,E]."""
        _check(images)
        if images.shape[-2:] != (ALIGNED, ALIGNED):
            images = F.adaptive_avg_pool2d(images, ALIGNED)
        return self.embed(F.adaptive_avg_pool2d(images[..., *CROP], self.config.resolution))

    def embed(self, crops: Tensor) -> Tensor:
        """The crops alone [B,3,R,R], R the config's resolution -> unit vectors [B,E]."""
        _check(crops, self.config.resolution)
        x = self.norm(self.trunk(crops)[-1])
        # the linear layer counts its inputs channel by channel, whatever the memory format
        return F.normalize(self.embedding_norm(self.embedding(x.flatten(1))), dim=-1)


def _check(images: Tensor, size: int | None = None) -> None:
    wanted = (3, size, size) if size else (3, *images.shape[2:])
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ArgumentError(
            f"ArcFace reads pictures [B, 3, {size or 'H'}, {size or 'W'}], got {list(images.shape)}"
        )
