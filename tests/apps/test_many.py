"""Many pictures in one go: finished ones stay, bad ones are named, a stopped run goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from styleclip import images
from styleclip.apps import claims, many
from styleclip.apps.claims import claim, claimed_by
from styleclip.apps.outputs import Outputs
from styleclip.editing.edit import Edit
from styleclip.errors import NonFiniteError
from styleclip.studio import Studio
from tests.apps.killing import kill_at_random
from tests.apps.running import PROMPT, Run, files
from tests.faces.faces import FACES, smooth_photo

SAD = "a sad face"
QUICK = ("--steps", "2", "--refine", "0")
RED = "a-face-with-red-hair"


@pytest.fixture
def pictures(place: Path) -> list[str]:
    """A folder of three pictures and of other things; their stems."""
    folder = Path("pics")
    (folder / "more.png").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.PNG", "c.bmp")):
        shade = Image.linear_gradient("L").rotate(90 * number).resize((50 + number, 40))
        shade.convert("RGB").save(folder / name)
    (folder / "notes.txt").write_text("nothing")
    (folder / ".hidden.png").write_text("nothing")
    return ["a", "b", "c"]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one with every edit that is found."""
    done: list[Any] = []
    edit = Studio.edit

    def counted(*words: Any, **more: Any) -> Edit:
        done.append(words)
        return edit(*words, **more)

    monkeypatch.setattr(Studio, "edit", counted)
    return done


def contents(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# What is edited, and where it goes


def test_a_folder_is_edited_picture_by_picture(run: Run, pictures: list[str]) -> None:
    result = run("edit", "pics", PROMPT, *QUICK, "--json").json()
    assert files("pics-edited") == {f"{stem}-{RED}.png" for stem in pictures}
    assert result["out"] == "pics-edited" and result["finished_before"] == 0
    assert result["failed"] == [] and [each["file"] for each in result["pictures"]] == [
        "pics/a.jpg", "pics/b.PNG", "pics/c.bmp"
    ]  # fmt: skip
    (edit,) = result["pictures"][1]["edits"]
    assert edit["out"] == f"pics-edited/b-{RED}.png"
    # each is what it would have been alone
    run("edit", "pics/b.PNG", PROMPT, *QUICK, "--out", "alone.png")
    assert torch.equal(images.read_image("alone.png"), images.read_image(edit["out"]))
    assert run("show", edit["out"], "--replay", "--json").json()["largest_difference"] == 0


def test_everything_beside_a_picture_is_there_for_each(run: Run, pictures: list[str]) -> None:
    words = ("edit", "pics", PROMPT, SAD, *QUICK, "--out", "a/b", "--strip", "--gif", "--heat")
    assert run(*words).code == 0, run.err
    stems = [f"{stem}-{slug}" for stem in pictures for slug in (RED, "a-sad-face")]
    expected = {f"{stem}{end}" for stem in stems for end in (".png", ".gif", "-heat.png")}
    assert files("a/b") == {*expected, *(f"{stem}-strip.png" for stem in pictures)}
    assert "edited 3 pictures into a/b" in run.out


def test_a_list_names_pictures_from_where_it_is(run: Run, pictures: list[str]) -> None:
    Path("lists").mkdir()
    shutil.copy("pics/a.jpg", "lists/z.jpg")
    whole = Path("pics/c.bmp").resolve()
    text = f"\ufeff# three of them\n\nz.jpg\n  ../pics/b.PNG  \n{whole}\n"
    Path("lists/some.TXT").write_text(text, "utf-8")
    result = run("edit", "lists/some.TXT", SAD, *QUICK, "--json").json()
    assert files("some-edited") == {f"{stem}-a-sad-face.png" for stem in ("z", "b", "c")}
    assert [each["file"] for each in result["pictures"]] == [
        "lists/z.jpg", "lists/../pics/b.PNG", str(whole)
    ]  # fmt: skip


def test_what_may_be_a_picture_is_named(run: Run, pictures: list[str]) -> None:
    shutil.copy("pics/a.jpg", "pics/d.jfif")
    words = ("edit", "pics", PROMPT, *QUICK, "--json")
    assert len(run(*words).json()["pictures"]) == 4 and run.err == ""
    assert f"d-{RED}.png" in files("pics-edited")
    for name in ("a.json", "a.mp4", ".DS_Store", "Thumbs.db", "e.HEIC"):
        Path("pics", name).write_bytes(b"x")
    note = "styleclip: note: 1 file in pics not edited, which end in nothing that is read as a "
    assert run(*words).code == 0 and run.err == f"{note}picture: e.HEIC\n"
    for name in ("f.cr2", "g", "h.psd"):
        Path("pics", name).write_bytes(b"x")
    assert run(*words).code == 0 and run.err.count("\n") == 1
    assert "4 files in pics not edited" in run.err and "picture: e.HEIC, f.cr2, g, ..." in run.err


@pytest.mark.parametrize("method", [("--method", "mapper"), ("--method", "direction")])
def test_other_methods(
    run: Run, pictures: list[str], method: tuple[str, str], tmp_path: Path
) -> None:
    if method[1] == "mapper":
        run("mapper", "train", "m.safetensors", SAD, "--steps", "2", "--latents", "4",
            "--batch", "2")  # fmt: skip
        assert run.code == 0, run.err
        method = (*method, "--mapper", "m.safetensors")
    words = ("edit", "pics", SAD, *method, "--refine", "0")
    assert run(*words).code == 0, run.err
    assert len(files("pics-edited")) == 3
    assert run(*words).code == 0 and "3 finished before" in run.out


def test_an_edit_from_a_file_on_many_pictures(run: Run, pictures: list[str]) -> None:
    for name, prompt in (("red", PROMPT), ("sad", SAD)):
        run("edit", "--seed", "1", prompt, "--steps", "2", "--save-edit", f"{name}.safetensors",
            "--out", f"{name}.png")  # fmt: skip
    words = ("apply", "pics", "red.safetensors", "--refine", "0", "--out", "many")
    assert run(*words).code == 0, run.err
    run("apply", "pics/c.bmp", "red.safetensors", "--refine", "0", "--out", "alone.png")
    one = images.read_image(f"many/c-{RED}.png")
    assert torch.equal(images.read_image("alone.png"), one)
    assert run(*words).code == 0 and "3 finished before" in run.out
    # another edit of the same name is not the same
    shutil.copy("sad.safetensors", "red.safetensors")
    assert run(*words, "--strength", "1").code == 0  # of other names
    run("edit", "--seed", "2", PROMPT, "--steps", "2", "--save-edit", "other.safetensors",
        "--out", "o.png")  # fmt: skip
    assert run("apply", "pics", "other.safetensors", "--refine", "0", "--out", "many").code == 2
    assert "made with other settings" in run.err


# What is finished


def test_what_is_finished_is_left_alone(run: Run, pictures: list[str], found: list[Any]) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    run(*words)
    before = contents("many")
    assert run(*words).code == 0 and len(found) == 3
    assert "edited 0 pictures into many, 3 finished before" in run.out
    shutil.copy("pics/a.jpg", "pics/d.jpg")
    Path(f"many/b-{RED}.png").unlink()
    result = run(*words, "--json").json()
    assert [each["file"] for each in result["pictures"]] == ["pics/b.PNG", "pics/d.jpg"]
    assert result["finished_before"] == 2 and len(found) == 5
    after = contents("many")
    assert {name: after[name] for name in before} == before and len(after) == 4


def test_what_was_begun_is_made_whole(run: Run, pictures: list[str], found: list[Any]) -> None:
    words = ("edit", "pics", PROMPT, SAD, *QUICK, "--gif", "--out", "many")
    run(*words)
    before = contents("many")
    for gone in (f"a-{RED}.gif", "b-a-sad-face.png", "b-a-sad-face.gif", f"c-{RED}.png"):
        (Path("many") / gone).unlink()
    assert run(*words).code == 0, run.err
    assert len(found) == 6 + 6 and contents("many") == before
    # and what is wanted now, too
    Path(f"many/a-{RED}.gif").unlink()
    assert run(*words, "--strip").code == 0, run.err
    assert len(found) == 12 + 6 and len(files("many")) == 12 + 3
    # but nothing of which no picture says whose it is
    for name in (f"a-{RED}.png", "a-a-sad-face.png"):
        (Path("many") / name).unlink()
    assert run(*words).code == 2
    assert f"many/a-{RED}.gif is there already, and nothing in it says" in run.err


def test_without_recipes_it_is_known_all_the_same(
    run: Run, pictures: list[str], found: list[Any]
) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many", "--no-recipe")
    assert run(*words).code == 0 and run(*words).code == 0
    assert len(found) == 3 and "3 finished before" in run.out
    with Image.open(f"many/a-{RED}.png") as picture:
        (word,) = picture.info.values()
    assert len(word) == 64 and int(word, 16)  # and it says nothing of the prompt


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("--strength", "2"), "made with strength 1"),
        (("--steps", "3"), "made with other settings"),
        (("--reinvert",), "made with other settings"),
        (("--no-recipe",), "made with other settings"),
    ],
)
def test_other_settings_are_an_error(
    run: Run, pictures: list[str], found: list[Any], change: tuple[str, ...], reason: str
) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    run(*words)
    Path(f"many/a-{RED}.png").unlink()  # the first of those that are there is named
    before = contents("many")
    assert run(*words, *change).code == 2
    assert f"many/b-{RED}.png is there already, {reason}" in run.err and "--force" in run.err
    assert run.err.count("\n") == 1 and contents("many") == before
    assert run(*words, *change, "--force").code == 0 and len(found) == 6
    made = contents("many")
    assert all(made[name] != before[name] for name in before)
    # of the same settings, finished ones stay even then
    assert run(*words, *change, "--force").code == 0 and len(found) == 6


def test_pictures_of_others_are_an_error(run: Run, pictures: list[str], tiny_model: Path) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    Path("many").mkdir()
    strange = Path(f"many/b-{RED}.png")
    cases: dict[str, Callable[[], object]] = {
        "nothing in it says": lambda: strange.write_bytes(b"mine"),
        "nothing in it says that": lambda: Image.new("RGB", (4, 4)).save(strange),
        "made for other prompts (a face -> a sad face)": lambda: run(
            "edit", "--seed", "1", SAD, "--steps", "1", "--out", strange, "--force"
        ),
        "made with the weights of another model": lambda: _of_other_weights(strange),
    }
    for reason, lay in cases.items():
        lay()
        before = strange.read_bytes()
        assert run(*words).code == 2, reason
        assert f"{strange} is there already, " in run.err and reason in run.err
        assert files("many") == {strange.name} and strange.read_bytes() == before


def _of_other_weights(path: Path) -> None:
    recipe = {**images.read_recipe(path), "hashes": {"generator": "0" * 64}}
    images.save_image(path, Image.new("RGB", (4, 4)), recipe, overwrite=True)


def test_a_picture_that_changed_is_an_error(run: Run, pictures: list[str]) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    run(*words)
    Image.new("RGB", (40, 40), "red").save("pics/c.bmp")
    assert run(*words).code == 2
    assert f"many/c-{RED}.png is there already, made with other settings, or of another" in run.err
    assert run(*words, "--force").code == 0 and "1 picture into many, 2 finished" in run.out


# What is bad


def test_bad_pictures_are_named_at_the_end(run: Run, pictures: list[str]) -> None:
    Path("pics/b.PNG").write_text("no picture")
    whole = Path("pics/a.jpg").read_bytes()
    Path("pics/a.jpg").write_bytes(whole[: len(whole) // 2])
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    assert run(*words).code == 1
    damaged, none = run.err.splitlines()
    assert damaged.startswith("styleclip: error: pics/a.jpg is a damaged or truncated picture")
    assert none.startswith("styleclip: error: pics/b.PNG is not a picture that can be read")
    assert "edited 1 picture into many, 2 failed" in run.out
    assert files("many") == {f"c-{RED}.png"}
    Path("pics/a.jpg").write_bytes(whole)
    assert run(*words, "--json").code == 1
    result = json.loads(run.out)
    assert [each["file"] for each in result["pictures"]] == ["pics/a.jpg"]
    assert [each["file"] for each in result["failed"]] == ["pics/b.PNG"]
    assert "not a picture" in result["failed"][0]["error"]


def test_missing_entries_of_a_list_are_bad_pictures(run: Run, pictures: list[str]) -> None:
    Path("some.txt").write_text("pics/a.jpg\ngone.png\npics\n" + "x" * 300 + "\n")
    assert run("edit", "some.txt", PROMPT, *QUICK).code == 1
    lines = run.err.splitlines()
    assert len(lines) == 3 and "there is no file gone.png: check the name" in lines[0]
    assert "pics is a folder" in lines[1]
    assert files("some-edited") == {f"a-{RED}.png"}


def test_a_name_that_is_too_long_is_one_bad_picture(run: Run, pictures: list[str]) -> None:
    long = "n" * 250
    shutil.copy("pics/a.jpg", f"pics/{long}.jpg")
    assert run("edit", "pics", PROMPT, *QUICK, "--out", "many").code == 1
    assert run.err.count("\n") == 1 and "cannot be written: file name too long" in run.err
    assert files("many") == {f"{stem}-{RED}.png" for stem in pictures}


def test_one_search_that_fails_is_one_picture(
    run: Run, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, calls = Studio.edit, list[int]()

    def fail(studio: Studio, *words: Any, **more: Any) -> Edit:
        calls.append(1)
        best = edit(studio, *words, **more)
        if len(calls) == 2:
            raise NonFiniteError("the loss became nan at step 2", best=best)
        return best

    monkeypatch.setattr(Studio, "edit", fail)
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    assert run(*words).code == 1
    assert run.err == "styleclip: error: pics/b.PNG: the loss became nan at step 2\n"
    assert files("many") == {f"a-{RED}.png", f"c-{RED}.png"}  # nothing that looks finished
    assert run(*words).code == 0 and len(files("many")) == 3


MISTAKES: dict[str, tuple[list[str], str]] = {
    "an empty folder": (["edit", "empty", PROMPT], "the folder empty, which is empty"),
    "no picture": (["edit", "papers", PROMPT], "the folder papers, which holds 1 other things"),
    "no list": (["edit", "gone.txt", PROMPT], "gone.txt cannot be read as a list (no such file"),
    "an empty list": (["edit", "blank.txt", PROMPT], "blank.txt names no picture"),
    "a text": (["edit", "papers/letter.txt", PROMPT], "nothing that papers/letter.txt names is"),
    "a nought": (["edit", "nought.txt", PROMPT], "nought.txt cannot be read as a list (it is not"),
    "bytes": (["edit", "bytes.txt", PROMPT], "bytes.txt cannot be read as a list (it is not text)"),
    "out is a file": (["edit", "pics", PROMPT, "--out", "blank.txt"], "blank.txt cannot be made a"),
    "out in a file": (["edit", "pics", PROMPT, "--out", "blank.txt/a"], "cannot be made a folder"),
    "out is a picture": (["edit", "pics", PROMPT, "--out", "a.png"], "leave .png out"),
    "out is in": (["edit", "pics", PROMPT, "--out", "pics/more.png/.."], "is the folder of the"),
    "same names": (["edit", "twins.txt", PROMPT], "papers/../pics/a.jpg and twin/a.png both would"),
    "twice": (["edit", "twice.txt", PROMPT], "pics/a.jpg is there twice: it would write"),
    "over itself": (["edit", "over.txt", PROMPT, "--out", "twin"], "written over a picture"),
    "one edit": (["edit", "pics", SAD, "--save-edit", "e.safetensors"], "--save-edit names a file"),
    "one tuning": (
        ["edit", "pics", SAD, "--tune", "--save-tuning", "t.safetensors"], "--save-tuning names",
    ),
    "one face": (["edit", "pics", SAD, "--landmarks", "face.json"], "is a folder with a JSON file"),
    "no landmarks": (["edit", "pics", SAD, "--landmarks", "gone"], "is a folder with a JSON file"),
    "strengths": (["edit", "pics", SAD, "--strength", "1", "--strength", "2"], "2 times for 1"),
    "a seed, too": (["edit", "twice.txt", SAD, "--seed", "1"], "give a picture or --seed, not"),
    "no prompt": (["edit", "pics"], "give a picture and a quoted prompt"),
    "apply": (["apply", "empty", "e.safetensors"], "e.safetensors"),
    "a mapper": (["mapper", "apply", "pics", "m.safetensors"], "pics is a folder: give a picture"),
    "a sweep": (["directions", "sweep", "twice.txt", SAD], "twice.txt is not a picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_found_before_the_work(run: Run, pictures: list[str], name: str) -> None:
    for folder in ("empty", "papers", "twin"):
        Path(folder).mkdir()
    Path("papers/letter.txt").write_text("Dear Ann,\nthanks for the pictures.\n")
    Path("blank.txt").write_text("# nothing\n\n")
    Path("bytes.txt").write_bytes(b"\xff\xfe\x00\x80")
    Path("nought.txt").write_bytes(b"pics/a.jpg\npics/\0\n")
    Path("face.json").write_text("[]")
    shutil.copy("pics/b.PNG", "twin/a.png")
    shutil.copy("pics/b.PNG", f"twin/a-{RED}.png")
    Path("twins.txt").write_text("papers/../pics/a.jpg\ntwin/a.png\n")
    Path("twice.txt").write_text("pics/a.jpg\npics/b.PNG\npics/a.jpg\n")
    Path("over.txt").write_text(f"twin/a.png\ntwin/a-{RED}.png\n")
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    words, expected = MISTAKES[name]
    assert run(*words).code == 2
    assert run.err.startswith("styleclip: error: ") and run.err.count("\n") == 1
    assert expected in run.err and run.out == ""
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert after == before and not Path("pics-edited").exists()


# Photographs


@pytest.fixture
def photos(run: Run, face_model: Path) -> Run:
    """Run with the model of faces, beside two photographs of three faces and one without points."""
    run.model = face_model
    for folder in ("photos", "points"):
        Path(folder).mkdir()
    for stem in ("x", "y", "z"):
        smooth_photo(300, 150).save(f"photos/{stem}.png")
    listed = json.dumps([each.to_json() for each in FACES])
    for stem in ("x", "z"):
        Path(f"points/{stem}.json").write_text(listed)
    return run


def test_each_photo_has_its_landmarks(photos: Run) -> None:
    words = ("edit", "photos", PROMPT, *QUICK, "--landmarks", "points", "--out", "many")
    assert photos(*words).code == 1
    lines = photos.err.splitlines()
    assert [line.split(":")[2] for line in lines[:-1]] == [" photos/x.png", " photos/z.png"]
    assert all("face 2, the largest, is taken" in line for line in lines[:-1])
    assert lines[-1].startswith("styleclip: error: photos/y.png: the landmarks points/y.json")
    assert files("many") == {f"{stem}-{RED}.png" for stem in ("x", "z")}
    assert images.open_picture(f"many/x-{RED}.png").size == (300, 150)
    # alone it is the same, from the folder as from the file
    for landmarks in ("points", "points/x.json"):
        photos("edit", "photos/x.png", PROMPT, *QUICK, "--landmarks", landmarks, "--out", "x.png",
               "--force")  # fmt: skip
        same = images.largest_difference(
            images.open_picture("x.png"), images.open_picture(f"many/x-{RED}.png")
        )
        assert same == 0
    # other points are another picture
    Path("points/y.json").write_text(Path("points/x.json").read_text())
    Path("points/z.json").write_text(json.dumps(FACES[1].to_json()))
    assert photos(*words).code == 2 and f"many/z-{RED}.png is there already" in photos.err


def test_all_faces_of_many_photos_are_known_again(photos: Run) -> None:
    Path("photos/y.png").unlink()
    words = ("edit", "photos", PROMPT, *QUICK, "--landmarks", "points", "--face", "all")
    assert photos(*words).code == 0, photos.err
    assert photos(*words).code == 0 and "2 finished before" in photos.out


def test_without_a_finder_nothing_is_begun(photos: Run) -> None:
    assert photos("edit", "photos", PROMPT, *QUICK, "--photo").code == 2
    assert "models fetch face_landmarker.task" in photos.err and photos.err.count("\n") == 1
    assert not Path("photos-edited").exists()


# Stopped


def test_ctrl_c_finishes_the_picture_at_hand(
    run: Run, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = Studio.edit

    def interrupted(*words: Any, **more: Any) -> Edit:
        os.kill(os.getpid(), signal.SIGINT)
        return edit(*words, **more)

    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    monkeypatch.setattr(Studio, "edit", interrupted)
    assert run(*words).code == 130
    assert files("many") == {f"a-{RED}.png"} and run.out == ""
    assert run.err.splitlines() == [
        "styleclip: note: 2 pictures left: the same command goes on with them",
        "styleclip: interrupted: stopped; nothing half-written is left",
    ]
    monkeypatch.setattr(Studio, "edit", edit)
    assert run(*words).code == 0 and "edited 2 pictures into many, 1 finished before" in run.out


def test_a_second_ctrl_c_stops_at_once(
    run: Run, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Edit:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        raise AssertionError("it went on")

    monkeypatch.setattr(Studio, "edit", interrupted)
    assert run("edit", "pics", PROMPT, *QUICK, "--out", "many").code == 130
    assert files("many") == set()


def test_what_a_killed_run_left_half_written_goes(run: Run, pictures: list[str]) -> None:
    Path("many").mkdir()
    old, new, other = (
        Path(f"many/.{name}.{end}.part")
        for name, end in ((f"a-{RED}.png", "k3_x"), (f"a-{RED}.png", "k4"), ("mine.png", "k5"))
    )
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    assert run("edit", "pics", PROMPT, *QUICK, "--out", "many").code == 0, run.err
    assert not old.exists() and new.exists() and other.exists()


def test_what_another_run_renames_meanwhile_is_no_mistake(run: Run, pictures: list[str]) -> None:
    Path("many").mkdir()
    Path(f"many/.a-{RED}.png.k3_x.part").symlink_to("gone")  # listed, and not there any more
    assert run("edit", "pics", PROMPT, *QUICK, "--out", "many").code == 0, run.err


# Two runs at once


def test_what_another_run_makes_is_left_to_it(run: Run, pictures: list[str]) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    Path("many").mkdir()
    with claim(Outputs([Path(f"many/b-{RED}.png")])) as ours:
        assert ours
        assert run(*words).code == 0 and "edited 2 pictures into many" in run.out
        assert run.err == (
            "styleclip: note: another run is making 1 picture of these just now, left to it\n"
        )
        assert run(*words, "--json").json()["made_by_another_run"] == 1
    assert files("many") == {f"a-{RED}.png", f"c-{RED}.png"}  # and no claim
    assert run(*words).code == 0 and "edited 1 picture into many, 2 finished before" in run.out


def test_what_another_run_makes_by_other_settings_is_an_error(
    run: Run, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many")
    outputs = Outputs([Path(f"many/b-{RED}.png")])
    said = f"another run is making many/b-{RED}.png just now, with other settings"
    Path("many").mkdir()
    with claim(outputs, "5" * 64):
        for more in ((), ("--force",)):
            assert run(*words, *more).code == 2 and said in run.err and run.err.count("\n") == 1
            assert files("many").isdisjoint({f"a-{RED}.png", f"c-{RED}.png"})
    edit = Studio.edit
    with ExitStack() as others:

        def with_another(*more: Any, **options: Any) -> Edit:
            others.enter_context(claim(outputs, "5" * 64))
            return edit(*more, **options)

        monkeypatch.setattr(Studio, "edit", with_another)
        assert run(*words, "--json").code == 1 and said in run.err
        assert [each["file"] for each in json.loads(run.out)["failed"]] == ["pics/b.PNG"]
        assert {f"a-{RED}.png", f"c-{RED}.png"} < files("many")


def test_what_another_run_makes_by_the_same_settings_is_left_to_it(
    run: Run, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--out", "many", "--json")
    runs: list[str] = []

    def noted(outputs: Outputs, mine: str = "") -> AbstractContextManager[bool]:
        runs.append(mine)
        return claim(outputs, mine)

    with monkeypatch.context() as patch:
        patch.setattr(many, "claim", noted)
        assert run(*words).code == 0
    Path(f"many/b-{RED}.png").unlink()
    with claim(Outputs([Path(f"many/b-{RED}.png")]), runs[1]):
        assert run(*words).code == 0 and run.json()["made_by_another_run"] == 1


def test_what_another_run_finished_meanwhile_is_finished(
    run: Run, pictures: list[str], found: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--gif")
    assert run(*words, "--out", "other").code == 0 and len(found) == 3
    edit = Studio.edit

    def with_another(*more: Any, **options: Any) -> Edit:
        for path in Path("other").glob("[bc]-*"):  # the other run has got so far
            shutil.copy(path, "many")
        Path(f"many/c-{RED}.gif").unlink(missing_ok=True)  # where it was killed
        return edit(*more, **options)

    monkeypatch.setattr(Studio, "edit", with_another)
    assert run(*words, "--out", "many").code == 0, run.err
    assert "edited 2 pictures into many, 1 finished before" in run.out and len(found) == 5
    assert contents("many") == contents("other")


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_left_to_another_run_is_looked_at_once_more(
    run: Run, pictures: list[str], monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    words = ("edit", "pics", PROMPT, *QUICK)
    name, edit = f"a-{RED}.png", Studio.edit
    assert run(*words, "--out", "other").code == 0
    Path("many").mkdir()
    with ExitStack() as other:
        assert other.enter_context(claim(Outputs([Path("many", name)])))

        def meanwhile(*more: Any, **options: Any) -> Edit:
            if not killed:
                shutil.copy(Path("other", name), "many")
            other.close()
            return edit(*more, **options)

        monkeypatch.setattr(Studio, "edit", meanwhile)
        result = run(*words, "--out", "many", "--json").json()
    again = ["pics/a.jpg"] if killed else []
    assert [each["file"] for each in result["pictures"]] == ["pics/b.PNG", "pics/c.bmp", *again]
    assert result["finished_before"] == (not killed) and result["made_by_another_run"] == 0
    assert run.err == "" and contents("many") == contents("other")


def test_half_made_by_another_run_is_no_mistake(run: Run, pictures: list[str]) -> None:
    words = ("edit", "pics", PROMPT, *QUICK, "--gif", "--out", "many")
    Path("many").mkdir()
    outputs = Outputs([Path(f"many/a-{RED}.png")])
    with claim(outputs):
        Path(f"many/a-{RED}.gif").write_bytes(b"half")
        assert not run(*words).code and "edited 2 pictures" in run.out
    assert run(*words).code == 2 and f"many/a-{RED}.gif is there already" in run.err


def test_a_claim_is_one_runs(place: Path) -> None:
    outputs, other = (Outputs([Path(name)]) for name in ("a.png", "b.png"))
    assert claimed_by(outputs) is None and files() == set()
    with claim(outputs, "mine") as ours, claim(outputs) as again, claim(other) as another:
        assert (ours, again, another) == (True, False, True)
        assert claimed_by(outputs) == "mine" and claimed_by(other) == "" and len(files()) == 2
    assert files() == set() and claimed_by(outputs) is None
    with claim(Outputs([Path("nowhere/a.png")])) as ours:
        assert ours  # and writing says what is wrong


def test_a_killed_run_claims_nothing(place: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from styleclip.apps.claims import claim\n"
        "from styleclip.apps.outputs import Outputs\n"
        "with claim(Outputs([Path('a.png')])) as ours: os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert len(files()) == 1  # its file, which nobody holds
    assert claimed_by(Outputs([Path("a.png")])) is None and files() == set()


def test_where_there_are_no_locks_nothing_is_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    for name, without in {"_lock": no_locks, "_is_at": lambda *_: False}.items():
        with monkeypatch.context() as patch:
            patch.setattr(claims, name, without)
            with claim(Outputs([Path("a.png")])) as ours:
                assert ours and files() == set(), name


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(pictures: list[str], tiny_model: Path) -> None:
    for number in range(9):
        shutil.copy("pics/a.jpg", f"pics/{number:02}.jpg")
    command = [sys.executable, "-m", "styleclip", "edit", "pics", PROMPT, "--steps", "20",
               "--out", "many", "--json", "--model", str(tiny_model)]  # fmt: skip
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads(each.communicate(timeout=300)[0]) for each in runs]
    assert [each.returncode for each in runs] == [0, 0]
    made = [picture["file"] for each in said for picture in each["pictures"]]
    assert len(made) == len(set(made)) == 12 == len(files("many"))
    assert all(each["failed"] == [] for each in said)


@pytest.mark.slow
def test_killed_at_random_it_goes_on(pictures: list[str], tiny_model: Path) -> None:
    for number in range(9):
        shutil.copy("pics/a.jpg", f"pics/{number:02}.jpg")
    words = ("edit", "pics", PROMPT, "--preset", "paper", "--steps", "30", "--refine", "0", "--gif",
             "--json", "--model", tiny_model)  # fmt: skip

    def output(command: Sequence[str | Path]) -> Any:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    seconds = output([sys.executable, "-m", "styleclip", *words, "--out", "whole"])["seconds"]
    many, work = Path("many"), sum(seconds[name] for name in ("edit", "write"))
    command = kill_at_random([*words, "--out", many], many, work)
    result = output(command)
    assert result["finished_before"] > 0 and result["failed"] == []
    assert result["finished_before"] + len(result["pictures"]) == 12
    whole, again = contents("whole"), contents("many")
    assert {name: again[name] for name in whole} == whole
    assert all(name.endswith(".part") for name in again.keys() - whole.keys())
