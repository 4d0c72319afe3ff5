"""Edits in files: what goes in comes out, and nothing else is taken for an edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from styleclip.checkpoints import load_edit, native, save_edit, save_network
from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.prompts import PromptPair

PROMPT = PromptPair(target="ein Gesicht mit rotem Haar ☺", neutral="ein Gesicht")
HASH = "ab" * 32
STEP = torch.randn(1, 9, generator=torch.Generator().manual_seed(0))
DESCRIPTION: dict[str, Any] = {
    "method": "optimization", "target": "b", "neutral": "a", "config": {}, "generator": HASH,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["w_plus", "style", "both"])
def test_an_edit_comes_back(kind: str, tmp_path: Path) -> None:
    edit = Edit(
        method="optimization",
        prompt=PROMPT,
        w_plus_step=None if kind == "style" else STEP.reshape(1, 3, 3),
        style_step=None if kind == "w_plus" else STEP,
        config={"steps": 3, "rate": 0.1, "chunk": None},
    )
    save_edit(tmp_path / "a.safetensors", edit, generator_hash=HASH)
    again = load_edit(tmp_path / "a.safetensors")
    assert (again.method, again.prompt, again.config) == (edit.method, PROMPT, edit.config)
    assert again.generator_hash == HASH
    for name in ("w_plus_step", "style_step"):
        before, after = getattr(edit, name), getattr(again, name)
        assert (before is None) == (after is None)
        assert before is None or torch.equal(before, after)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    save_edit(tmp_path / "a", Edit("test", PROMPT, style_step=STEP), generator_hash=HASH)
    with safe_open(tmp_path / "a", "pt") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["kind"]) == ("styleclip/1", "edit")
    assert json.loads(metadata["config"])["generator"] == HASH


def test_no_step_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="nothing to save"):
        save_edit(tmp_path / "a", Edit("test", PROMPT), generator_hash=HASH)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = Edit("test", PROMPT, style_step=STEP)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_edit(tmp_path / "none" / "a", edit, generator_hash=HASH)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(native.os, "replace", fail)
    with pytest.raises(CheckpointError, match="disk full"):
        save_edit(tmp_path / "a", edit, generator_hash=HASH)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "holds no tensors, expected w_plus_step or style_step"),
        ({"style_step": STEP, "more": STEP}, "holds more, style_step"),
        ({"style_step": STEP[0]}, "style_step of torch.float32 .9., expected 2 dimensions"),
        ({"w_plus_step": STEP}, "expected 3 dimensions"),
        ({"style_step": STEP[:0]}, "expected 2 dimensions"),
        ({"style_step": STEP.long()}, "torch.int64"),
        ({"style_step": STEP / 0}, "not finite"),
    ],
)
def test_other_tensors_are_refused(
    tensors: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    save_network(tmp_path / "a", "edit", DESCRIPTION, tensors)
    with pytest.raises(CheckpointError, match=message):
        load_edit(tmp_path / "a")


@pytest.mark.parametrize("name", DESCRIPTION)
def test_incomplete_descriptions_are_refused(name: str, tmp_path: Path) -> None:
    config = {key: value for key, value in DESCRIPTION.items() if key != name}
    save_network(tmp_path / "a", "edit", config, {"style_step": STEP})
    with pytest.raises(CheckpointError, match=f"does not describe an edit.*{name}"):
        load_edit(tmp_path / "a")
    save_network(tmp_path / "a", "edit", DESCRIPTION | {"config": 3}, {"style_step": STEP})
    with pytest.raises(CheckpointError, match="does not describe an edit"):
        load_edit(tmp_path / "a")


def test_a_network_is_not_an_edit(tmp_path: Path) -> None:
    save_network(tmp_path / "a", "encoder", {}, {"style_step": STEP})
    with pytest.raises(CheckpointError, match="kind 'encoder', expected 'edit'"):
        load_edit(tmp_path / "a")
