"""What a file is, for every layout; what it lacks; and that nothing needs to be built for it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from styleclip import checkpoints
from styleclip.checkpoints import file_hash, load_generator, read_weights, registry
from styleclip.checkpoints import layouts as known
from styleclip.checkpoints.inspection import CLAMP, MEAN_W, METHOD, NOISE, TOKENIZER, inspect
from styleclip.checkpoints.mappers import STATE
from styleclip.errors import CheckpointError
from tests.checkpoints import samples
from tests.checkpoints.test_face_encoders import encoder_file
from tests.reference.networks import VECTORS

PORTRAITS = registry.BUILT_IN["portraits"]
ALL = samples.FOREIGN | samples.ARRAYS


def values(contents: Any) -> list[Any]:
    """Every tensor and array in there."""
    if isinstance(contents, dict):
        return [each for value in contents.values() for each in values(value)]
    return [contents] if isinstance(contents, torch.Tensor | np.ndarray) else []


@pytest.mark.parametrize("name", ALL)
def test_every_layout_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, kind, origin = ALL[name]
    path = write(tmp_path)
    register = nn.Module.register_parameter

    def without_memory(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        assert parameter is None or parameter.is_meta, f"a network with memory: {name}"
        register(module, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", without_memory)
    found = inspect(path)
    assert (found.layout.kind, found.layout.origin) == (kind, origin)
    assert found.path == path and found.size == path.stat().st_size
    assert found.sha256 == file_hash(path)
    assert found.parameters > 0 and found.figures
    json.dumps(found.figures)  # --json prints them


@pytest.mark.parametrize("kind", samples.NATIVE)
def test_every_kind_of_ours_is_told(kind: str, tmp_path: Path) -> None:
    path = samples.write_native(kind, tmp_path)
    found = inspect(path)
    assert (found.layout.kind, found.layout.origin, found.missing) == (kind, "styleclip", [])
    assert found.parameters == sum(
        t.numel() for t in load_file(path).values() if t.is_floating_point()
    )
    assert found.layout.reader in checkpoints.__all__


def test_every_reader_exists_and_no_layout_is_listed_twice() -> None:
    listed = [*known.FOREIGN, *known.NATIVE.values()]
    assert {each.reader for each in listed} - {None} <= set(checkpoints.__all__)
    assert len({(each.kind, each.origin) for each in listed}) == len(listed)
    assert set(known.NATIVE) - {"pyramid-encoder"} == set(samples.NATIVE)


@pytest.mark.parametrize("name", ["rosinality", "NVIDIA pickle", "NVIDIA tensors", "TensorFlow"])
def test_a_generators_figures_are_its_own(name: str, tmp_path: Path) -> None:
    path = samples.FOREIGN[name][0](tmp_path)
    found, generator = inspect(path), load_generator(path)
    figures = found.figures
    assert figures["resolution"] == generator.resolution
    assert figures["channels"] == list(generator.config.channels)
    assert (figures["w_rows"], figures["w_dim"]) == (generator.rows, generator.config.w_dim)
    assert figures["style_columns"] == generator.layout.size
    assert figures["clamp"] == generator.config.clamp
    assert found.parameters == sum(t.numel() for t in generator.state_dict().values())


def test_precision_is_the_files(tmp_path: Path) -> None:
    tensors = load_file(VECTORS / "stylegan2-ada.safetensors")
    tensors = {name: t.half() if "b32" in name else t for name, t in tensors.items()}
    save_file(tensors, tmp_path / "mixed")
    found = inspect(tmp_path / "mixed").precision
    used = {name: t for name, t in tensors.items() if not name.endswith("resample_filter")}
    halves = sum(t.numel() for t in used.values() if t.dtype == torch.float16)
    assert found == {"float32": sum(t.numel() for t in used.values()) - halves,
                     "float16": halves}  # fmt: skip


def test_what_would_be_made_up(tmp_path: Path) -> None:
    contents = torch.load(samples.ROSINALITY, weights_only=True)
    state = {k: t for k, t in contents["g_ema"].items() if not k.startswith("noises.")}
    torch.save({"g_ema": state}, tmp_path / "bare")
    assert inspect(tmp_path / "bare").missing == [NOISE, MEAN_W]
    assert inspect(samples.ROSINALITY).missing == []
    assert inspect(VECTORS / "stylegan2-ada.safetensors").missing == [CLAMP]
    assert inspect(VECTORS / "stylegan2-ada.pkl").missing == []
    assert inspect(samples.psp_without_options(tmp_path)).missing == [METHOD]
    assert inspect(samples.openai(tmp_path)).missing == [TOKENIZER]


def test_open_clip_without_its_config(tmp_path: Path) -> None:
    path = samples.openclip(tmp_path)
    assert inspect(path).missing == [] and inspect(path).figures["activation"] == "gelu"
    assert inspect(tmp_path).path == path
    (tmp_path / "open_clip_config.json").unlink()
    (missing,) = inspect(path).missing
    assert missing.startswith("open_clip_config.json beside it: exact GELU")


def test_what_else_is_in_there(tmp_path: Path) -> None:
    assert inspect(samples.e4e(tmp_path)).inside == ["a generator (load_generator reads it)"]
    assert inspect(samples.psp_without_options(tmp_path)).inside == []
    assert inspect(VECTORS / "stylegan2-ada.pkl").inside == ["G, which is not read"]
    contents = torch.load(samples.ROSINALITY, weights_only=True)
    torch.save({**contents, "d": contents["g_ema"]}, tmp_path / "both")
    assert inspect(tmp_path / "both").inside == ["d, which is not read"]


def test_the_folder_of_a_clip(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(PORTRAITS / "clip", tmp_path / "clip"))
    found = inspect(folder)
    assert (found.layout.kind, found.layout.origin) == ("clip", "transformers")
    assert found.layout.words == "a transformers CLIP" and found.missing == []
    assert found.sha256 == file_hash(folder / "model.safetensors")
    assert (found.figures["resolution"], found.figures["embedding"]) == (64, 128)
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    assert inspect(folder).missing == [TOKENIZER]
    with pytest.raises(CheckpointError, match="say less than its folder"):
        inspect(folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="it is of a bert"):
        inspect(folder)


def test_a_model_folder_names_its_parts() -> None:
    with pytest.raises(CheckpointError, match=r"the model 'portraits': give one of its parts \(cl"):
        inspect(PORTRAITS)


def test_a_training_under_way(tmp_path: Path) -> None:
    torch.save({"settings": {}, **dict.fromkeys(STATE, torch.zeros(2))}, tmp_path / "partial")
    assert inspect(tmp_path / "partial").layout.words == "a training under way"


def test_a_stylegan3_is_named(tmp_path: Path) -> None:
    torch.save({"synthesis.input.freqs": torch.zeros(1)}, tmp_path / "three")
    found = inspect(tmp_path / "three")
    assert found.layout.reader is None and "not readable yet" in found.layout.hint


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize("name", samples.FOREIGN)
def test_a_file_that_is_cut_is_refused(name: str, tmp_path: Path) -> None:
    path = samples.FOREIGN[name][0](tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(CheckpointError, match=r"damaged|torch file|not .*weights"):
        inspect(path)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("rosinality", "conv1.activate.bias"), ("NVIDIA tensors", "mapping.fc1.bias"),
        ("OpenAI", "ln_final.bias"), ("ArcFace", "output_layer.3.bias"),
    ],
)  # fmt: skip
def test_missing_and_unexpected_entries_are_listed(name: str, key: str, tmp_path: Path) -> None:
    path = samples.FOREIGN[name][0](tmp_path)
    contents = read_weights(path).contents
    state = contents.get("g_ema", contents)
    del state[key]
    state["strange"] = torch.zeros(1)
    torch.save(contents, tmp_path / "odd")
    with pytest.raises(CheckpointError, match=f"missing: {re.escape(key)}; unexpected: strange"):
        inspect(tmp_path / "odd")


def spoiled(contents: Any, key: str, value: Any) -> Any:
    """``contents`` with one tensor, wherever it lies, replaced."""
    if isinstance(contents, dict):
        if key in contents:
            return {**contents, key: value}
        return {name: spoiled(each, key, value) for name, each in contents.items()}
    return contents


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("rosinality", "conv1.activate.bias"), ("NVIDIA tensors", "mapping.fc1.bias"),
        ("OpenAI", "ln_final.bias"), ("open_clip", "text.ln_final.bias"),
        ("e4e", "encoder.latlayer1.bias"), ("ArcFace", "output_layer.3.bias"),
        ("single mapper", "mapper.mapping.mapping.2.bias"),
    ],
)  # fmt: skip
def test_misshapen_entries_are_listed_as_the_reader_lists_them(
    name: str, key: str, tmp_path: Path
) -> None:
    path = samples.FOREIGN[name][0](tmp_path)
    reader = getattr(checkpoints, inspect(path).layout.reader or "")
    contents = read_weights(path).contents
    for value, sentence in (
        (torch.zeros(7, 5), rf"misshapen: {re.escape(key)} \[7, 5\] instead of \["),
        (torch.zeros(3, dtype=torch.int64), rf"misshapen: {re.escape(key)} "),
        ("text", f"misshapen: {re.escape(key)} is a str, not a tensor"),
    ):
        torch.save(spoiled(contents, key, value), tmp_path / "odd")
        messages = []
        for read in (inspect, reader):
            with pytest.raises(CheckpointError, match=sentence) as error:
                read(tmp_path / "odd")
            messages.append(str(error.value))
        assert messages[0] == messages[1]


@pytest.mark.parametrize("kind", ["stylegan2", "encoder", "identity", "reader", "arcface"])
def test_misshapen_entries_of_our_own_files_are_listed(kind: str, tmp_path: Path) -> None:
    path = samples.write_native(kind, tmp_path)
    weights = read_weights(path)
    key = next(iter(weights.contents))
    odd = tmp_path / "odd"
    save_file({**weights.contents, key: torch.zeros(7, 5)}, odd, weights.metadata)
    with pytest.raises(CheckpointError, match=rf"misshapen: {re.escape(key)} \[7, 5\] instead"):
        inspect(odd)


def test_a_flipped_bit_in_a_torch_file_is_noticed(tmp_path: Path) -> None:
    path = samples.FOREIGN["rosinality"][0](tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="CRC-32"):
        inspect(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_text("<html>"), "a web page"),
        (lambda path: save_file({"a": torch.zeros(2)}, path), "no layout .* first keys: a"),
        (lambda path: torch.save([1, 2], path), "holds a list"),
        (lambda path: torch.save({"opts": "x"}, path), "first keys: opts"),
        (lambda path: path.write_bytes(samples.npy(np.zeros((2,) * 4))), "not a file of weights"),
        (lambda path: path.mkdir(), "not the folder of a CLIP or a DINOv2"),
    ],
)  # fmt: skip
def test_foreign_files_are_one_sentence(
    write: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "file")
    with pytest.raises(CheckpointError, match=message) as error:
        inspect(tmp_path / "file")
    assert "\n" not in str(error.value)


def test_a_newer_format_of_ours(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "new", {"format": "styleclip/9", "kind": "edit"})
    with pytest.raises(CheckpointError, match="update styleclip"):
        inspect(tmp_path / "new")


# --- shapes -------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in samples.FOREIGN if n != "fs3"])
def test_shapes_are_those_of_the_tensors_and_hold_no_memory(name: str, tmp_path: Path) -> None:
    path = samples.FOREIGN[name][0](tmp_path)
    whole, shapes = read_weights(path), read_weights(path, shapes=True)
    assert list(whole.contents) == list(shapes.contents)
    assert (whole.settings, whole.metadata) == (shapes.settings, shapes.metadata)
    for real, shape in zip(values(whole.contents), values(shapes.contents), strict=True):
        assert (real.shape, real.dtype) == (shape.shape, shape.dtype)
        if isinstance(shape, torch.Tensor):
            assert shape.is_meta
        else:
            assert shape.strides == (0,) * shape.ndim


def test_an_encoder_says_its_method(tmp_path: Path) -> None:
    figures = inspect(samples.saved(encoder_file("psp"), tmp_path)).figures
    assert (figures["method"], figures["w_rows"], figures["resolution"]) == ("psp", 8, 64)
