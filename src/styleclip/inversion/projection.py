"""Refine a latent until the picture comes out: projection into W+ (Abdal et al. 2019, 1904.03189).

  argmin_w  |lap(G(w)) - lap(x)|_1 + anchor * mean((w - w_0)^2 / spread^2)
from w_0, the encoder's answer, or from the mean latent where there is no encoder. The anchor keeps
the result where edits work. Images [B,3,H,W] in [-1,1] -> w_plus [B,L,D].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators import Generator, chunk_size
from styleclip.latents import check_w_plus
from styleclip.losses import laplacian_l1

OnStep = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class ProjectionConfig:
    """Adam's rate and the anchor are in units of the spread of w."""

    steps: int = 100
    rate: float = 0.05
    anchor: float = 0.02

    @classmethod
    def from_mean(cls) -> ProjectionConfig:
        """Without an encoder the way is longer, and the mean is no place to hold on to."""
        return cls(steps=500, rate=0.1, anchor=0.001)


def project(
    generator: Generator,
    images: Tensor,
    config: ProjectionConfig | None = None,
    start: Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """The w_plus [B,L,D] of ``images``; each picture is refined by itself.

    ``start`` [B,L,D] is the encoder's answer, the mean latent if None. Raises ``NonFiniteError``
    with the best w_plus so far when the loss leaves the numbers.
    """
    size = generator.resolution
    if images.shape[1:] != (3, size, size):
        raise ArgumentError(f"expected images [B, 3, {size}, {size}], got {list(images.shape)}")
    if config is None:
        config = ProjectionConfig() if start is not None else ProjectionConfig.from_mean()
    if start is None:
        start = generator.truncate(generator.w_average[None]).repeat(len(images), 1, 1)
    check_w_plus(start, generator.rows, generator.w_average.shape[0])
    if len(start) != len(images):
        raise ArgumentError(f"got {len(images)} images but {len(start)} latents to start from")
    if len(images) > chunk_size(size):  # each picture is refined by itself: a few at a time
        groups = torch.arange(len(images)).split(chunk_size(size))
        found = [project(generator, images[g], config, start[g], on_step) for g in groups]
        return torch.cat(found)
    start = start.detach()
    spread = w_spread(generator).to(start)  # [D]

    step_taken = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([step_taken], lr=config.rate, betas=(0.9, 0.99))
    best, best_error = start.clone(), torch.full((len(images),), math.inf, device=start.device)
    for step in range(config.steps + 1):
        w_plus = start + spread * step_taken
        rendered = generator.synthesis(generator.affine(w_plus))
        error = laplacian_l1(rendered, images)  # [B]
        if not bool(torch.isfinite(error).all()):
            raise NonFiniteError(f"the error is not finite at step {step}: lower the rate", best)
        better = error.detach() < best_error
        best = torch.where(better[:, None, None], w_plus.detach(), best)
        best_error = torch.where(better, error.detach(), best_error)
        if on_step is not None and step:
            mse = F.mse_loss(rendered.detach().clamp(-1, 1), images)
            on_step(step, config.steps, {"error": error.mean().item(),
                                         "psnr": float(10 * torch.log10(4 / mse))})  # fmt: skip
        if step == config.steps:
            break
        for group in adam.param_groups:
            group["lr"] = config.rate * (0.5 + 0.5 * math.cos(math.pi * step / config.steps))
        adam.zero_grad()
        (error + config.anchor * step_taken.square().mean(dim=(1, 2))).sum().backward()
        adam.step()
    return best


@torch.no_grad()
def w_spread(generator: Generator, samples: int = 1024) -> Tensor:
    """Standard deviation of w over the generator's own samples [D], never below a hundredth."""
    random = torch.Generator().manual_seed(0)
    return generator.sample_w(samples, random).std(dim=0).clamp(min=0.01)
