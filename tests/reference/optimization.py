"""The official latent optimisation, slowly: StyleCLIP, 2103.17249, section 4.1, as its script runs.

The enlarged picture is made and its blocks are summed, Adam is written out from 1412.6980, and the
learning rate follows the ramps of the StyleGAN2 projector. No code is shared with the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def clip_input(images: Tensor, clip_size: int) -> Tensor:
    """Nearest upsampling by clip_size/32, average pooling by H/32: [B,C,H,H] -> [B,C,size,size]."""
    height = images.shape[2]
    up, pool = clip_size // 32, height // 32
    sources = [place // up for place in range(height * up)]
    enlarged = images[:, :, sources][:, :, :, sources]
    total = torch.zeros_like(enlarged[:, :, ::pool, ::pool])
    for i in range(pool):
        for j in range(pool):
            # the pixel (i, j) of every block of pool x pool
            total = total + enlarged[:, :, i::pool, j::pool]
    return total / pool**2


def learning_rate(
    step: int, steps: int, base: float = 0.1, ramp_up: float = 0.05, ramp_down: float = 0.25
) -> float:
    """Cosine down over the last quarter, linear up over the first twentieth."""
    done = step / steps
    rate = base
    if 1 - done < ramp_down:
        rate = base * (1 - math.cos(math.pi * (1 - done) / ramp_down)) / 2
    if done < ramp_up:
        rate = rate * done / ramp_up
    return rate


class Adam:
    """Algorithm 1 of 1412.6980 with the paper's constants, for one tensor."""

    def __init__(self) -> None:
        self.t = 0
        self.m = 0.0
        self.v = 0.0

    def update(self, gradient: Tensor, rate: float) -> Tensor:
        """What to add to the parameter."""
        self.t += 1
        self.m = 0.9 * self.m + (1 - 0.9) * gradient
        self.v = 0.999 * self.v + (1 - 0.999) * gradient**2
        m_hat = self.m / (1 - 0.9**self.t)
        v_hat = self.v / (1 - 0.999**self.t)
        return -rate * m_hat / (torch.sqrt(v_hat) + 1e-8)


def optimize(
    render: Callable[[Tensor], Tensor],
    logits: Callable[[Tensor], Tensor],
    start: Tensor,
    movable: Tensor,
    clip_size: int,
    steps: int,
    latent_weight: float = 0.008,
) -> tuple[Tensor, list[float]]:
    """One picture: latents [1,...] -> final latents and the loss of every step.

    ``render`` makes an image of latents; ``logits`` are 100 cosines of a CLIP input and the text;
    ``movable`` is 1 in the columns that may move and 0 elsewhere.
    """
    latents, adam, losses = start.clone(), Adam(), []
    for step in range(steps):
        here = latents.clone().requires_grad_()
        distance = 1 - logits(clip_input(render(here), clip_size)) / 100
        loss = distance.sum() + latent_weight * ((here - start) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, here)
        losses.append(float(loss.detach()))
        latents = latents + movable * adam.update(gradient, learning_rate(step, steps))
    return latents, losses
