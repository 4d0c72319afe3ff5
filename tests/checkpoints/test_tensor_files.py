"""Safetensors files: read into memory of our own, as the format's library reads them."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from styleclip.checkpoints import (
    load_generator,
    loaders,
    read_weights,
    save_generator,
    tensor_files,
)
from styleclip.errors import CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2
from tests.checkpoints.test_native import CONFIG
from tests.reference.networks import random_generator

# every type that the library here can write and torch can compare by its bytes
TENSORS = {
    name: torch.arange(12).reshape(3, 4).to(dtype) for name, dtype in tensor_files.TYPES.items()
} | {"scalar": torch.tensor(2.5), "nothing": torch.zeros(3, 0)}


def written(header: str, content: bytes, folder: Path) -> Path:
    (folder / "file").write_bytes(len(header).to_bytes(8, "little") + header.encode() + content)
    return folder / "file"


def entry(shape: Any, offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_every_type_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x", {"who": "me"})
    theirs, ours = load_file(tmp_path / "x"), read_weights(tmp_path / "x")
    shapes = read_weights(tmp_path / "x", shapes=True).contents
    assert set(ours.contents) == set(theirs) == set(TENSORS) == set(shapes)
    assert ours.metadata == {"who": "me"}
    for name, wanted in theirs.items():
        found = ours.contents[name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert found.reshape(-1).view(torch.uint8).equal(wanted.reshape(-1).view(torch.uint8))
        assert shapes[name].is_meta
        assert (shapes[name].dtype, shapes[name].shape) == (wanted.dtype, wanted.shape)


def test_a_file_that_is_written_over_changes_no_weights_that_are_in_use(tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    save_generator(path, random_generator(CONFIG))
    loaded = load_generator(path)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    with path.open("r+b") as stream:  # as `cp` does, which keeps the file and replaces its bytes
        stream.seek(8 + int.from_bytes(stream.read(8), "little"))
        stream.write(b"\x3f" * (path.stat().st_size - stream.tell()))
    assert all(tensor.equal(before[name]) for name, tensor in loaded.state_dict().items())
    os.truncate(path, 100)  # of a mapped file, to read on would be the end of the process
    assert all(tensor.equal(before[name]) for name, tensor in loaded.state_dict().items())


class Names(list[str]):
    """What chooses entries; to search it for each of them would take the square of their number."""

    def __contains__(self, name: object) -> bool:
        raise AssertionError("a list was searched")


@pytest.mark.parametrize("layout", ["safetensors", "torch"])
def test_choosing_entries_takes_no_time_of_the_square_of_their_number(
    layout: str, tmp_path: Path
) -> None:
    def keep(names: list[str]) -> Collection[str]:
        return Names(names)

    tensors = {"a": torch.ones(2), "b": torch.zeros(1)}
    if layout == "safetensors":
        save_file(tensors, tmp_path / "x")
    else:
        torch.save({**tensors, "inside": dict(tensors)}, tmp_path / "x")
    assert {"a", "b"} <= set(read_weights(tmp_path / "x", keep, inside=keep).contents)


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        ({"a": entry([2], [0, 8]), "b": entry([2], [4, 12])}, 12, "gaps or overlaps"),
        ({"a": entry([2], [4, 12])}, 12, "gaps or overlaps"),
        ({"a": entry([2], [0, 8])}, 12, "take 8 bytes, and it has 12"),
        ({"a": entry([2], [0, 8])}, 4, "take 8 bytes, and it has 4"),
        ({"a": entry([2], [8, 0])}, 8, "do not fit"),
        ({"a": entry([2], [0, 8, 8])}, 8, "too many values"),
        ({"a": entry([2], [0, 1 << 63])}, 8, "absurd shape"),
        ({"a": entry([1 << 61, 1 << 61], [0, 0])}, 0, "do not fit"),
        ({"a": entry([1] * 5000, [0, 4])}, 4, "absurd shape"),
        ({"a": entry([True], [0, 4])}, 4, "absurd shape"),
        ({"a": entry([1], [0, 1], "F4")}, 1, "an unknown type, F4"),
        ({"a": entry([1], [0, 1], ["F32"])}, 1, "damaged"),
        ({"a": {"dtype": "F32"}}, 4, "shape"),
        ({"a": 3}, 4, "damaged"),
        ({"__metadata__": {"format": 1}}, 0, "its metadata is no text"),
        ({"__metadata__": []}, 0, "its metadata is no text"),
    ],
)  # fmt: skip
def test_places_that_lie_are_refused(
    header: dict[str, Any], size: int, message: str, tmp_path: Path
) -> None:
    path = written(json.dumps(header), bytes(size), tmp_path)
    with pytest.raises(CheckpointError, match=message) as error:
        read_weights(path)
    assert "damaged or incomplete safetensors file" in str(error.value)


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    one = json.dumps(entry([2], [0, 8]))
    with pytest.raises(CheckpointError, match="one name twice"):
        read_weights(written(f'{{"a":{one},"a":{one}}}', bytes(8), tmp_path))


def test_a_header_of_absurd_length_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes((1 << 40).to_bytes(8, "little") + b"{" + bytes(100))
    with pytest.raises(CheckpointError, match="header is of absurd length"):
        read_weights(tmp_path / "file")


def test_a_file_of_entries_without_number_is_refused(tmp_path: Path) -> None:
    entries = {str(i): entry([0], [0, 0]) for i in range(tensor_files.MOST_ENTRIES + 1)}
    with pytest.raises(CheckpointError, match="more than 100000 entries"):
        read_weights(written(json.dumps(entries), b"", tmp_path))


def test_a_network_of_ours_is_held_once_while_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read, and the same laid out anew, would be twice its size."""
    path = tmp_path / "generator.safetensors"
    save_generator(path, random_generator(CONFIG))
    read: list[weakref.ref[torch.Tensor]] = []

    def noted(path: Path, *more: Any, **options: Any) -> Any:
        weights = read_weights(path, *more, **options)
        read.extend(map(weakref.ref, weights.contents.values()))
        return weights

    def laid_out(network: StyleGAN2) -> None:
        ours = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
        held.append(sum(each() is not None and id(each()) not in ours for each in read))

    held: list[int] = []  # tensors as they were read, each time that memory is laid out
    monkeypatch.setattr(loaders, "read_weights", noted)
    monkeypatch.setattr(StyleGAN2, "channels_last", laid_out)
    load_generator(path)
    assert read and held[-1] == 0
