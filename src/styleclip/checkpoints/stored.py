"""What a pickle may describe: tensors, numpy arrays, numbers, containers; none of it read yet.

  CALLS[module, name](*args) -> StoredTensor, StoredArray, dict, ...
These are the only functions that a pickle can ask for, and all of them are ours: they note what the
real ones would have made. Sizes, types and states are checked here, the bytes when they are read
(``finished``).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleclip.checkpoints.pickle_machine import Blob, Global, MalformedError, Record, Source

LARGEST_INDEX = 1 << 62
MOST_AXES = 64


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
        view = memoryview(content.numpy().data)
        if self.source.stream.readinto(view) != self.size:  # type: ignore[attr-defined]
            raise MalformedError("it ends too early")
        if self.checksum is not None and zlib.crc32(view) != self.checksum:
            raise MalformedError("Bad CRC-32 of a tensor")
        return content

    def check(self) -> None:
        """Read the bytes for their checksum, and keep none of them."""
        part, total = self.source.window(self.start, self.size), 0
        while self.checksum is not None and part.position < part.end:
            total = zlib.crc32(part.read(min(1 << 20, part.end - part.position)), total)
        if self.checksum not in (None, total):
            raise MalformedError("Bad CRC-32 of a tensor")


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
            raise MalformedError("it holds a numpy array with fields")
        if order not in ("<", ">", "|", "="):
            raise MalformedError("it holds a numpy array of an unknown byte order")
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
            raise MalformedError("it holds a numpy array of Python objects")
        self.shape, self.kind, self.content = sizes_of(shape), kind, content
        self.fortran = bool(fortran)


# --- the functions that a pickle may ask for ----------------------------------

DTYPES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool, "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}  # fmt: skip
KINDS = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
    "uint16", "uint32", "uint64", "bool", "complex64", "complex128", "float8_e4m3fn",
    "float8_e5m2",
)  # fmt: skip
NUMBERS = {name: getattr(torch, name) for name in KINDS}
ALIASES = {"double": "float64", "float": "float32", "half": "float16", "long": "int64",
           "int": "int32", "short": "int16", "cfloat": "complex64"}  # fmt: skip


def storage_type(what: Any) -> torch.dtype | None:
    """The number type of a storage class by its name; None for a storage of bytes."""
    if isinstance(what, Global) and what.module in ("torch", "torch.cuda", "torch.storage"):
        if what.name in ("UntypedStorage", "TypedStorage"):
            return None
        if what.name in DTYPES:
            return DTYPES[what.name]
    raise MalformedError(f"it holds a storage of an unknown type, {_shown(what)}")


def number_type(what: Any) -> torch.dtype:
    """``torch.float32`` and the like, by name."""
    if isinstance(what, Global) and what.module == "torch":
        found: torch.dtype | None = NUMBERS.get(ALIASES.get(what.name, what.name))
        if found is not None:
            return found
    raise MalformedError(f"it holds a tensor of an unknown type, {_shown(what)}")


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, (Storage, Blob)):
        raise MalformedError("it holds a tensor without a storage")
    (start,) = sizes_of((offset,))
    return StoredTensor(storage, start, sizes_of(shape), sizes_of(stride))


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
    known = CALLS.get((function.module, function.name))
    return Record(function, args) if known is None else known(*args)


def _nested(content: Any) -> Blob:
    """The bytes of a whole torch file, which holds one storage."""
    if isinstance(content, bytes):
        return Blob(Source.of(content), 0, len(content))
    if not isinstance(content, Blob):
        raise MalformedError("it holds a tensor without a storage")
    return content


def array_type(code: Any, *_: Any) -> StoredType:
    if isinstance(code, StoredType):
        return code
    if code in ("?", "bool"):
        code = "b1"
    if not (
        isinstance(code, str) and re.fullmatch(r"([biufc](1|2|4|8|16)|[SU][1-9]\d{0,5})", code)
    ):
        raise MalformedError(f"it holds a numpy array of {_shown(code)}, not of numbers or text")
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
        raise MalformedError("it holds a numpy number of an unknown type")
    raw = content if isinstance(content, bytes) else content.encode("latin-1")
    number = np.frombuffer(raw, kind.numpy())
    if number.shape != (1,):
        raise MalformedError("it holds a numpy number of another size than its type's")
    return number[0].item()


def _text_to_bytes(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise MalformedError("it holds bytes in an unknown encoding")
    return text.encode("latin-1")


def _dict(*args: Any) -> dict[Any, Any]:
    """An empty dict of any kind, or one from pairs, as Python 2 wrote ordered ones."""
    pairs = args[0] if args and isinstance(args[0], (list, dict)) else {}
    if isinstance(pairs, dict):
        return dict(pairs)
    if any(not isinstance(pair, (list, tuple)) or not isinstance(pair[0], str) for pair in pairs):
        raise MalformedError("it holds a dict of unusual keys")
    return dict(pairs)


def _set(*args: Any) -> set[Any]:
    values = args[0] if args else ()
    if not isinstance(values, (list, tuple, set, frozenset)) or not all(
        isinstance(value, (str, int, float, bytes, type(None))) for value in values
    ):
        raise MalformedError("it holds a set of unusual values")
    return set(values)


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    return complex(float(real), float(imaginary))


def _byte_array(*args: Any) -> bytes | Blob:
    content = args[0] if args else b""
    if isinstance(content, str):
        return content.encode("latin-1")
    if not isinstance(content, (bytes, Blob)):
        raise MalformedError("it holds bytes of an unknown kind")
    return content


def _shape(*args: Any) -> tuple[int, ...]:
    return sizes_of(args[0] if args else ())


CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    ("torch.storage", "_load_from_bytes"): _nested,
    ("torch", "Size"): _shape,
    ("numpy", "dtype"): array_type,
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
    CALLS[_module, "bytes"] = _byte_array
    CALLS[_module, "bytearray"] = _byte_array
    CALLS[_module, "dict"] = _dict


def sizes_of(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > MOST_AXES:
        raise MalformedError("it holds an array of an absurd shape")
    for value in values:
        if type(value) is not int or not 0 <= value < LARGEST_INDEX:
            raise MalformedError("it holds an array of an absurd shape")
    return tuple(values)


def _shown(value: Any) -> str:
    return str(value)[:80] if isinstance(value, (Global, Record, str)) else type(value).__name__
