"""An edited square back in its photo, at the photo's own resolution.

  photo' = photo (1 - a) + paint,   a = m k,   paint = m ((1 - k) (after - before) + k after)
m is 1 inside the square and falls smoothly to 0 at its border. Where the edit moves colours a little
(k = 0) only its difference is added: the photo keeps every detail, and the inversion's own error
stays out. Where the edit draws something else (k towards 1) the old pixels have to go, or their
outlines would shine through. Where the edit changes nothing, no pixel of the photo changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from torch import Tensor

from styleclip import images
from styleclip.errors import ArgumentError
from styleclip.faces.alignment import HALF, Similarity, affine, bounds


@dataclass(frozen=True)
class BlendConfig:
    """Chosen by looking at edited portraits in larger pictures; shades are of 255."""

    feather: float = 0.1  # sides of the square over which its border fades
    silent: float = 4.0  # a change up to this is the generator's noise: left out
    heard: float = 10.0  # from here it is shown in full
    retouched: float = 40.0  # up to here the difference is added to the photo
    redrawn: float = 90.0  # from here the edited pixels replace it
    spread: float = 0.012  # sides of the square over which a change is smoothed


def set_back(
    photo: Image.Image,
    before: Tensor,
    after: Tensor,
    to_photo: Similarity,
    config: BlendConfig = BlendConfig(),
) -> Image.Image:
    """The photo, RGB, with the edit of one square in it; every other pixel is bit by bit the same.

    ``before`` and ``after`` [1,3,S,S] in [-1,1] are the generator's square without and with the
    edit, ``to_photo`` leads from their pixels to the photo's (``Aligned.to_photo``). Raises
    ``ArgumentError``.
    """
    if before.shape != after.shape or before.shape[-1] != before.shape[-2]:
        raise ArgumentError(
            f"expected two squares of one size, got {list(before.shape)} and {list(after.shape)}"
        )
    photo = images.to_rgb(photo)
    size = before.shape[-1]
    layer = _layer(_shades(before), _shades(after), config)  # [4,S,S]: paint, a

    # The square in the photo, and the part of the frame that it covers.
    square = Similarity(to_photo.turn, to_photo.shift - to_photo.turn * HALF + HALF)
    left, top, right, bottom = bounds(Similarity(square.turn * size, square.shift))
    left, top = max(0, left), max(0, top)
    right, bottom = min(photo.width, right), min(photo.height, bottom)
    if left >= right or top >= bottom:
        return photo.copy()
    back = square.inverse
    onto = Similarity(back.turn, back(complex(left, top)))
    cover, *paint = _placed(layer, onto, (right - left, bottom - top))

    pixels = np.array(photo)
    region = pixels[top:bottom, left:right]
    for channel, shades in enumerate(paint):
        mixed = region[..., channel] * (1 - cover)
        mixed += shades
        region[..., channel] = np.rint(mixed, out=mixed).clip(0, 255)
    return Image.fromarray(pixels)


def _layer(before: np.ndarray, after: np.ndarray, config: BlendConfig) -> list[np.ndarray]:
    """What is laid over the photo, in the square: cover [S,S], and paint for R, G and B."""
    size = before.shape[-1]
    change = np.abs(after - before).max(axis=0)  # [S,S]
    change = _smoothed(change, config.spread * size)
    border = _fades(size, config.feather)
    shown = border * _step(change, config.silent, config.heard)
    redrawn = _step(change, config.retouched, config.redrawn)
    difference = after - before
    return [shown * redrawn, *(shown * (difference + redrawn * (after - difference)))]


def _placed(layer: list[np.ndarray], onto: Similarity, size: tuple[int, int]) -> list[np.ndarray]:
    """The layer as it falls on ``size`` pixels of the photo; nothing outside the square."""
    side = layer[0].shape[0]
    small = max(1, round(side / abs(onto.turn)))  # pixels of the photo across the square
    placed = []
    for each in layer:
        plane = Image.fromarray(each.astype(np.float32))
        if small < side:  # the photo is coarser than the square: average first
            plane = plane.resize((small, small), Image.Resampling.LANCZOS)
        scale = plane.width / side
        placed.append(
            np.asarray(
                plane.transform(
                    size,
                    Image.Transform.AFFINE,
                    affine(Similarity(onto.turn * scale, onto.shift * scale)),
                    Image.Resampling.BICUBIC,
                )
            )
        )
    return placed


def _shades(image: Tensor) -> np.ndarray:
    """[1,3,S,S] in [-1,1] -> [3,S,S] in 0..255, not rounded."""
    unit = (image.detach().float().cpu().clamp(-1, 1)[0] + 1) * 127.5
    shades: np.ndarray = unit.numpy()
    return shades


def _fades(size: int, feather: float) -> np.ndarray:
    """1 in the middle, falling smoothly to 0 at the border: [S,S]."""
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    inward = np.minimum(at, 1 - at)
    edge = _step(inward, 0.0, feather)
    return np.outer(edge, edge)


def _smoothed(values: np.ndarray, deviation: float) -> np.ndarray:
    plane = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    return np.asarray(plane.filter(ImageFilter.GaussianBlur(deviation)), np.float32)


def _step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to ``low``, 1 from ``high``, smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    stepped: np.ndarray = t * t * (3 - 2 * t)
    return stepped
