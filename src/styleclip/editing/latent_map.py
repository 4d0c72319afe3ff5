"""Which way w goes when a picture's embedding moves: a ridge regression over random samples.

  w = mapping(z), e = CLIP(G(w));   A = (C_ee + ridge tr(C_ee)/E I)^-1 C_ew   [E,D];   dw = de A
A moves e one way while its other components are held, so a step that asks for one thing leaves
the rest; and what A reaches is what the generator draws, so gradient steps taken in e-coordinates
do not wander off to pictures that only fool CLIP. Measured once per generator and CLIP; no labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.checking import check_finite
from styleclip.errors import ArgumentError
from styleclip.generators import Generator

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, figures


@dataclass(frozen=True)
class LatentMapConfig:
    """More samples help until they are several times E; ``ridge`` is a share of C_ee's mean."""

    samples: int = 2000
    ridge: float = 0.2
    seed: int = 0
    chunk: int = 32  # samples rendered at once

    def __post_init__(self) -> None:
        check_finite(self)
        if self.ridge < 0 or self.chunk < 1:
            raise ArgumentError("ridge must not be negative, and chunk at least 1")

    @classmethod
    def quick(cls) -> LatentMapConfig:
        """What "instant" means: some three seconds on the embedded model, and edits as good."""
        return cls(samples=400)


@dataclass(frozen=True, eq=False)
class LatentMap:
    """``matrix`` A [E,D]; ``mean`` [E] and ``covariance`` [E,E] of the samples' embeddings."""

    matrix: Tensor
    mean: Tensor
    covariance: Tensor

    def spread(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [...] of the samples along unit directions [...,E]."""
        mean, covariance = self.mean.to(direction), self.covariance.to(direction)
        variance = ((direction @ covariance) * direction).sum(dim=-1)
        return direction @ mean, variance.clamp(min=1e-12).sqrt()

    def to(self, device: torch.device | str) -> LatentMap:
        return LatentMap(self.matrix.to(device), self.mean.to(device), self.covariance.to(device))


@torch.no_grad()
def measure_latent_map(
    generator: Generator,
    embedder: Embedder,
    config: LatentMapConfig = LatentMapConfig(),
    on_step: OnStep | None = None,
    seen: Tensor | None = None,
    on_seen: Callable[[Tensor], None] | None = None,
) -> LatentMap:
    """Render ``config.samples`` random pictures as CLIP sees them, and regress w on e.

    ``on_seen`` is called now and then with the embeddings [n,E] so far; given back as ``seen``, the
    same config goes on from there and ends in the same numbers.
    """
    if config.samples < 2:
        raise ArgumentError(f"a latent map needs at least 2 samples, got {config.samples}")
    random = torch.Generator().manual_seed(config.seed)
    w = generator.sample_w(config.samples, random)
    resolution = enough_resolution(generator, embedder)
    embeddings = [] if seen is None else [seen.to(w)]
    done = 0 if seen is None else len(seen)
    for part in w[done:].split(config.chunk) if done < len(w) else ():
        images = generator.synthesis(
            generator.affine(generator.truncate(part)), resolution=resolution
        )
        embeddings.append(embedder.embed_images(images))
        done += len(part)
        if on_seen is not None:
            on_seen(torch.cat(embeddings))
        if on_step is not None:
            on_step(done, config.samples, {})
    return fit_latent_map(torch.cat(embeddings), w, config.ridge)


def fit_latent_map(embeddings: Tensor, w: Tensor, ridge: float) -> LatentMap:
    """Embeddings [N,E] and latents [N,D] of the same pictures -> the map."""
    mean = embeddings.mean(dim=0)
    centred = embeddings - mean
    covariance = centred.t() @ centred / len(w)
    floor = ridge * covariance.diagonal().mean()
    cross = centred.t() @ (w - w.mean(dim=0)) / len(w)
    identity = torch.eye(len(mean)).to(mean)
    return LatentMap(torch.linalg.solve(covariance + floor * identity, cross), mean, covariance)


def enough_resolution(generator: Generator, embedder: Embedder) -> int:
    """The smallest resolution of the generator that has the pixels CLIP reads."""
    resolution = generator.resolution
    while resolution // 2 >= embedder.image_size:
        resolution //= 2
    return resolution
