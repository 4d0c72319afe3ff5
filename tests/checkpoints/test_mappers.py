"""Mappers from files: the official checkpoints and their recorded outputs, and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from styleclip.checkpoints import (
    check_mapper,
    load_mapper,
    load_training,
    save_mapper,
    save_network,
    save_training,
)
from styleclip.editing.mapper import FACTOR, Mapper, MapperConfig
from styleclip.editing.mapper_training import TrainingState
from styleclip.editing.ranger import Ranger
from styleclip.editing.text_mapper import TextMapper, TextMapperConfig
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.prompts import PromptPair
from tests.reference.networks import VECTORS, expected

CLOSE = {"rtol": 0, "atol": 1e-5}  # float32 on both sides


@pytest.mark.parametrize("name", ["mapper-levels", "mapper-levels-no-fine", "mapper-single"])
def test_official_mappers_in_w_plus(name: str) -> None:
    values = expected(name)
    mapper = load_mapper(VECTORS / f"{name}.pt").network
    w_plus = values["w_plus"]
    torch.testing.assert_close(mapper.delta(w_plus), values["delta"], **CLOSE)
    torch.testing.assert_close(mapper(w_plus), values["w_plus_edited"], **CLOSE)
    assert mapper.config.norm == "layers"


def test_an_official_mapper_in_style_space() -> None:
    values = expected("mapper-stylespace")
    mapper = load_mapper(VECTORS / "mapper-stylespace.pt").network
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
    found = load_mapper(saved(contents, tmp_path))
    assert (found.prompts, found.generator_hash) == ((), "")  # such files do not say
    mapper = found.network
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


HASHES = {"generator": "a" * 64, "clip": "b" * 64}
RED = PromptPair("a face with red hair", "a face")


def test_ours_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mapper = Mapper(MapperConfig.levels(6, ("coarse", "fine")))
    path = tmp_path / "mapper.safetensors"
    save_mapper(path, mapper, [RED], HASHES, {"steps": 3})
    found = load_mapper(path)
    assert isinstance(found.network, Mapper) and found.network.config == mapper.config
    assert found.prompts == (RED,) and found.own_prompt == RED
    assert (found.generator_hash, found.clip_hash) == (HASHES["generator"], HASHES["clip"])
    w_plus = torch.randn(2, 18, 6)
    torch.testing.assert_close(found.network.delta(w_plus), mapper.delta(w_plus))
    check_mapper(found, HASHES, "mine")
    with pytest.raises(CheckpointError, match="another clip: expected bbbbbbbbbbbb"):
        check_mapper(found, {**HASHES, "clip": "c" * 64}, "mine")


def test_a_text_mapper_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mapper = TextMapper(TextMapperConfig(6, 5, hidden=8))
    torch.nn.init.normal_(mapper.matrix)
    torch.nn.init.eye_(mapper.covariance)
    path = tmp_path / "mapper.safetensors"
    save_mapper(path, mapper, [RED, PromptPair("an old face", "a face")], HASHES, {})
    found = load_mapper(path)
    assert isinstance(found.network, TextMapper) and found.network.config == mapper.config
    w_plus, direction = torch.randn(2, 10, 6), torch.nn.functional.normalize(torch.randn(5), dim=0)
    torch.testing.assert_close(found.network(w_plus, direction), mapper(w_plus, direction))
    with pytest.raises(ArgumentError, match="does not name one prompt"):
        _ = found.own_prompt


@pytest.mark.parametrize("broken", ["kind", "config", "tensors"])
def test_files_of_ours_that_are_no_mappers(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "mapper.safetensors"
    mapper = Mapper(MapperConfig.single(6))
    config: dict[str, Any] = {"network": mapper.config.to_dict(), "prompts": [["a", "b"]],
                              "generator": "", "clip": "", "training": {}}  # fmt: skip
    state = mapper.state_dict()
    if broken == "config":
        del config["network"]["groups"]
    if broken == "tensors":
        state.pop("networks.0.0.weight")
    save_network(path, "encoder" if broken == "kind" else "mapper", config, state)
    words = {"kind": "expected a mapper", "config": "unusable config: 'groups'",
             "tensors": "networks.0.0.weight"}  # fmt: skip
    with pytest.raises(CheckpointError, match=words[broken]):
        load_mapper(path)


def test_a_training_under_way_comes_back(tmp_path: Path) -> None:
    mapper = Mapper(MapperConfig.single(3))
    ranger = Ranger(mapper.parameters())
    mapper.delta(torch.randn(2, 4, 3)).sum().backward()
    ranger.step()
    state = TrainingState(7, mapper.state_dict(), mapper.state_dict(), ranger.state_dict(), {}, 0.5)
    path, settings = tmp_path / "m.partial", {"steps": 9, "rate": 0.1, "levels": ("coarse",)}
    assert load_training(path, settings) is None
    save_training(path, state, settings)
    found = load_training(path, settings)
    assert found is not None
    assert (found.step, found.lowest, found.since) == (7, 0.5, 0)
    again = Ranger(mapper.parameters())
    again.load_state_dict(found.optimizer)
    for name, tensor in mapper.state_dict().items():
        assert torch.equal(found.weights[name], tensor)
    with pytest.raises(CheckpointError, match="other settings or weights: delete it"):
        load_training(path, {**settings, "rate": 0.2})
    torch.save({"weights": {}}, path)
    with pytest.raises(CheckpointError, match="not a training under way"):
        load_training(path, settings)
