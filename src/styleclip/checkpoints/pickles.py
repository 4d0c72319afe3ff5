"""Pickles read without running them: tensors, numpy arrays, containers, numbers and inert records.

  read_plain(path) -> object       a pickle or .npy of numpy arrays, containers and numbers
  CALLS                            the few functions that a pickle may ask for, all of them ours
  Finished(limit).value(tree)      the tree of ``pickle_machine`` with its arrays read from the file
Tensors and arrays are only described at first; their bytes are read once, straight into the memory
that they keep, and never more of them than the file has. Shapes, strides and offsets must lie
within the storage. What a pickle says about any other class is a ``Record``; its code is not run.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from styleclip.checkpoints.pickle_machine import (
    Blob,
    Forbidden,
    Global,
    Malformed,
    Record,
    Source,
    Unsuitable,
    parse,
)
from styleclip.errors import CheckpointError

__all__ = ["ADVICE", "CALLS", "Finished", "Forbidden", "Global", "Malformed", "Record", "read_plain"]

ADVICE = "download it again, or check that it is the file you meant"
MOST_DEPTH = 100  # containers within containers
MOST_VALUES = 2_000_000  # counted where they are used, not where they are written
VIEWS = 8  # tensors of one file may share storages, but not take more than this many times its bytes
LARGEST_INDEX = 1 << 62


def read_plain(path: str | Path) -> Any:
    """A plain pickle, or a ``.npy`` file: numpy arrays, tensors, containers, numbers and text.

    Any protocol, of Python 2 too (its strings become text, as Latin-1). Arrays are fresh and
    writable; arrays of Python objects or with fields are refused. What names any other class is a
    ``Record``: its name, arguments and state, nothing of it imported, called or compiled. Raises
    ``CheckpointError`` for a file that is missing, damaged or hostile.
    """
    path = Path(path)
    with opened(path) as (stream, size), guarded(path, "pickle"):
        if stream.read(6) == b"\x93NUMPY":
            return _npy(stream, size)
        return Finished(size).value(parse(Source(stream, 0, size), CALLS))


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size; ``CheckpointError`` where there is none."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give the file inside it")
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
    except Forbidden as error:
        raise CheckpointError(
            f"{path} was not read, and nothing in it was run, because {first_line(error)}: do not "
            "use this file, it looks like an attack"
        ) from error
    except Unsuitable as error:
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}") from error
    except Exception as error:  # damaged bytes fail in many ways (KeyError, struct.error, ...)
        raise CheckpointError(
            f"{path} is a damaged or incomplete {kind} ({first_line(error)}): {ADVICE}"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of another library's message, for ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


# --- what a pickle may describe -----------------------------------------------


@dataclass(eq=False)
class Place:
    """Where bytes lie in a file; ``checksum`` is their CRC-32, None where the file has none."""

    source: Source
    start: int
    size: int
    checksum: int | None = None

    def read(self) -> Tensor:
        """The bytes [size], straight into their own memory."""
        self.source.window(self.start, self.size)
        content = torch.empty(self.size, dtype=torch.uint8)
        self.source.stream.seek(self.start)
        view = memoryview(content.numpy())
        if self.source.stream.readinto(view) != self.size:  # type: ignore[attr-defined]
            raise Malformed("it ends too early")
        if self.checksum is not None and zlib.crc32(view) != self.checksum:
            raise Malformed("Bad CRC-32 of a tensor")
        return content


@dataclass(eq=False)
class Storage:
    """The numbers that tensors share: ``place`` is found when it is needed."""

    dtype: torch.dtype | None  # None: bytes, of which each tensor says what they are
    count: int
    find: Callable[[], Place]


@dataclass(eq=False)
class StoredTensor:
    """A tensor that has not been read."""

    storage: Storage | Blob
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype | None = None


@dataclass(eq=False)
class StoredType:
    """A numpy type: its code ("f4") and byte order."""

    code: str
    order: str = "="

    def build(self, state: Any) -> None:
        _, order, subtype, names, fields, *_ = state
        if any(each is not None for each in (subtype, names, fields)):
            raise Malformed("it holds a numpy array with fields")
        if order not in ("<", ">", "|", "="):
            raise Malformed("it holds a numpy array of an unknown byte order")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@dataclass(eq=False)
class StoredArray:
    """A numpy array that has not been read."""

    shape: tuple[int, ...] = ()
    kind: StoredType | None = None
    fortran: bool = False
    content: Blob | bytes | str = b""

    def build(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, StoredType) or not isinstance(content, (Blob, bytes, str)):
            raise Malformed("it holds a numpy array of Python objects")
        self.shape, self.kind, self.content = _sizes(shape), kind, content
        self.fortran = bool(fortran)


# --- the functions that a pickle may ask for ----------------------------------

DTYPES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool, "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}  # fmt: skip
NUMBERS = {
    name: getattr(torch, name)
    for name in (
        "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool "
        "complex64 complex128 float8_e4m3fn float8_e5m2"
    ).split()
}
ALIASES = {"double": "float64", "float": "float32", "half": "float16", "long": "int64",
           "int": "int32", "short": "int16", "cfloat": "complex64"}  # fmt: skip


def storage_type(what: Any) -> torch.dtype | None:
    """The number type of a storage class by its name; None for a storage of bytes."""
    if isinstance(what, Global) and what.module in ("torch", "torch.cuda", "torch.storage"):
        if what.name in ("UntypedStorage", "TypedStorage"):
            return None
        if what.name in DTYPES:
            return DTYPES[what.name]
    raise Malformed(f"it holds a storage of an unknown type, {_shown(what)}")


def number_type(what: Any) -> torch.dtype:
    """``torch.float32`` and the like, by name."""
    if isinstance(what, Global) and what.module == "torch":
        found = NUMBERS.get(ALIASES.get(what.name, what.name))
        if found is not None:
            return found
    raise Malformed(f"it holds a tensor of an unknown type, {_shown(what)}")


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, (Storage, Blob)):
        raise Malformed("it holds a tensor without a storage")
    (start,) = _sizes((offset,))
    return StoredTensor(storage, start, _sizes(shape), _sizes(stride))


def _tensor_of_type(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> StoredTensor:
    tensor = _tensor(storage, offset, shape, stride)
    tensor.dtype = number_type(dtype)
    return tensor


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _subclass(function: Any, kind: Any, args: Any, *_: Any) -> Any:
    if not isinstance(function, Global) or function.module != "torch._utils":
        return Record(Global("torch._tensor", "_rebuild_from_type_v2"), (function, kind, args))
    return CALLS.get((function.module, function.name), lambda *a: Record(function, a))(*args)


def _nested(content: Any) -> Blob:
    """The bytes of a whole torch file, which holds one storage."""
    if isinstance(content, bytes):
        return Blob(Source.of(content), 0, len(content))
    if not isinstance(content, Blob):
        raise Malformed("it holds a tensor without a storage")
    return content


def _type(code: Any, *_: Any) -> StoredType:
    if isinstance(code, StoredType):
        return code
    if code in ("?", "bool"):
        code = "b1"
    if not (isinstance(code, str) and re.fullmatch(r"([biufc](1|2|4|8|16)|[SU]\d{1,6})", code)):
        raise Malformed(f"it holds a numpy array of {_shown(code)}, not of numbers or text")
    np.dtype(code)  # raises if there is no such size
    return StoredType(code)


def _array(*_: Any) -> StoredArray:
    return StoredArray()  # filled by its state


def _array_from_bytes(content: Any, kind: Any, shape: Any, order: Any) -> StoredArray:
    array = StoredArray(fortran=order == "F")
    array.build((1, shape, kind, array.fortran, content))
    return array


def _scalar(kind: Any, content: Any) -> Any:
    if not isinstance(kind, StoredType) or not isinstance(content, (bytes, str)):
        raise Malformed("it holds a numpy number of an unknown type")
    raw = content if isinstance(content, bytes) else content.encode("latin-1")
    number = np.frombuffer(raw, kind.numpy())
    if number.shape != (1,):
        raise Malformed("it holds a numpy number of another size than its type's")
    return number[0].item()


def _text_to_bytes(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Malformed("it holds bytes in an unknown encoding")
    return text.encode("latin-1")


def _dict(*args: Any) -> dict[Any, Any]:
    """An empty dict of any kind, or one from pairs, as Python 2 wrote ordered ones."""
    pairs = args[0] if args and isinstance(args[0], (list, dict)) else {}
    if isinstance(pairs, dict):
        return dict(pairs)
    if any(not isinstance(pair, (list, tuple)) or not isinstance(pair[0], str) for pair in pairs):
        raise Malformed("it holds a dict of unusual keys")
    return {key: value for key, value in pairs}


def _set(*args: Any) -> set[Any]:
    values = args[0] if args else ()
    if not isinstance(values, (list, tuple, set, frozenset)) or not all(
        isinstance(value, (str, int, float, bytes, type(None))) for value in values
    ):
        raise Malformed("it holds a set of unusual values")
    return set(values)


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    return complex(float(real), float(imaginary))


def _byte_array(*args: Any) -> bytes | Blob:
    content = args[0] if args else b""
    if isinstance(content, str):
        return content.encode("latin-1")
    if not isinstance(content, (bytes, Blob)):
        raise Malformed("it holds bytes of an unknown kind")
    return content


def _shape(*args: Any) -> tuple[int, ...]:
    return _sizes(args[0] if args else ())


CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    ("torch.storage", "_load_from_bytes"): _nested,
    ("torch", "Size"): _shape,
    ("numpy", "dtype"): _type,
    ("numpy", "ndarray"): _array,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _dict,
    ("collections", "Counter"): _dict,
    ("dnnlib.util", "EasyDict"): _dict,
    ("dnnlib", "EasyDict"): _dict,
    ("_codecs", "encode"): _text_to_bytes,
}
for _module in ("numpy.core", "numpy._core"):
    CALLS[_module + ".multiarray", "_reconstruct"] = _array
    CALLS[_module + ".multiarray", "scalar"] = _scalar
    CALLS[_module + ".numeric", "_frombuffer"] = _array_from_bytes
for _module in ("builtins", "__builtin__"):
    CALLS[_module, "set"] = _set
    CALLS[_module, "frozenset"] = _set
    CALLS[_module, "complex"] = _complex
    CALLS[_module, "bytearray"] = _byte_array
    CALLS[_module, "dict"] = _dict


# --- reading what was described -----------------------------------------------


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
        """The finished value of ``tree``. Raises ``Malformed``."""
        return self._value(tree, 0)[0]

    def _value(self, tree: Any, depth: int) -> tuple[Any, int]:
        if isinstance(tree, (str, int, float, bool, bytes, complex, type(None), torch.dtype)):
            return tree, 1
        known = self.done.get(id(tree))
        if known is not None:
            return known[1], known[2]
        if id(tree) in self.under_way:
            raise Malformed("it has a container that holds itself")
        if depth > MOST_DEPTH:
            raise Malformed(f"it has containers nested more than {MOST_DEPTH} deep")
        self.under_way.add(id(tree))
        value, count = self._finish(tree, depth + 1)
        self.under_way.discard(id(tree))
        if count > MOST_VALUES:
            raise Malformed(f"it holds more than {MOST_VALUES} values")
        self.done[id(tree)] = (tree, value, count)
        return value, count

    def _finish(self, tree: Any, depth: int) -> tuple[Any, int]:
        if isinstance(tree, StoredTensor):
            return self._tensor(tree), 1
        if isinstance(tree, StoredArray):
            return self._array(tree), 1
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
        raise Malformed(f"it holds a {type(tree).__name__}")

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
        if record.what == Global("argparse", "Namespace"):
            return (state if isinstance(state, dict) else items), count
        return Record(record.what, args, state, items, elements), count

    # --- bytes ---

    def _read(self, place: Place) -> Tensor:
        self.bytes_left -= place.size
        if self.bytes_left < 0:
            raise Malformed("its tensors take more bytes than it has")
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
            raise Malformed("it holds a tensor that does not say what its numbers are")
        shape, stride, offset = tensor.shape, tensor.stride, tensor.offset
        if len(shape) != len(stride):
            raise Malformed("it holds a tensor whose strides do not belong to its shape")
        size, capacity = dtype.itemsize, storage.count * (storage.dtype or torch.uint8).itemsize
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        if (last + 1) * size > capacity or count * size > capacity:
            raise Malformed(f"it holds a tensor {_listed(shape)} that lies outside of its storage")
        self.views_left -= count * size
        if self.views_left < 0:
            raise Malformed("its tensors take many times more bytes than it has")
        content = self._storage(storage)
        if content.numel() != capacity or capacity % size:
            raise Malformed("it holds a storage of another size than it says")
        return content.view(dtype).as_strided(shape, stride, offset)

    def _array(self, array: StoredArray) -> npt.NDArray[Any]:
        if array.kind is None:
            raise Malformed("it holds a numpy array without contents")
        content = array.content
        if isinstance(content, Blob):
            raw = self._read(Place(content.source, content.start, content.size)).numpy()
        else:
            text = content.encode("latin-1") if isinstance(content, str) else content
            raw = np.frombuffer(bytearray(text), np.uint8)
        kind = array.kind.numpy()
        if math.prod(array.shape) * kind.itemsize != raw.size:
            raise Malformed(f"it holds a numpy array {_listed(array.shape)} of {raw.size} bytes")
        if raw.size == 0:
            return np.empty(array.shape, kind)
        values = raw.view(kind).reshape(array.shape, order="F" if array.fortran else "C")
        return values if kind.isnative else values.astype(kind.newbyteorder("="))


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > 64:
        raise Malformed("it holds an array of an absurd shape")
    for value in values:
        if type(value) is not int or not 0 <= value < LARGEST_INDEX:
            raise Malformed("it holds an array of an absurd shape")
    return tuple(values)


def _listed(shape: tuple[int, ...]) -> str:
    return str(list(shape))[:80]


def _shown(value: Any) -> str:
    return str(value)[:80] if isinstance(value, (Global, Record, str)) else type(value).__name__


def _npy(stream: BinaryIO, size: int) -> npt.NDArray[Any]:
    """An array of a .npy file, if its header says no more than there is."""
    from numpy.lib import format as npy

    stream.seek(0)
    version = npy.read_magic(stream)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, kind = header(stream, max_header_size=LONGEST_HEADER)
    start = stream.tell()
    code = kind.str.lstrip("<>|=")
    stored = StoredArray(_sizes(shape), _type(code), fortran)
    stored.kind = StoredType(code, kind.str[0])
    stored.content = Blob(Source(stream, 0, size), start, math.prod(stored.shape) * kind.itemsize)
    return Finished(size)._array(stored)


LONGEST_HEADER = 10_000
