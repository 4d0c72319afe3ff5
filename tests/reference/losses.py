"""Every loss as its equation states it, number by number in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Vector = Sequence[float]


def cosine(a: Vector, b: Vector) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    length_a = math.sqrt(sum(x * x for x in a))
    length_b = math.sqrt(sum(y * y for y in b))
    return product / (length_a * length_b)


def target(images: Tensor, text: Tensor) -> list[float]:
    return [1 - cosine(image, text.tolist()) for image in images.tolist()]


def directional(
    images: Tensor, sources: Tensor, target_text: Tensor, neutral: Tensor
) -> list[float]:
    wanted = [t - n for t, n in zip(target_text.tolist(), neutral.tolist(), strict=True)]
    distances = []
    for image, source in zip(images.tolist(), sources.tolist(), strict=True):
        moved = [a - b for a, b in zip(image, source, strict=True)]
        distances.append(1 - cosine(moved, wanted))
    return distances


def identity(faces: Tensor, sources: Tensor) -> list[float]:
    pairs = zip(faces.tolist(), sources.tolist(), strict=True)
    return [1 - cosine(face, source) for face, source in pairs]


def latent(step: Tensor) -> list[float]:
    return [sum(number * number for number in one.flatten().tolist()) for one in step]


def laplacian(images: Tensor, others: Tensor, levels: int, power: int) -> list[float]:
    """Sum over bands of the mean |band(x) - band(y)|^power; the coarsest band is what is left."""
    results = []
    for image, other in zip(images.tolist(), others.tolist(), strict=True):
        total = 0.0
        bands = [pyramid(channel, levels) for channel in image]
        other_bands = [pyramid(channel, levels) for channel in other]
        for level in range(levels):
            differences = [
                abs(a - b) ** power
                for one, two in zip(bands, other_bands, strict=True)
                for row, other_row in zip(one[level], two[level], strict=True)
                for a, b in zip(row, other_row, strict=True)
            ]
            total += sum(differences) / len(differences)
        results.append(total)
    return results


def pyramid(channel: list[list[float]], levels: int) -> list[list[list[float]]]:
    """[H][W] -> bands from fine to coarse: each is the picture less its 2x2 means, replicated."""
    bands = []
    for _ in range(levels - 1):
        height, width = len(channel) // 2, len(channel[0]) // 2
        coarse = [[0.0] * width for _ in range(height)]
        for y in range(height):
            for x in range(width):
                block = [channel[2 * y + i][2 * x + j] for i in (0, 1) for j in (0, 1)]
                coarse[y][x] = sum(block) / 4
        bands.append(
            [
                [channel[y][x] - coarse[y // 2][x // 2] for x in range(2 * width)]
                for y in range(2 * height)
            ]
        )
        channel = coarse
    return [*bands, channel]


def reach_distance(image_embeddings: Tensor, direction: Tensor, goal: float) -> list[float]:
    """max(0, goal - sum_k e_k d_k), picture by picture."""
    result = []
    for embedding in image_embeddings:
        along = sum(float(e) * float(d) for e, d in zip(embedding, direction, strict=True))
        result.append(max(0.0, goal - along))
    return result


def off_direction(moved: Tensor, direction: Tensor) -> Tensor:
    """Gram-Schmidt, component by component."""
    rows = []
    for vector in moved:
        along = sum(float(v) * float(d) for v, d in zip(vector, direction, strict=True))
        rows.append([float(v) - along * float(d) for v, d in zip(vector, direction, strict=True)])
    return torch.tensor(rows, dtype=moved.dtype)
