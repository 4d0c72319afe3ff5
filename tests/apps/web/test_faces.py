"""Which square of a dropped picture is edited, and what is said of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from styleclip import images
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.faces import square_of
from styleclip.faces.landmarks import read_landmarks
from styleclip.studio import Studio

ROOT = Path(__file__).resolve().parents[3]
PHOTO = ROOT / "examples" / "photo.jpg"
FINDER = "STYLECLIP_FACE_LANDMARKER"


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio.load("portraits")


@pytest.fixture(autouse=True)
def nothing_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FINDER, raising=False)
    monkeypatch.setenv("STYLECLIP_HOME", str(tmp_path / "cache"))


def known(monkeypatch: pytest.MonkeyPatch, path: Path, faces: object) -> None:
    path.write_text(json.dumps(faces))
    monkeypatch.setenv(FINDER, str(path))


def test_the_face_of_a_photograph_is_what_the_command_line_takes(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FINDER, str(PHOTO.with_suffix(".json")))
    photo = images.open_picture(PHOTO)
    square, note = square_of(studio, photo)
    faces = sorted(read_landmarks(PHOTO.with_suffix(".json")), key=lambda each: each.middle.real)
    squares = [studio.align(photo, each) for each in faces]
    largest = max(squares, key=lambda each: abs(each.corners[1][0] - each.corners[0][0]))
    assert torch.equal(square, largest.image)
    assert note == f"The largest of {len(faces)} faces was cut out upright."


def test_where_faces_cannot_be_looked_for_the_centre_is_taken_and_it_is_said(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = images.open_picture(PHOTO)
    square, note = square_of(studio, photo)
    assert torch.equal(square, studio.square(photo))
    assert note.startswith("The centre square of the picture was taken, for faces are not looked")
    monkeypatch.setattr(Studio, "template", None)  # a model of anything but faces
    assert square_of(studio, photo)[1] == "The centre square of the picture was taken."


@pytest.mark.parametrize(
    ("faces", "words"),
    [
        ([], "no face was found in it"),
        ([[10, 10]], "the finder of faces does not work here"),
        ([{"left_eye": [2, 2], "right_eye": [4, 2], "mouth_left": [2, 4], "mouth_right": [4, 4]}],
         "the face is too small"),
    ],
)  # fmt: skip
def test_a_face_that_is_none_is_said(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, faces: object, words: str
) -> None:
    known(monkeypatch, tmp_path / "faces.json", faces)
    square, note = square_of(studio, Image.new("RGB", (96, 64)))
    assert words in note and str(tmp_path) not in note
    assert square.shape[-1] == studio.generator.resolution


def test_a_square_picture_is_taken_as_it_is(studio: Studio) -> None:
    square, note = square_of(studio, Image.new("RGB", (80, 80), (10, 20, 30)))
    assert note == "" and np.allclose(
        square[0, :, 5, 5], [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1]
    )


def test_a_dropped_photograph_says_what_was_taken(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "photo.png")
    job = engine.opened(tmp_path / "photo.png", threading.Event())
    list(job)
    look, note = job.result
    assert "centre square" in note and look.subject.original is not None
