"""What the methods need is added to a model folder, and goes on where it was stopped."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from styleclip.portraits import train_methods
from styleclip.studio import Studio
from tests.apps.running import PROMPT


class Killed(BaseException):
    """As abrupt as a signal."""


def silent(name: str) -> Any:
    return lambda *_: None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    training = replace(train_methods.MAPPER_TRAINING, steps=6, batch=2)
    monkeypatch.setattr(train_methods, "MAPPER_TRAINING", training)
    monkeypatch.setattr(train_methods, "BANK", replace(train_methods.BANK, images=4, group=2))
    monkeypatch.setattr(train_methods, "LATENTS", 8)
    monkeypatch.setattr(train_methods, "SAVE_EVERY", 2)


@pytest.mark.usefixtures("small")
def test_a_model_gets_what_every_method_needs(tiny_model: Path, tmp_path: Path) -> None:
    model, work = tmp_path / "model", tmp_path / "work"
    shutil.copytree(tiny_model, model)
    work.mkdir()
    train_methods.add_methods(model, work, silent, "a face")
    studio = Studio.load(model)
    assert len(studio.mapper.prompts) > 300
    assert studio.bank.matrix.shape[0] == studio.generator.layout.size
    assert studio.latent_map.matrix.shape[1] == studio.generator.w_average.numel()
    w_plus = studio.sample(1)
    edit = studio.edit(w_plus, PROMPT, studio.mapper)
    assert edit.method == "mapper" and edit.w_plus_step is not None

    # killed, it goes on to the same files
    again = tmp_path / "again"
    shutil.copytree(tiny_model, again)
    shutil.rmtree(work)
    work.mkdir()
    told: list[str] = []

    def dies(name: str) -> Any:
        def on_step(step: int, steps: int, figures: Any) -> None:
            told.append(name)
            if (name, step) == ("mapper", 5):
                raise Killed

        return on_step

    with pytest.raises(Killed):
        train_methods.add_methods(again, work, dies, "a face")
    assert not (again / "mapper.safetensors").exists()
    train_methods.add_methods(again, work, silent, "a face")
    for name in ("mapper", "directions", "latent_map"):
        file = f"{name}.safetensors"
        assert (again / file).read_bytes() == (model / file).read_bytes(), name
