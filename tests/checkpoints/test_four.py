"""The four tests of every reader: it loads, one entry gone, one extra, one of another shape.

One table for all of them: what lies in a file, how it is written there, who reads it. The last
three must end in one sentence that names the entry. Arrays have no entries: of them a row is gone,
one is extra, an axis is.
"""

from __future__ import annotations

import pickle
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save_file

from benchmarks.reading import nvidia_pickle
from styleclip import checkpoints
from styleclip.checkpoints import clip_openclip, keymap, layouts, load_generator, registry
from styleclip.checkpoints.inspection import inspect
from styleclip.editing.relevance import style_statistics
from styleclip.errors import CheckpointError, CheckpointWarning
from styleclip.generators.stylegan2 import StyleGAN2
from tests.checkpoints import samples
from tests.checkpoints import test_clip_openclip as open_clip
from tests.checkpoints.test_clip_openai import write_tokenizer
from tests.checkpoints.test_face_encoders import encoder_file, with_decoder
from tests.checkpoints.test_generators import (
    tensorflow_network,
    tensorflow_variables,
    write_tensorflow,
)
from tests.checkpoints.test_public_files import archive_of
from tests.reference.face_encoders import small_identity
from tests.reference.networks import VECTORS, save_dino

State = dict[str, Any]


@dataclass(frozen=True)
class Reader:
    """``state`` is what lies in the file, ``write`` puts it there, ``load`` reads it.

    ``key`` is the entry that is taken away, or given another shape; ``optional`` ones may be gone.
    """

    load: Callable[[Path], Any]
    state: Callable[[], State]
    write: Callable[[State, Path], Path]
    key: str
    empty: Any = torch.zeros(7, 5)
    listed: bool = True  # whether inspect reads it, too
    said: str = ""  # how it is called in messages, if not so


def rosinality() -> State:
    state: State = torch.load(samples.ROSINALITY, weights_only=True)["g_ema"]
    return state


def in_safetensors(state: State, folder: Path, **metadata: str) -> Path:
    save_file({name: each.contiguous() for name, each in state.items()}, folder / "x", metadata)
    return folder / "x"


def in_torch(state: State, folder: Path, around: Callable[[State], Any] = dict) -> Path:
    return samples.saved(around(state), folder)


def in_nvidia_pickle(state: State, folder: Path) -> Path:
    clamps = {f"synthesis.b{2**i}.conv1.conv_clamp": None for i in range(2, 6)}
    (folder / "x.pkl").write_bytes(nvidia_pickle({"G_ema": state}, clamps))
    return folder / "x.pkl"


def in_tensorflow_pickle(state: State, folder: Path) -> Path:
    return write_tensorflow(folder, tensorflow_network(state))


def in_archive(state: State, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is on its way out of torch
        archive_of(state).save(str(folder / "x.pt"))
    return folder / "x.pt"


def open_clip_state() -> State:
    clip = open_clip.new_clip()
    table = clip_openclip.rules(clip.model.config, clip_openclip.TEXT)
    return keymap.invert(table, clip.model.state_dict())


def beside_its_config(state: State, folder: Path) -> Path:
    write_tokenizer(folder, open_clip.VOCABULARY)
    return open_clip.write(folder, state, open_clip.settings())


def openai() -> State:
    state: State = torch.load(VECTORS / "clip-openai-vit.pt", weights_only=True)
    return state


def in_clip_folder(state: State, folder: Path) -> Path:
    shutil.copytree(registry.BUILT_IN["portraits"] / "clip", folder / "clip")
    (folder / "clip" / "model.safetensors").unlink()
    in_safetensors(state, folder, format="pt").rename(folder / "clip" / "model.safetensors")
    return folder / "clip"


def dino() -> State:
    with tempfile.TemporaryDirectory() as folder:
        save_dino(Path(folder))
        content = (Path(folder) / "model.safetensors").read_bytes()
    return dict(load(content))


def in_dino_folder(state: State, folder: Path) -> Path:
    save_dino(folder / "dino")
    (folder / "dino" / "model.safetensors").unlink()
    in_safetensors(state, folder, format="pt").rename(folder / "dino" / "model.safetensors")
    return folder / "dino"


def encoder_around(method: str) -> Callable[[State], State]:
    return lambda state: encoder_file(method, state_dict=state)


def encoder_state() -> State:
    state: State = encoder_file()["state_dict"]
    return state


def decoder_state() -> State:
    state: State = with_decoder(rows=8)[0]["state_dict"]
    return state


def around_decoder(state: State) -> State:
    return {**encoder_file(state_dict=state), "latent_avg": with_decoder(rows=8)[1]}


def mapper(name: str) -> dict[str, Any]:
    contents: dict[str, Any] = torch.load(VECTORS / name, weights_only=True)
    return contents


def mapper_reader(name: str, key: str) -> Reader:
    def around(state: State) -> State:
        return {**mapper(name), "state_dict": state}

    return Reader(
        checkpoints.load_mapper, lambda: mapper(name)["state_dict"],
        partial(in_torch, around=around), key,
    )  # fmt: skip


def native(kind: str, key: str, **changes: Any) -> Reader:
    """One of our own files, with the header that belongs to it."""

    def header_and_state() -> tuple[dict[str, str], State]:
        with tempfile.TemporaryDirectory() as folder:
            path = samples.write_native(kind, Path(folder))
            with safe_open(path, framework="pt") as file:
                header = dict(file.metadata())
            return header, {name: each.clone() for name, each in load_file(path).items()}

    def write(state: State, folder: Path) -> Path:
        return in_safetensors(state, folder, **header_and_state()[0])

    load = getattr(checkpoints, layouts.NATIVE[kind].reader or "")
    if kind == "scan":
        load = partial(load, settings={"seed": 0})
    return Reader(load, lambda: header_and_state()[1], write, key, **changes)


READERS: dict[str, Reader] = {
    "rosinality": Reader(
        load_generator, rosinality,
        partial(in_torch, around=lambda state: {"g_ema": state}), "conv1.activate.bias",
    ),
    "rosinality, bare": Reader(load_generator, rosinality, in_torch, "convs.1.conv.weight"),
    "NVIDIA, tensors": Reader(
        load_generator, lambda: load_file(VECTORS / "stylegan2-ada.safetensors"), in_safetensors,
        "mapping.fc1.bias",
    ),
    "NVIDIA, pickle": Reader(
        load_generator, lambda: load_file(VECTORS / "stylegan2-ada.safetensors"), in_nvidia_pickle,
        "synthesis.b8.conv1.weight",
    ),
    "NVIDIA, TensorFlow pickle": Reader(
        load_generator, tensorflow_variables, in_tensorflow_pickle,
        "synthesis/8x8/Conv1/bias", np.zeros((7, 5), np.float32), said="synthesis.b8.conv1.bias",
    ),
    "the generator of an e4e file": Reader(
        load_generator, decoder_state, partial(in_torch, around=around_decoder),
        "decoder.conv1.activate.bias", listed=False, said="conv1.activate.bias",
    ),
    "OpenAI, state dict": Reader(checkpoints.load_clip, openai, in_torch, "ln_final.bias"),
    "OpenAI, archive": Reader(checkpoints.load_clip, openai, in_archive, "visual.proj"),
    "open_clip, safetensors": Reader(
        checkpoints.load_clip, open_clip_state, beside_its_config, "text.ln_final.bias"
    ),
    "transformers folder": Reader(
        checkpoints.load_clip,
        lambda: load_file(registry.BUILT_IN["portraits"] / "clip" / "model.safetensors"),
        in_clip_folder, "vision_model.post_layernorm.bias", listed=False,
    ),
    "DINOv2 folder": Reader(
        checkpoints.load_image_encoder, dino, in_dino_folder, "layernorm.weight", listed=False
    ),
    "e4e": Reader(
        checkpoints.load_encoder, encoder_state, partial(in_torch, around=encoder_around("e4e")),
        "encoder.latlayer1.bias",
    ),
    "pSp": Reader(
        checkpoints.load_encoder, encoder_state, partial(in_torch, around=encoder_around("psp")),
        "encoder.styles.3.linear.bias",
    ),
    "IR-SE50": Reader(
        checkpoints.load_identity, small_identity, in_torch, "output_layer.3.bias"
    ),
    "mapper of levels": mapper_reader(
        "mapper-levels.pt", "mapper.medium_mapping.mapping.2.bias"
    ),
    "single mapper": mapper_reader("mapper-single.pt", "mapper.mapping.mapping.2.bias"),
    "mapper in S": mapper_reader("mapper-stylespace.pt", "mapper.mapper_3.mapping.2.bias"),
    "ours, generator": native("stylegan2", "const"),
    "ours, encoder": native("encoder", "hidden.bias"),
    "ours, e4e": native("pyramid-encoder", "lateral_fine.bias"),
    "ours, identity": native("identity", "downs.1.bias"),
    "ours, reader": native("reader", "trunk.4.weight"),
    "ours, ArcFace": native("arcface", "embedding.bias"),
    "ours, latent map": native("latent-map", "mean"),
    "ours, mapper": native("mapper", "networks.0.1.bias"),
    "ours, text mapper": native("text-mapper", "layers.0.bias"),
    "ours, bank": native("directions", "mean"),
    "ours, scan": native("scan", "length"),
}  # fmt: skip


def refused(reader: Reader, path: Path, *names: str) -> None:
    """Both the reader and ``inspect`` say so in one sentence that holds ``names``."""
    for read in (reader.load, inspect) if reader.listed else (reader.load,):
        with pytest.raises(CheckpointError) as error:
            read(path)
        assert "\n" not in str(error.value)
        assert all(name in str(error.value) for name in names), str(error.value)


@pytest.mark.parametrize("name", READERS)
def test_it_loads(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    assert reader.load(reader.write(reader.state(), tmp_path)) is not None


@pytest.mark.parametrize("name", READERS)
def test_one_entry_gone(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    state = reader.state()
    del state[reader.key]
    refused(reader, reader.write(state, tmp_path), reader.said or reader.key)


@pytest.mark.parametrize("name", READERS)
def test_one_entry_extra(name: str, tmp_path: Path) -> None:
    """Beside the one of the table, where files of that layout have their entries."""
    reader = READERS[name]
    branch, separator, _ = re.match(r"(.*?)([./]|$)(.*)", reader.key).groups()  # type: ignore[union-attr]
    extra = f"{branch}{separator}strange" if separator else "strange"
    path = reader.write(reader.state() | {extra: reader.empty}, tmp_path)
    refused(reader, path, "strange")


@pytest.mark.parametrize("name", READERS)
def test_one_shape_changed(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    path = reader.write(reader.state() | {reader.key: reader.empty}, tmp_path)
    refused(reader, path, reader.said or reader.key, "[7, 5]")


# Arrays: rows for entries


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return load_generator(samples.ROSINALITY)


def directions(rows: int) -> np.ndarray:
    random = np.random.default_rng(0).standard_normal((rows, 7)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def test_fs3(generator: StyleGAN2, tmp_path: Path) -> None:
    whole = int(generator.layout.conv_columns().sum())
    np.save(tmp_path / "fs3.npy", directions(whole))
    with pytest.warns(CheckpointWarning, match="does not say which generator"):
        assert len(checkpoints.load_bank(tmp_path / "fs3.npy", generator).matrix) > whole
    for wrong in (directions(whole - 1), directions(whole + 1), directions(whole)[:, 0]):
        np.save(tmp_path / "fs3.npy", wrong)
        with pytest.raises(CheckpointError, match=rf"{re.escape(str(list(wrong.shape)))}.*rows"):
            checkpoints.load_bank(tmp_path / "fs3.npy", generator)


def test_statistics(generator: StyleGAN2, tmp_path: Path) -> None:
    whole = int(generator.layout.conv_columns().sum())
    np.save(tmp_path / "fs3.npy", directions(whole))
    widths = [layer.channels for layer in generator.layout]
    true = [part.numpy()[None] for part in style_statistics(generator, 500)[0].split(widths)]
    spread = [np.ones_like(part) for part in true]
    bank = tmp_path / "fs3.npy"
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps([true, spread], 3))
    with pytest.warns(CheckpointWarning, match="does not say which generator"):
        assert checkpoints.load_bank(bank, generator).std.eq(1).all()
    for wrong in (true[:-1], [*true, true[0]], [true[0][:, 1:], *true[1:]]):
        (tmp_path / "S_mean_std").write_bytes(pickle.dumps([wrong, wrong], 3))
        with pytest.raises(CheckpointError, match="S_mean_std has statistics of"):
            checkpoints.load_bank(bank, generator)


@pytest.mark.parametrize("name", ["w_plus.npy", "latents.pt"])
def test_latents(name: str, tmp_path: Path) -> None:
    """Rows and widths are a generator's affair: whoever uses latents asks it."""
    path = samples.ARRAYS[name][0](tmp_path)
    assert checkpoints.load_latents(path).shape == (5, 8, 32)
    for wrong in ((32,), (2, 5, 8, 32), (5, 0, 32)):
        torch.save(torch.zeros(wrong), path)
        with pytest.raises(CheckpointError, match=re.escape(str(list(wrong)))):
            checkpoints.load_latents(path)
