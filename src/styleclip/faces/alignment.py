"""A face upright in a square, as a generator has learned to draw it, and the way back to the photo.

  photo, landmarks -square_of-> Similarity: unit square -> photo -align-> Aligned(image [1,3,S,S])
Points are complex numbers x + iy, so a similarity is z -> turn z + shift: turning, scaling and
moving in one multiplication and one addition. FFHQ's recipe (Karras et al. 2019, 1812.04948) makes
the square from eyes and mouth; a model with a frame of its own states where they lie in it, and the
least squares similarity (Umeyama 1991; over complex numbers one division) takes it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from styleclip import images
from styleclip.errors import ArgumentError, LandmarksError
from styleclip.faces.landmarks import NAMES, Landmarks, Point, parse_landmarks

Box = tuple[float, float, float, float]  # left, top, right, bottom
Template = Literal["ffhq"] | Landmarks  # points of a template lie in the unit square
HALF = 0.5 + 0.5j  # from the middle of a pixel, where it is counted, to its corner
SMALLEST = 32  # pixels of the photo across a face's square; fewer show no face
MARGIN = 4  # pixels round a crop, which the resampling reads
DENSITY = 2.0  # samples taken each way for a pixel of the square
BAND = 256  # rows of a picture that one thread computes at a time
GAP = 3.0  # Pillow's reducing_gap: the larger, the closer to a resize of all pixels
# FFHQ's treatment of what lies outside the photo, in sides of the square
PAD, BORDER, BLUR = 0.3, 0.1, 0.02
SMOOTH = 8  # pixels; a wider blur is computed of fewer pixels, until it is as wide as that


@dataclass(frozen=True)
class Similarity:
    """z -> turn z + shift for points z = x + iy: it turns, scales and moves, and never reflects."""

    turn: complex
    shift: complex

    def __call__(self, z: complex) -> complex:
        return self.turn * z + self.shift

    def at(self, point: Point) -> Point:
        """The same for a point (x, y)."""
        z = self(complex(*point))
        return z.real, z.imag

    @property
    def inverse(self) -> Similarity:
        return Similarity(1 / self.turn, -self.shift / self.turn)

    @property
    def scale(self) -> float:
        return abs(self.turn)

    @property
    def degrees(self) -> float:
        """How far it turns, clockwise as a picture is seen (y points down)."""
        return math.degrees(math.atan2(self.turn.imag, self.turn.real))


@dataclass(frozen=True)
class Aligned:
    """A face's square [1,3,S,S] in [-1,1], and where its pixels lie in the photo."""

    image: Tensor
    to_photo: Similarity  # pixel of the square -> pixel of the photo

    @property
    def to_square(self) -> Similarity:
        return self.to_photo.inverse

    @property
    def corners(self) -> list[Point]:
        """The outer corners of the square in the photo, clockwise from the top left."""
        size = self.image.shape[-1]
        return [self.to_photo.at((x, y)) for x, y in _corners(-0.5, size - 0.5)]


def align(
    photo: Image.Image, landmarks: Landmarks, size: int, template: Template = "ffhq"
) -> Aligned:
    """The face of ``landmarks`` upright in a square of ``size`` pixels.

    ``template`` is "ffhq", or where eyes and mouth lie in the unit square. What lies outside the
    photo is its mirrored, blurred border, as in FFHQ. Raises ``LandmarksError`` for a face outside
    the photo or too small.
    """
    photo = images.to_rgb(photo)
    check_inside(landmarks, photo.size)
    square = square_of(landmarks, template)
    if square.scale < SMALLEST:
        raise LandmarksError(
            f"the face is too small: its square has {square.scale:.0f} pixels each way, at least "
            f"{SMALLEST} are needed; give a larger picture"
        )
    pixels = _sampled(photo, square, size)
    return Aligned(images.to_tensor(pixels), _between_pixels(square, size))


def centre(photo: Image.Image, size: int) -> Aligned:
    """The largest square around the centre of a photo, for pictures of anything but faces."""
    photo = images.to_rgb(photo)
    side = min(photo.size)
    corner = complex((photo.width - side) // 2, (photo.height - side) // 2)
    return Aligned(
        images.to_tensor(photo, size), _between_pixels(Similarity(complex(side), corner), size)
    )


def square_of(landmarks: Landmarks, template: Template = "ffhq") -> Similarity:
    """The unit square's place in the photo, both counted from corners of pixels."""
    if template == "ffhq":
        eyes = landmarks.eyes + HALF
        eye_to_eye = complex(*landmarks.right_eye) - complex(*landmarks.left_eye)
        eye_to_mouth = landmarks.mouth - landmarks.eyes
        # From eyes and mouth together: which way is right, and half a side in that direction.
        right = eye_to_eye - 1j * eye_to_mouth
        right *= max(2.0 * abs(eye_to_eye), 1.8 * abs(eye_to_mouth)) / abs(right)
        middle = eyes + 0.1 * eye_to_mouth
        return Similarity(2 * right, middle - (1 + 1j) * right)
    wanted = np.array([complex(*point) for point in template.points])
    found = np.array([complex(*point) for point in landmarks.points]) + HALF
    off, moved = wanted - wanted.mean(), found - found.mean()
    turn = complex((off.conj() * moved).sum() / (np.abs(off) ** 2).sum())
    return Similarity(turn, complex(found.mean() - turn * wanted.mean()))


def check_inside(landmarks: Landmarks, size: tuple[int, int]) -> None:
    """Raise ``LandmarksError`` unless the face belongs to a picture of ``size`` (width, height).

    A part of it may lie outside, not its middle, and no point by more than half the picture.
    """
    width, height = size
    middle = landmarks.middle
    inside = 0 <= middle.real < width and 0 <= middle.imag < height
    near = all(
        -0.5 * width <= x <= 1.5 * width and -0.5 * height <= y <= 1.5 * height
        for x, y in landmarks.points
    )
    if not (inside and near):
        raise LandmarksError(
            f"the face at ({middle.real:.0f}, {middle.imag:.0f}) lies outside the picture of "
            f"{width} x {height} pixels: the landmarks belong to another picture, or to another "
            "size of it"
        )


def parse_template(values: object) -> Template:
    """What a model.json says under "alignment": {"kind": "ffhq"}, or {"kind": "points", ...}.

    The four points lie in the unit square: {"left_eye": [0.37, 0.49], ...}. Raises
    ``ArgumentError``.
    """
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if kind == "ffhq":
        return "ffhq"
    if kind != "points":
        raise ArgumentError(
            f'the alignment of a model is {{"kind": "ffhq"}} or {{"kind": "points", ...}}, got '
            f"{str(values)[:60]}"
        )
    try:
        (template,) = parse_landmarks(values)
    except LandmarksError as error:
        raise ArgumentError(
            f"the alignment of a model needs {', '.join(NAMES)}: {error}"
        ) from error
    if not all(0 <= number <= 1 for point in template.points for number in point):
        raise ArgumentError("the points of a model's alignment lie in the unit square, 0 to 1")
    return template


def affine(similarity: Similarity) -> tuple[float, float, float, float, float, float]:
    """A similarity as the six numbers that PIL's AFFINE takes: output -> source, from corners."""
    turn, shift = similarity.turn, similarity.shift
    return turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag


def bounds(square: Similarity, part: Box = (0, 0, 1, 1)) -> tuple[int, int, int, int]:
    """The box of whole pixels around a square in the photo, or around a ``part`` of the square."""
    left, top, right, bottom = part
    corners = [square(complex(x, y)) for x in (left, right) for y in (top, bottom)]
    xs, ys = [z.real for z in corners], [z.imag for z in corners]
    return math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))


def _sampled(photo: Image.Image, square: Similarity, size: int) -> Image.Image:
    """The pixels of the square: shrunk to a few for each of them, turned, and averaged."""
    left, top, right, bottom = bounds(square)
    shrink = max(1.0, square.scale / (DENSITY * size))  # photo pixels in one of the crop
    margin = math.ceil(MARGIN * shrink)
    box = left - margin, top - margin, right + margin, bottom + margin
    crop, corner = _cropped(photo, box, shrink)
    placed = Similarity(square.turn / shrink, (square.shift - corner) / shrink)
    overhang = _overhang(box, photo.size)
    if any(overhang):
        pads = [math.ceil(each / shrink) for each in overhang]
        crop = _padded(crop, pads, placed.scale)
        placed = Similarity(placed.turn, placed.shift + complex(pads[0], pads[1]))
    fine = round(DENSITY * size)
    onto = Similarity(placed.turn / fine, placed.shift)

    def turned(top: int, bottom: int) -> Image.Image:
        band = affine(Similarity(onto.turn, onto(1j * top)))
        return crop.transform(
            (fine, bottom - top), Image.Transform.AFFINE, band, Image.Resampling.BICUBIC
        )

    whole = _in_bands((fine, fine), turned, BAND)
    return whole.resize((size, size), Image.Resampling.LANCZOS)


def _in_bands(
    size: tuple[int, int], draw: Callable[[int, int], Image.Image], rows: int
) -> Image.Image:
    """A picture of ``size`` from ``draw(top, bottom)``, which gives those ``rows`` of it.

    On as many threads as torch may use (Pillow lets go of Python's lock while it computes); the
    bands are the same on every machine.
    """
    tops = range(0, size[1], rows)
    whole = Image.new("RGB", size)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        bands = threads.map(lambda top: draw(top, min(size[1], top + rows)), tops)
        for top, band in zip(tops, bands, strict=True):
            whole.paste(band, (0, top))
    return whole


def _cropped(
    photo: Image.Image, box: tuple[int, int, int, int], shrink: float
) -> tuple[Image.Image, complex]:
    """What of ``box`` lies in the photo, shrunk exactly by ``shrink``; and its top left corner."""
    left, top = max(0, box[0]), max(0, box[1])
    right, bottom = min(photo.width, box[2]), min(photo.height, box[3])
    if shrink == 1:
        return photo.crop((left, top, right, bottom)), complex(left, top)
    # Whole pixels of the crop; a last part of one falls to the margin, not to a border to mirror.
    width, height = max(1, int((right - left) / shrink)), max(1, int((bottom - top) / shrink))
    across, down = min(right - left, width * shrink), min(bottom - top, height * shrink)
    x = right - across if box[2] > photo.width else left
    y = bottom - down if box[3] > photo.height else top

    def shrunk(top: int, bottom: int) -> Image.Image:
        source = x, y + top * shrink, x + across, min(y + bottom * shrink, y + down)
        lines = width, bottom - top
        return photo.resize(lines, Image.Resampling.LANCZOS, box=source, reducing_gap=GAP)

    # From twice the gap on, Pillow averages whole pixels first, counted from the top of the box.
    rows = BAND if shrink < 2 * GAP else height
    return _in_bands((width, height), shrunk, rows), complex(x, y)


def _overhang(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """How far a box reaches out of the photo: left, top, right, bottom."""
    left, top, right, bottom = box
    return max(0, -left), max(0, -top), max(0, right - size[0]), max(0, bottom - size[1])


def _padded(crop: Image.Image, pads: list[int], side: float) -> Image.Image:
    """The crop with a mirrored border that blurs towards the photo's edge, then fades to one shade.

    FFHQ's recipe: d is the distance out of the photo over the width of its padding; the blur comes
    in from d = -1/3 (inside) to 0, the median shade from 0 to 1.
    """
    left, top, right, bottom = pads
    pixels = np.asarray(crop)
    grown = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    across = _distance(pixels.shape[1], left, right, side)
    down = _distance(pixels.shape[0], top, bottom, side)
    padded = Image.fromarray(grown)
    padded.paste(_blurred(padded, BLUR * side), mask=_mask(3 * across + 1, 3 * down + 1))
    plain = Image.new("RGB", padded.size, _shade(padded, pads, side))
    padded.paste(plain, mask=_mask(across, down))
    return padded


def _blurred(picture: Image.Image, deviation: float) -> Image.Image:
    """A Gaussian of ``deviation`` pixels, computed with no more pixels than such a blur needs."""
    factor = max(1, int(deviation / SMOOTH))
    small = picture.reduce(factor).filter(ImageFilter.GaussianBlur(deviation / factor))
    whole = 0, 0, picture.width / factor, picture.height / factor
    return small.resize(picture.size, Image.Resampling.BILINEAR, box=whole)


def _shade(padded: Image.Image, pads: list[int], side: float) -> tuple[int, ...]:
    """The median of the padded crop, which FFHQ pads on every side, needed or not."""
    left, top, right, bottom = (max(0, round(PAD * side) - each) // 4 for each in pads)
    sparse = np.asarray(padded)[::4, ::4]
    whole = np.pad(sparse, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    return tuple(np.median(whole, axis=(0, 1)).round().astype(int).tolist())


def _mask(across: np.ndarray, down: np.ndarray) -> Image.Image:
    """The larger of two shares, of a column and of a row, cut to 0..1, for every pixel."""
    across, down = ((255 * each.clip(0, 1)).round().astype(np.uint8) for each in (across, down))
    return Image.fromarray(np.maximum(down[:, None], across[None, :]))


def _distance(length: int, before: int, after: int, side: float) -> np.ndarray:
    """Along one axis, how far out of the photo, in widths of the padding; negative inside."""
    at = np.arange(-before, length + after, dtype=np.float32)
    distance = np.full(len(at), -np.inf, np.float32)
    for overhang, out in ((before, -at), (after, at - (length - 1))):
        if overhang:
            width = max(overhang - MARGIN + BORDER * side, PAD * side)
            distance = np.maximum(distance, out / width)
    return distance


def _between_pixels(square: Similarity, size: int) -> Similarity:
    """From the unit square's place, counted from corners: pixel of the square -> of the photo."""
    turn = square.turn / size
    return Similarity(turn, square.shift + turn * HALF - HALF)


def _corners(low: float, high: float) -> list[Point]:
    return [(low, low), (high, low), (high, high), (low, high)]
