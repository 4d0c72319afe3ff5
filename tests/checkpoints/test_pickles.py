"""Plain pickles: what Python and numpy write is read as they read it, by a machine of our own."""

from __future__ import annotations

import collections
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleclip.checkpoints.pickles import Record, read_plain
from styleclip.errors import CheckpointError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.text(max_size=300) | st.binary(max_size=600) | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=5)
    | st.lists(inner, max_size=5).map(tuple)
    | st.dictionaries(st.text(max_size=5) | st.integers(-9, 9) | st.booleans(), inner, max_size=5)
    | st.sets(st.text(max_size=5) | st.integers(-9, 9), max_size=5)
    | st.frozensets(st.integers(-9, 9), max_size=5)
    | st.binary(max_size=600).map(bytearray),
    max_leaves=20,
)  # fmt: skip


def as_read(value: Any) -> Any:
    """A plain value as we read it: byte arrays are bytes; of protocols without sets, sets."""
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_read, value))
    if isinstance(value, dict):
        return {key: as_read(each) for key, each in value.items()}
    return value


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=PLAIN, protocol=st.integers(0, 5))
def test_what_python_pickles_is_read_as_python_reads_it(
    value: Any, protocol: int, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps(value, protocol))
    assert read_plain(tmp_path / "x") == as_read(value)


ARRAYS = {
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.arange(400, dtype=np.float16),
    "other byte order": np.arange(4, dtype=">i4"),
    "yes": np.array([True, False]),
    "empty": np.zeros((0, 3), np.uint8),
    "one": np.array(3.5),
    "text": np.array(["a", "long"]),
    "slice": np.arange(24.0).reshape(4, 6)[::2, 1:],
}


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_arrays_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps(ARRAYS, protocol))
    found = read_plain(tmp_path / "x")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(found[name], array), name
        assert found[name].flags.writeable
    assert not np.shares_memory(found["rows"], found["columns"])


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_numbers_become_pythons(protocol: int, tmp_path: Path) -> None:
    numbers = [np.float32(0.5), np.int64(-3), np.bool_(True), np.float16(2)]
    (tmp_path / "x").write_bytes(pickle.dumps(numbers, protocol))
    found = read_plain(tmp_path / "x")
    assert found == [0.5, -3, True, 2.0]
    assert [type(each) for each in found] == [float, int, bool, float]


def test_the_mean_and_deviation_files_of_styleclip(tmp_path: Path) -> None:
    # a list of two lists, an array for each layer
    layers = [np.full((1, width), 0.5, np.float32) for width in (512, 512, 64)]
    (tmp_path / "S_mean_std").write_bytes(pickle.dumps([layers, layers], 3))
    mean, deviation = read_plain(tmp_path / "S_mean_std")
    assert [each.shape for each in mean] == [(1, 512), (1, 512), (1, 64)]
    assert all(map(np.array_equal, deviation, layers))


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    # {"weight": array([1, 2], dtype=float32), "n": 3L}, as Python 2.7 and numpy 1.16 wrote it
    (tmp_path / "x").write_bytes(
        b"\x80\x02}q\x00(U\x06weightq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\n"
        b"ndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f4K\x00"
        b"K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08"
        b"\x00\x00\x80?\x00\x00\x00@tbU\x01nL3L\nu."
    )
    found = read_plain(tmp_path / "x")
    assert found["weight"].tolist() == [1.0, 2.0]
    assert found["n"] == 3


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("name", ARRAYS)
def test_npy_files(version: tuple[int, int], name: str, tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as stream:
        np.lib.format.write_array(stream, ARRAYS[name], version)
    found = read_plain(tmp_path / "x")
    assert np.array_equal(found, ARRAYS[name])
    assert found.dtype == ARRAYS[name].dtype.newbyteorder("=")


def test_dicts_of_every_kind_are_dicts(tmp_path: Path) -> None:
    kinds = [
        collections.OrderedDict(b=1, a=2), collections.Counter("aab"),
        collections.defaultdict(list, a=[1]),
    ]  # fmt: skip
    (tmp_path / "x").write_bytes(pickle.dumps(kinds, 2))
    assert read_plain(tmp_path / "x") == [{"b": 1, "a": 2}, {"a": 2, "b": 1}, {"a": [1]}]


def test_tensors_in_plain_pickles(tmp_path: Path) -> None:
    base = torch.arange(400.0)
    (tmp_path / "x").write_bytes(pickle.dumps([base, base[3:5], torch.tensor(1.5).half()]))
    whole, part, one = read_plain(tmp_path / "x")
    assert torch.equal(whole, base)
    assert part.tolist() == [3.0, 4.0]
    assert (one.dtype, one.item()) == (torch.float16, 1.5)


class Thing:
    """Of a class that the reader does not know."""

    def __init__(self, value: int) -> None:
        self.value = value


@pytest.mark.parametrize("protocol", range(6))
def test_other_objects_are_records(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps({"thing": Thing(3)}, protocol))
    record = read_plain(tmp_path / "x")["thing"]
    assert isinstance(record, Record)
    assert record.what.name == "Thing"
    assert record.state == {"value": 3}


class Listed(list):  # type: ignore[type-arg]
    """A list with a name of its own."""


class Named(dict):  # type: ignore[type-arg]
    """A dict with a name of its own."""


def test_containers_of_other_classes_are_records_with_contents(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps([Listed([1, 2]), Named(a=1)]))
    listed, named = read_plain(tmp_path / "x")
    assert listed.elements == [1, 2]
    assert named.items == {"a": 1}


def test_what_is_shared_stays_shared(tmp_path: Path) -> None:
    part = [1, 2]
    (tmp_path / "x").write_bytes(pickle.dumps([part, part, {"again": part}]))
    first, second, third = read_plain(tmp_path / "x")
    assert first is second is third["again"]


def test_special_numbers(tmp_path: Path) -> None:
    for protocol in range(6):
        (tmp_path / "x").write_bytes(pickle.dumps([math.inf, -math.inf, math.nan], protocol))
        found = read_plain(tmp_path / "x")
        assert found[:2] == [math.inf, -math.inf]
        assert math.isnan(found[2])


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        read_plain(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_plain(tmp_path)
