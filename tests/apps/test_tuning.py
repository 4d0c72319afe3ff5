"""Tunings on the command line: found, saved, used again, and what cannot be wanted together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from styleclip import images
from styleclip.checkpoints import load_tuning, tensors_hash
from styleclip.inversion.tuning import TuningConfig
from tests.apps.running import PROMPT, Run, files

QUICK = ["--refine", "2"]
FILE = "t.safetensors"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tuning of a few steps."""
    from styleclip import studio

    def tune(generator: Any, image: Any, w_plus: Any, config: Any, on_step: Any) -> Any:
        assert config == TuningConfig()
        return found(generator, image, w_plus, TuningConfig(steps=5, rate=1e-4), on_step)

    found = studio.tune
    monkeypatch.setattr(studio, "tune", tune)


def error_of(path: str | Path, other: str | Path) -> float:
    return float((images.read_image(path) - images.read_image(other)).square().mean())


def test_a_tuned_inversion_is_nearer_and_makes_itself_again(run: Run, picture: Path) -> None:
    run("invert", picture, *QUICK, "--out", "plain.png", "--strip")
    plain = run("invert", picture, *QUICK, "--out", "again.png", "--json").json()
    run("invert", picture, *QUICK, "--tune", "--save-tuning", FILE, "--out", "a.png", "--json")
    tuned = run.json()
    assert tuned["error"] < plain["error"] and tuned["tuning"] == FILE
    assert tuned["psnr"]["after"] > tuned["psnr"]["before"] and "tune" in tuned["seconds"]
    recipe = images.read_recipe("a.png")
    assert recipe["hashes"]["tuning"] == tensors_hash(load_tuning(FILE).differences)
    assert run("show", "a.png", "--replay").code == 2
    assert "was drawn by a tuned generator" in run.err and "--tuning" in run.err
    shown = run("show", "a.png", "--replay", "--tuning", FILE, "--json").json()
    assert shown["largest_difference"] == 0
    assert run("show", "plain.png", "--replay", "--tuning", FILE).code == 2
    assert "made without a tuning: leave --tuning out" in run.err


def test_edits_on_a_tuned_generator(run: Run, picture: Path) -> None:
    words = ["edit", picture, PROMPT, "--steps", "1"]
    assert run(*words, *QUICK, "--tune", "--save-tuning", FILE, "--out", "a.png").code == 0, run.err
    # with the file: the picture's own latent, not inverted again
    assert run(*words, "--tuning", FILE, "--out", "b.png").code == 0, run.err
    assert run.err == "" and error_of("a.png", "b.png") < 1e-4
    # a picture with its recipe knows its latent too, and needs the same tuning
    run("invert", picture, "--tuning", FILE)
    run("edit", "a.png", "a sad face", "--steps", "1", "--tuning", FILE, "--out", "c.png")
    assert "its own latent is used and its edit stays" in run.err
    run("edit", "a.png", "a sad face", "--steps", "1", *QUICK, "--out", "d.png")
    assert "a.png is inverted although" in run.err and "--tuning" in run.err


def test_a_tuning_of_another_picture(run: Run, picture: Path) -> None:
    run("invert", picture, *QUICK, "--tune", "--save-tuning", FILE)
    gradient = images.open_picture(picture)
    gradient.transpose(Image.Transpose.FLIP_TOP_BOTTOM).point(lambda v: v // 255 * 255).save(
        "other.png"
    )
    words = ["edit", "other.png", PROMPT, "--steps", "1", "--refine", "0"]
    assert run(*words, "--tuning", FILE, "--out", "a.png").code == 0
    assert "made for another picture: this one is inverted" in run.err


def test_saved_edits_fit_the_tuned_generator(run: Run, picture: Path) -> None:
    run("edit", "--seed", "1", PROMPT, "--steps", "1", "--save-edit", "e.safetensors")
    run("invert", picture, *QUICK, "--tune", "--save-tuning", FILE)
    run("apply", picture, "e.safetensors", "--tuning", FILE, "--out", "a.png")
    assert run.code == 0, run.err
    run("apply", picture, "e.safetensors", *QUICK, "--tune", "--out", "b.png")
    assert error_of("a.png", "b.png") < 1e-4
    assert "without --save-tuning FILE this picture cannot be replayed" in run.err


def test_a_picture_of_ours_needs_no_tuning(run: Run) -> None:
    run("sample", "--seed", "3", "--out", "three.png")
    run("edit", "three.png", PROMPT, "--steps", "1", "--tune", "--out", "a.png")
    assert run.code == 0 and "draws this picture exactly: nothing is tuned" in run.err
    assert "tuning" not in images.read_recipe("a.png")["hashes"]
    words = ["edit", "three.png", PROMPT, "--steps", "1", "--tune", "--save-tuning", FILE]
    assert run(*words, "--out", "b.png").code == 2
    assert "nothing to save" in run.err and files() == {"three.png", "a.png"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "1", PROMPT, "--tune"], "needs a picture"),
        (["me.jpg", PROMPT, "--save-tuning", FILE], "add --tune"),
        (["me.jpg", PROMPT, "--tune", "--tuning", FILE], "leave --tune out"),
        (["me.jpg", PROMPT, "--tuning", FILE], "there is no file"),
    ],
)
def test_what_cannot_be(run: Run, picture: Path, words: list[str], message: str) -> None:
    assert run("edit", *words).code == 2
    assert message in run.err and files() == {"me.jpg"}


def test_nothing_is_overwritten_unasked(run: Run, picture: Path) -> None:
    Path(FILE).write_text("mine")
    assert run("invert", picture, "--tune", "--save-tuning", FILE).code == 2
    assert "exists already" in run.err and Path(FILE).read_text() == "mine"


def test_stopped_while_tuning(run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("styleclip.studio.tune", stop)
    assert run("invert", picture, *QUICK, "--tune", "--save-tuning", FILE).code == 130
    assert files() == {"me.jpg"} and "nothing half-written" in run.err


def test_a_tuning_of_other_weights(run: Run, picture: Path) -> None:
    from styleclip.checkpoints import save_tuning
    from styleclip.inversion.tuning import Tuning

    save_tuning(FILE, Tuning({}, torch.zeros(1, 8, 16)), "f" * 64)
    assert run("edit", picture, PROMPT, "--tuning", FILE).code == 2
    assert "expected ffffffffffff" in run.err and "'tiny' has" in run.err
