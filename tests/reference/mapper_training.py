"""One step's losses of mapper trainings, literally, from tensors alone.

The official one: equalised linear layers, leaky ReLU and pixel norm are written out; a network is
its four pairs of weight and bias. And ours: the network that reads the text, and what it is asked.
Rendering, CLIP and the face network are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LR_MULTIPLIER, SLOPE, FACTOR = 0.01, 0.2, 0.1
LATENT_WEIGHT, IDENTITY_WEIGHT = 0.8, 0.1
ROWS = {"coarse": range(4), "medium": range(4, 8), "fine": range(8, 18)}


def network(weights: Mapping[str, Tensor], number: int, x: Tensor) -> Tensor:
    """Pixel norm over axis 1, whatever that is; then four layers over the last axis."""
    mean = torch.zeros_like(x[:, :1])
    for i in range(x.shape[1]):
        mean += x[:, i : i + 1] ** 2 / x.shape[1]
    x = x / (mean + 1e-8) ** 0.5
    for layer in range(4):
        weight = weights[f"networks.{number}.{layer}.weight"]
        bias = weights[f"networks.{number}.{layer}.bias"]
        scale = LR_MULTIPLIER / math.sqrt(weight.shape[1])
        x = torch.einsum("oi,b...i->b...o", weight * scale, x) + bias * LR_MULTIPLIER
        x = torch.where(x > 0, x, SLOPE * x) * math.sqrt(2)
    return x


def moved_w_plus(weights: Mapping[str, Tensor], levels: Sequence[str], w_plus: Tensor) -> Tensor:
    """w + 0.1 M(w): every level is its own [B,rows,D], so axis 1 are its rows."""
    moved = w_plus.clone()
    for number, name in enumerate(levels):
        rows = [row for row in ROWS[name] if row < w_plus.shape[1]]
        moved[:, rows] += FACTOR * network(weights, number, w_plus[:, rows])
    return moved


def moved_styles(
    weights: Mapping[str, Tensor], kinds: Sequence[str], styles: Sequence[Tensor]
) -> list[Tensor]:
    """s + 0.1 M(s) of every layer [B,C] that is no toRGB; axis 1 are its channels."""
    moved, number = [], 0
    for kind, style in zip(kinds, styles, strict=True):
        if kind == "rgb":
            moved.append(style)
            continue
        moved.append(style + FACTOR * network(weights, number, style))
        number += 1
    return moved


def mean_square(after: Tensor, before: Tensor) -> float:
    return sum((a - b) ** 2 for a, b in pairs(after, before)) / after.numel()


def terms(
    images: Tensor,
    sources: Tensor,
    size: float,
    embed: Callable[[Tensor], Tensor],
    text: Tensor,
    face: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """1 - cos(e, t), 0.8 MSE and 0.1 (1 - cos of the faces), means over the batch."""
    seen, faces, before = embed(images), face(images), face(sources)
    batch = len(images)
    return {
        "clip": sum(1 - cosine(one, text) for one in seen) / batch,
        "latent": LATENT_WEIGHT * size,
        "identity": IDENTITY_WEIGHT
        * sum(1 - cosine(one, other) for one, other in zip(faces, before, strict=True))
        / batch,
    }


def official_pixels(images: Tensor, size: int) -> Tensor:
    """What CLIP is shown: nearest times size/32, then means of H/32 squared."""
    large = images.repeat_interleave(size // 32, dim=2).repeat_interleave(size // 32, dim=3)
    side = images.shape[2] // 32
    rows = [large[:, :, i * side : (i + 1) * side].mean(dim=2) for i in range(size)]
    half = torch.stack(rows, dim=2)
    columns = [half[..., i * side : (i + 1) * side].mean(dim=3) for i in range(size)]
    return torch.stack(columns, dim=3)


# --- ours: one network for many prompts ---------------------------------------


@dataclass(frozen=True)
class Wish:
    """A prompt for a picture: its texts [E], and what the generator's samples are to CLIP."""

    target: Tensor
    neutral: Tensor
    matrix: Tensor  # [E,D]
    mean: Tensor  # [E]
    covariance: Tensor  # [E,E]

    @property
    def direction(self) -> Tensor:
        """normalise(t - n)."""
        moved = self.target - self.neutral
        return moved / math.sqrt(sum(x * x for x in moved.tolist()))

    @property
    def middle(self) -> float:
        return sum(x * y for x, y in pairs(self.mean, self.direction))

    @property
    def deviation(self) -> float:
        d = self.direction.tolist()
        rows = self.covariance.tolist()
        variance = sum(x * c * y for x, row in zip(d, rows, strict=True)
                       for c, y in zip(row, d, strict=True))  # fmt: skip
        return math.sqrt(variance)


def text_coordinates(
    weights: Mapping[str, Tensor], latents: Tensor, one: Tensor, wish: Wish, first: float
) -> Tensor:
    """u [E] of one picture [L,D]: first exp(a) d + r, of the network's outputs a and r [E].

    It reads the mean row in units of ``latents`` [N,L,D], and the direction times sqrt(E).
    """
    rows = latents.mean(dim=1)
    scale = (rows - rows.mean(dim=0)).square().mean(dim=0).sqrt()
    scale = torch.maximum(scale, 0.1 * scale.mean())
    w = (one.mean(dim=0) - rows.mean(dim=0)) / scale
    x = torch.cat([w, wish.direction * math.sqrt(len(wish.direction))])
    for layer in (0, 2, 4):
        x = weights[f"layers.{layer}.weight"] @ x + weights[f"layers.{layer}.bias"]
        x = x if layer == 4 else x / (1 + torch.exp(-x))
    return first * math.exp(float(x[0])) * wish.direction + x[1:]


def text_step(u: Tensor, wish: Wish) -> Tensor:
    """[D], the same for every row."""
    return wish.deviation * (u @ wish.matrix)


def text_terms(
    u: Tensor, after: Tensor, before: Tensor, wish: Wish, loss: str,
    goal: float, keep_weight: float, latent_weight: float, length_weight: float,
) -> dict[str, float]:  # fmt: skip
    """The terms of one picture, of what CLIP sees after and before [E]."""
    forward = sum(x * y for x, y in pairs(u, wish.direction))
    found = {
        "latent": latent_weight * aside(u, wish.direction), "length": length_weight * forward**2,
    }  # fmt: skip
    if loss == "target":
        return {**found, "clip": 1 - cosine(after, wish.target)}
    if loss == "directional":
        # a cosine, of a length that cannot be 0
        length = math.sqrt(sum(x * x for x in (after - before).tolist()) + 1e-6)
        along = sum(x * y for x, y in pairs(after - before, wish.direction))
        return {**found, "clip": 1 - along / length}
    along = sum(x * y for x, y in pairs(after, wish.direction))
    wanted, deviation = wish.middle + goal * wish.deviation, wish.deviation
    keep = aside(after - before, wish.direction) / deviation**2
    return {**found, "clip": max(0.0, wanted - along) / deviation, "keep": keep_weight * keep}


def aside(moved: Tensor, direction: Tensor) -> float:
    """|x - <x, d> d|^2: the square of the part that is not along the unit d."""
    along = sum(x * y for x, y in pairs(moved, direction))
    return sum((x - along * y) ** 2 for x, y in pairs(moved, direction))


def cosine(a: Tensor, b: Tensor) -> float:
    product = sum(x * y for x, y in pairs(a, b))
    return product / math.sqrt(sum(x * x for x in a.tolist()) * sum(y * y for y in b.tolist()))


def pairs(a: Tensor, b: Tensor) -> list[tuple[float, float]]:
    return list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
