"""Alignment: the square in closed form, there and back, every place of a photo, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from styleclip import images
from styleclip.errors import ArgumentError, LandmarksError
from styleclip.faces import alignment
from styleclip.faces.alignment import (
    SMALLEST,
    Similarity,
    Template,
    align,
    centre,
    parse_template,
    square_of,
)
from styleclip.faces.landmarks import Landmarks
from tests.faces.faces import UPRIGHT, moved, similarity, smooth_photo
from tests.reference.alignment import ffhq_padded_square, ffhq_padding, ffhq_quad, ffhq_square

TEMPLATES: list[Template] = ["ffhq", UPRIGHT]


def pixels(image: torch.Tensor) -> np.ndarray:
    return np.asarray(images.to_picture(image), np.float32)


def painted(by: Similarity, size: tuple[int, int], spots: list[complex]) -> Image.Image:
    """A white disc at each spot of the unit square, moved ``by``, on black."""
    photo = Image.new("RGB", size)
    draw = ImageDraw.Draw(photo)
    for spot in spots:
        z, radius = by(spot), 0.02 * by.scale
        box = (z.real - radius, z.imag - radius, z.real + radius, z.imag + radius)
        draw.ellipse(box, fill="white")
    return photo


# The square


def test_ffhq_in_closed_form() -> None:
    """Eyes 20 apart, the mouth 30 below: half a side is max(2 x 20, 1.8 x 30) = 54."""
    face = Landmarks((90, 100), (110, 100), (92, 130), (108, 130))
    square = square_of(face)
    assert square.turn == pytest.approx(108)
    # the middle lies a tenth of the way down; whole numbers are the middle of a pixel
    assert square(0.5 + 0.5j) == pytest.approx(100.5 + 103.5j)
    wide = Landmarks((80, 100), (120, 100), (92, 130), (108, 130))
    assert square_of(wide).turn == pytest.approx(160)  # 2 x 2 x 40


@settings(deadline=None)  # other work may hold the machine
@given(
    scale=st.floats(0.5, 3000),
    degrees=st.floats(-180, 180),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
)
def test_ffhq_is_the_recipe(scale: float, degrees: float, x: float, y: float) -> None:
    tilted = Landmarks((0.4, 0.43), (0.6, 0.47), (0.41, 0.7), (0.53, 0.69))
    face = moved(tilted, similarity(scale, degrees, complex(x, y)))
    square = square_of(face)
    corners = [square(z) - (0.5 + 0.5j) for z in (0, 1j, 1 + 1j, 1)]
    found = np.array([[z.real, z.imag] for z in corners])
    # float64 on both sides: only the order of operations differs
    np.testing.assert_allclose(found, ffhq_quad(face), rtol=1e-9, atol=1e-9 * (scale + 1000))


@settings(deadline=None)  # other work may hold the machine
@given(scale=st.floats(0.5, 3000), degrees=st.floats(-180, 180), x=st.floats(-500, 500))
def test_a_template_is_found_again(scale: float, degrees: float, x: float) -> None:
    known = similarity(scale, degrees, complex(x, 7))
    found = square_of(moved(UPRIGHT, known), UPRIGHT)
    assert found.turn == pytest.approx(known.turn, rel=1e-9, abs=1e-9)
    # pixels are counted from their middles, squares from corners
    assert found.shift == pytest.approx(known.shift + 0.5 + 0.5j, rel=1e-9, abs=1e-6)


def test_a_template_is_met_with_the_least_squares() -> None:
    """No similarity near the one found comes closer to points that fit none."""
    random = np.random.default_rng(0)
    shaken = [(x + a, y + b) for (x, y), (a, b) in zip(
        UPRIGHT.points, random.normal(0, 0.03, (4, 2)), strict=True)]  # fmt: skip
    face = moved(Landmarks(*shaken), similarity(200, 30, 300 + 200j))

    def error(square: Similarity) -> float:
        places = [square(complex(*point)) - (0.5 + 0.5j) for point in UPRIGHT.points]
        return sum(abs(a - complex(*b)) ** 2 for a, b in zip(places, face.points, strict=True))

    best = square_of(face, UPRIGHT)
    assert error(best) > 1
    for nudge in (0.1, -0.1, 0.1j, -0.1j):
        assert error(best) < error(Similarity(best.turn + nudge, best.shift))
        assert error(best) < error(Similarity(best.turn, best.shift + nudge))


# There and back


@settings(max_examples=40, deadline=None)
@given(degrees=st.floats(-180, 180), scale=st.floats(40, 900), size=st.sampled_from([32, 129, 256]))
def test_there_and_back(degrees: float, scale: float, size: int) -> None:
    face = moved(UPRIGHT, similarity(scale, degrees, 500 + 500j - scale * 0.3))
    photo = Image.new("L", (1000, 1000))
    place = complex(400, 300)
    for template in TEMPLATES:
        square = square_of(face, template)
        if square.scale < SMALLEST or abs(face.middle - 500 - 500j) > 450:
            continue
        aligned = align(photo, face, size, template)
        assert abs(aligned.to_photo(aligned.to_square(place)) - place) < 1e-6
        # the corners of the square are the corners of its outermost pixels
        corners = [square(z) - (0.5 + 0.5j) for z in (0, 1, 1 + 1j, 1j)]
        found = [complex(*corner) for corner in aligned.corners]
        assert np.allclose(found, corners, atol=1e-6)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(("scale", "degrees"), [(90, 0), (230, 20), (900, -75), (1900, 170)])
def test_pixels_lie_where_the_map_says(template: Template, scale: float, degrees: float) -> None:
    """A disc in the photo lies in the square, to a twentieth of a pixel, where to_square says."""
    by = similarity(scale, degrees, 0)
    by = Similarity(by.turn, 1000 + 900j - by(0.5 + 0.5j))
    spots = [0.35 + 0.4j, 0.6 + 0.65j]
    for spot in spots:
        photo = painted(by, (2000, 1800), [spot])
        light = np.asarray(photo.convert("L"), np.float64)
        aligned = align(photo, moved(UPRIGHT, by), 128, template)
        seen = pixels(aligned.image)[..., 0]
        expected = aligned.to_square(centroid(light))
        # photo pixels are coarser than the square's at the smallest scale: a disc of 4 pixels
        assert abs(centroid(seen) - expected) < 0.05, spot


def centroid(light: np.ndarray) -> complex:
    y, x = np.mgrid[0 : light.shape[0], 0 : light.shape[1]]
    light = np.where(light > 8, light, 0)
    return complex((light * x).sum(), (light * y).sum()) / light.sum()


@pytest.mark.parametrize("degrees", [0, 20, -130])
@pytest.mark.parametrize("scale", [40, 100, 300])
def test_the_square_looks_like_the_recipes(scale: float, degrees: float) -> None:
    photo = smooth_photo(900, 800)
    by = similarity(scale, degrees, 0)
    face = moved(UPRIGHT, Similarity(by.turn, 450 + 400j - by(0.5 + 0.5j)))
    ours = pixels(align(photo, face, 128).image)
    theirs = np.asarray(ffhq_square(photo, face, 128), np.float32)
    inner = np.abs(ours - theirs)[2:-2, 2:-2]
    # of 255: bilinear samples cost the recipe contrast that bicubic ones keep
    assert inner.mean() < 1 and inner.max() < 6


def test_a_large_face_is_averaged_not_picked() -> None:
    """Stripes of one pixel become grey where fifteen of them fall on a pixel."""
    stripes = np.zeros((2400, 2400, 3), np.uint8)
    stripes[:, ::2] = 255
    by = similarity(1200, 30, 0)
    face = moved(UPRIGHT, Similarity(by.turn, 1200 + 1200j - by(0.5 + 0.5j)))
    found = pixels(align(Image.fromarray(stripes), face, 64, UPRIGHT).image)
    assert np.abs(found - 127.5).max() < 5


# Outside the frame


def test_what_the_photo_has_not_is_its_mirrored_border() -> None:
    """A face at the left edge: inside as if the photo went on, outside mirrored, blurred, plain."""
    whole = smooth_photo(900, 600)
    cut = whole.crop((400, 0, 900, 600))
    by = similarity(300, 0, 0)
    face = moved(UPRIGHT, Similarity(by.turn, 430 + 300j - by(0.5 + 0.5j)))
    there = moved(face, Similarity(1, -400))
    full = align(whole, face, 128, UPRIGHT)
    part = align(cut, there, 128, UPRIGHT)
    assert part.to_photo.shift == pytest.approx(full.to_photo.shift - 400)
    edge = round(part.to_square(0).real)
    assert 40 < edge < 60  # of 128: the photo begins there
    a, b = pixels(full.image), pixels(part.image)
    blurred = edge + 1 + round(128 * 0.23 / 3 + 128 * 0.1)  # the blur comes in this far at most
    assert np.abs(a - b)[:, blurred:].max() <= 4  # of 255: the tail of the blur
    # no hard edge and no black: neighbours differ no more than in the photo itself
    assert np.abs(np.diff(b, axis=1)).max() <= np.abs(np.diff(a, axis=1)).max() + 8
    assert b[:, :edge].min() > 20
    # towards the far side everything fades to one shade
    assert b[:, :4].std(axis=0).max() < a[:, :4].std(axis=0).max() / 2


@pytest.mark.parametrize("corner", [30 + 30j, 370 + 30j, 30 + 370j, 370 + 370j])
@pytest.mark.parametrize("scale", [200, 900])
def test_a_face_in_any_corner(corner: complex, scale: float) -> None:
    by = similarity(scale, 25, 0)
    face = moved(UPRIGHT, Similarity(by.turn, corner - by(UPRIGHT.middle)))
    aligned = align(Image.new("RGB", (400, 400), (200, 90, 30)), face, 64)
    # a plain photo goes on plainly
    assert np.abs(pixels(aligned.image) - [200, 90, 30]).max() <= 1


# Centres


@pytest.mark.parametrize("size", [(80, 61), (60, 90), (64, 64)])
def test_the_centre_is_what_a_picture_was_before(size: tuple[int, int]) -> None:
    photo = smooth_photo(*size)
    square = centre(photo, 32)
    assert torch.equal(square.image, images.to_tensor(photo, 32))
    left, top = (each - min(size) for each in size)
    assert square.corners[0] == pytest.approx((left // 2 - 0.5, top // 2 - 0.5))
    assert square.to_photo.scale == pytest.approx(min(size) / 32)


# Refusals


def face_at(middle: complex, scale: float, degrees: float = 0) -> Landmarks:
    by = similarity(scale, degrees, 0)
    return moved(UPRIGHT, Similarity(by.turn, middle - by(UPRIGHT.middle)))


@pytest.mark.parametrize(
    ("face", "expected"),
    [
        (face_at(250 + 50j, 60), r"at \(250, 50\) lies outside the picture of 200 x 100"),
        (face_at(100 - 3j, 60), "lies outside the picture"),
        (face_at(100 + 50j, 2000), "lies outside the picture"),
        (face_at(100 + 50j, 20), "too small: its square has 18 pixels"),
    ],
)
def test_faces_that_cannot_be_aligned(face: Landmarks, expected: str) -> None:
    with pytest.raises(LandmarksError, match=expected):
        align(Image.new("RGB", (200, 100)), face, 32)


def test_templates_of_models() -> None:
    assert parse_template({"kind": "ffhq"}) == "ffhq"
    assert parse_template({"kind": "points", **UPRIGHT.to_json()}) == UPRIGHT


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("ffhq", "the alignment of a model is"),
        ({"kind": "lfw"}, "the alignment of a model is"),
        ({"kind": "points"}, "it has no left_eye"),
        ({"kind": "points", **UPRIGHT.to_json(), "left_eye": [-0.2, 0.45]}, "unit square"),
        ({"kind": "points", **UPRIGHT.to_json(), "left_eye": [0.6, 0.45]}, "on one line"),
    ],
)
def test_templates_that_are_none(values: Any, expected: str) -> None:
    with pytest.raises(ArgumentError, match=expected):
        parse_template(values)


# FFHQ's padding, against a slow and literal version


def waves(width: int, height: int) -> Image.Image:
    """Waves of 30 to 50 pixels round another shade in each channel, which is its median too."""
    y, x = np.mgrid[0:height, 0:width]
    swing = [np.sin(x / 5 + y / 90), np.sin(y / 6 - x / 70), np.sin((x + y) / 8)]
    return Image.fromarray((np.array([100, 127, 150]) + 90 * np.stack(swing, -1)).astype(np.uint8))


OUTSIDE = [  # scale, degrees, the middle of the face in a photo of 600 x 500
    (240, 0, 30 + 250j), (240, 0, 570 + 250j), (240, 0, 300 + 20j), (240, 15, 300 + 480j),
    (240, 25, 40 + 30j), (240, -50, 560 + 460j), (200, 0, 5 + 240j), (470, 10, 300 + 240j),
]  # fmt: skip


@pytest.mark.parametrize(("scale", "degrees", "middle"), OUTSIDE)
def test_what_lies_outside_is_padded_as_ffhq_pads(
    scale: float, degrees: float, middle: complex
) -> None:
    """On all sides of a photo, at corners, turned, and larger than the photo.

    Of 255: what the shade of the border is costs most, the median of an image that FFHQ pads (and
    blurs) on all four sides, where ours pads as many as it needs.
    """
    photo, face = waves(600, 500), face_at(middle, scale, degrees)
    ours = pixels(align(photo, face, 256).image)
    apart = np.abs(ours - ffhq_padded_square(photo, face, 256))[2:-2, 2:-2]
    assert apart.mean() < 1.75 and apart.max() < 22


@pytest.mark.parametrize(
    ("middle", "scale"), [(560 + 460j, 240), (560 + 40j, 240), (560 + 460j, 270), (40 + 460j, 270)]
)
def test_a_shrunk_photo_is_mirrored_at_its_own_border(middle: complex, scale: float) -> None:
    """Where the photo is not a whole number of shrunk pixels, no part of one is lost there."""
    photo, face = smooth_photo(600, 500), face_at(middle, scale, -50)
    ours = pixels(align(photo, face, 96).image)  # a little more than one pixel in one of the crop
    apart = np.abs(ours - ffhq_padded_square(photo, face, 96))[2:-2, 2:-2]
    assert apart.mean() < 0.75


PADS = [[30, 0, 0, 0], [0, 0, 90, 0], [0, 70, 0, 0], [0, 0, 0, 45], [84, 84, 0, 0], [50, 0, 60, 70]]


@pytest.mark.parametrize(("pads", "side"), [*((pads, 200) for pads in PADS), ([24, 0, 0, 0], 50)])
def test_the_padding_is_the_recipe_pixel_for_pixel(pads: list[int], side: float) -> None:
    """Blur 0.02, border 0.1, padding 0.3 of the side, and both ramps: one pixel after the other."""
    crop = waves(240, 240)
    found = np.asarray(alignment._padded(crop, pads, side), np.float64)
    expected = ffhq_padding(np.asarray(crop, np.float64), pads, side, alignment.MARGIN)
    shade = np.median(found, axis=(0, 1))
    # of 255: three box blurs for a Gaussian, masks of 8 bits, and a shade that is some 5 off
    assert np.abs(shade - np.median(expected, axis=(0, 1))).max() < 6
    apart = np.abs(found - expected)
    assert apart.mean() < 1 and apart.max() < 9


@pytest.mark.parametrize("deviation", [5, 17, 40.96])
@pytest.mark.parametrize("size", [(640, 480), (403, 301)])
def test_a_wide_blur_of_fewer_pixels_is_that_blur(deviation: float, size: tuple[int, int]) -> None:
    """The photo's own pixels blurred, of random shades and of a hard edge: within 2 of 255."""
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
    photo[: size[1] // 3, size[0] // 2 :] = 255
    picture = Image.fromarray(photo)
    found = np.asarray(alignment._blurred(picture, deviation), np.int16)
    full = np.asarray(picture.filter(ImageFilter.GaussianBlur(deviation)), np.int16)
    inner = slice(int(2 * deviation), -int(2 * deviation))  # at its edges PIL repeats a pixel
    assert np.abs(found - full)[inner, inner].max() <= 2


def test_the_shade_of_the_padding_is_no_mean() -> None:
    """A bright spot in a grey photo does not light its border."""
    photo = np.full((300, 300, 3), 60, np.uint8)
    photo[200:250, 20:80] = 255
    found = pixels(align(Image.fromarray(photo), face_at(10 + 250j, 160, 0), 128).image)
    assert np.abs(found[-8:, 0] - 60).max() <= 1  # the spot and its mirror image lie above


@pytest.mark.parametrize("size", [256, 60])  # shrunk by less than twice Pillow's gap, and by more
def test_bands_of_rows_are_the_picture_drawn_at_once(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shrinking and turning on several threads: a rounding in a pixel of a thousand at most."""
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(0, 256, (900, 1200, 3), np.uint8))
    face = face_at(100 + 80j, 760, 15)
    monkeypatch.setattr(alignment, "BAND", 32)
    banded = align(photo, face, size).image
    monkeypatch.setattr(alignment, "BAND", 10_000)
    apart = np.abs(pixels(align(photo, face, size).image) - pixels(banded))
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3
