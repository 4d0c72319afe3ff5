"""What an edit minimises, term by term. All take and return plain tensors, one value an image.

  target       1 - cos(e(image), t)                           (StyleCLIP, 2103.17249, eq. 1)
  directional  1 - cos(e(image) - e(source), t - t_neutral)   (StyleGAN-NADA, 2108.00946, eq. 2)
  reach        max(0, goal - <e(image), d>)                   (hinge; ours)
  identity     1 - cos(R(image), R(source))                   (StyleCLIP, eq. 2)
  latent       sum of squares of the step                     (StyleCLIP, eq. 1, as in its code)
  laplacian    L1 over the bands of a Laplacian pyramid       (1707.05776, sec. 3.2)
Shapes: embeddings [B,E] (unit vectors) against [E] or [B,E]; results [B].
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def target_distance(image_embeddings: Tensor, text_embedding: Tensor) -> Tensor:
    """[B,E], [E] -> [B] in [0,2]."""
    return 1 - (image_embeddings * text_embedding).sum(dim=-1)


def directional_distance(
    image_embeddings: Tensor, source_embeddings: Tensor, text_direction: Tensor
) -> Tensor:
    """[B,E], [B,E], [E] -> [B] in [0,2]; 1, with a finite gradient, where nothing moved."""
    moved = image_embeddings - source_embeddings
    length = (moved.square().sum(dim=-1) + 1e-6).sqrt()
    return 1 - (moved * F.normalize(text_direction, dim=-1)).sum(dim=-1) / length


def reach_distance(image_embeddings: Tensor, direction: Tensor, goal: Tensor) -> Tensor:
    """[B,E], unit [E], a number -> [B]: how far short of ``goal`` along ``direction``, 0 beyond."""
    return (goal - (image_embeddings * direction).sum(dim=-1)).clamp(min=0)


def off_direction(moved: Tensor, direction: Tensor) -> Tensor:
    """[B,E] without its part along the unit ``direction`` [E]."""
    return moved - (moved * direction).sum(dim=-1, keepdim=True) * direction


def identity_distance(face_embeddings: Tensor, source_embeddings: Tensor) -> Tensor:
    """[B,N], [B,N] unit vectors -> [B] in [0,2]."""
    return 1 - (face_embeddings * source_embeddings).sum(dim=-1)


def latent_distance(step: Tensor) -> Tensor:
    """Sum of squares of a step in W+ or S, an image each: [B,...] -> [B]."""
    return step.square().flatten(1).sum(dim=1)


def text_direction(target: Tensor, neutral: Tensor) -> Tensor:
    """normalise(target - neutral): [E], [E] -> [E]; zero where the two texts are one."""
    return F.normalize(target - neutral, dim=-1) if not torch.equal(target, neutral) else target * 0


def laplacian_l1(images: Tensor, others: Tensor) -> Tensor:
    """[B,C,H,W] twice -> [B]: the mean absolute differences of all bands, summed."""
    return torch.stack([band.abs().flatten(1).mean(1) for band in _bands(images - others)]).sum(0)


def laplacian_l2(images: Tensor, others: Tensor) -> Tensor:
    """[B,C,H,W] twice -> [B]: the mean squared differences of all bands, summed."""
    return torch.stack([band.square().flatten(1).mean(1) for band in _bands(images - others)]).sum(
        0
    )


def _bands(difference: Tensor, levels: int = 4) -> Iterator[Tensor]:
    """A Laplacian pyramid: what each halving loses, finest first, then what is left."""
    for _ in range(levels - 1):
        coarse = F.avg_pool2d(difference, 2)
        yield difference - F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        difference = coarse
    yield difference
