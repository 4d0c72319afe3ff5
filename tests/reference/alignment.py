"""FFHQ's square the long way: corners by vectors, four times as many samples, then an average."""

from __future__ import annotations

import numpy as np
from PIL import Image

from styleclip.faces.landmarks import Landmarks


def ffhq_quad(face: Landmarks) -> np.ndarray:
    """Corners [4,2] in pixels: upper left, lower left, lower right, upper right of the face."""
    left, right, mouth_left, mouth_right = (np.array(point, float) for point in face.points)
    between, along = (left + right) / 2, right - left
    down = (mouth_left + mouth_right) / 2 - between
    x = along - np.array([-down[1], down[0]])
    x = x / np.sqrt((x**2).sum())
    x = x * max(2.0 * np.sqrt((along**2).sum()), 1.8 * np.sqrt((down**2).sum()))
    y = np.array([-x[1], x[0]])
    middle = between + 0.1 * down
    return np.stack([middle - x - y, middle - x + y, middle + x + y, middle + x - y])


def ffhq_square(photo: Image.Image, face: Landmarks, size: int) -> Image.Image:
    """The face as FFHQ cuts it, for one that lies inside the photo and is not shrunk."""
    corners = (ffhq_quad(face) + 0.5).flatten().tolist()
    fine = (4 * size, 4 * size)
    large = photo.transform(fine, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return large.resize((size, size), Image.Resampling.LANCZOS)


def ffhq_padded_square(photo: Image.Image, face: Landmarks, size: int) -> np.ndarray:
    """[size,size,3] in [0,255]: FFHQ's square of a face that reaches out of the photo, unshrunk.

    In sides of the square: the photo is cropped 0.1 round it, mirrored by 0.3 on every side at
    least, blurred by 0.02 where m > -1/3 and faded to its median where m > 0, for m the distance
    out of the photo over the width of that side's padding.
    """
    quad = ffhq_quad(face)
    side = float(np.hypot(*(quad[3] - quad[0])))
    border = max(int(np.rint(0.1 * side)), 3)
    low, high = np.floor(quad.min(axis=0)).astype(int), np.ceil(quad.max(axis=0)).astype(int)
    left, top = (max(int(each) - border, 0) for each in low)
    right, bottom = (min(int(a) + border, b) for a, b in zip(high, photo.size, strict=True))
    image = np.asarray(photo.crop((left, top, right, bottom)), np.float64)
    beyond = [border - low[0], border - low[1]]  # of the photo, to the left, above, ...
    beyond += [high[0] + border - photo.width, high[1] + border - photo.height]
    pads = [max(int(each), 0) for each in beyond]
    assert max(pads) > border - 4, "this face needs no padding"
    pads = [max(each, int(np.rint(0.3 * side))) for each in pads]
    image = np.pad(image, ((pads[1], pads[3]), (pads[0], pads[2]), (0, 0)), mode="reflect")
    height, width = image.shape[:2]
    mask = np.empty((height, width, 1))
    for y in range(height):
        for x in range(width):
            across = min(x / pads[0], (width - 1 - x) / pads[2])
            down = min(y / pads[1], (height - 1 - y) / pads[3])
            mask[y, x] = 1 - min(across, down)
    image += (_blurred(image, 0.02 * side) - image) * np.clip(3 * mask + 1, 0, 1)
    image += (np.median(image, axis=(0, 1)) - image) * np.clip(mask, 0, 1)
    padded = Image.fromarray(image.round().clip(0, 255).astype(np.uint8))
    corner = np.array([left - pads[0], top - pads[1]])
    placed = (quad - corner + 0.5).flatten().tolist()
    fine = (4 * size, 4 * size)
    large = padded.transform(fine, Image.Transform.QUAD, placed, Image.Resampling.BILINEAR)
    return np.asarray(large.resize((size, size), Image.Resampling.LANCZOS), np.float32)


def ffhq_padding(image: np.ndarray, pads: list[int], side: float, margin: int) -> np.ndarray:
    """The padded image alone, for a crop that has ``margin`` pixels round the square and ``pads``
    beyond the photo, margin included; sides without any are as they are."""
    left, top, right, bottom = pads
    image = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = image.shape[:2]
    mask = np.full((height, width, 1), -np.inf)
    for y in range(height):
        for x in range(width):
            beyond = left - x, top - y, x - (width - 1 - right), y - (height - 1 - bottom)
            for pad, out in zip(pads, beyond, strict=True):
                if pad:
                    of = max(pad - margin + 0.1 * side, 0.3 * side)
                    mask[y, x] = max(mask[y, x], out / of)
    image = image + (_blurred(image, 0.02 * side) - image) * np.clip(3 * mask + 1, 0, 1)
    return image + (np.median(image, axis=(0, 1)) - image) * np.clip(mask, 0, 1)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of four sigma each way, along one axis after the other."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        edges = [(reach, reach) if each == axis else (0, 0) for each in range(3)]
        wide = np.pad(image, edges, mode="symmetric")
        length = image.shape[axis]
        shifted = (wide.take(range(i, i + length), axis) for i in range(2 * reach + 1))
        image = sum(weight * each for weight, each in zip(weights, shifted, strict=True))
    return image
