"""Photographs at the command line: faces are chosen, edited and set back; faults are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from styleclip import images
from styleclip.checkpoints.cache import Cache
from styleclip.faces.landmarks import Landmarks
from styleclip.studio import Studio
from tests.apps.running import PROMPT, Run, files
from tests.faces.faces import (
    FACES,
    MIDDLES,
    SIDES,
    face_of,
    smooth_photo,
)

SAD = "a sad face"
QUICK = ("--steps", "2", "--refine", "0")


@pytest.fixture
def see(run: Run, face_model: Path) -> Run:
    """Run with the model of faces, beside a photograph of three and files of landmarks."""
    run.model = face_model
    smooth_photo(300, 150).save("photo.png")
    Path("three.json").write_text(json.dumps([FACES[i].to_json() for i in (1, 2, 0)]))
    Path("one.json").write_text(json.dumps(FACES[1].to_json()))
    return run


@pytest.fixture
def strong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random networks change little: an edit of theirs inverts the picture here."""
    render = Studio.render

    def inverted(studio: Studio, w_plus: torch.Tensor, edits: Any = (), *rest: Any) -> torch.Tensor:
        plain = render(studio, w_plus)
        return -plain.sign() if edits else plain

    monkeypatch.setattr(Studio, "render", inverted)


def changed_columns(path: str) -> np.ndarray:
    """Which columns of photo.png are other in the picture at ``path``."""
    before, after = (np.asarray(images.open_picture(each)) for each in ("photo.png", path))
    assert before.shape == after.shape
    return np.asarray((before != after).any(axis=(0, 2)))


def columns_of(*numbers: int) -> np.ndarray:
    """Which columns the squares of these faces cover, at most."""
    covered = np.zeros(300, bool)
    for number in numbers:
        reach = SIDES[number - 1] * 0.71
        left = max(0, int(MIDDLES[number - 1].real - reach))
        covered[left : int(MIDDLES[number - 1].real + reach) + 2] = True
    return covered


# Editing


@pytest.mark.usefixtures("strong")
@pytest.mark.parametrize(
    ("options", "edited"),
    [(["--face", "1"], [1]), (["--face", "3"], [3]), ([], [2]), (["--face", "all"], [1, 2, 3])],
)
def test_the_chosen_faces_are_edited(see: Run, options: list[str], edited: list[int]) -> None:
    see("edit", "photo.png", PROMPT, "--landmarks", "three.json", *options, *QUICK,
        "--out", "a.png", "--json")  # fmt: skip
    found = see.json()
    assert found["photo"]["faces"] == 3 and found["photo"]["edited"] == edited
    assert [each["face"] for each in found["edits"]] == edited
    changed = changed_columns("a.png")
    assert not (changed & ~columns_of(*edited)).any()
    for number in edited:
        assert changed[int(MIDDLES[number - 1].real)]
    assert ("largest" in see.err) == (not options)


@pytest.mark.usefixtures("strong")
def test_heat_and_film_are_of_the_whole_photo(see: Run) -> None:
    words = ("--landmarks", "three.json", "--face", "1", *QUICK, "--heat", "--mp4")
    assert see("edit", "photo.png", PROMPT, *words, "--out", "a.png").code == 0, see.err
    heat = np.asarray(images.open_picture("a-heat.png"), int)
    assert heat.shape == (150, 300, 3)
    coloured = (np.ptp(heat, axis=2) > 1).any(axis=0)
    assert coloured[int(MIDDLES[0].real)]
    reach = 3 * round(300 * images.HEAT_SPREAD) + 1
    assert not coloured[np.flatnonzero(columns_of(1)).max() + reach :].any()
    with av.open("a.mp4") as film:
        assert film.streams.video[0].codec_context.width == 300


@pytest.mark.usefixtures("strong")
def test_several_prompts_a_strip_and_a_sweep(see: Run) -> None:
    see("edit", "photo.png", PROMPT, SAD, "--landmarks", "three.json", "--face", "all", *QUICK,
        "--out", "many", "--strip", "--gif", "--json")  # fmt: skip
    found = see.json()
    assert [(each["face"], each["target"]) for each in found["edits"]] == [
        (number, target) for target in ("a face with red hair", SAD) for number in (1, 2, 3)
    ]
    stems = ("photo-a-face-with-red-hair", "photo-a-sad-face")
    assert files("many") == {
        "photo-strip.png", *(f"{stem}.{kind}" for stem in stems for kind in ("png", "gif")),
    }  # fmt: skip
    # the photo and two edits of it; then each face, as the model sees it, and two edits
    strip = images.open_picture("many/photo-strip.png")
    assert strip.width == 3 * (300 + 12) + 12
    assert strip.height > 150 + 3 * 192
    with Image.open("many/photo-a-sad-face.gif") as gif:
        assert gif.size == (300, 150)


def test_recipes_are_of_one_square(see: Run) -> None:
    see("edit", "photo.png", PROMPT, "--landmarks", "one.json", *QUICK, "--out", "a.png")
    recipe = images.read_recipe("a.png")
    corners = recipe["photo"]["corners"]
    middle = sum(complex(*each) for each in corners) / 4
    assert middle == pytest.approx(MIDDLES[1], abs=1e-6)
    shown = see("show", "a.png", model=False).out
    assert "photo     the square with the corners" in shown
    assert see("show", "a.png", "--replay", "--out", "again.png").code == 0
    assert "the square was made again" in see.out
    # which is the square that --no-blend writes
    see("edit", "photo.png", PROMPT, "--landmarks", "one.json", "--no-blend", *QUICK,
        "--out", "square.png")  # fmt: skip
    assert images.largest_difference(*map(images.open_picture, ("again.png", "square.png"))) == 0
    assert "photo" not in images.read_recipe("square.png")
    assert images.read_recipe("again.png") == images.read_recipe("square.png")
    assert see("show", "square.png", "--replay", "--json").json()["largest_difference"] == 0
    # a photo that was edited is not mistaken for its square
    see("edit", "a.png", SAD, *QUICK, "--out", "b.png")
    assert "the recipe of one square in it" in see.err
    # several faces have no common recipe
    see("edit", "photo.png", PROMPT, "--landmarks", "three.json", "--face", "all", *QUICK,
        "--out", "c.png")  # fmt: skip
    assert see("show", "c.png", model=False).code == 2 and "carries no recipe" in see.err


@pytest.mark.usefixtures("strong")
def test_without_landmarks_the_centre_is_edited(run: Run) -> None:
    smooth_photo(300, 150).save("photo.png")
    run("edit", "photo.png", PROMPT, "--photo", *QUICK, "--out", "a.png", "--json")
    found = run.json()["photo"]
    assert found["faces"] == 0 and found["squares"] == [
        [[74.5, -0.5], [224.5, -0.5], [224.5, 149.5], [74.5, 149.5]]
    ]
    changed = np.flatnonzero(changed_columns("a.png"))
    assert 75 <= changed.min() < 90 and 210 < changed.max() <= 224


@pytest.mark.usefixtures("strong")
def test_a_saved_edit_on_a_photo(see: Run) -> None:
    words = ["photo.png", "--landmarks", "one.json"]
    see("edit", *words, PROMPT, *QUICK, "--save-edit", "e.safetensors", "--out", "a.png")
    assert see("apply", *words, "e.safetensors", "--refine", "0", "--out", "b.png").code == 0
    assert images.largest_difference(*map(images.open_picture, ("a.png", "b.png"))) == 0


@pytest.mark.usefixtures("strong")
def test_a_turned_photograph_is_upright_first(see: Run) -> None:
    """Landmarks are of the picture as it is seen, not as the camera stored it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = images.open_picture("photo.png")
    upright.transpose(Image.Transpose.ROTATE_90).save("turned.png", exif=exif)
    see("edit", "turned.png", PROMPT, "--landmarks", "one.json", *QUICK, "--out", "a.png")
    see("edit", "photo.png", PROMPT, "--landmarks", "one.json", *QUICK, "--out", "b.png")
    assert images.largest_difference(*map(images.open_picture, ("a.png", "b.png"))) == 0


@pytest.mark.usefixtures("strong")
def test_what_is_written_is_an_opaque_photo_without_notes(see: Run) -> None:
    """A plain PNG: what was transparent lies on white, and nothing says how it was taken."""
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    photo = images.open_picture("photo.png").convert("RGBA")
    photo.paste((0, 0, 0, 0), (0, 0, 300, 4))
    photo.save("clear.png", exif=exif)
    with Image.open("clear.png") as picture:
        assert picture.getexif()[0x010F] == "a camera"
    words = ("--landmarks", "one.json", *QUICK, "--out", "a.png")
    assert see("edit", "clear.png", PROMPT, *words).code == 0, see.err
    with Image.open("a.png") as written:
        assert written.mode == "RGB" and written.size == photo.size
        assert not written.getexif()
        assert np.asarray(written)[0, :10].min() == 255


# Faces by themselves


def test_faces_are_listed(see: Run) -> None:
    found = see("faces", "photo.png", "--landmarks", "three.json", "--json").json()["faces"]
    assert [each["face"] for each in found] == [1, 2, 3]
    assert [each["side"] for each in found] == list(SIDES)
    assert [each["degrees"] for each in found] == [-10, 20, 0]
    assert found[0]["left_eye"] == pytest.approx(FACES[0].left_eye)
    # what is printed is a file of landmarks again
    Path("listed.json").write_text(see.out)
    assert (
        see("faces", "photo.png", "--landmarks", "listed.json", "--json").json()["faces"] == found
    )
    lines = see("faces", "photo.png", "--landmarks", "three.json").out.splitlines()
    assert len(lines) == 3 and "turned by 20 degrees" in lines[1]


@pytest.mark.parametrize(("options", "size"), [([], 32), (["--size", "50"], 50)])
def test_align(see: Run, options: list[str], size: int) -> None:
    words = ["align", "photo.png", "--landmarks", "three.json", "--face", "2", *options]
    found = see(*words, "--json").json()
    assert found["out"] == "photo-face.png"
    assert images.open_picture("photo-face.png").size == (size, size)
    middle = sum(complex(*each) for each in found["square"]) / 4
    assert middle == pytest.approx(MIDDLES[1], abs=0.01)
    ours = see(*words, "--ffhq", "--out", "f.png", "--json").json()["square"]
    # FFHQ's square of this face is another one: 1.8 x 0.25 of the side is half of it
    side = abs(complex(*ours[1]) - complex(*ours[0]))
    assert side == pytest.approx(0.9 * SIDES[1], abs=0.1)
    assert images.open_picture("f.png").size == ((size, size) if options else (1024, 1024))
    assert see(*words).code == 2 and "--force" in see.err


def test_align_without_faces(run: Run) -> None:
    smooth_photo(300, 150).save("photo.png")
    assert run("align", "photo.png", "--out", "a.png").code == 0
    expected = images.read_image("photo.png", 32)
    assert torch.equal(images.read_image("a.png"), images.to_tensor(images.to_picture(expected)))


def test_mediapipe_by_its_model_file(see: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def find(finder: Any, image: np.ndarray) -> list[Landmarks]:
        asked.append((finder.model, image.shape, image.dtype))
        return FACES[:1] if len(asked) < 3 else []

    monkeypatch.setattr("styleclip.faces.landmarks.MediapipeFinder.find", find)
    monkeypatch.setenv("STYLECLIP_FACE_LANDMARKER", "b.task")
    for number, landmarks in enumerate(("a.task", "auto")):
        assert (
            see("align", "photo.png", "--landmarks", landmarks, "--out", f"{number}.png").code == 0
        )
    assert asked == [(Path(name), (150, 300, 3), np.uint8) for name in ("a.task", "b.task")]
    monkeypatch.delenv("STYLECLIP_FACE_LANDMARKER")
    fetched = Cache.here().file("face_landmarker.task")
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert see("edit", "photo.png", PROMPT, "--photo").code == 2  # asks for it as auto does
    assert asked[-1][0] == fetched
    assert "no face was found in the picture" in see.err


# What is refused

EDIT = ["edit", "photo.png", PROMPT, "--landmarks"]
REFUSALS: dict[str, tuple[list[str], str]] = {
    "no such face": ([*EDIT, "one.json", "--face", "3"], "there is no face 3: the picture has 1"),
    "no face 0": ([*EDIT, "three.json", "--face", "0"], "the picture has 1 to 3"),
    "a face by name": ([*EDIT, "one.json", "--face", "Ann"], "--face is a number"),
    "nobody": ([*EDIT, "empty.json"], "holds no face"),
    "no such landmarks": ([*EDIT, "none.json"], "none.json cannot be read: no such file"),
    "not JSON": ([*EDIT, "photo.png"], "expected JSON"),
    "other JSON": ([*EDIT, "other.json"], "it has no left_eye"),
    "eyes in one place": ([*EDIT, "line.json"], "on one line"),
    "another picture": ([*EDIT, "far.json"], "outside the picture of 300 x 150 pixels"),
    "one of several": ([*EDIT, "some.json", "--face", "all"], "face 3 of 3: the face at (900,"),
    "a tiny face": ([*EDIT, "tiny.json"], "too small: its square has 12 pixels"),
    "nothing known": ([*EDIT, "auto"], "give --landmarks FILE"),
    "both": (
        ["edit", "photo.png", PROMPT, "--photo", "--landmarks", "one.json"], "leave --photo out",
    ),
    "a photo alone": (
        ["edit", "photo.png", PROMPT, "--photo"], "styleclip models fetch face_landmarker.task"
    ),
    "no mediapipe file": ([*EDIT, "none.task"], "there is no file none.task"),
    "a face of no photo": (["edit", "photo.png", PROMPT, "--face", "1"], "add --landmarks"),
    "a blend of no photo": (["edit", "photo.png", PROMPT, "--no-blend"], "add --photo"),
    "a seed": (["edit", "--seed", "1", PROMPT, "--landmarks", "one.json"], "in place of --seed"),
    "several squares": ([*EDIT, "three.json", "--face", "all", "--no-blend"], "writes one face"),
    "several saved": (
        [*EDIT, "three.json", "--face", "all", "--save-edit", "e.safetensors"], "of one face"
    ),
    "aligning all": (["align", "photo.png", "--landmarks", "three.json", "--face", "all"], "one"),
    "listing far ones": (["faces", "photo.png", "--landmarks", "far.json"], "outside the picture"),
}  # fmt: skip


def test_every_mistake_is_one_plain_sentence(see: Run) -> None:
    contents = {
        "empty": [],
        "other": [{"nose": [1, 2]}],
        "line": {**FACES[0].to_json(), "right_eye": list(FACES[0].left_eye)},
        "far": face_of(100, 0, 900 + 70j).to_json(),
        "some": [*(each.to_json() for each in FACES[:2]), face_of(100, 0, 900 + 70j).to_json()],
        "tiny": face_of(12, 0, 100 + 70j).to_json(),
    }
    for name, values in contents.items():
        Path(f"{name}.json").write_text(json.dumps(values))
    before = files()
    for name, (words, expected) in REFUSALS.items():
        see(*words)
        assert see.code == 2 and see.out == "", name
        assert expected in see.err, (name, see.err)
        assert see.err.count("styleclip: error: ") == 1 and see.err.count("\n") == 1, name
        assert files() == before, name


def test_a_model_of_no_faces(run: Run, tiny_model: Path) -> None:
    smooth_photo(300, 150).save("photo.png")
    Path("one.json").write_text(json.dumps(FACES[1].to_json()))
    assert run("edit", "photo.png", PROMPT, "--landmarks", "one.json").code == 2
    assert "states no alignment of faces" in run.err
    assert run("edit", "photo.png", PROMPT, "--photo", "--face", "1").code == 2
    assert "is of no faces" in run.err
    assert run("align", "photo.png", "--landmarks", "one.json").code == 2
    assert "states no alignment" in run.err


def test_a_damaged_alignment(see: Run, face_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(face_model, folder)
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | {"alignment": "ffhq"}))
    see("edit", "photo.png", PROMPT, "--landmarks", "one.json", "--model", folder, model=False)
    assert see.code == 2 and "the alignment of a model is" in see.err


# The portraits world


def test_portraits_render_says_where_the_face_is(run: Run) -> None:
    pytest.importorskip("skia")
    words = ["portraits", "render", "--seed", "3", "--size", "256", "--landmarks", "a.json"]
    found = run(*words, "--out", "a.png", "--json", model=False).json()["portraits"][0]
    assert found["landmarks"] == "a.json"
    run("faces", "a.png", "--landmarks", "a.json", "--json", model=False)
    (face,) = run.json()["faces"]
    assert face["middle"] == pytest.approx([128, 128], abs=12)
    assert face["side"] == pytest.approx(256, abs=40)
    assert run(*words, "--out", "b.png", model=False).code == 2 and "a.json exists" in run.err
    assert not Path("b.png").exists()
    assert run(*words, "--count", "2", model=False).code == 2 and "of one portrait" in run.err


# Tuning


def test_each_face_is_tuned_by_itself(see: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from styleclip import studio
    from styleclip.inversion.tuning import TuningConfig

    squares: list[torch.Tensor] = []
    tune = studio.tune

    def quick(generator: Any, image: torch.Tensor, w_plus: Any, config: Any, on_step: Any) -> Any:
        squares.append(image)
        return tune(generator, image, w_plus, TuningConfig(steps=2, rate=1e-4), on_step)

    monkeypatch.setattr(studio, "tune", quick)
    words = ["edit", "photo.png", PROMPT, "--landmarks", "three.json", *QUICK, "--tune"]
    assert see(*words, "--face", "all", "--out", "a.png").code == 0, see.err
    assert len(squares) == 3 and not torch.equal(squares[0], squares[1])
    file = "t.safetensors"
    see(*words, "--face", "all", "--save-tuning", file, "--out", "b.png")
    assert see.code == 2 and "the tuning of one face: choose it with --face N" in see.err
    assert see(*words, "--face", "2", "--save-tuning", file, "--out", "b.png").code == 0, see.err
    again = [*words[:-1], "--face", "2", "--tuning", file, "--out", "c.png"]
    assert see(*again).code == 0, see.err
