"""Setting back: what changed is in the photo, and nothing else has moved by a bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from styleclip import images
from styleclip.errors import ArgumentError
from styleclip.faces import blending
from styleclip.faces.alignment import Aligned, Similarity, align, centre
from styleclip.faces.blending import BlendConfig, likeness, set_back
from tests.faces.faces import UPRIGHT, moved, similarity, smooth_photo

SIZE = 64


def square_in(photo: Image.Image, scale: float, degrees: float, middle: complex) -> Aligned:
    by = similarity(scale, degrees, 0)
    face = moved(UPRIGHT, similarity(scale, degrees, middle - by(0.5 + 0.5j)))
    return align(photo, face, SIZE, UPRIGHT)


def depth(square: Aligned, photo: Image.Image) -> np.ndarray:
    """How deep each pixel of the photo lies in the square, in its sides; negative outside."""
    y, x = np.mgrid[0 : photo.height, 0 : photo.width]
    z = (square.to_square(x + 1j * y) + 0.5 + 0.5j) / SIZE  # type: ignore[arg-type]
    return np.minimum(np.minimum(z.real, 1 - z.real), np.minimum(z.imag, 1 - z.imag))


def changed(a: Image.Image, b: Image.Image) -> np.ndarray:
    return (np.asarray(a) != np.asarray(b)).any(axis=-1)


@settings(max_examples=30, deadline=None)
@given(
    scale=st.floats(40, 300),
    degrees=st.floats(-180, 180),
    x=st.floats(30, 130),
    y=st.floats(30, 90),
)
def test_outside_the_square_no_bit_changes(
    scale: float, degrees: float, x: float, y: float
) -> None:
    photo = smooth_photo(160, 120)
    square = square_in(photo, scale, degrees, complex(x, y))
    before, after = -torch.ones(1, 3, SIZE, SIZE), torch.ones(1, 3, SIZE, SIZE)
    found = set_back(photo, before, after, square.to_photo)
    inside = depth(square, photo)
    assert not changed(photo, found)[inside <= 0].any()
    # and well inside everything is white now
    assert (
        np.asarray(found)[inside > 0.06 + 2.5 / min(SIZE, round(square.to_photo.scale * SIZE))]
        == 255
    ).all()


def literally(photo: Image.Image, before: Tensor, after: Tensor, to_photo: Similarity) -> Any:
    """The equation at every pixel of the frame at once: float64 [H,W,3] in 0..255, not rounded."""
    y, x = np.mgrid[0 : photo.height, 0 : photo.width]
    z = to_photo.inverse(x + 1j * y) + 0.5 + 0.5j  # type: ignore[operator]
    grid = torch.from_numpy(np.stack([z.real, z.imag], axis=-1)) / SIZE * 2 - 1
    coarse = min(SIZE, round(to_photo.scale * SIZE))
    shades = ((each[0] + 1) * 127.5 for each in (before, after))
    layer = blending._layer(*shades, coarse, BlendConfig()).double()[None]
    cover, *paint = F.grid_sample(layer, grid[None], mode="bicubic", align_corners=False)[0].numpy()
    pixels = np.asarray(photo, np.float64)
    return (pixels * (1 - cover[..., None]) + np.stack(paint, axis=-1)).clip(0, 255)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(30, 600),
    degrees=st.one_of(st.sampled_from([0, 90, 180, -90, 1e-12]), st.floats(-180, 180)),
    x=st.floats(-60, 220),
    y=st.floats(-60, 220),
    place=st.tuples(*[st.integers(0, 48)] * 2),
    extent=st.sampled_from([0, 5, 16, 64]),
)
def test_what_is_left_out_of_the_work_is_where_nothing_is_laid(
    scale: float, degrees: float, x: float, y: float, place: tuple[int, int], extent: int
) -> None:
    """An edit of a part of the square, or all, seen through a frame: as if no pixel was skipped."""
    photo = smooth_photo(160, 150)
    to_photo = Similarity(similarity(scale / SIZE, degrees, 0).turn, complex(x, y))
    before = images.to_tensor(smooth_photo(SIZE, SIZE))
    after = before.clone()
    rows, columns = (slice(each, each + extent) for each in place)
    after[..., rows, columns] = -after[..., rows, columns]
    found = np.asarray(set_back(photo, before, after, to_photo), np.float64)
    # half a shade by rounding, and what float32 is short of in coordinates
    assert np.abs(found - literally(photo, before, after, to_photo)).max() < 0.51


def test_without_an_edit_nothing_changes() -> None:
    photo = smooth_photo(160, 120)
    square = square_in(photo, 80, 20, 80 + 60j)
    found = set_back(photo, square.image, square.image, square.to_photo)
    assert not changed(photo, found).any()
    trembling = square.image + 0.02 * torch.rand(square.image.shape)  # 2.5 of 255
    assert not changed(photo, set_back(photo, square.image, trembling, square.to_photo)).any()


def test_a_shade_is_added_to_the_photos_own_detail() -> None:
    """The inversion knows nothing of the photo's grain; a recoloured place keeps it."""
    random = np.random.default_rng(0)
    grain = np.repeat(random.integers(90, 130, (120, 160, 1)), 3, axis=2).astype(np.uint8)
    photo = Image.fromarray(grain)
    square = square_in(photo, 80, 20, 80 + 60j)
    before = torch.full((1, 3, SIZE, SIZE), -0.2)
    after = before + torch.tensor([0.4, 0.0, -0.2]).view(1, 3, 1, 1)
    found = np.asarray(set_back(photo, before, after, square.to_photo), np.int16)
    deep = depth(square, photo) > 0.15
    difference = (found - grain)[deep]
    assert np.abs(difference - [51, 0, -26]).max() <= 1


def test_what_is_drawn_anew_covers_the_old() -> None:
    """Stripes where stripes of another direction were: nothing of the old ones is left."""
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[(np.arange(200) // 4) % 2 == 0] = 200
    photo = Image.fromarray(stripes)
    square = square_in(photo, 128, 0, 100 + 100j)
    blurred = torch.nn.functional.avg_pool2d(square.image, 5, 1, 2)  # an inversion, so to speak
    upright = square.image.transpose(2, 3)
    found = np.asarray(set_back(photo, blurred, upright, square.to_photo), np.float32)
    deep = found[70:130, 70:130, 0]
    assert deep.std(axis=0).max() < 2 < 50 < deep.std(axis=1).min()
    # adding the difference alone would leave the old stripes
    added = set_back(
        photo, blurred, upright, square.to_photo, BlendConfig(recoloured=-2, redrawn=-3)
    )
    assert np.asarray(added, np.float32)[70:130, 70:130, 0].std(axis=0).max() > 20


@pytest.mark.parametrize("scale", [50, 128, 500])
def test_an_edit_lands_where_it_was_made(scale: float) -> None:
    photo = Image.new("RGB", (700, 700), (90, 90, 90))
    square = square_in(photo, scale, 25, 350 + 340j)
    before = images.to_tensor(Image.new("RGB", (SIZE, SIZE), (90, 90, 90)))
    after = before.clone()
    after[..., 20:28, 36:44] = 1.0
    found = set_back(photo, before, after, square.to_photo)
    light = np.asarray(found, np.float64)[..., 0] - 90
    y, x = np.mgrid[0:700, 0:700]
    centroid = complex((light * x).sum(), (light * y).sum()) / light.sum()
    assert abs(centroid - square.to_photo(39.5 + 23.5j)) < 0.02 * scale / SIZE + 0.02
    assert light.max() > 150


def test_the_border_is_no_seam() -> None:
    """However large a change, neighbours at the border of the square differ by little."""
    photo = Image.new("RGB", (400, 400), (90, 90, 90))
    square = square_in(photo, 300, 15, 200 + 200j)
    before = torch.full((1, 3, SIZE, SIZE), -0.3)
    found = np.asarray(set_back(photo, before, before + 0.5, square.to_photo), np.int16)
    steps = max(np.abs(np.diff(found, axis=axis)).max() for axis in (0, 1))
    assert found.max() - found.min() > 60
    assert steps <= 64 / (0.06 * 300) * 2  # a change of 64 over the feather of 18 pixels


def test_a_centre_goes_back_to_the_centre() -> None:
    photo = smooth_photo(90, 60)
    square = centre(photo, 32)
    white = torch.ones_like(square.image)
    found = changed(photo, set_back(photo, -white, white, square.to_photo))
    columns = np.flatnonzero(found.any(axis=0))
    assert 15 <= columns.min() <= 18 and 71 <= columns.max() <= 74


def test_likeness() -> None:
    random = torch.Generator().manual_seed(0)
    a = torch.rand(1, 3, 40, 40, generator=random) * 255
    assert likeness(a, 0.5 * a + 40, 3.0).min() > 0.95  # other colours, the same drawing
    assert likeness(a, 255 - a, 3.0).max() < -0.9
    other = torch.rand(1, 3, 40, 40, generator=random) * 255
    assert likeness(a, other, 3.0).abs().mean() < 0.2
    flat = torch.full_like(a, 40.0)
    assert likeness(flat, flat + 90, 3.0).min() > 0.99  # nothing is drawn in either


def test_squares_must_match() -> None:
    photo = smooth_photo(80, 80)
    square = square_in(photo, 60, 0, 40 + 40j)
    with pytest.raises(ArgumentError, match="two squares of one size"):
        set_back(photo, square.image, square.image[..., :32], square.to_photo)


def test_the_colour_profile_of_a_photo_stays() -> None:
    photo = smooth_photo(160, 120)
    photo.info["icc_profile"] = b"what the numbers mean"
    ones = torch.ones(1, 3, SIZE, SIZE)
    for middle in (80 + 60j, 1000 + 1000j):
        to_photo = similarity(0.5, 0, middle)
        found = set_back(photo, -ones, ones, to_photo)
        assert found.info["icc_profile"] == b"what the numbers mean"
