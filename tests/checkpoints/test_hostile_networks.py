"""Files of every layout, and of our own, whose contents lie: one sentence, in little memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styleclip.checkpoints import (
    load_bank,
    load_edit,
    load_encoder,
    load_generator,
    load_identity,
    load_latent_map,
    load_mapper,
    load_reader,
    load_tuning,
    read_weights,
)
from styleclip.checkpoints.inspection import inspect
from styleclip.errors import CheckpointError
from tests.checkpoints import hostile, samples
from tests.checkpoints.hostile import call, entry, name, number, numbers, raw, text
from tests.checkpoints.test_native import CONFIG

LOADERS: dict[str, Callable[[Path], Any]] = {
    "stylegan2": load_generator, "encoder": load_encoder, "pyramid-encoder": load_encoder,
    "identity": load_identity, "arcface": load_identity, "reader": load_reader,
    "mapper": load_mapper, "text-mapper": load_mapper, "edit": load_edit, "tuning": load_tuning,
    "directions": load_bank, "latent-map": load_latent_map,
}  # fmt: skip
NETWORKS = [kind for kind in LOADERS if kind not in ("edit", "tuning", "directions", "latent-map")]


def refused(read: Callable[[Path], Any], file: Path, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as error:
        read(file)
    message = str(error.value)
    assert message.isprintable()
    assert len(message) < len(str(file)) + 500


# --- our own files ------------------------------------------------------------


def ours(kind: str, config: str, folder: Path) -> Path:
    """A file of ours whose config is any text."""
    metadata = {"format": "styleclip/1", "kind": kind, "config": config}
    save_file({"w_average": torch.zeros(1)}, folder / "file", metadata)
    return folder / "file"


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("config", ["[" * 200_000, '{"a":' * 200_000, "[]", "3", "nonsense"])
def test_a_config_that_is_none_is_refused(kind: str, config: str, tmp_path: Path) -> None:
    file = ours(kind, config, tmp_path)
    for read in (LOADERS[kind], inspect):
        refused(read, file, "config")


def configs(kind: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The config of a good file of ours, and all of its metadata."""
    metadata = read_weights(samples.write_native(kind, folder)).metadata
    found: dict[str, Any] = json.loads(metadata["config"])
    return found, metadata


FREE = ("clamp", "first")  # numbers that may be of any size, of a generator and a text mapper


def changed(values: Any, wrong: Any) -> list[Any]:
    """The same values with one number, in any depth, replaced; for each of them."""
    found: list[Any] = []
    for key in values if isinstance(values, dict) else range(len(values)):
        each = values[key]
        if isinstance(each, dict | list):
            inner = changed(each, wrong)
        else:
            inner = [wrong] if isinstance(each, int | float) or each is None else []
            if key in FREE and isinstance(wrong, int | float) and abs(wrong) < 1e301:
                inner = []
        for new in inner:
            copy = values.copy()
            copy[key] = new
            found.append(copy)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    "wrong", [-5, "8", [8], 1e300, float("inf"), float("nan"), 1 << 40, 1 << 80, {"a": 1}]
)
def test_a_number_of_a_config_that_no_network_has_is_refused(
    kind: str, wrong: Any, tmp_path: Path
) -> None:
    """Types, signs, and sizes: nothing is built without end, and nothing fails when it is used."""
    config, metadata = configs(kind, tmp_path)
    tensors = dict(read_weights(samples.write_native(kind, tmp_path)).contents)
    described = config["network"] if kind.endswith("mapper") else config
    assert changed(described, wrong)
    for each in changed(described, wrong):
        stated = {**config, "network": each} if kind.endswith("mapper") else each
        save_file(tensors, tmp_path / "file", {**metadata, "config": json.dumps(stated)})
        for read in (LOADERS[kind], inspect):
            refused(read, tmp_path / "file")


@pytest.mark.parametrize(
    ("field", "value"),
    [("mapping_layers", 10**9), ("clamp", -5), ("w_dim", 0), ("resolution", 16.0), ("w_dim", "8")],
)
def test_a_generator_of_such_a_config_is_not_built(field: str, value: Any, tmp_path: Path) -> None:
    """Of a billion layers, for example."""
    file = ours("stylegan2", json.dumps({**CONFIG.to_dict(), field: value}), tmp_path)
    for read in (load_generator, inspect):
        refused(read, file, "has an unusable config|impossible size")


# --- TensorFlow's -------------------------------------------------------------


def array(shape: tuple[int, ...], content: bytes = b"") -> bytes:
    kind = call(name("numpy", "dtype"), text("f4"), b"\x89", b"\x88") + b"("
    kind += number(3) + text("<") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    made = call(
        name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), b"(K\x00t",
        raw(b"b"),
    )  # fmt: skip
    return made + b"(" + number(1) + numbers(shape) + kind + b"\x89" + raw(content) + b"tb"


def tensorflow(variables: dict[str, bytes]) -> bytes:
    """A pickle of three networks with these variables."""
    listed = b"]" + b"".join(text(key) + value + b"\x86a" for key, value in variables.items())
    state = b"}" + text("version") + number(4) + b"s" + text("static_kwargs") + b"}s"
    state += text("variables") + listed + b"s" + text("components") + b"}s"
    network = name("dnnlib.tflib.network", "Network") + b")\x81" + state + b"b"
    return b"\x80\x02" + 3 * network + b"\x87."


CONST = {"synthesis/4x4/Const/const": array((1, 8, 4, 4), bytes(512))}


@pytest.mark.parametrize("length", [1 << 32, 1 << 40, 1 << 55])
def test_an_array_of_tensorflow_that_is_not_there_takes_no_memory(
    length: int, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(tensorflow(CONST | {"dlatent_avg": array((length,))}))
    for read in (inspect, load_generator, read_weights):
        refused(read, tmp_path / "file", "numpy array")


# --- other layouts ------------------------------------------------------------


@pytest.mark.parametrize("key", ["mapping.mapping", "course_mapping.mapping", "mapper_0.mapping"])
@pytest.mark.parametrize(
    "value", ["x", 3, None, torch.zeros(()), torch.zeros(3), torch.zeros(0, 3), [1]]
)
def test_a_mapper_whose_first_layer_is_none_is_refused(
    key: str, value: Any, tmp_path: Path
) -> None:
    torch.save({"state_dict": {f"mapper.{key}.1.weight": value}}, tmp_path / "file")
    for read in (load_mapper, inspect):
        refused(read, tmp_path / "file")


def test_a_mapper_of_a_width_that_is_not_there_takes_no_memory(tmp_path: Path) -> None:
    """A tensor [2^20, 0] has no bytes, and the layers of that width have 16 terabytes."""
    state = {"mapper.mapping.mapping.1.weight": torch.zeros(1 << 20, 0)}
    torch.save({"state_dict": state}, tmp_path / "file")
    for read in (load_mapper, inspect):
        refused(read, tmp_path / "file", "misshapen")


def test_what_a_file_says_of_itself_cannot_reach_the_terminal(tmp_path: Path) -> None:
    options = {"encoder_type": "\x1b[2J\nEncoder" * 100}
    torch.save({"state_dict": {"encoder.x": torch.zeros(1)}, "opts": options}, tmp_path / "file")
    for read in (load_encoder, inspect):
        refused(read, tmp_path / "file", "encoder of type")


def module(children: dict[str, bytes], parameters: bytes = b"", more: bytes = b"") -> bytes:
    """A network as NVIDIA's code pickles it."""
    held = b"".join(text(key) + value + b"s" for key, value in children.items())
    state = b"}" + text("_parameters") + b"}" + parameters + b"s" + text("_buffers") + b"}s"
    state += text("_modules") + b"}" + held + b"s" + more
    return call(
        name("torch_utils.persistence", "_reconstruct_persistent_obj"),
        b"}" + text("state") + state + b"s",
    )


def test_a_list_of_settings_is_cut_short(tmp_path: Path) -> None:
    const = text("const") + hostile.tensor(number(0), numbers((3,)), numbers((1,))) + b"s"
    blocks = {"b4": module({}, const)}
    for i in range(500):
        clamp = text("conv_clamp") + number(2**500 + i) + b"s"
        blocks[f"b{i}"] = module({"conv0": module({}, more=clamp)}, const if i == 4 else b"")
    network = module({"synthesis": module(blocks)})
    (tmp_path / "file").write_bytes(entry(network, "G_ema"))
    for read in (load_generator, inspect):
        refused(read, tmp_path / "file", "several conv_clamp")


# --- archives -----------------------------------------------------------------

DIRECTORY = """
import resource, sys
from pathlib import Path
from styleclip.checkpoints import read_weights
from styleclip.errors import CheckpointError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_weights(Path(sys.argv[1]))
except CheckpointError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_of_an_archive_of_a_million_entries_no_list_is_made(tmp_path: Path) -> None:
    import struct

    count = 1_000_000
    entries = b"".join(
        struct.pack("<4s4B4H3I5H2I", b"PK\1\2", 20, 0, 20, 0, *(0,) * 7, 7, *(0,) * 6) + b"%07d" % i
        for i in range(count)
    )
    head = b"PK\3\4" + bytes(26)
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(entries), 30)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, len(head) + len(entries), 1)
    end += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "file").write_bytes(head + entries + end)
    command = [sys.executable, "-c", DIRECTORY, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, grown = done.stdout.splitlines()
    assert "more than 100000 entries" in message
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss and sys.platform == "linux":
        assert int(grown) < 100_000  # kilobytes; a million objects take 500,000
