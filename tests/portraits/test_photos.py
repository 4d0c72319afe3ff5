"""Portraits in larger pictures: where the renderer says a face is, and the whole way of a photo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleclip import images
from styleclip.checkpoints import read_model
from styleclip.faces.alignment import align, parse_template
from styleclip.faces.landmarks import Landmarks, read_landmarks
from styleclip.portraits.attributes import ATTRIBUTES, Portrait
from styleclip.portraits.renderer import FRAME, landmarks, mask, render
from styleclip.portraits.scenes import lay, tabletop
from styleclip.portraits.training import EVALUATION_SEED, portrait_of_seed
from tests.apps.running import Run

PUPIL = (14, 10, 14)  # the pen of drawing/face.py
ROOT = Path(__file__).parents[2]
PROMPT = "a face with red hair"
# (seed, degrees, side): the larger faces are sharper than any generator of 128 pixels
FACES = [(33, -14.0, 330.0), (41, 20.0, 1.7 * 128)]
MIDDLES = (270 + 310j, 650 + 290j)


def plain(**values: str) -> Portrait:
    portrait = Portrait((0,) * len(ATTRIBUTES))
    return portrait.replaced(**{"hair_style": "short", **values})


@pytest.fixture
def skia() -> None:
    pytest.importorskip("skia")


pytestmark = pytest.mark.usefixtures("skia")


@pytest.mark.parametrize(
    "pose", [(0, 0, 0, 0, 0), (1, -1, 1, 1, 0), (-1, 1, -1, -1, 0), (0.3, 0.2, -0.5, 0.8, 1)]
)
@pytest.mark.parametrize("expression", ["neutral", "smiling", "sad", "surprised"])
def test_landmarks_are_where_the_drawing_is(pose: tuple[float, ...], expression: str) -> None:
    identity = (0.5, -0.4, 0.8, 0.3, 0, 0, 0, 0, -0.6)
    portrait = Portrait(plain(expression=expression).values, identity, pose)
    size = 400
    drawn, found = render(portrait, size), landmarks(portrait, size)
    for x, y in (found.left_eye, found.right_eye):
        spot = drawn[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
        assert np.abs(spot.astype(int) - PUPIL).max() <= 8
    # the corners are the outermost that another lip paint changes
    y, x = np.nonzero(mask(portrait, "lipstick", size=size))
    turned = (x + 1j * y) * np.exp(-1j * np.radians(4 * pose[3]))
    for corner, outermost in ((found.mouth_left, np.argmin), (found.mouth_right, np.argmax)):
        place = complex(x[outermost(turned.real)], y[outermost(turned.real)])
        assert abs(complex(*corner) - place) < 0.03 * size


def test_the_frame_is_the_mean_of_portraits() -> None:
    size = 1000
    points = [landmarks(portrait_of_seed(seed), size).points for seed in range(500)]
    mean = (np.mean(points, axis=0) + 0.5) / size
    assert np.abs(mean - np.array(FRAME.points)).max() < 0.004
    assert parse_template(read_model("portraits").extra["alignment"]) == FRAME


def test_a_portrait_as_it_is_drawn_stays_nearly_as_it_is() -> None:
    for seed in range(20):
        portrait = portrait_of_seed(seed)
        drawn = Image.fromarray(render(portrait, 256))
        square = align(drawn, landmarks(portrait, 256), 256, FRAME)
        assert 0.8 < square.to_photo.scale < 1.2
        assert abs(square.to_photo.degrees) < 5
        assert abs(square.to_photo(127.5 + 127.5j) - (127.5 + 127.5j)) < 0.06 * 256


def scene() -> tuple[Image.Image, list[Landmarks]]:
    table = tabletop(900, 600, 3)
    found = [
        lay(table, portrait_of_seed(EVALUATION_SEED + seed), middle, degrees, side)
        for (seed, degrees, side), middle in zip(FACES, MIDDLES, strict=True)
    ]
    return table, found


def test_a_print_lies_where_it_was_laid() -> None:
    table, faces = scene()
    again, _ = scene()
    assert images.largest_difference(table, again) == 0
    for (seed, degrees, side), face in zip(FACES, faces, strict=True):
        portrait = portrait_of_seed(EVALUATION_SEED + seed)
        square = align(table, face, 128, landmarks_in_unit_square(portrait))
        assert square.to_photo.degrees == pytest.approx(degrees, abs=0.01)
        assert square.to_photo.scale * 128 == pytest.approx(side, rel=1e-3)
        drawn = Image.fromarray(render(portrait, 512)).resize((128, 128))
        seen = np.asarray(images.to_picture(square.image), np.float32)
        assert np.abs(seen - np.asarray(drawn, np.float32))[4:-4, 4:-4].mean() < 3


def landmarks_in_unit_square(portrait: Portrait) -> Landmarks:
    points = landmarks(portrait, 1000).points
    return Landmarks(*(((x + 0.5) / 1000, (y + 0.5) / 1000) for x, y in points))


@pytest.mark.slow
@pytest.mark.usefixtures("place")
def test_the_whole_way_of_a_photo(capsys: pytest.CaptureFixture[str]) -> None:
    """Found, aligned, inverted, edited and set back; read again from the photo that is written."""
    from styleclip import Studio
    from styleclip.checkpoints import load_reader

    run = Run(Path(), capsys)
    table, faces = scene()
    table.save("photo.png")
    Path("faces.json").write_text(json.dumps({"faces": [each.to_json() for each in faces]}))
    run("edit", "photo.png", PROMPT, "--landmarks", "faces.json", "--face", "all", "--strip",
        "--out", "red.png", "--json", model=False)  # fmt: skip
    corners = run.json()["photo"]["squares"]
    edited = images.open_picture("red.png")

    # outside the squares no bit has changed
    y, x = np.mgrid[0:600, 0:900]
    inside = np.zeros((600, 900), bool)
    for quad in corners:
        z = [complex(*corner) for corner in quad]
        edges = zip(z, [*z[1:], z[0]], strict=True)
        inside |= np.all([((b - a).conjugate() * (x + 1j * y - a)).imag > 0 for a, b in edges], 0)
    before, after = np.asarray(table), np.asarray(edited)
    assert not (before != after)[~inside].any()
    assert 0.1 < (before != after).any(axis=-1)[inside].mean() < 0.9

    # the same face, aligned from the photo that was written, shows the edit and what it showed
    studio, reader = Studio.load("portraits"), load_reader("portraits")
    names = [attribute.name for attribute in ATTRIBUTES]
    for face in faces:
        was, now = (
            dict(zip(names, reader.read(studio.align(photo, face).image)[0].tolist(), strict=True))
            for photo in (table, edited)
        )
        red = ATTRIBUTES[0].values.index("red")
        assert was["hair_colour"] != red and now["hair_colour"] == red
        kept = [name for name in names if name != "hair_colour"]
        assert sum(was[name] == now[name] for name in kept) >= len(kept) - 1


def test_the_example_is_the_scene() -> None:
    """examples/photo.jpg and photo.json are drawn by docs/pictures.py."""
    table, faces = scene()
    found = np.asarray(images.open_picture(ROOT / "examples" / "photo.jpg"), np.float32)
    assert np.abs(found - np.asarray(table, np.float32)).mean() < 4
    for ours, theirs in zip(read_landmarks(ROOT / "examples" / "photo.json"), faces, strict=True):
        assert np.allclose(ours.points, theirs.points)
