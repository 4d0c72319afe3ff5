"""Folders of transformers: inspect says what does not fit, and nothing is built that cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from styleclip.checkpoints import load_clip
from styleclip.checkpoints.inspection import inspect
from styleclip.checkpoints.loaders import load_image_encoder
from styleclip.checkpoints.registry import BUILT_IN
from styleclip.errors import CheckpointError

Tensors = dict[str, torch.Tensor]
BIAS = "text_model.final_layer_norm.bias"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUILT_IN["portraits"] / "clip", tmp_path / "clip"))


@pytest.fixture(scope="module")
def small_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14,
        mlp_ratio=2,
    )  # fmt: skip
    Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture
def dino(small_dino: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_dino, tmp_path / "dino"))


def with_tensors(folder: Path, change: Callable[[Tensors], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def with_config(folder: Path, **changes: Any) -> None:
    """``tower__name=value`` changes a tower's."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        *towers, name = key.split("__")
        place = config[towers[0]] if towers else config
        place[name] = value
    path.write_text(json.dumps(config))


def refused(read: Callable[[Path], Any], folder: Path, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as error:
        read(folder)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(BIAS), f"missing: {BIAS}"),
        (lambda tensors: tensors.update(extra=torch.zeros(3)), "unexpected: extra"),
        (lambda tensors: tensors.update({BIAS: torch.zeros(3)}), f"misshapen: {BIAS} .3. instead"),
    ],
)
def test_inspect_compares_the_entries_of_a_clip(
    change: Callable[[Tensors], Any], message: str, clip: Path
) -> None:
    with_tensors(clip, change)
    refused(inspect, clip, message)
    refused(load_clip, clip)


@pytest.mark.parametrize(
    "changes",
    [
        {"text_config__hidden_size": 64}, {"text_config__num_hidden_layers": 7},
        {"text_config__num_hidden_layers": 1}, {"projection_dim": 7},
        {"vision_config__image_size": 128}, {"vision_config__patch_size": 0},
        {"text_config__num_attention_heads": 0},
    ],
)  # fmt: skip
def test_inspect_compares_the_sizes_of_a_clip(changes: dict[str, Any], clip: Path) -> None:
    with_config(clip, **changes)
    refused(inspect, clip)
    refused(load_clip, clip)


@pytest.mark.parametrize(
    "changes",
    [
        {"text_config__vocab_size": 10**9}, {"vision_config__image_size": 1 << 20},
        {"text_config__num_hidden_layers": 10**8}, {"text_config__hidden_size": 1 << 40},
    ],
)  # fmt: skip
def test_a_clip_that_asks_for_what_is_not_there_gets_no_memory(
    changes: dict[str, Any], clip: Path
) -> None:
    with_config(clip, **changes)
    refused(inspect, clip)
    refused(load_clip, clip, "asks for|cannot be built")


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", "nonsense"])
def test_a_config_that_is_none(text: str, clip: Path) -> None:
    (clip / "config.json").write_text(text)
    refused(inspect, clip, "not the folder of a CLIP")
    refused(load_clip, clip)


def test_older_buffers_and_other_pieces_are_no_fault(clip: Path) -> None:
    positions = {"text_model.embeddings.position_ids": torch.arange(32)[None]}
    with_tensors(clip, lambda tensors: tensors.update(positions))
    assert inspect(clip).missing == []
    load_clip(clip)


@pytest.mark.parametrize(
    "text",
    ['{"image_mean": "abc"}', '{"image_mean": [1, 2]}', '{"image_std": [0, 1, 1]}', "[1]",
     '{"image_mean": [1, 2, NaN]}', "[" * 100_000, '{"image_mean": 3}'],
)  # fmt: skip
def test_pixels_that_are_no_three_numbers(text: str, clip: Path, dino: Path) -> None:
    for folder, read in ((clip, load_clip), (dino, load_image_encoder)):
        (folder / "preprocessor_config.json").write_text(text)
        refused(read, folder)


def test_a_dino_is_compared_too(dino: Path) -> None:
    assert inspect(dino).figures["embedding"] == 32
    with_tensors(dino, lambda tensors: tensors.pop("layernorm.bias"))
    refused(inspect, dino, r"missing: a tensor \[32\]")
    refused(load_image_encoder, dino, r"missing: layernorm\.bias")


def test_a_dino_that_classifies_is_one(dino: Path) -> None:
    tensors = load_file(dino / "model.safetensors")
    named = {f"dinov2.{name}": tensor for name, tensor in tensors.items()}
    named["classifier.weight"] = torch.zeros(10, 64)
    save_file(named, dino / "model.safetensors", {"format": "pt"})
    assert inspect(dino).figures["embedding"] == 32
    load_image_encoder(dino)


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 10**8}, {"image_size": 1 << 22}])
def test_a_dino_that_asks_for_what_is_not_there(changes: dict[str, Any], dino: Path) -> None:
    with_config(dino, **changes)
    refused(inspect, dino)
    refused(load_image_encoder, dino, "asks for|cannot be built")


@pytest.mark.parametrize("text", ['{"crop_size": [1]}', '{"crop_size": {"height": "x"}}'])
def test_a_crop_that_is_none(text: str, dino: Path) -> None:
    (dino / "preprocessor_config.json").write_text(text)
    refused(load_image_encoder, dino)
