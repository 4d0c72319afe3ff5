"""The command line as a user meets it: what it writes, prints and refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import styleclip
from styleclip import images
from styleclip.portraits.evaluate import Question
from tests.apps.running import PROMPT, Run, files

# What it does


def test_sample(run: Run) -> None:
    found = run("sample", "--seed", "7", "--json").json()
    assert found["out"] == "seed-7.png" and found["model"] == "tiny"
    assert set(found["seconds"]) == {"load", "sample"}
    assert images.open_picture("seed-7.png").size == (32, 32)
    assert images.read_recipe("seed-7.png")["source"]["seed"] == 7


def test_invert(run: Run, picture: Path) -> None:
    found = run("invert", picture, "--refine", "2", "--strip", "--json").json()
    assert files() == {"me.jpg", "me-inverted.png", "me-inverted-strip.png"}
    assert 0 < found["error"] < 255
    assert "w_plus" in images.read_recipe("me-inverted.png")["source"]


def test_edit_a_file(run: Run, picture: Path) -> None:
    run("edit", picture, PROMPT, "--steps", "2", "--refine", "1", "--strip", "--gif", "--json")
    found = run.json()
    (edit,) = found["edits"]
    assert edit["target"] == "a face with red hair" and edit["neutral"] == "a face"
    assert edit["config"]["steps"] == 2
    assert set(found["seconds"]) == {"load", "invert", "edit", "write"}
    name = "me-a-face-with-red-hair"
    assert files() == {"me.jpg", f"{name}.png", f"{name}-strip.png", f"{name}.gif"}
    assert run.err == ""


def test_edit_a_seed_with_a_target_alone(run: Run) -> None:
    run("edit", "--seed", "2", "a sad face", "--steps", "1", "--space", "w_plus", "--out", "a.png")
    assert run.code == 0
    assert "wrote a.png" in run.out and "load" in run.out and "edit" in run.out
    (edit,) = images.read_recipe("a.png")["edits"]
    assert (edit["neutral"], edit["target"]) == ("a face", "a sad face")
    assert "w_plus_step" in edit


def test_the_paper_preset(run: Run) -> None:
    run("edit", "--seed", "2", "a sad face", "--preset", "paper", "--steps", "1", "--json")
    assert run.json()["edits"][0]["config"]["clip_input"] == "paper"


def test_strength_zero_is_the_picture_itself(run: Run) -> None:
    run("sample", "--seed", "2", "--out", "plain.png")
    run("edit", "--seed", "2", PROMPT, "--steps", "1", "--strength", "0", "--out", "none.png")
    plain, none = (images.read_image(name) for name in ("plain.png", "none.png"))
    assert (plain == none).all()


@pytest.mark.parametrize("source", ["file", "seed"])
def test_replay_gives_the_same_pixels(run: Run, picture: Path, source: str) -> None:
    start = [picture] if source == "file" else ["--seed", "5"]
    run("edit", *start, PROMPT, "--steps", "2", "--refine", "1", "--strength", "1.3",
        "--out", "a.png")  # fmt: skip
    found = run("show", "a.png", "--replay", "--out", "again.png", "--json").json()
    assert found["largest_difference"] == 0
    assert (images.read_image("a.png") == images.read_image("again.png")).all()
    assert images.read_recipe("again.png") == images.read_recipe("a.png")
    shown = run("show", "a.png", model=False).out
    assert "a face -> a face with red hair  (strength 1.3, by optimization)" in shown
    assert ("seed 5" if source == "seed" else "inverted picture") in shown


def test_replay_notices_a_changed_picture(run: Run) -> None:
    run("sample", "--out", "a.png")
    recipe = images.read_recipe("a.png")
    changed = images.open_picture("a.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    images.save_image("a.png", changed, recipe, overwrite=True)
    assert run("show", "a.png", "--replay").code == 1
    assert "was changed after it was made" in run.out
    images.save_image("a.png", changed.resize((64, 64)), recipe, overwrite=True)
    assert run("show", "a.png", "--replay").code == 1
    assert "another size" in run.out


def test_a_picture_names_no_path(run: Run, picture: Path, tiny_model: Path) -> None:
    run("edit", picture.resolve(), PROMPT, "--steps", "1", "--out", Path("a.png").resolve())
    text = json.dumps(images.read_recipe("a.png"))
    with Image.open("a.png") as opened:
        opened.load()
        assert set(opened.info) == {images.RECIPE_KEY}
    for telltale in (
        str(tiny_model),
        str(Path.cwd()),
        "me.jpg",
        os.sep + "tmp",
        os.environ["HOME"],
    ):
        assert telltale not in text


def test_no_recipe(run: Run) -> None:
    for command in (["sample"], ["edit", "--seed", "1", PROMPT, "--steps", "1"]):
        run(*command, "--no-recipe", "--out", "a.png", "--force")
        with Image.open("a.png") as opened:
            opened.load()
            assert not opened.info
    assert run("show", "a.png", model=False).code == 2
    assert "--no-recipe" in run.err


def test_force(run: Run) -> None:
    Path("a.png").write_bytes(b"mine")
    assert run("sample", "--out", "a.png").code == 2
    assert "--force" in run.err and Path("a.png").read_bytes() == b"mine"
    assert run("sample", "--out", "a.png", "--force").code == 0
    assert images.open_picture("a.png").size == (32, 32)


def test_every_output_is_checked_before_the_work(run: Run) -> None:
    for name in ("a.gif", "a-strip.png"):
        Path(name).write_bytes(b"mine")
        run("edit", "--seed", "1", PROMPT, "--gif", "--strip", "--out", "a.png")
        assert run.code == 2 and name in run.err
        assert files() == {name}
        Path(name).unlink()


def test_unknown_words_are_a_warning(run: Run) -> None:
    command = ["edit", "--seed", "1", "a face with wings", "--steps", "1", "--json", "--force"]
    found = run(*command, "--out", "a.png").json()
    (note,) = found["warnings"]
    assert "'wings'" in note and "knows nothing about" in note
    assert run.err == f"styleclip: warning: {note}\n"


def test_help_and_version(run: Run) -> None:
    assert run("--version", model=False).out == f"styleclip {styleclip.__version__}\n"
    for words in ([], ["--help"], ["edit", "--help"], ["portraits", "train", "-h"]):
        run(*words, model=False)
        assert run.code == 0 and "styleclip" in run.out


# What it refuses


def broken_model(folder: Path) -> Path:
    target = Path("broken")
    shutil.copytree(folder, target)
    generator = target / "generator.safetensors"
    generator.write_bytes(generator.read_bytes()[:500])
    return target


REFUSALS: dict[str, tuple[list[str], str]] = {
    "no such file": (["edit", "none.jpg", PROMPT], "there is no file none.jpg"),
    "an empty folder": (["edit", "folder", PROMPT], "there is no picture in the folder folder"),
    "not a list": (["edit", "text.txt", PROMPT], "nothing that text.txt names is there"),
    "a folder": (["invert", "folder"], "is a folder"),
    "not an image": (["invert", "text.txt"], "not a picture"),
    "truncated": (["edit", "cut.png", PROMPT], "truncated"),
    "absurdly large": (["edit", "huge.png", PROMPT], "too large"),
    "inverting no such file": (["invert", "none.jpg"], "there is no file none.jpg"),
    "empty prompt": (["edit", "me.jpg", " "], "the prompt is empty"),
    "half a prompt": (["edit", "me.jpg", "a face ->"], "the prompt is empty"),
    "two arrows": (["edit", "me.jpg", "a -> b -> c"], "one arrow"),
    "endless prompt": (["edit", "me.jpg", "red " * 200], "too long"),
    "target is neutral": (["edit", "me.jpg", "a face -> A  face"], "nothing would change"),
    "model's neutral text": (["edit", "me.jpg", "a face"], "nothing would change"),
    "second prompt empty": (["edit", "me.jpg", PROMPT, ""], "the prompt is empty"),
    "no prompt": (["edit", "me.jpg"], "give a picture and a quoted prompt"),
    "no words": (["edit"], "give a picture and a quoted prompt"),
    "seed alone": (["edit", "--seed", "1"], "give a picture and a quoted prompt"),
    "picture and seed": (["edit", "me.jpg", PROMPT, "--seed", "1"], "not both"),
    "several into one file": (["edit", "me.jpg", PROMPT, "sad", "--out", "a.png"], "--stack"),
    "no folder to be": (["edit", "me.jpg", PROMPT, "sad", "--out", "/proc/a"], "made a folder"),
    "a file for a folder": (["edit", "me.jpg", PROMPT, "sad", "--out", "text.txt/a"], "a folder"),
    "several in one file": (["edit", "me.jpg", PROMPT, "sad", "--save-edit", "e"], "one prompt"),
    "edit without its suffix": (["edit", "me.jpg", PROMPT, "--save-edit", "e"], ".safetensors"),
    "nothing to apply": (["apply", "me.jpg"], "give a picture and a file of an edit"),
    "applying no such file": (["apply", "me.jpg", "none"], "there is no file none"),
    "applying a text": (["apply", "me.jpg", "text.txt"], "is not a file of weights"),
    "endless name": (["edit", "x" * 300, PROMPT], "cannot be opened"),
    "endless output": (["sample", "--out", "x" * 300 + ".png"], "cannot be written"),
    "unwritable output": (["sample", "--out", "/proc/a.png"], "cannot be written"),
    "no such folder": (["sample", "--out", "none/a.png"], "there is no folder none"),
    "output is a folder": (["sample", "--out", "folder.png"], "is a folder"),
    "another format": (["sample", "--out", "a.jpg"], "end in .png"),
    "unknown model": (["sample", "--model", "nonsense"], "there is no model 'nonsense'"),
    "a folder that is no model": (["sample", "--model", "folder"], "not a model folder"),
    "a damaged model": (["sample", "--model", "broken"], "damaged"),
    "unknown device": (["sample", "--device", "abacus"], "there is no device 'abacus'"),
    "unknown device number": (["sample", "--device", "cpu:7"], "there is no device 'cpu:7'"),
    "negative seed": (["sample", "--seed", "-1"], "--seed"),
    "strength in words": (["edit", "me.jpg", PROMPT, "--strength", "very"], "--strength"),
    "strength not a number": (["edit", "me.jpg", PROMPT, "--strength", "nan"], "--strength"),
    "no steps": (["edit", "me.jpg", PROMPT, "--steps", "0"], "--steps"),
    "unknown space": (["edit", "me.jpg", PROMPT, "--space", "z"], "--space"),
    "unknown preset": (["edit", "me.jpg", PROMPT, "--preset", "best"], "--preset"),
    "unknown option": (["sample", "--nonsense"], "styleclip sample --help"),
    "unknown command": (["nonsense"], "styleclip --help"),
    "showing a photograph": (["show", "me.jpg"], "carries no recipe"),
    "showing nothing": (["show", "none.png"], "there is no file"),
    "out without replay": (["show", "me.jpg", "--out", "a.png"], "--replay"),
    "unknown stage": (["portraits", "train", "nonsense"], "there is no stage 'nonsense'"),
    "as it is without out": (["portraits", "train", "all", "--as-is"], "name a folder there"),
    "unknown method": (["portraits", "evaluate", "--methods", "best"], "no method 'best'"),
    "one picture": (["portraits", "evaluate", "--count", "1"], "--count"),
}


def test_every_mistake_is_one_plain_sentence(run: Run, picture: Path, tiny_model: Path) -> None:
    Path("folder").mkdir()
    Path("folder.png").mkdir()
    Path("text.txt").write_text("not a picture")
    Image.effect_noise((200, 200), 50).save("whole.png")
    Path("cut.png").write_bytes(Path("whole.png").read_bytes()[:3000])
    Image.new("1", (12_000, 12_000)).save("huge.png")
    broken_model(tiny_model)
    before = files()
    for name, (words, expected) in REFUSALS.items():
        own_model = "--model" in words or words[0] not in ("sample", "edit", "invert", "apply")
        run(*words, model=not own_model)
        assert run.code == 2, name
        assert run.out == "", name
        assert expected in run.err, (name, run.err)
        assert run.err.startswith("styleclip: error: ") and run.err.count("\n") == 1, name
        assert files() == before, name


def test_a_recipe_of_an_unknown_model(run: Run) -> None:
    run("sample", "--out", "a.png")
    assert run("show", "a.png", "--replay", model=False).code == 2
    assert "give its folder with --model" in run.err


def test_a_bug_is_not_a_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("styleclip.studio.Studio.render", bug)
    with pytest.raises(ZeroDivisionError):
        run("sample")


# Ctrl-C


@pytest.mark.parametrize("moment", ["styleclip.studio.Studio.render", "os.replace"])
def test_interrupted_anywhere(run: Run, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(moment, interrupt)
    assert run("sample").code == 130
    assert files() == set()
    assert run.err == "styleclip: interrupted: stopped; nothing half-written is left\n"


def test_ctrl_c_of_a_process(tiny_model: Path, place: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from styleclip.apps import cli; import styleclip.studio as s; real = s.optimize\n"
        "def told(*a, **k): print('editing', flush=True); return real(*a, **k)\n"
        "s.optimize = told; sys.exit(cli.main())"
    )
    words = ["edit", "--seed", "1", PROMPT, "--steps", "100000", "--model", str(tiny_model),
             "--preset", "paper", "--strip", "--gif"]  # fmt: skip
    source = str(Path(styleclip.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": source},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "editing\n"
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
            assert "interrupted" in process.stderr.read()
        finally:
            process.kill()
    assert files() == set()


# The portraits world


def test_portraits_render(run: Run) -> None:
    pytest.importorskip("skia")
    found = run("portraits", "render", "--seed", "3", "--json", model=False).json()
    (portrait,) = found["portraits"]
    assert images.open_picture("portrait-3.png").size == (128, 128)
    assert "hair_colour" in portrait["attributes"]
    run("portraits", "render", "--seed", "3", "--count", "2", "--size", "32", "--out", "many",
        model=False)  # fmt: skip
    assert {path.name for path in Path("many").iterdir()} == {"portrait-3.png", "portrait-4.png"}
    assert run("portraits", "render", "--seed", "3", model=False).code == 2


def test_portraits_train_calls_the_recipe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(
        stage: str, folder: Path, bar: Callable[[str], Callable[..., None]], device: torch.device
    ) -> None:
        bar(stage)(1, 2, {"loss": 0.5})
        (folder / "done").write_text(str(device))

    monkeypatch.setattr("styleclip.portraits.recipes.train", train)
    run("portraits", "train", "clip", "--folder", "work", "--device", "cpu", "--json", model=False)
    assert run.json()["stage"] == "clip" and Path("work/done").read_text() == "cpu"


def test_portraits_evaluate_asks_its_question(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def evaluate(question: object, folder: Path, bar: object, *rest: object) -> dict[str, int]:
        asked.append((question, folder, *rest))
        (folder / "result.md").write_text("| a table |")
        return {"schema": 1}

    monkeypatch.setattr("styleclip.portraits.evaluate.evaluate", evaluate)
    words = ["portraits", "evaluate", "--device", "cpu"]
    run(*words, "--out", "work", "--json", model=False)
    assert run.json() == {"schema": 1} and Path("work").is_dir()
    assert asked == [(Question(), Path("work"), torch.device("cpu"), False)]

    run(*words, "--model", "mine", "--count", "5", "--methods", "nothing, optimization",
        "--prompts", "a.json", "--prompts", "b.json", "--no-networks", "--full", "--seed", "3",
        "--out", "work", "--force", model=False)  # fmt: skip
    question, _, _, force = asked[1]
    assert force is True
    assert question == Question(
        model="mine", count=5, methods=("nothing", "optimization"),
        prompts=(Path("a.json"), Path("b.json")), networks=False, full=True, seed=3,
    )  # fmt: skip
    assert "| a table |" in run.out and "wrote work/report.html" in run.out
