"""Mappers from files: the official checkpoints and their recorded outputs, and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from styleclip.checkpoints import load_mapper, save_network
from styleclip.editing.mapper import FACTOR, Mapper, MapperConfig
from styleclip.errors import CheckpointError
from tests.reference.networks import VECTORS, expected

CLOSE = {"rtol": 0, "atol": 1e-5}  # float32 on both sides


@pytest.mark.parametrize("name", ["mapper-levels", "mapper-levels-no-fine", "mapper-single"])
def test_official_mappers_in_w_plus(name: str) -> None:
    values = expected(name)
    mapper = load_mapper(VECTORS / f"{name}.pt")
    w_plus = values["w_plus"]
    torch.testing.assert_close(mapper.delta(w_plus), values["delta"], **CLOSE)
    torch.testing.assert_close(mapper(w_plus), values["w_plus_edited"], **CLOSE)
    assert mapper.config.norm == "layers"


def test_an_official_mapper_in_style_space() -> None:
    values = expected("mapper-stylespace")
    mapper = load_mapper(VECTORS / "mapper-stylespace.pt")
    assert mapper.config.space == "style"
    torch.testing.assert_close(mapper.delta(values["style"]), values["delta"], **CLOSE)
    assert FACTOR == 0.1


def official(name: str) -> dict[str, Any]:
    contents: dict[str, Any] = torch.load(VECTORS / f"{name}.pt", weights_only=True)
    return contents


def saved(contents: Any, folder: Path) -> Path:
    path = folder / "mapper.pt"
    torch.save(contents, path)
    return path


def test_the_generator_that_real_files_carry_is_dropped(tmp_path: Path) -> None:
    contents = official("mapper-single")
    contents["state_dict"]["decoder.style.1.weight"] = torch.zeros(3)
    contents["latent_avg"] = torch.zeros(3)
    mapper = load_mapper(saved(contents, tmp_path))
    values = expected("mapper-single")
    torch.testing.assert_close(mapper.delta(values["w_plus"]), values["delta"], **CLOSE)


@pytest.mark.parametrize("broken", ["missing", "strange", "partial style", "nothing"])
def test_files_that_are_not_whole_are_refused(broken: str, tmp_path: Path) -> None:
    contents = official("mapper-stylespace" if broken == "partial style" else "mapper-levels")
    state = contents["state_dict"]
    words = {
        "missing": "mapper.fine_mapping.mapping.3.bias",
        "strange": "mapper.new.weight",
        "partial style": "none for layer 3",
        "nothing": "not a mapper",
    }[broken]
    if broken == "missing":
        del state["mapper.fine_mapping.mapping.3.bias"]
    if broken == "strange":
        state["mapper.new.weight"] = torch.zeros(1)
    if broken == "partial style":
        contents["state_dict"] = {k: v for k, v in state.items() if "mapper_3." not in k}
    if broken == "nothing":
        contents = {"weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=words):
        load_mapper(saved(contents, tmp_path))


def test_ours_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mapper = Mapper(MapperConfig.levels(6, ("coarse", "fine")))
    path = tmp_path / "mapper.safetensors"
    save_network(path, "mapper", mapper.config.to_dict(), mapper.state_dict())
    found = load_mapper(path)
    assert found.config == mapper.config
    w_plus = torch.randn(2, 18, 6)
    torch.testing.assert_close(found.delta(w_plus), mapper.delta(w_plus))
