"""From the tree that a pickle describes to values: the bytes of its arrays are read, once.

  Finished(size).value(tree) -> dict, list, Tensor, ndarray, Record, ...
Bytes go straight into the memory that the tensors keep, and no more of them than the file has.
Shapes, strides and offsets must lie within the storage; no container may hold itself. What a reader
meets on damaged or hostile bytes becomes one ``CheckpointError`` (``guarded``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from styleclip.checkpoints.pickle_machine import (
    Blob,
    ForbiddenError,
    Global,
    MalformedError,
    Record,
    UnsuitableError,
)
from styleclip.checkpoints.stored import (
    NUMBERS,
    Place,
    Storage,
    StoredArray,
    StoredTensor,
    StoredType,
)
from styleclip.errors import CheckpointError

ADVICE = "download it again, or check that it is the file you meant"
MOST_DEPTH = 100  # containers within containers
MOST_VALUES = 2_000_000  # counted where they are used, not where they are written
VIEWS = (
    8  # tensors of one file may share storages, but not take more than this many times its bytes
)
# how a training's options are kept: attributes by their names, nothing more
OPTIONS = (Global("argparse", "Namespace"), Global("types", "SimpleNamespace"))


class Finished:
    """Reads the arrays of a tree from a file of ``size`` bytes, and copies the rest.

    No more bytes than the file has are read, no container may hold itself, and the tree must be of
    bounded depth and number where it is walked, however often its parts are shared.
    """

    def __init__(self, size: int) -> None:
        self.bytes_left = size
        self.views_left = VIEWS * size + (1 << 16)
        self.done: dict[int, tuple[Any, Any, int]] = {}  # id: (tree, value, how many it holds)
        self.under_way: set[int] = set()
        self.nested: dict[int, Storage] = {}  # by the id of its blob, which the tree holds

    def value(self, tree: Any) -> Any:
        """The finished value of ``tree``. Raises ``MalformedError``."""
        return self._value(tree, 0)[0]

    def _value(self, tree: Any, depth: int) -> tuple[Any, int]:
        if isinstance(tree, (str, int, float, bool, bytes, complex, type(None), torch.dtype)):
            return tree, 1
        known = self.done.get(id(tree))
        if known is not None:
            return known[1], known[2]
        if id(tree) in self.under_way:
            raise MalformedError("it has a container that holds itself")
        if depth > MOST_DEPTH:
            raise MalformedError(f"it has containers nested more than {MOST_DEPTH} deep")
        self.under_way.add(id(tree))
        value, count = self._finish(tree, depth + 1)
        self.under_way.discard(id(tree))
        if count > MOST_VALUES:
            raise MalformedError(f"it holds more than {MOST_VALUES} values")
        self.done[id(tree)] = (tree, value, count)
        return value, count

    def _finish(self, tree: Any, depth: int) -> tuple[Any, int]:
        if isinstance(tree, StoredTensor):
            return self._tensor(tree), 1
        if isinstance(tree, StoredArray):
            return self.array(tree), 1
        if isinstance(tree, Storage):
            return self._storage(tree), 1
        if isinstance(tree, StoredType):
            return tree.numpy(), 1
        if isinstance(tree, Blob):
            return self._blob(tree), 1
        if isinstance(tree, Global):
            return NUMBERS.get(tree.name, tree) if tree.module == "torch" else tree, 1
        if isinstance(tree, dict):
            values, count = self._all(tree.values(), depth)
            return dict(zip(tree, values, strict=True)), count
        if isinstance(tree, (list, tuple)):
            values, count = self._all(tree, depth)
            return (values if isinstance(tree, list) else tuple(values)), count
        if isinstance(tree, (set, frozenset)):
            return tree, 1 + len(tree)
        if isinstance(tree, Record):
            return self._record(tree, depth)
        raise MalformedError(f"it holds a {type(tree).__name__}")

    def _all(self, trees: Any, depth: int) -> tuple[list[Any], int]:
        values, count = [], 1
        for tree in trees:
            value, more = self._value(tree, depth)
            values.append(value)
            count += more
        return values, count

    def _record(self, record: Record, depth: int) -> tuple[Any, int]:
        parts = (record.args, record.state, record.items, record.elements)
        (args, state, items, elements), count = self._all(parts, depth)
        if record.what in OPTIONS:
            return (state if isinstance(state, dict) else items), count
        return Record(record.what, args, state, items, elements), count

    # --- bytes ---

    def _read(self, place: Place) -> Tensor:
        self.bytes_left -= place.size
        if self.bytes_left < 0:
            raise MalformedError("its tensors take more bytes than it has")
        return place.read()

    def _blob(self, blob: Blob) -> bytes:
        return self._read(Place(blob.source, blob.start, blob.size)).numpy().tobytes()

    def _storage(self, storage: Storage) -> Tensor:
        """The bytes of a storage [bytes], which its tensors share."""
        known = self.done.get(id(storage))
        if known is not None:
            content: Tensor = known[1]
            return content
        content = self._read(storage.find())
        self.done[id(storage)] = (storage, content, 1)
        return content

    def _found(self, storage: Storage | Blob) -> Storage:
        """A storage in a nested torch file is described in there."""
        if isinstance(storage, Storage):
            return storage
        from styleclip.checkpoints.archives import nested_storage

        if id(storage) not in self.nested:
            self.nested[id(storage)] = nested_storage(storage)
        return self.nested[id(storage)]

    def _tensor(self, tensor: StoredTensor) -> Tensor:
        storage = self._found(tensor.storage)
        dtype = tensor.dtype or storage.dtype
        if dtype is None:
            raise MalformedError("it holds a tensor that does not say what its numbers are")
        shape, stride, offset = tensor.shape, tensor.stride, tensor.offset
        if len(shape) != len(stride):
            raise MalformedError("it holds a tensor whose strides do not belong to its shape")
        size, capacity = dtype.itemsize, storage.count * (storage.dtype or torch.uint8).itemsize
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        if (last + 1) * size > capacity or count * size > capacity:
            raise MalformedError(
                f"it holds a tensor {_listed(shape)} that lies outside of its storage"
            )
        self.views_left -= count * size
        if self.views_left < 0:
            raise MalformedError("its tensors take many times more bytes than it has")
        content = self._storage(storage)
        if content.numel() != capacity or capacity % size:
            raise MalformedError("it holds a storage of another size than it says")
        return content.view(dtype).as_strided(shape, stride, offset)

    def array(self, array: StoredArray) -> npt.NDArray[Any]:
        if array.kind is None:
            raise MalformedError("it holds a numpy array without contents")
        content = array.content
        if isinstance(content, Blob):
            raw = self._read(Place(content.source, content.start, content.size)).numpy()
        else:
            self.bytes_left -= len(content)
            if self.bytes_left < 0:
                raise MalformedError("its arrays take more bytes than it has")
            text = content.encode("latin-1") if isinstance(content, str) else content
            raw = np.frombuffer(bytearray(text), np.uint8)
        kind = array.kind.numpy()
        _check_bytes(array.shape, kind, raw.size)
        if raw.size == 0:
            return np.empty(array.shape, kind)
        values = raw.view(kind).reshape(array.shape, order="F" if array.fortran else "C")
        return values if kind.isnative else values.astype(kind.newbyteorder("="))


class Shapes(Finished):
    """The same, but tensors are shapes on the meta device, and arrays hold one zero: no memory.

    Their bytes are read for their checksums alone, where the file has any.
    """

    def _storage(self, storage: Storage) -> Tensor:
        known = self.done.get(id(storage))
        if known is not None:
            content: Tensor = known[1]
            return content
        place = storage.find()
        self.bytes_left -= place.size
        if self.bytes_left < 0:
            raise MalformedError("its tensors take more bytes than it has")
        place.check()
        content = torch.empty(place.size, dtype=torch.uint8, device="meta")
        self.done[id(storage)] = (storage, content, 1)
        return content

    def array(self, array: StoredArray) -> npt.NDArray[Any]:
        """One zero, repeated: numpy has no other arrays without memory."""
        if array.kind is None:
            raise MalformedError("it holds a numpy array without contents")
        kind, content = array.kind.numpy(), array.content
        size = content.size if isinstance(content, Blob) else len(content)
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise MalformedError("its arrays take more bytes than it has")
        _check_bytes(array.shape, kind, size)
        return np.broadcast_to(np.zeros((), kind), array.shape)


def _check_bytes(shape: tuple[int, ...], kind: np.dtype[Any], size: int) -> None:
    if math.prod(shape) * kind.itemsize != size:
        raise MalformedError(f"it holds a numpy array {_listed(shape)} of {size} bytes")


def _listed(shape: tuple[int, ...]) -> str:
    return str(list(shape))[:80]


# --- files ---


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size; ``CheckpointError`` where there is none."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give the file inside it")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is a pipe or a device, expected a file: check the path")
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}: check the path")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened ({first_line(error)})") from error
    with stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        yield stream, size


@contextmanager
def guarded(path: Path, kind: str) -> Iterator[None]:
    """Every way in which reading a file of this kind can fail, as one sentence."""
    try:
        yield
    except CheckpointError:
        raise
    except ForbiddenError as error:
        raise CheckpointError(
            f"{path} was not read, and nothing in it was run, because {first_line(error)}: do not "
            "use this file, it looks like an attack"
        ) from error
    except UnsuitableError as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}") from error
    except Exception as error:  # damaged bytes fail in many ways (KeyError, struct.error, ...)
        raise CheckpointError(
            f"{path} is a damaged or incomplete {kind} ({first_line(error)}): {ADVICE}"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of another library's message, for ours; nothing in it moves a cursor."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return "".join(each if each.isprintable() else "?" for each in line)
