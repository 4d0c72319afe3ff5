"""Generators: z -> w -> w_plus -> style -> image. Nobody outside knows which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from styleclip.latents import StyleLayer, StyleLayout

__all__ = ["Generator", "Noise", "Prefix", "chunk_size"]

Noise = Literal["const", "none", "random"] | Sequence[Tensor]


@dataclass(frozen=True, eq=False)
class Prefix:
    """A synthesis stopped in front of the block of ``resolution`` pixels, or within it.

    ``x`` [B,C,h,w]: activations, of ``resolution`` pixels once the block's first convolution, which
    doubles them, is done. ``image`` [B,3,h,w]: the skip image so far, None at the start.
    """

    resolution: int
    x: Tensor
    image: Tensor | None

    def repeat(self, times: int) -> Prefix:
        """Pictures 0 .. B - 1, ``times`` over: [times B, ...]."""
        image = None if self.image is None else self.image.repeat(times, 1, 1, 1)
        return Prefix(self.resolution, self.x.repeat(times, 1, 1, 1), image)


class Generator(Protocol):
    """The four verbs and what is known beforehand. See ``stylegan2.StyleGAN2`` for the shapes."""

    w_average: Tensor

    @property
    def layout(self) -> StyleLayout: ...
    @property
    def resolution(self) -> int: ...
    @property
    def rows(self) -> int: ...
    def mapping(self, z: Tensor, c: Tensor | None = None) -> Tensor: ...
    def sample_w(self, samples: int, generator: torch.Generator) -> Tensor: ...
    def truncate(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor: ...
    def affine(self, w_plus: Tensor) -> Tensor: ...
    def synthesis(
        self,
        style: Tensor,
        noise: Noise = "const",
        resolution: int | None = None,
        generator: torch.Generator | None = None,
        start: Prefix | None = None,
    ) -> Tensor: ...
    def prefix(self, style: Tensor, layer: StyleLayer, noise: Noise = "const") -> Prefix: ...
    def drawing_parameters(self) -> dict[str, nn.Parameter]: ...


def chunk_size(resolution: int) -> int:
    """Images a backward pass through a generator, so that activations stay within a few GB."""
    return max(1, 8 * 256**2 // resolution**2)
