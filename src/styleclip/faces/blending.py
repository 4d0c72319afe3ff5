"""An edited square back in its photo, at the photo's own resolution.

  photo' = photo (1 - a) + paint,   a = m k,   paint = m ((1 - k) (after - before) + k after)
m is 1 inside the square and falls smoothly to 0 at its border, and where the edit changes nothing.
Where it moves colours a little (k = 0) only the difference is added: the photo keeps its detail,
and the inversion's own error stays out. Where it draws something else (k towards 1) the old pixels
have to go, or their outlines would shine through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleclip import images
from styleclip.errors import ArgumentError
from styleclip.faces.alignment import HALF, Box, Similarity, bounds

MASK_SIZE = 256  # pixels each way in which changes are judged; they are smooth
ROWS = 256  # of the photo that are mixed at once; of fewer, two threads often wait for each other
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
    layer = _layer(_shades(before), _shades(after), coarse, config)  # [4,s,s]
    seen = _seen(layer)

    # The unit square in the photo, and the part of the frame where something is laid.
    square = Similarity(to_photo.turn * size, to_photo.shift - to_photo.turn * HALF + HALF)
    back = square.inverse
    left, top, right, bottom = bounds(square, seen)
    left, top = max(0, left), max(0, top)
    right, bottom = min(photo.width, right), min(photo.height, bottom)

    # A few rows at a time: where they lie in the square, what is laid there, and the mixture.
    pixels = torch.from_numpy(np.array(photo))  # [H,W,3]
    for row in range(top, bottom, ROWS):
        rows = row, min(row + ROWS, bottom)
        first, end = _columns(back, seen, rows, (left, right))
        if first >= end:
            continue
        part = pixels[slice(*rows), first:end]
        laid = _sampled(layer, back, complex(first, row) + HALF, part.shape[:2])  # [h,4,w]
        cover, paint = laid[:, :1], laid[:, 1:]
        mixed = torch.addcmul(paint, part.transpose(1, 2).float(), 1 - cover)
        part.copy_(mixed.round_().clamp_(0, 255).transpose(1, 2))
    return images.with_profile(Image.fromarray(pixels.numpy()), profile)


def _seen(layer: Tensor) -> Box:
    """The part of a layer [4,s,s] that its samples see, in sides of the square; an empty one
    if all of it is 0."""
    shown, reach = layer.any(dim=0), 2  # pixels that a bicubic sample reads each way
    ends = []
    for dim in (0, 1):
        at = shown.any(dim=dim).nonzero()
        ends.append((int(at.min()) - reach, int(at.max()) + 1 + reach) if len(at) else (0, 0))
    (left, right), (top, bottom) = [[each / len(shown) for each in pair] for pair in ends]
    return max(0.0, left), max(0.0, top), min(1.0, right), min(1.0, bottom)


def _columns(
    back: Similarity, box: Box, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[int, int]:
    """Which of the photo's ``columns`` a ``box`` of the square covers in some of these rows.

    u = a x - b y + u0 and v = b x + a y + v0 both lie in the box: each of them bounds x.
    """
    first, end = columns
    left, top, right, bottom = box
    a, b = back.turn.real, back.turn.imag
    u = (a, -b, back.shift.real, left, right)
    v = (b, a, back.shift.imag, top, bottom)
    for by_x, by_y, start, low, high in (u, v):
        if abs(by_x) < 1e-9 * back.scale:  # the same along a row
            continue
        starts = [start + by_y * y for y in rows]
        ends = (low - max(starts)) / by_x, (high - min(starts)) / by_x
        first, end = max(first, math.floor(min(ends))), min(end, math.ceil(max(ends)))
    return first, end


def _sampled(layer: Tensor, back: Similarity, corner: complex, shape: tuple[int, ...]) -> Tensor:
    """The layer [4,s,s] at pixels of the photo, from ``corner``: [h,4,w]; 0 outside the square."""
    down = torch.arange(shape[0], dtype=torch.float32)[:, None]
    across = torch.arange(shape[1], dtype=torch.float32)[None, :]
    start, turn = back(corner) * 2 - (1 + 1j), back.turn * 2  # -1 to 1 over the square
    grid = torch.empty(*shape, 2)
    torch.add(start.real - turn.imag * down, turn.real * across, out=grid[..., 0])  # x
    torch.add(start.imag + turn.real * down, turn.imag * across, out=grid[..., 1])  # y
    # Every row is a sample of the batch, over which grid_sample goes with all its threads.
    rows = layer.expand(len(grid), -1, -1, -1)
    laid = F.grid_sample(rows, grid[:, None], mode="bicubic", align_corners=False)
    return laid.squeeze(2)


def _layer(before: Tensor, after: Tensor, coarse: int, config: BlendConfig) -> Tensor:
    """What is laid over the photo: cover (a in the equation) and paint for R, G, B, [4,s,s].

    s is the size, or ``coarse`` where that is less.
    """
    size = before.shape[-1]
    shown, redrawn = _masks(before, after, config)
    shown = shown * _border(size, 2 / coarse, config.feather)
    difference = after - before
    paint = shown * (difference + redrawn * (after - difference))
    layer = torch.cat([shown * redrawn, paint])[None]
    if coarse < size:  # the photo is coarser than the square: average first
        layer = F.interpolate(layer, (coarse, coarse), mode="bicubic", antialias=True)
    # a pixel's four values side by side: samples turned against the rows read half as long
    return layer.contiguous(memory_format=torch.channels_last)[0]


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
