"""An edited square back in its photo, at the photo's own resolution.

  photo' = photo (1 - a) + paint,   a = m k,   paint = m ((1 - k) (after - before) + k after)
m is 1 inside the square and falls smoothly to 0 at its border, and where the edit changes nothing.
Where it moves colours a little (k = 0) only the difference is added: the photo keeps its detail,
and the inversion's own error stays out. Where it draws something else (k towards 1) the old pixels
have to go, or their outlines would shine through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleclip import images
from styleclip.errors import ArgumentError
from styleclip.faces.alignment import HALF, Similarity, bounds

MASK_SIZE = 256  # pixels each way in which changes are judged; they are smooth
ROWS = 256  # of the photo that are mixed at once
FLAT = 3 * 10.0**2  # variance of three channels of 0..255 that counts as no structure


@dataclass(frozen=True)
class BlendConfig:
    """Chosen by looking at edited portraits in larger pictures.

    Shades are of 255; likeness is 1 for the same drawing, whatever its colours, and 0 for another.
    """

    feather: float = 0.06  # sides of the square over which its border fades
    silent: float = 6.0  # a change up to this is the generator's noise: left out
    heard: float = 18.0  # from here it is shown in full
    recoloured: float = 0.9  # likeness from which the photo's detail stays under the edit
    redrawn: float = 0.6  # likeness up to which the edited pixels replace the photo's
    window: float = 0.03  # sides of the square over which drawings are compared
    spread: float = 0.012  # sides of the square over which masks are smoothed


def set_back(
    photo: Image.Image,
    before: Tensor,
    after: Tensor,
    to_photo: Similarity,
    config: BlendConfig = BlendConfig(),
) -> Image.Image:
    """The photo, RGB, with the edit of one square in it; every other pixel is bit by bit the same.

    So is its colour profile, without which all of them would look other than before.

    ``before`` and ``after`` [1,3,S,S] in [-1,1] are the generator's square without and with the
    edit, ``to_photo`` leads from their pixels to the photo's (``Aligned.to_photo``). Raises
    ``ArgumentError``.
    """
    if before.shape != after.shape or before.shape[-1] != before.shape[-2]:
        raise ArgumentError(
            f"expected two squares of one size, got {list(before.shape)} and {list(after.shape)}"
        )
    profile = photo.info.get(images.PROFILE)
    photo = images.to_rgb(photo)
    size = before.shape[-1]
    coarse = max(1, min(size, round(to_photo.scale * size)))  # pixels that can be seen in the photo
    layer = _layer(_shades(before), _shades(after), coarse, config)  # [4,S,S]

    # The square in the photo, and the part of the frame that it covers.
    square = Similarity(to_photo.turn, to_photo.shift - to_photo.turn * HALF + HALF)
    left, top, right, bottom = bounds(Similarity(square.turn * size, square.shift))
    left, top = max(0, left), max(0, top)
    right, bottom = min(photo.width, right), min(photo.height, bottom)
    pixels = np.array(photo)
    if left >= right or top >= bottom:
        return images.with_profile(Image.fromarray(pixels), profile)

    # A few rows at a time: where they lie in the square, what is laid there, and the mixture.
    if coarse < size:  # the photo is coarser than the square: average first
        layer = F.interpolate(layer[None], (coarse, coarse), mode="bicubic", antialias=True)[0]
    region = torch.from_numpy(pixels)[top:bottom, left:right]
    for row in range(0, bottom - top, ROWS):
        part = region[row : row + ROWS]
        corner = complex(left, top + row) + HALF
        laid = _sampled(layer, square.inverse, corner, part.shape[:2], size)  # [4,h,w]
        mixed = part.permute(2, 0, 1) * (1 - laid[:1]) + laid[1:]
        part.copy_(mixed.round_().clamp_(0, 255).permute(1, 2, 0))
    return images.with_profile(Image.fromarray(pixels), profile)


def _sampled(
    layer: Tensor, back: Similarity, corner: complex, shape: tuple[int, ...], size: int
) -> Tensor:
    """The layer [4,S,S] at pixels of the photo, from ``corner``: [4,h,w]; 0 outside the square."""
    down = torch.arange(shape[0], dtype=torch.float32)[:, None]
    across = torch.arange(shape[1], dtype=torch.float32)[None, :]
    start, turn = (
        back(corner) * 2 / size - (1 + 1j),
        back.turn * 2 / size,
    )  # -1 to 1 over the square
    x = start.real + turn.real * across - turn.imag * down
    y = start.imag + turn.imag * across + turn.real * down
    grid = torch.stack([x, y], dim=-1)[None]
    return F.grid_sample(layer[None], grid, mode="bicubic", align_corners=False)[0]


def _layer(before: Tensor, after: Tensor, coarse: int, config: BlendConfig) -> Tensor:
    """What is laid over the photo: cover (a in the equation) and paint for R, G, B, [4,S,S]."""
    size = before.shape[-1]
    shown, redrawn = _masks(before, after, config)
    shown = shown * _border(size, 2 / coarse, config.feather)
    difference = after - before
    paint = shown * (difference + redrawn * (after - difference))
    return torch.cat([shown * redrawn, paint])


def _masks(before: Tensor, after: Tensor, config: BlendConfig) -> tuple[Tensor, Tensor]:
    """Where the edit is seen, and where it draws something else: [1,S,S] each, in 0..1."""
    size = before.shape[-1]
    small = min(size, MASK_SIZE)
    a, b = (F.interpolate(each[None], (small, small), mode="area") for each in (before, after))
    change = images.blurred((b - a).abs().amax(dim=1, keepdim=True), config.spread * small)
    shown = _step(change, config.silent, config.heard)
    alike = likeness(a, b, config.window * small)
    redrawn = 1 - _step(alike, config.redrawn, config.recoloured)
    redrawn = images.blurred(redrawn, config.spread * small)
    masks = torch.cat([shown, redrawn], dim=1)  # [1,2,small,small]
    masks = F.interpolate(masks, (size, size), mode="bilinear", align_corners=False)
    return masks[0, :1], masks[0, 1:]


def likeness(a: Tensor, b: Tensor, deviation: float) -> Tensor:
    """How alike two pictures [1,3,H,W] of 0..255 are drawn in each place: [1,1,H,W], -1 to 1.

    The structure term of SSIM (Wang et al. 2004): covariance over deviations, in a Gaussian window
    of ``deviation`` pixels, over all channels.
    """
    mean_a, mean_b = images.blurred(a, deviation), images.blurred(b, deviation)
    covariance = (images.blurred(a * b, deviation) - mean_a * mean_b).sum(dim=1, keepdim=True)
    variance_a = (
        (images.blurred(a * a, deviation) - mean_a**2).sum(dim=1, keepdim=True).clamp(min=0)
    )
    variance_b = (
        (images.blurred(b * b, deviation) - mean_b**2).sum(dim=1, keepdim=True).clamp(min=0)
    )
    return (covariance + FLAT) / ((variance_a * variance_b).sqrt() + FLAT)


def _shades(image: Tensor) -> Tensor:
    """[1,3,S,S] in [-1,1] -> [3,S,S] in 0..255, not rounded."""
    return (image.detach().float().cpu().clamp(-1, 1)[0] + 1) * 127.5


def _border(size: int, rim: float, feather: float) -> Tensor:
    """1 in the middle, falling smoothly to 0 at the border, and 0 in a ``rim`` of it: [S,S].

    Two pixels of rim are what the bicubic samples reach: nothing leaves the square.
    """
    at = (torch.arange(size) + 0.5) / size
    edge = _step(torch.minimum(at, 1 - at), rim, rim + feather)
    return edge[:, None] * edge[None, :]


def _step(values: Tensor, low: float, high: float) -> Tensor:
    """0 up to ``low``, 1 from ``high``, smooth between."""
    t = ((values - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
