"""Models by name or folder, and their parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from styleclip.checkpoints import (
    load_generator,
    read_model,
    registry,
    resolve_model,
    save_generator,
)
from styleclip.errors import CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2Config
from tests.reference.networks import random_generator

DESCRIPTION = {
    "name": "tiny",
    "description": "squares",
    "neutral": "a square",
    "licence": "MIT",
    "resolution": 8,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(DESCRIPTION))
    config = StyleGAN2Config(8, (3, 2), w_dim=4, z_dim=4, mapping_layers=1)
    save_generator(folder / "generator.safetensors", random_generator(config))
    return folder


def test_a_folder_is_a_model(folder: Path) -> None:
    model = read_model(folder)
    assert resolve_model(str(folder)) == folder == model.folder
    assert (model.name, model.description) == ("tiny", "squares")
    assert (model.neutral, model.licence) == ("a square", "MIT")
    assert model.extra == {"resolution": 8}
    assert model.file(registry.GENERATOR) == folder / "generator.safetensors"


def test_a_name_is_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "tiny", folder)
    assert resolve_model("tiny") == folder
    assert load_generator("tiny").resolution == 8
    assert load_generator(folder).resolution == 8
    assert load_generator(folder / "generator.safetensors").resolution == 8


def test_the_built_in_model_lies_inside_the_package() -> None:
    import styleclip

    package = Path(styleclip.__file__).parent
    assert registry.BUILT_IN["portraits"] == package / "portraits" / "weights"


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model 'portrait'.*\(portraits\)"):
        resolve_model("portrait")
    with pytest.raises(CheckpointError, match=r"no file portrait, .*\(portraits\)"):
        load_generator("portrait")


def test_a_folder_without_description_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a model folder: it has no model\.json"):
        resolve_model(tmp_path)
    with pytest.raises(CheckpointError, match="is a folder: give the file of weights inside it"):
        load_generator(tmp_path)


def test_a_missing_part_is_named(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'tiny' has no encoder\.safetensors in"):
        read_model(folder).file(registry.ENCODER)


def test_missing_built_in_weights_are_an_installation_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "gone", tmp_path / "gone")
    with pytest.raises(CheckpointError, match="not in this installation"):
        resolve_model("gone")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 3}'])
def test_an_unreadable_description_is_refused(text: str, folder: Path) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        read_model(folder)
