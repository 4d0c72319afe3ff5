"""A model of one's own: every part is looked at before it gets a name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from styleclip.checkpoints import load_generator, read_model
from styleclip.checkpoints.cache import Cache
from tests.apps.running import Run
from tests.checkpoints import samples
from tests.reference.networks import save_dino
from tests.reference.public_layouts import write_clip, write_generator, write_vocabulary

GENERATOR, CLIP, WORDS = "generator.pt", "clip.pt", "words.gz"
WHOLE = {"generator": GENERATOR, "clip": CLIP, "tokenizer": WORDS, "neutral": "a face"}


@pytest.fixture
def run(tiny_model: Path, capsys: pytest.CaptureFixture[str], place: Path) -> Callable[..., Run]:
    """Give these parts a name, in a folder that holds what a model needs."""
    write_generator(Path(GENERATOR))
    write_clip(Path(CLIP))
    write_vocabulary(Path(WORDS))
    command = Run(tiny_model, capsys)

    def add(**parts: str | Path | None) -> Run:
        given = {**WHOLE, **parts}.items()
        words = [f"--{part}={each}" for part, each in given if each is not None]
        return command("models", "add", "mine", *words, model=False)

    return add


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the part that is given in place of the right one."""
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


def text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("not weights at all\n" * 50)
    return folder / "notes.txt"


def stylegan3(folder: Path) -> Path:
    return samples.saved({"synthesis.input.freqs": torch.zeros(4, 2)}, folder)


def dino(folder: Path) -> Path:
    save_dino(folder / "dino")
    return folder / "dino"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


@pytest.mark.parametrize(
    ("part", "write", "expected"),
    [
        ("generator", samples.openai, "is an OpenAI CLIP .* --generator a file that load_gen"),
        ("generator", samples.psp_without_options, "is e4e or pSp .* --generator a file"),
        ("generator", samples.fs3, "is an official fs3 .* --generator a file"),
        ("generator", stylegan3, "is a StyleGAN3, which is not readable yet: give --generator"),
        ("generator", text, "notes.txt is "),
        ("generator", empty, "empty is not the folder of a CLIP or a DINOv2"),
        ("clip", samples.copied("stylegan2-ada.pkl"), "is a StyleGAN2 .* --clip a file"),
        ("clip", dino, "is a DINOv2 .* --clip a file"),
        ("encoder", samples.arcface, "is ArcFace .* --encoder a file"),
        ("encoder", samples.psp_without_options, "convert .* --method e4e' .or psp., and add that"),
        ("encoder", samples.copied("stylegan2-ada.pkl"), "is a StyleGAN2 .* --encoder a file"),
        ("identity", samples.copied("stylegan2-ada.pkl"), "is a StyleGAN2 .* --identity a file"),
        ("identity", samples.e4e, "is e4e or pSp .* --identity a file"),
        ("tokenizer", text, "is not OpenAI's vocabulary"),
        ("tokenizer", empty, "holds no CLIP tokenizer"),
    ],
)
def test_a_part_that_is_something_else_is_refused(
    part: str, write: Callable[[Path], Path], expected: str, run: Callable[..., Run], folder: Path
) -> None:
    found = run(**{part: write(folder)})
    assert found.code == 2
    (line,) = (each for each in found.err.splitlines() if ": error: " in each)
    assert re.search(expected, line), line
    assert not Cache.here().model("mine").exists()


@pytest.mark.parametrize(
    "write", [samples.e4e, samples.tensorflow, samples.copied("stylegan2-ada.pkl")]
)
def test_every_file_that_holds_a_generator_can_be_one(
    write: Callable[[Path], Path], run: Callable[..., Run], folder: Path
) -> None:
    """That of e4e, too, which carries one beside its encoder."""
    path = write(folder)
    assert run(generator=path).code == 0
    assert load_generator(read_model("mine").file("generator")).resolution == 32


def test_encoders_and_identity_networks_in_their_public_layouts(
    run: Callable[..., Run], folder: Path
) -> None:
    encoder = samples.e4e(folder).rename(folder / "e4e.pt")
    assert run(encoder=encoder, identity=samples.arcface(folder)).code == 0
    assert {"encoder", "identity"} < set(read_model("mine").parts)


def test_a_transformers_folder_brings_its_own_tokenizer(
    run: Callable[..., Run], tiny_model: Path
) -> None:
    found = run(clip=tiny_model / "clip")
    assert found.code == 2 and "has its own tokenizer: leave --tokenizer out" in found.err
    assert run(clip=tiny_model / "clip", tokenizer=None).code == 0
