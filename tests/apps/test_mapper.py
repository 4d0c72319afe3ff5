"""Mappers from the command line: trained, stopped, killed, resumed, applied."""

from __future__ import annotations

import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from styleclip import images
from styleclip.checkpoints import load_edit, load_mapper, save_mapper
from styleclip.editing import mapper_training
from styleclip.editing.mapper import Mapper, MapperConfig
from styleclip.editing.text_mapper import TextMapper
from styleclip.studio import Studio
from tests.apps.killing import kill_at_random
from tests.apps.running import PROMPT, Run, files
from tests.reference.networks import VECTORS

SHORT = ("--steps", "6", "--batch", "2", "--save-every", "0")
FEW = ("--latents", "12", *SHORT)
TARGET = PROMPT.split(" -> ")[1]


@pytest.fixture
def mapper(run: Run) -> Path:
    path = Path("mapper.safetensors")
    assert run("mapper", "train", path, PROMPT, *FEW).code == 0, run.err
    return path


def test_training_writes_a_mapper_of_this_model(run: Run) -> None:
    found = run("mapper", "train", "m.safetensors", PROMPT, *FEW, "--json").json()
    assert (found["out"], found["prompts"], found["steps"]) == ("m.safetensors", 1, 6)
    assert files() & {"m.safetensors", "m.safetensors.partial"} == {"m.safetensors"}
    kept = load_mapper("m.safetensors")
    assert isinstance(kept.network, TextMapper)
    assert str(kept.own_prompt) == PROMPT and kept.training["steps"] == 6
    assert run("mapper", "train", "m.safetensors", PROMPT, *FEW).code == 2
    assert "exists already" in run.err


def test_a_file_of_prompts_and_sheets(run: Run) -> None:
    Path("prompts.txt").write_text(f"# two things\n{TARGET}\n\n{PROMPT[:6]} -> a smiling face\n")
    assert run("mapper", "train", "m.safetensors", "--prompts", "prompts.txt", *FEW,
               "--sheets", "sheets", "--sheet-every", "3").code == 0, run.err  # fmt: skip
    kept = load_mapper("m.safetensors")
    assert [each.target for each in kept.prompts] == [TARGET, "a smiling face"]
    assert files("sheets") == {"000003.png", "000006.png"}
    assert images.open_picture("sheets/000006.png").width == 12 * (192 + 12) + 12


def test_pictures_can_be_learned_from(run: Run, picture: Path) -> None:
    Path("faces").mkdir()
    for i, name in enumerate(("one.png", "two.png")):
        images.open_picture(picture).rotate(90 * i).save(Path("faces") / name)
    assert run("mapper", "train", "m.safetensors", PROMPT, *SHORT, "--pictures", "faces").code == 0
    Path("faces/one.png").unlink()
    assert run("mapper", "train", "n.safetensors", PROMPT, *SHORT, "--pictures", "faces").code == 2
    assert "needs at least 2" in run.err


def test_inversions_are_not_lost_with_a_command_that_was_stopped(
    run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("faces").mkdir()
    for i in range(4):
        images.open_picture(picture).rotate(90 * i).save(Path("faces") / f"{i}.png")
    train = ("mapper", "train", "m.safetensors", PROMPT, *SHORT, "--pictures", "faces")
    inverted: list[int] = []
    invert = Studio.open

    def dies_at(last: int) -> None:
        def counted(self: Studio, *arguments: Any) -> torch.Tensor:
            if len(inverted) == last:
                raise KeyboardInterrupt
            inverted.append(1)
            return invert(self, *arguments)

        monkeypatch.setattr(Studio, "open", counted)

    dies_at(2)
    assert run(*train).code == 130
    assert "m.safetensors.inversions" in files()
    dies_at(-1)
    assert run(*train).code == 0, run.err
    assert len(inverted) == 4  # none of them twice
    assert "m.safetensors.inversions" not in files()
    stopped = Path("m.safetensors").read_bytes()
    assert run(*train, "--force").code == 0, run.err
    assert len(inverted) == 8  # what is finished leaves nothing behind
    assert Path("m.safetensors").read_bytes() == stopped


def test_a_training_that_was_stopped_goes_on(
    run: Run, mapper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, terms = [], mapper_training._Task.terms

    def stopped(*arguments: Any) -> dict[str, torch.Tensor]:
        steps.append(1)
        if len(steps) == 4:
            signal.raise_signal(signal.SIGINT)  # in the middle of a step
        return terms(*arguments)

    monkeypatch.setattr(mapper_training._Task, "terms", stopped)
    late = [*FEW[:-1], "1000"]  # only Ctrl-C saves
    assert run("mapper", "train", "again.safetensors", PROMPT, *late).code == 130
    assert "again.safetensors" not in files() and "again.safetensors.partial" in files()
    monkeypatch.setattr(mapper_training._Task, "terms", terms)
    assert run("mapper", "train", "again.safetensors", PROMPT, *FEW, "--rate", "0.5").code == 2
    assert "other settings" in run.err
    assert run("mapper", "train", "again.safetensors", PROMPT, *late).code == 0, run.err
    assert Path("again.safetensors").read_bytes() == mapper.read_bytes()
    assert "again.safetensors.partial" not in files()


@pytest.mark.parametrize("name", ["latents.pt", "w_plus.npy"])
def test_latents_of_a_file_can_be_learned_from(run: Run, name: str) -> None:
    studio = Studio.load(run.model, torch.device("cpu"))
    latents = studio.samples(3, seed=8)
    if name.endswith("npy"):
        np.save(name, latents.numpy())
    else:
        torch.save(latents, name)
    train = ("mapper", "train", "m.safetensors", PROMPT, *SHORT, "--latents-file", name)
    assert run(*train).code == 0, run.err
    kept = load_mapper("m.safetensors")
    assert (kept.training["given"], kept.training["trained"]) == (3, 6)
    # it learned from those: the same samples, drawn here, make the same mapper
    seed = ("--latents", "3", "--seed", "8", "--truncation", "1")
    assert run("mapper", "train", "n.safetensors", PROMPT, *SHORT, *seed).code == 0, run.err
    assert run(*train[:2], "o.safetensors", *train[3:], "--seed", "8").code == 0, run.err
    drawn, given = (load_mapper(f"{n}.safetensors").network.state_dict() for n in "no")
    for key, tensor in drawn.items():
        assert torch.equal(tensor, given[key]), key


def test_latents_that_do_not_fit_are_refused(run: Run, place: Path) -> None:
    train = ("mapper", "train", "m.safetensors", PROMPT, *SHORT, "--latents-file", "x.pt")
    for shape, what in (
        ((4, 18, 512), r"latents of shape [18, 512], this generator's are [8, 16]"),
        ((1, 8, 16), "a mapper needs at least 2"),
        ((4,), "expected latents in W+"),
    ):
        torch.save(torch.zeros(shape), "x.pt")
        assert run(*train).code == 2
        assert what in run.err
    assert run(*train, "--pictures", ".").code == 2
    assert "not both" in run.err
    assert run(*train, "--truncation", "0.5").code == 2
    assert "leave them, or --latents-file" in run.err
    assert "m.safetensors" not in files()


def test_other_pictures_are_another_training(run: Run, picture: Path) -> None:
    Path("faces").mkdir()
    for i, name in enumerate(("one.png", "two.png")):
        images.open_picture(picture).rotate(90 * i).save(Path("faces") / name)
    train = ("mapper", "train", "m.safetensors", PROMPT, *SHORT, "--pictures", "faces")
    with pytest.MonkeyPatch.context() as patched:
        terms = mapper_training._Task.terms
        patched.setattr(
            mapper_training._Task, "terms",
            lambda *a: (signal.raise_signal(signal.SIGINT), terms(*a))[1],
        )  # fmt: skip
        assert run(*train).code == 130
    images.open_picture(picture).rotate(180).save("faces/two.png")
    assert run(*train).code == 2
    assert "other settings" in run.err


def test_sheets_replace_no_picture_of_the_user(run: Run) -> None:
    Path("sheets").mkdir()
    Path("sheets/000003.png").write_bytes(b"mine")
    train = ("mapper", "train", "m.safetensors", PROMPT, *FEW, "--sheets", "sheets")
    assert run(*train, "--sheet-every", "3").code == 2
    assert "000003.png already" in run.err and Path("sheets/000003.png").read_bytes() == b"mine"


def test_a_log_is_written_where_tensorboard_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module, written = types.ModuleType("torch.utils.tensorboard"), []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            written.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, step))

        def close(self) -> None:
            written.append("closed")

    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert run("mapper", "train", "m.safetensors", PROMPT, *FEW, "--tensorboard", "log").code == 0
    assert written[0] == ("log", None) and written[-1] == "closed" and ("clip", 6) in written
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert run("mapper", "train", "n.safetensors", PROMPT, *FEW, "--tensorboard", "log").code == 2
    assert "styleclip[tensorboard]" in run.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [(), ("a smiling face", "an old face"), ("--network", "levels", "--levels", "coarse")]
)
def test_killed_at_any_moment_it_ends_in_the_same_file(run: Run, kind: tuple[str, ...]) -> None:
    few = ("--latents", "12", "--steps", "60", "--batch", "2", "--save-every", "0")
    options = (PROMPT, *kind, *few)
    whole, killed = Path("whole.safetensors"), Path("killed.safetensors")
    seconds = run("mapper", "train", whole, *options, "--json").json()["seconds"]["train"]
    words = ("mapper", "train", killed, *options, "--model", run.model)
    subprocess.run(kill_at_random(words, killed, seconds), check=True)
    assert killed.read_bytes() == whole.read_bytes()
    assert "killed.safetensors.partial" not in files()


def test_a_mapper_edits_pictures(run: Run, mapper: Path, picture: Path) -> None:
    fast = ("--refine", "0")
    assert run("mapper", "apply", picture, mapper, *fast, "--out", "a.png").code == 0, run.err
    # the same by the three-in-one command; a text mapper takes any prompt
    assert run("edit", picture, TARGET, "--method", "mapper", "--mapper", mapper, *fast,
               "--out", "b.png", "--save-edit", "e.safetensors").code == 0, run.err  # fmt: skip
    assert images.largest_difference(*map(images.open_picture, ("a.png", "b.png"))) == 0
    assert load_edit("e.safetensors").method == "mapper"
    assert run("mapper", "apply", picture, mapper, "a smiling face", *fast).code == 0
    assert run("mapper", "apply", picture, mapper, "a smiling face", TARGET, *fast,
               "--save-edit", "two.safetensors").code == 2  # fmt: skip
    assert "--save-edit writes one edit" in run.err
    assert run("edit", picture, TARGET, "--method", "mapper", "--mapper", mapper, *fast,
               "--auto-strength", "--out", "c.png", "--json").code == 0, run.err  # fmt: skip
    assert len(run.json()["edits"][0]["config"]["strengths"]) == 1
    two = ("mapper", "apply", picture, mapper, "a smiling face", TARGET, *fast, "--stack")
    each = ("--strength", "0.5", "--strength", "2")
    assert run(*two, *each, "--out", "d.png").code == 0, run.err
    assert [one["strength"] for one in images.read_recipe("d.png")["edits"]] == [0.5, 2]
    assert run(*two, *each, "--strength", "1").code == 2
    assert "--strength is there 3 times for 2 edits" in run.err


def test_a_mapper_of_the_paper_does_its_one_prompt(run: Run, picture: Path) -> None:
    few = ("--steps", "2", "--latents", "4")
    train = ("mapper", "train", "paper.safetensors", PROMPT, "--preset", "paper", *few)
    assert run(*train).code == 2
    assert "'tiny' has no identity network" in run.err
    assert run(*train[:-6], "--network", "style", "--loss", "target", *few).code == 0, run.err
    fast = ("--refine", "0")
    assert run("mapper", "apply", picture, "paper.safetensors", *fast).code == 0, run.err
    assert run("mapper", "apply", picture, "paper.safetensors", "a smiling face", *fast).code == 2
    assert f"was trained for '{PROMPT}' alone" in run.err


def test_a_mapper_of_another_generator_s_style_layers_is_refused(run: Run, picture: Path) -> None:
    official = VECTORS / "mapper-stylespace.pt"
    for words in (
        ("mapper", "apply", picture, official, TARGET),
        ("edit", picture, TARGET, "--method", "mapper", "--mapper", official),
    ):
        assert run(*words, "--refine", "0", "--out", "x.png").code == 2
        assert "moves style layers of 24, 24, 24, 24, 16, 16, 8 channels" in run.err
        assert "trained for another generator" in run.err and "x.png" not in files()


@pytest.mark.parametrize("space", ["style", "w_plus"])
def test_a_mapper_that_does_not_say_whose_it_is_is_used_with_a_warning(
    run: Run, picture: Path, space: str
) -> None:
    generator = Studio.load(run.model, torch.device("cpu")).generator
    config = MapperConfig.style(generator.layout)
    if space == "w_plus":
        config = MapperConfig.single(generator.config.w_dim)
    save_mapper("m.safetensors", Mapper(config), (), {"generator": "", "clip": ""}, {})
    apply = ("mapper", "apply", picture, "m.safetensors", TARGET, "--refine", "0")
    assert run(*apply, "--out", "a.png").code == 0, run.err
    assert run.err.count("warning: m.safetensors does not say which generator") == 1


def test_a_prompt_that_is_there_twice_is_learned_once(run: Run, mapper: Path) -> None:
    # in other words too: a target alone is of the model's neutral
    train = ("mapper", "train", "twice.safetensors", PROMPT, TARGET, PROMPT)
    assert run(*train, *FEW).code == 0, run.err
    assert run.err.count("note: of the 3 prompts some are the same: 1 is learned") == 1
    assert Path("twice.safetensors").read_bytes() == mapper.read_bytes()
    short = ("mapper", "train", "levels.safetensors", PROMPT, PROMPT, "--network", "single")
    assert run(*short, *FEW).code == 0, run.err
    # the steps of one prompt, not of many
    few = FEW[:2]
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:

        def stopped(*arguments: Any) -> None:
            seen.append(arguments[4].steps)
            raise KeyboardInterrupt

        patch.setattr(mapper_training, "train_mapper", stopped)
        assert run("mapper", "train", "m.safetensors", PROMPT, PROMPT, *few).code == 130
    assert seen == [mapper_training.TrainingConfig().steps]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("train", "m.safetensors"), "give a prompt to learn"),
        (("train", "m.safetensors", "--prompts", "none.txt"), "none.txt cannot be read"),
        (("train", "m.pt", PROMPT), "safetensors"),
        (("train", "m.safetensors", PROMPT, "a hat", "--network", "levels"), "learns one prompt"),
        (("train", "m.safetensors", PROMPT, "--levels", "middle"), "there is no level 'middle'"),
        (
            ("train", "m.safetensors", PROMPT, "--levels", "coarse,coarse"),
            "'coarse' is there twice",
        ),
        (("train", "m.safetensors", PROMPT, "--pictures", "nowhere"), "there is no folder"),
        (
            ("train", "m.safetensors", PROMPT, "--network", "levels", "--steps", "2"),
            "this generator has 8 rows of W+, and fine begins at row 9: leave that level out",
        ),
        (("train", "m.safetensors", PROMPT, "--pictures", ".", "--latents", "9"), "are of samples"),
        (("train", "m.safetensors", PROMPT, "--truncation", "0"), "hardly differ"),
        (("train", "m.safetensors", PROMPT, "--seed", str(2**70)), "seed"),
        (("apply", "me.jpg"), "give a picture and a mapper"),
        (("apply", "me.jpg", "none.safetensors"), "no file none.safetensors"),
        (("apply", "me.jpg", "me.jpg"), "not a file of weights"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    run: Run, picture: Path, words: tuple[str, ...], complaint: str
) -> None:
    before = files()
    assert run("mapper", *words).code == 2
    assert complaint in run.err and "Traceback" not in run.err
    assert files() == before
