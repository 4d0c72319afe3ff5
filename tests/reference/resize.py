"""Antialiased bicubic resize, slowly: Keys' kernel (a = -1/2), widened when the picture shrinks.

Weights that fall outside the picture are dropped and the rest scaled to sum 1, as PIL does. One
output pixel after the other, in float64; and PIL itself, for 8-bit pictures.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image


def cubic(x: float, a: float = -0.5) -> float:
    """Keys 1981, equation 4."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return 0.0


def weights(before: int, after: int, position: int) -> list[float]:
    """How much every old pixel counts in the new one at ``position``; the sum is 1."""
    scale = before / after
    widened = max(scale, 1.0)
    centre = (position + 0.5) * scale
    first = max(0, math.floor(centre - 2 * widened + 0.5))
    last = min(before, math.floor(centre + 2 * widened + 0.5))
    row = [0.0] * before
    for old in range(first, last):
        row[old] = cubic((old + 0.5 - centre) / widened)
    total = sum(row)
    return [value / total for value in row]


def tent(x: float) -> float:
    """The kernel of bilinear interpolation."""
    return max(0.0, 1.0 - abs(x))


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """[H,W] -> [size,size] by the tent, widened like the cubic kernel when the picture shrinks."""

    def rows(before: int) -> np.ndarray:
        centres = (np.arange(size) + 0.5) * before / size - 0.5
        found = [
            [tent((old - c) / max(before / size, 1)) for old in range(before)] for c in centres
        ]
        return np.array(found) / np.sum(found, axis=1, keepdims=True)

    return rows(image.shape[0]) @ image @ rows(image.shape[1]).T


def bicubic(image: np.ndarray, size: int) -> np.ndarray:
    """[H,W] -> [size,size]."""
    height, width = image.shape
    rows = [weights(height, size, y) for y in range(size)]
    columns = [weights(width, size, x) for x in range(size)]
    result = np.zeros((size, size))
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            for i, vertical in enumerate(row):
                if vertical != 0.0:
                    for j, horizontal in enumerate(column):
                        result[y, x] += vertical * horizontal * image[i, j]
    return result


def pil(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H,W,3] -> uint8 [size,size,3]; PIL rounds and clips to 8 bits after each axis."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
