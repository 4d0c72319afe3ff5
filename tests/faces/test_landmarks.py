"""Landmarks: every layout comes down to four points, and every fault to one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styleclip.errors import LandmarksError, MissingExtraError
from styleclip.faces import landmarks
from styleclip.faces.landmarks import (
    LAYOUTS,
    Landmarks,
    MediapipeFinder,
    from_mediapipe,
    from_points,
    parse_landmarks,
    read_landmarks,
)
from tests.faces.faces import UPRIGHT, moved, similarity

FACE = Landmarks((10, 20), (30, 20), (14, 40), (26, 40))
NAMED = FACE.to_json()
FIVE = [[10, 20], [30, 20], [20, 30], [14, 40], [26, 40]]


def points_of(count: int, face: Landmarks) -> list[list[float]]:
    """A set of points whose eyes and mouth are ``face``'s, and everything else far away."""
    left, right, mouth_left, mouth_right = LAYOUTS[count]
    points = [[1e6, -1e6] for _ in range(count)]
    for indices, middle in ((left, face.left_eye), (right, face.right_eye)):
        for k, i in enumerate(indices):
            around = 0.1 * np.exp(2j * np.pi * k / len(indices)) if len(indices) > 1 else 0
            points[i] = [middle[0] + around.real, middle[1] + around.imag]
    points[mouth_left], points[mouth_right] = list(face.mouth_left), list(face.mouth_right)
    return points


# Layouts


@pytest.mark.parametrize("count", LAYOUTS)
def test_every_layout_is_four_points(count: int) -> None:
    found = from_points(points_of(count, FACE))
    assert np.allclose(found.points, FACE.points)
    deep = [[*point, 0.3] for point in points_of(count, FACE)]
    assert np.allclose(from_points(deep).points, FACE.points)


def test_dlib_counts_from_the_jaw() -> None:
    """The 68 points of a drawn face in dlib's order: jaw, brows, nose, eyes, lips."""
    jaw = [[10 * np.cos(t), 10 * np.sin(t)] for t in np.linspace(np.pi, 0, 17)]
    brows = [[x, -5] for x in np.linspace(-7, 7, 10)]
    nose = [[0, y] for y in range(-3, 1)] + [[x, 2] for x in range(-2, 3)]
    lids = ((-2, 0), (-1, -1), (1, -1), (2, 0), (1, 1), (-1, 1))
    eyes = [[middle + x, y - 3] for middle in (-4, 4) for x, y in lids]
    top = [[x, 5] for x in np.linspace(-3, 3, 7)]
    lips = [*top, *([x, 7] for x in np.linspace(2, -2, 5)), *([x, 6] for x in range(8))]
    points = [*jaw, *brows, *nose, *eyes, *lips]
    assert len(points) == 68
    found = from_points(points)
    assert np.allclose(found.points, [(-4, -3), (4, -3), (-3, 5), (3, 5)])


# which points of a set make an eye or a corner of the mouth, as their makers draw them; mediapipe
# (FaceLandmarksConnections) names left and right from the face, and lists 16 points for an eye
PUBLISHED: dict[int, list[list[int]]] = {
    5: [[0], [1], [3], [4]],
    68: [[36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47], [48], [54]],
    468: [[33, 133, 144, 153, 158, 160], [263, 362, 373, 380, 385, 387], [61], [291]],
}


@pytest.mark.parametrize("count", [5, 68, 468, 478])
def test_of_a_recorded_set_every_point_counts(count: int) -> None:
    """No two points lie alike, and none is a mean of others: another index is another face."""
    points = np.random.default_rng(count).uniform(0, 1000, (count, 2))
    parts = PUBLISHED[min(count, 468)]
    expected = Landmarks(*(tuple(points[part].mean(axis=0).tolist()) for part in parts))
    assert np.allclose(from_points(points.tolist()).points, expected.points, atol=1e-9)


@settings(deadline=None)  # other work may hold the machine
@given(degrees=st.floats(-180, 180), scale=st.floats(0.1, 1e4), swaps=st.integers(0, 3))
def test_left_may_be_anybodys(degrees: float, scale: float, swaps: int) -> None:
    face = moved(UPRIGHT, similarity(scale, degrees, 3 + 4j))
    eyes, mouth = [face.left_eye, face.right_eye], [face.mouth_left, face.mouth_right]
    given_eyes = eyes[::-1] if swaps & 1 else eyes
    given_mouth = mouth[::-1] if swaps & 2 else mouth
    assert Landmarks(*given_eyes, *given_mouth) == face


# Files


@pytest.mark.parametrize(
    "values",
    [
        [NAMED], NAMED, {"faces": [NAMED]}, FIVE, [FIVE], [{"points": FIVE}], {"points": FIVE},
        {"faces": [FIVE]},
    ],
)  # fmt: skip
def test_forms_of_a_file(values: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert read_landmarks(tmp_path / "a.json") == [FACE]


def test_several_faces_of_several_forms() -> None:
    values = [NAMED, FIVE, {"points": points_of(68, FACE)}, points_of(478, FACE)]
    found = parse_landmarks(values)
    assert len(found) == 4
    for face in found:
        assert np.allclose(face.points, FACE.points)
    assert parse_landmarks([]) == [] == parse_landmarks({"faces": []})


def test_written_and_read_again() -> None:
    assert parse_landmarks(json.loads(json.dumps([FACE.to_json()]))) == [FACE]


WRONG: dict[str, tuple[Any, str]] = {
    "a text": ("faces", "expected a list of faces, got str"),
    "a number": (3, "expected a list of faces, got int"),
    "no points": ([[]], "expected a list of points"),
    "four points": (FIVE[:4], "expected a face of 5, 68, 468, 478 points"),
    "sixty points": ([[[1, 2]] * 60], "got 60 points"),
    "no mouth": ([{"left_eye": [1, 2], "right_eye": [3, 4]}], "it has no mouth_left"),
    "one number": ([NAMED | {"left_eye": [1]}], r"expected a point \[x, y\], got \[1\]"),
    "words": ([NAMED | {"left_eye": "here"}], r"expected a point \[x, y\]"),
    "words for points": ([["a", "b"]], "expected a list of points"),
    "nothing": ([None], "expected a list of points"),
    "not a number": ([NAMED | {"left_eye": [float("nan"), 2]}], "not all numbers"),
    "endless": ([NAMED | {"left_eye": [1e999, 2]}], "not all numbers"),
    "far away": ([NAMED | {"left_eye": [1e200, 2], "mouth_right": [3, 1e200]}], "outside of any"),
    "eyes in one place": ([NAMED | {"right_eye": [10, 20]}], "in one place or on one line"),
    "mouth between the eyes": (
        [NAMED | {"mouth_left": [14, 20], "mouth_right": [26, 20]}], "on one line"
    ),
    "everything in one place": ([{name: [5, 5] for name in NAMED}], "in one place"),
    "the second": ([NAMED, {}], "face 2 of 2: it has no left_eye"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_forms_are_one_sentence(name: str, tmp_path: Path) -> None:
    values, expected = WRONG[name]
    (tmp_path / "a.json").write_text(json.dumps(values))
    with pytest.raises(LandmarksError, match=expected) as caught:
        read_landmarks(tmp_path / "a.json")
    assert "a.json" in str(caught.value) and "\n" not in str(caught.value)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=6)
            | st.dictionaries(st.sampled_from([*NAMED, "points", "faces", "x"]), inner, max_size=5)
        ),
        max_leaves=30,
    )
)
def test_any_json_is_read_or_refused(values: Any) -> None:
    try:
        faces = parse_landmarks(values)
    except LandmarksError:
        return
    assert all(isinstance(face, Landmarks) for face in faces)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(LandmarksError, match="expected JSON"):
        read_landmarks(tmp_path / "a.json")


def test_fractions_are_not_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([NAMED, UPRIGHT.to_json()]))
    with pytest.raises(LandmarksError, match="fractions of a picture, expected pixels"):
        read_landmarks(tmp_path / "a.json")


def test_missing_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(LandmarksError, match="cannot be read"):
            read_landmarks(path)


# mediapipe


def mesh(face: Landmarks, width: int, height: int) -> list[Any]:
    """One face as mediapipe's result has it: 478 records with x, y, z, 0 to 1 over the picture."""
    return [
        SimpleNamespace(x=(x + 0.5) / width, y=(y + 0.5) / height, z=-0.02, visibility=0.0)
        for x, y in points_of(478, face)
    ]


def test_a_recorded_result() -> None:
    by = similarity(50, 10, 100 + 30j)
    faces = [FACE, moved(UPRIGHT, by)]
    found = from_mediapipe([mesh(each, 640, 480) for each in faces], 640, 480)
    for ours, theirs in zip(found, faces, strict=True):
        assert np.allclose(ours.points, theirs.points)
    flat = [SimpleNamespace(x=0.5, y=0.5, z=0.0)] * 478
    assert from_mediapipe([flat], 640, 480) == []
    assert from_mediapipe([], 640, 480) == []


class FakeLandmarker:
    """mediapipe's Face Landmarker as far as it is used; knows one face and records its options."""

    made: SimpleNamespace

    @classmethod
    def create_from_options(cls, options: SimpleNamespace) -> FakeLandmarker:
        if options.base_options.model_asset_path.endswith("bad.task"):
            raise RuntimeError("Unable to open zip archive.\nmore")
        cls.made = options
        return cls()

    def __enter__(self) -> FakeLandmarker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def detect(self, image: SimpleNamespace) -> SimpleNamespace:
        assert image.data.flags["C_CONTIGUOUS"] and image.image_format == "srgb"
        height, width = image.data.shape[:2]
        return SimpleNamespace(face_landmarks=[mesh(FACE, width, height)])


@pytest.fixture
def fake_mediapipe(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("mediapipe")
    module.Image = SimpleNamespace
    module.ImageFormat = SimpleNamespace(SRGB="srgb")
    module.tasks = SimpleNamespace(
        BaseOptions=SimpleNamespace,
        vision=SimpleNamespace(
            FaceLandmarker=FakeLandmarker, FaceLandmarkerOptions=SimpleNamespace
        ),
    )
    monkeypatch.setitem(sys.modules, "mediapipe", module)


@pytest.mark.usefixtures("fake_mediapipe")
def test_the_adapter(tmp_path: Path) -> None:
    image = np.zeros((60, 80, 3), np.uint8)[:, ::-1]
    model = tmp_path / "face_landmarker.task"
    with pytest.raises(LandmarksError, match="there is no file"):
        MediapipeFinder(model).find(image)
    model.touch()
    (face,) = MediapipeFinder(model, most=3).find(image)
    assert np.allclose(face.points, FACE.points)
    assert FakeLandmarker.made.num_faces == 3
    bad = tmp_path / "bad.task"
    bad.touch()
    with pytest.raises(LandmarksError, match=r"\(Unable to open zip archive\.\)"):
        MediapipeFinder(bad).find(image)


def test_without_mediapipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    model = tmp_path / "face_landmarker.task"
    model.touch()
    with pytest.raises(MissingExtraError, match=r"styleclip\[photos\]"):
        MediapipeFinder(model).find(np.zeros((8, 8, 3), np.uint8))


def test_a_file_without_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device says that it has no bytes, and has as many as are asked for."""
    endless = Path("/dev/zero")
    if not endless.exists():
        pytest.skip("no such device here")
    monkeypatch.setattr(landmarks, "MOST_BYTES", 1000)
    with pytest.raises(LandmarksError, match="too large"):
        read_landmarks(endless)
