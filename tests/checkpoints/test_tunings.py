"""Tunings in files: what goes in comes out, and belongs to one generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from styleclip.checkpoints import (
    check_tuning,
    load_tuning,
    native,
    save_network,
    save_tuning,
    tensors_hash,
)
from styleclip.errors import CheckpointError
from styleclip.inversion.tuning import Tuning

HASH = "ab" * 32
PIVOT = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
TENSORS = {"pivot": PIVOT, "const": torch.full((2, 4, 4), 1e-3).half()}
DESCRIPTION: dict[str, Any] = {"generator": HASH, "tuned": {"steps": 3}, "figures": {"after": 40.0}}
TUNING = Tuning({"const": TENSORS["const"]}, PIVOT, {"steps": 3}, {"after": 40.0})


def test_a_tuning_comes_back(tmp_path: Path) -> None:
    save_tuning(tmp_path / "a.safetensors", TUNING, HASH)
    again = load_tuning(tmp_path / "a.safetensors")
    assert (again.config, again.figures, again.generator_hash) == (
        TUNING.config, TUNING.figures, HASH,
    )  # fmt: skip
    assert torch.equal(again.w_plus, PIVOT)
    assert tensors_hash(again.differences) == tensors_hash(TUNING.differences)


def test_it_belongs_to_one_generator(tmp_path: Path) -> None:
    save_tuning(tmp_path / "a", TUNING, HASH)
    again = load_tuning(tmp_path / "a")
    check_tuning(again, HASH, "tiny")
    check_tuning(TUNING, "c" * 64, "tiny")  # found here, not read from a file
    with pytest.raises(CheckpointError, match="another generator: expected abababababab, but the"):
        check_tuning(again, "c" * 64, "tiny")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"const": TENSORS["const"]}, "no latents"),
        (TENSORS | {"pivot": PIVOT[0]}, "no latents"),
        (TENSORS | {"pivot": PIVOT.half()}, "no latents"),
        (TENSORS | {"pivot": PIVOT / 0}, "numbers in pivot that are not finite"),
        (TENSORS | {"const": TENSORS["const"] / 0}, "numbers in const that are not finite"),
        (TENSORS | {"const": TENSORS["const"].long()}, "numbers in const that are not finite"),
    ],
)
def test_other_tensors_are_refused(
    tensors: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    save_network(tmp_path / "a", "tuning", DESCRIPTION, tensors)
    with pytest.raises(CheckpointError, match=message):
        load_tuning(tmp_path / "a")


@pytest.mark.parametrize("name", DESCRIPTION)
def test_incomplete_descriptions_are_refused(name: str, tmp_path: Path) -> None:
    config = {key: value for key, value in DESCRIPTION.items() if key != name}
    save_network(tmp_path / "a", "tuning", config, TENSORS)
    with pytest.raises(CheckpointError, match=f"does not describe a tuning.*{name}"):
        load_tuning(tmp_path / "a")
    save_network(tmp_path / "a", "tuning", DESCRIPTION | {"figures": 3}, TENSORS)
    with pytest.raises(CheckpointError, match="does not describe a tuning"):
        load_tuning(tmp_path / "a")


def test_an_edit_is_not_a_tuning(tmp_path: Path) -> None:
    save_network(tmp_path / "a", "edit", DESCRIPTION, TENSORS)
    with pytest.raises(CheckpointError, match="kind 'edit', expected 'tuning'"):
        load_tuning(tmp_path / "a")


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(native.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        save_tuning(tmp_path / "a", TUNING, HASH)
    assert not list(tmp_path.iterdir())
