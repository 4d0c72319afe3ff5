"""Several edits of one picture, edits in files, and pictures that remember their latent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from styleclip import images
from styleclip.checkpoints import save_edit
from styleclip.editing.edit import Edit, moved_channels
from styleclip.editing.optimization import optimize
from styleclip.errors import NonFiniteError
from styleclip.prompts import PromptPair
from styleclip.recipe import Recipe
from styleclip.studio import Studio
from tests.apps.running import PROMPT, Run, files

SAD = "a sad face"
QUICK = ("--steps", "2", "--refine", "0")


def edits_of(path: str | Path) -> list[Any]:
    return [each["target"] for each in images.read_recipe(path)["edits"]]


@pytest.fixture
def inversions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one with every inversion."""
    done: list[Any] = []
    invert = Studio.open

    def counted(*arguments: Any) -> torch.Tensor:
        done.append(arguments)
        return invert(*arguments)

    monkeypatch.setattr(Studio, "open", counted)
    return done


# Several prompts


def test_every_prompt_is_an_edit_of_its_own(run: Run, picture: Path, inversions: list[Any]) -> None:
    run("edit", picture, PROMPT, SAD, *QUICK, "--out", "a/b", "--strip", "--gif", "--json")
    found = run.json()
    stems = ["me-a-face-with-red-hair", "me-a-sad-face"]
    assert [each["out"] for each in found["edits"]] == [f"a/b/{stem}.png" for stem in stems]
    assert [each["target"] for each in found["edits"]] == ["a face with red hair", SAD]
    assert found["strip"] == "a/b/me-strip.png"
    expected = {f"{stem}.{kind}" for stem in stems for kind in ("png", "gif")}
    assert files("a/b") == {*expected, "me-strip.png"}
    # the picture, as the model sees it, two edits
    assert images.open_picture("a/b/me-strip.png").width == 4 * (192 + 12) + 12
    assert len(inversions) == 1
    recipes = [images.read_recipe(f"a/b/{stem}.png") for stem in stems]
    assert recipes[0]["source"] == recipes[1]["source"]
    assert [len(each["edits"]) for each in recipes] == [1, 1]
    # the second is what it would have been alone
    run("edit", picture, SAD, *QUICK, "--out", "alone.png")
    assert torch.equal(images.read_image("alone.png"), images.read_image(f"a/b/{stems[1]}.png"))


def test_names_without_out(run: Run) -> None:
    run("edit", "--seed", "1", SAD, "A sad, face!", "strip", "红头发", "--strip", "--steps", "1")
    assert run.code == 0, run.err
    stems = ("a-sad-face", "a-sad-face-2", "strip-2", "红头发", "strip")
    assert files() == {f"seed-1-{stem}.png" for stem in stems}
    assert edits_of("seed-1-strip-2.png") == ["strip"]


def test_existing_files_are_found_before_the_work(run: Run) -> None:
    Path("many").mkdir()
    Path("many/seed-1-a-sad-face.png").write_bytes(b"mine")
    words = ["edit", "--seed", "1", PROMPT, SAD, "--steps", "1", "--out", "many"]
    assert run(*words).code == 2 and "--force" in run.err
    assert files("many") == {"seed-1-a-sad-face.png"}
    assert run(*words, "--force").code == 0
    assert len(files("many")) == 2


def test_a_stack_is_one_picture(run: Run) -> None:
    run("edit", "--seed", "1", PROMPT, SAD, "--stack", "--strength", "0.5", "--steps", "2",
        "--strip", "--out", "a.png", "--json")  # fmt: skip
    assert [each["out"] for each in run.json()["edits"]] == ["a.png", "a.png"]
    assert files() == {"a.png", "a-strip.png"}
    assert edits_of("a.png") == ["a face with red hair", SAD]
    assert images.open_picture("a-strip.png").width == 2 * (192 + 12) + 12
    assert run("show", "a.png", "--replay", "--json").json()["largest_difference"] == 0
    # each was found from the unedited latent
    run("edit", "--seed", "1", SAD, "--steps", "2", "--out", "alone.png")
    alone, stacked = (images.read_recipe(name)["edits"][-1] for name in ("alone.png", "a.png"))
    assert alone["w_plus_step"] == stacked["w_plus_step"]


def test_each_edit_of_a_stack_has_its_strength(run: Run) -> None:
    words = ("edit", "--seed", "1", PROMPT, SAD, "--steps", "2")
    each = ("--strength", "0.5", "--strength", "-1.5")
    found = run(*words, *each, "--stack", "--out", "a.png", "--json").json()["edits"]
    assert [one["strength"] for one in found] == [0.5, -1.5]
    assert [one["strength"] for one in images.read_recipe("a.png")["edits"]] == [0.5, -1.5]
    assert run("show", "a.png", "--replay", "--json").json()["largest_difference"] == 0
    # it is the picture of both steps, each times its strength
    studio = Studio.load(run.model, torch.device("cpu"))
    w_plus, edits = studio.samples(1, seed=1, truncation=0.7), []
    for i, prompt in enumerate((PROMPT, SAD)):
        file = f"{i}.safetensors"
        run("edit", "--seed", "1", prompt, "--steps", "2", "--save-edit", file, "--out", f"{i}.png")
        edits.append(studio.load_edit(file))
    expected = studio.render(w_plus, [(edits[0], 0.5), (edits[1], -1.5)])
    assert images.largest_difference(images.to_picture(expected), images.open_picture("a.png")) <= 1
    # in another order with the same strengths it is the same picture, of edits from files too
    back = ("apply", "--seed", "1", "1.safetensors", "0.safetensors", "--stack")
    assert run(*back, "--strength", "-1.5", "--strength", "0.5", "--out", "b.png").code == 0
    assert images.largest_difference(*map(images.open_picture, ("a.png", "b.png"))) <= 1


def test_a_sweep_of_a_stack_turns_all_strengths(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, render = list[list[float]](), Studio.render

    def seen(self: Studio, w_plus: torch.Tensor, edits: Any = ()) -> torch.Tensor:
        shown.append([strength for _, strength in edits])
        return render(self, w_plus, edits)

    monkeypatch.setattr(Studio, "render", seen)
    each = ("--strength", "0.5", "--strength", "-1.5")
    words = ("edit", "--seed", "1", PROMPT, SAD, "--steps", "1", "--stack", "--gif", *each)
    assert run(*words, "--out", "a.png").code == 0, run.err
    assert shown == [[], [0.5, -1.5], [0, 0], [0.25, -0.75], [0.5, -1.5]]


def test_each_picture_has_its_strength(run: Run) -> None:
    words = ("edit", "--seed", "1", PROMPT, SAD, "--steps", "1", "--out", "a")
    run(*words, "--strength", "0", "--strength", "2", "--json")
    assert [one["strength"] for one in run.json()["edits"]] == [0, 2]
    red, sad = (f"a/seed-1-a-{name}.png" for name in ("face-with-red-hair", "sad-face"))
    kept = [[each["strength"] for each in images.read_recipe(path)["edits"]] for path in (red, sad)]
    assert kept == [[0], [2]]
    assert run("sample", "--seed", "1", "--out", "s.png").code == 0
    assert images.largest_difference(*map(images.open_picture, ("s.png", red))) == 0


@pytest.mark.parametrize("stack", [(), ("--stack",)])
def test_another_number_of_strengths_is_refused(run: Run, stack: tuple[str, ...]) -> None:
    two = ("--strength", "0.5", "--strength", "1")
    for prompts, complaint in (((SAD,), "1 edit"), ((SAD, PROMPT, "a hat"), "3 edits")):
        assert run("edit", "--seed", "1", *prompts, *two, *stack).code == 2
        assert f"--strength is there 2 times for {complaint}: give it once for all" in run.err
        assert run.err.count("\n") == 1
    assert files() == set()


# What is written beside a picture


def test_a_film_is_the_sweep_of_the_gif(run: Run) -> None:
    words = ("edit", "--seed", "1", PROMPT, "--steps", "2", "--gif", "--mp4", "--out", "a.png")
    (found,) = run(*words, "--json").json()["edits"]
    assert (found["gif"], found["mp4"]) == ("a.gif", "a.mp4")
    with av.open("a.mp4") as film:
        (stream,) = film.streams
        frames = [each.to_image() for each in film.decode(stream)]
    assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
    assert len(frames) == 8 + 1 + 8 + 1  # three strengths, there and back, rest at both ends
    with Image.open("a.gif") as gif:
        for number, shown in ((0, 0), (1, 8), (2, 9)):
            gif.seek(number)
            ours, theirs = (np.asarray(each.convert("RGB"), int) for each in (frames[shown], gif))
            assert np.abs(ours - theirs).mean() < 12  # both lose something
    assert run(*words).code == 2 and "a.png exists already" in run.err
    Path("a.png").unlink()
    Path("a.gif").unlink()
    assert run(*words).code == 2 and "a.mp4 exists already" in run.err


def test_without_the_extra_a_film_is_refused_before_the_work(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert run("edit", "--seed", "1", PROMPT, "--mp4").code == 2
    assert "pip install 'styleclip[video]'" in run.err and run.err.count("\n") == 1
    assert files() == set()


def test_heat_shows_where_each_picture_changed(run: Run, picture: Path) -> None:
    # one prompt's name is what the heat map of the other would be called
    words = ("edit", picture, SAD, f"{SAD} heat", *QUICK, "--heat", "--out", "a")
    found = run(*words, "--json").json()["edits"]
    stem = "a/me-a-sad-face"
    assert [each["out"] for each in found] == [f"{stem}.png", f"{stem}-heat.png"]
    assert [each["heat"] for each in found] == [f"{stem}-heat-2.png", f"{stem}-heat-heat.png"]
    run("invert", picture, "--refine", "0", "--out", "b.png")
    expected = images.heat_overlay(images.read_image("b.png"), images.read_image(f"{stem}.png"))
    heat = images.open_picture(f"{stem}-heat-2.png")
    assert np.abs(np.asarray(expected, int) - np.asarray(heat, int)).mean() < 2  # of 255, rounded
    run("edit", picture, SAD, *QUICK, "--strength", "0", "--heat", "--out", "c.png")
    pixels = np.asarray(images.open_picture("c-heat.png"), int)
    assert np.ptp(pixels, axis=2).max() <= 1  # nothing changed: grey


# Edits in files


def test_a_saved_edit_does_the_same_again(run: Run) -> None:
    words = ["--seed", "1", "--strength", "1.5", "--json"]
    run("edit", PROMPT, *words, "--steps", "2", "--save-edit", "e.safetensors", "--out", "a.png")
    assert run.json()["edits"][0]["saved"] == "e.safetensors"
    (found,) = run("apply", "e.safetensors", *words, "--out", "b.png").json()["edits"]
    assert found["target"] == "a face with red hair" and found["config"]["steps"] == 2
    assert torch.equal(images.read_image("a.png"), images.read_image("b.png"))
    assert set(images.read_recipe("b.png")["hashes"]) == {"generator"}
    assert run("show", "b.png", "--replay", "--json").json()["largest_difference"] == 0
    assert run("edit", PROMPT, "--seed", "1", "--save-edit", "e.safetensors").code == 2
    assert "e.safetensors exists already" in run.err


def test_a_saved_edit_on_other_pictures(run: Run, picture: Path) -> None:
    for name, prompt in (("red", PROMPT), ("sad", SAD)):
        run("edit", "--seed", "1", prompt, "--steps", "1", "--save-edit", f"{name}.safetensors",
            "--out", f"{name}.png")  # fmt: skip
    words = ["apply", picture, "red.safetensors", "sad.safetensors", "--refine", "0"]
    assert run(*words, "--out", "many", "--strip").code == 0, run.err
    assert files("many") == {
        "me-a-face-with-red-hair.png", "me-a-sad-face.png", "me-strip.png",
    }  # fmt: skip
    assert run(*words, "--stack", "--out", "both.png").code == 0
    assert edits_of("both.png") == ["a face with red hair", SAD]
    assert run(*words, "--stack", "--strength", "0", "--out", "none.png").code == 0
    assert run("invert", picture, "--refine", "0").code == 0
    assert torch.equal(images.read_image("none.png"), images.read_image("me-inverted.png"))


def test_an_edit_of_other_weights_is_refused(run: Run) -> None:
    edit = Edit("test", PromptPair("b", "a"), style_step=torch.zeros(1, 3))
    save_edit("e.safetensors", edit, generator_hash="f" * 64)
    assert run("apply", "--seed", "1", "e.safetensors").code == 2
    assert "expected generator ffffffffffff" in run.err and "'tiny' has" in run.err
    assert files() == {"e.safetensors"}


def test_help_says_what_an_edit_of_another_picture_is(run: Run) -> None:
    assert "finds its step on one picture" in " ".join(run("apply", "-h", model=False).out.split())


# Pictures that remember


def test_a_picture_of_ours_is_not_inverted(run: Run, inversions: list[Any]) -> None:
    run("sample", "--seed", "3", "--out", "three.png")
    run("edit", "three.png", PROMPT, "--steps", "2", "--out", "a.png", "--strip")
    assert run.err == (
        "styleclip: note: three.png carries its recipe: its own latent is used "
        "(--reinvert inverts the picture)\n"
    )
    run("edit", "--seed", "3", PROMPT, "--steps", "2", "--out", "b.png")
    assert torch.equal(images.read_image("a.png"), images.read_image("b.png"))
    assert not inversions
    assert images.open_picture("a-strip.png").width == 2 * (192 + 12) + 12


def test_edits_that_a_picture_has_stay(run: Run, picture: Path, inversions: list[Any]) -> None:
    run("edit", picture, PROMPT, *QUICK, "--strength", "0.7", "--out", "a.png")
    run("edit", "a.png", SAD, "--steps", "2", "--out", "b.png")
    assert "its own latent is used and its edit stays" in run.err
    run("edit", "b.png", "an old face", "--steps", "1", "--strength", "0", "--out", "c.png")
    assert "its 2 edits stay" in run.err
    assert edits_of("c.png") == ["a face with red hair", SAD, "an old face"]
    assert [each["strength"] for each in images.read_recipe("c.png")["edits"]] == [0.7, 1, 0]
    assert torch.equal(images.read_image("c.png"), images.read_image("b.png"))
    assert len(inversions) == 1
    assert run("edit", "b.png", SAD, *QUICK, "--reinvert", "--out", "d.png").code == 0
    assert len(inversions) == 2 and run.err == "" and edits_of("d.png") == [SAD]


def test_a_recipe_that_does_not_fit_is_not_used(run: Run, inversions: list[Any]) -> None:
    run("sample", "--seed", "3", "--out", "a.png")
    recipe = images.read_recipe("a.png")
    image = images.open_picture("a.png")
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    strange = {**recipe, "hashes": {"generator": "0" * 64}}
    cases = [
        (mirrored, recipe, "it was changed after it was made"),
        (image, strange, "made with other weights"),
        (image, {**recipe, "version": 9}, "the recipe has version 9"),
        (image, {**recipe, "source": {}}, "the recipe is not complete"),
    ]
    for i, (pixels, carried, expected) in enumerate(cases, start=1):
        images.save_image("b.png", pixels, carried, overwrite=True)
        assert run("edit", "b.png", SAD, *QUICK, "--out", "c.png", "--force").code == 0
        assert expected in run.err and run.err.count("\n") == 1
        assert len(inversions) == i


def test_the_channels_that_moved_are_shown(run: Run) -> None:
    run("edit", "--seed", "1", PROMPT, SAD, "--stack", "--steps", "2", "--out", "a.png")
    (first, *others) = run("show", "a.png", "--channels", "3", "--json").json()["channels"]
    assert len(others) == 2 and set(first) == {"layer", "channel", "change", "deviations"}
    lines = [line.split() for line in run("show", "a.png", "--channels", "3").out.splitlines()]
    shown = [line[1] for line in lines if line[0] == "channel"]
    assert shown == [f"{each['layer']}:{each['channel']}" for each in (first, *others)]
    # what they are, is the library's to say
    studio, recipe = Studio.load(run.model, torch.device("cpu")), images.read_recipe("a.png")
    stack = Recipe.from_json(recipe).edits
    w_plus, (_, std) = studio.samples(1, seed=1, truncation=0.7), studio.style_statistics
    (most,) = moved_channels(studio.generator, w_plus, stack, count=1, std=std)
    assert (str(most), most.deviations) == (shown[0], pytest.approx(first["deviations"], rel=1e-3))
    run("sample", "--seed", "1", "--out", "plain.png")
    assert run("show", "plain.png", "--channels", "3").code == 2 and "has no edit" in run.err
    strange = {**recipe, "hashes": {"generator": "0" * 64}}
    images.save_image("b.png", images.open_picture("a.png"), strange)
    assert run("show", "b.png", "--channels", "3").code == 2 and "other weights" in run.err


# An optimisation that fails


@pytest.mark.parametrize("stack", [True, False])
def test_the_best_edit_so_far_is_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, stack: bool
) -> None:
    def fail(
        generator: Any, embedder: Any, w_plus: Any, prompt: Any, *rest: Any, **more: Any
    ) -> Edit:
        edit = optimize(generator, embedder, w_plus, prompt, *rest, **more)
        if prompt.target == SAD:
            raise NonFiniteError("the loss became nan at step 2; lower the rate", best=edit)
        return edit

    monkeypatch.setattr("styleclip.studio.optimize", fail)
    form = ["--out", "a.png", "--stack"] if stack else ["--out", "a"]
    run("edit", "--seed", "1", PROMPT, SAD, "an old face", "--steps", "1", *form)
    path = Path("a.png" if stack else "a/seed-1-a-sad-face.png")
    assert run.code == 2 and run.out == ""
    assert run.err == (
        "styleclip: error: the loss became nan at step 2; lower the rate; "
        f"the best edit so far is in {path}\n"
    )
    assert edits_of(path)[-1] == SAD
    assert files() == ({"a.png"} if stack else {"a"})
    assert stack or files("a") == {"seed-1-a-face-with-red-hair.png", "seed-1-a-sad-face.png"}


def test_without_a_best_edit_nothing_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Edit:
        raise NonFiniteError("the loss became nan at step 1")

    monkeypatch.setattr("styleclip.studio.optimize", fail)
    assert run("edit", "--seed", "1", SAD).code == 2
    assert run.err == "styleclip: error: the loss became nan at step 1\n" and files() == set()
