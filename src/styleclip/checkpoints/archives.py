"""What torch files are made of: zip archives, older streams of pickles, modules within pickles.

  zip     NAME/data.pkl, NAME/data/KEY for each storage; TorchScript adds code/ and constants.pkl
  stream  magic number, protocol, system, tree, keys, then each storage: count in 8 bytes, numbers
  module  {_parameters, _buffers, _modules}, {a TorchScript object's attributes} -> {dotted: tensor}
Only the pickle is read here; each storage keeps its place in the file until a tensor is wanted.
Code in archives or in NVIDIA's persistent objects is never looked at. Facts: torch.serialization,
torch/csrc/jit/serialization, and the files that torch 2.13 writes; archives as old as OpenAI's CLIP
are known from their description alone.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from styleclip.checkpoints.pickle_machine import (
    Blob,
    ForbiddenError,
    MalformedError,
    Record,
    Source,
    UnsuitableError,
    parse,
)
from styleclip.checkpoints.stored import (
    CALLS,
    Place,
    Storage,
    StoredArray,
    StoredTensor,
    storage_type,
)

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MOST_ENTRIES = 100_000  # of an archive, and of tensors in modules
LONGEST_DIRECTORY = 50 * MOST_ENTRIES  # bytes of an archive's list; an entry takes 46 and its name
MOST_MODULES_DEEP = 60
LONGEST_SETTING = 200  # longer text is a comment


# --- zip archives -------------------------------------------------------------


def zip_tree(source: Source) -> Any:
    """The tree of a zip archive of torch. Raises ``MalformedError`` or what damaged bytes raise."""
    entries = _entries(source)
    pickles = [name for name in entries if PurePosixPath(name).name == "data.pkl"]
    if len(pickles) != 1:
        raise UnsuitableError("it is a zip archive but not a torch file")
    root = pickles[0].removesuffix("data.pkl")
    order = entries.get(root + "byteorder")
    if order and _content(source, order, 16) != b"little":
        raise UnsuitableError(
            "it was written on a computer of the other byte order; save it again on this one"
        )
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Storage:
        kind, what, key, count = _identity(identity, 4)
        if kind != "storage":
            raise MalformedError("it refers to something that is not a storage")
        if key not in storages:
            dtype = storage_type(what)
            storages[key] = Storage(
                dtype, count, lambda: _place(source, entries, f"{root}data/{key}")
            )
        return storages[key]

    place = _place(source, entries, pickles[0])
    if place.checksum is not None and _checksum(place) != place.checksum:
        raise MalformedError("Bad CRC-32 of data.pkl")
    return parse(source.window(place.start, place.size), CALLS, persistent)


def _entries(source: Source) -> dict[str, zipfile.ZipInfo]:
    with zipfile.ZipFile(_Directory(source.stream)) as archive:
        listed = archive.infolist()
    if len(listed) > MOST_ENTRIES:
        raise MalformedError(f"it has more than {MOST_ENTRIES} entries")
    for entry in listed:
        name = entry.orig_filename
        paths = PurePosixPath(name), PureWindowsPath(name)
        if any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
            raise ForbiddenError("it has an entry that points out of the archive")
    entries = {entry.filename: entry for entry in listed}
    if len(entries) != len(listed):
        raise MalformedError("it has several entries of one name")
    return entries


class _Directory:
    """The file as ``zipfile`` reads it: its list of entries at once, unless that is absurdly long.

    How many there are it looks at afterwards, when each has become an object.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.seek, self.tell = stream, stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if size > LONGEST_DIRECTORY:
            raise MalformedError(f"it has more than {MOST_ENTRIES} entries")
        return self.stream.read(size if size >= 0 else LONGEST_DIRECTORY)


def _place(source: Source, entries: dict[str, zipfile.ZipInfo], name: str) -> Place:
    """Where the bytes of an entry lie, behind its own header."""
    entry = entries.get(name)
    if entry is None:
        raise MalformedError(f"it has no entry {name[:80]}")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise MalformedError("it has a compressed entry, which torch never writes")
    header = source.window(entry.header_offset, 30).read(30)
    if not header.startswith(b"PK\x03\x04"):
        raise MalformedError("it has an entry without a header")
    flags, name_size, extra_size = (
        struct.unpack("<H", header[6:8])[0],
        *struct.unpack("<HH", header[26:30]),
    )
    if (flags | entry.flag_bits) & 1:
        raise MalformedError("it has an encrypted entry")
    start = entry.header_offset + 30 + name_size + extra_size
    source.window(start, entry.file_size)
    # torch can be told to write no checksums, which reads as 0
    return Place(source, start, entry.file_size, entry.CRC or None)


def _content(source: Source, entry: zipfile.ZipInfo, most: int) -> bytes:
    place = _place(source, {entry.filename: entry}, entry.filename)
    return source.window(place.start, min(place.size, most)).read(min(place.size, most))


def _checksum(place: Place) -> int:
    part, total = place.source.window(place.start, place.size), 0
    while part.position < part.end:
        total = zlib.crc32(part.read(min(1 << 20, part.end - part.position)), total)
    return total


def _identity(identity: Any, size: int) -> tuple[Any, Any, str, int]:
    """What a pickle calls a storage: ("storage", class, key, device, count, ...)."""
    if not isinstance(identity, tuple) or len(identity) < size:
        raise MalformedError("it refers to something that is not a storage")
    kind, what, key, _, count = identity[:5]
    if not isinstance(key, str) or type(count) is not int or count < 0 or len(key) > 200:
        raise MalformedError("it refers to a storage in an unknown way")
    return kind, what, key, count


# --- older streams, and plain pickles -----------------------------------------


def stream_tree(source: Source) -> Any:
    """The tree of an older torch file, or of a pickle that is none."""
    first = parse(source, CALLS)
    if type(first) is not int or first != MAGIC:
        return first
    if parse(source, {}) != PROTOCOL:
        raise MalformedError("it is of an unknown version of torch")
    system = parse(source, {})
    if not isinstance(system, dict):
        raise MalformedError("it does not say what system it was written on")
    if system.get("little_endian") is not True:
        raise UnsuitableError(
            "it was written on a computer of the other byte order; save it again on this one"
        )
    storages: dict[str, Storage] = {}
    places: dict[str, Place] = {}

    def persistent(identity: Any) -> Storage:
        kind, what, key, count = _identity(identity, 5)
        if kind != "storage" or any(each is not None for each in identity[5:]):
            raise MalformedError("it refers to something that is not a storage")
        dtype = storage_type(what)
        return storages.setdefault(key, Storage(dtype, count, lambda: places[key]))

    tree = parse(source, CALLS, persistent)
    keys = parse(source, {})
    if not isinstance(keys, list) or len(keys) > MOST_ENTRIES:
        raise MalformedError("it has no list of its storages")
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or key in places:
            raise MalformedError("it lists a storage that it does not use")
        count = struct.unpack("<q", source.read(8))[0]
        if count != storage.count:
            raise MalformedError("it holds a storage of another size than it says")
        size = count * (storage.dtype.itemsize if storage.dtype else 1)
        places[key] = Place(source, source.skip(size), size)
    if len(places) != len(storages):
        raise MalformedError("it ends too early")
    return tree


def nested_storage(blob: Blob) -> Storage:
    """The storage in a torch file that is a byte string of a pickle (torch.storage)."""
    storage = stream_tree(blob.open())
    if not isinstance(storage, Storage):
        raise MalformedError("it holds a nested file that is not one storage")
    return storage


# --- modules ------------------------------------------------------------------


@dataclass
class Module:
    """A network in a pickle: ``tensors`` and plain ``settings`` by their dotted names."""

    tensors: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    class_name: str = ""


PARTS = ("_parameters", "_buffers", "_modules")


def find_module(tree: Any) -> Module | None:
    """The network that a record describes, flat; None where it describes something else.

    Known are torch's modules (also as NVIDIA's persistent objects), TorchScript's, whose tensors
    are told from other attributes only by being tensors, and networks of NVIDIA's TensorFlow code.
    """
    if not _is_module(tree):
        return None
    module = Module(class_name=_class_name(tree))
    for name, value in _walk(tree, "", 0, [MOST_ENTRIES]):
        if isinstance(value, (StoredTensor, StoredArray)):
            module.tensors[name] = value
        elif isinstance(value, (int, float, bool, type(None))) or (
            isinstance(value, str) and len(value) <= LONGEST_SETTING
        ):
            module.settings[name] = value
    return module


def _walk(tree: Record, prefix: str, depth: int, left: list[int]) -> Iterator[tuple[str, Any]]:
    """Tensors, and the settings that are numbers or text, by their dotted names.

    ``left`` is how many more entries a network may have, in all of its modules.
    """
    if depth > MOST_MODULES_DEEP:
        raise MalformedError(f"it has modules nested more than {MOST_MODULES_DEEP} deep")
    state = _state(tree)
    left[0] -= 1 + sum(len(each) for each in (state, *state.values()) if isinstance(each, dict))
    if left[0] < 0:
        raise MalformedError(f"it has a network of more than {MOST_ENTRIES} entries")
    if _is_tensorflow(tree):
        yield from _tensorflow(state, prefix, depth, left)
        return
    torchscript = not all(part in state for part in PARTS)
    left_out = state.get("_non_persistent_buffers_set")
    for key, value in state.items():
        if torchscript and _is_module(value):
            yield from _walk(value, f"{prefix}{key}.", depth + 1, left)
        elif key not in PARTS:
            yield from _settings(f"{prefix}{key}", value, depth, left)
    for part in () if torchscript else PARTS:
        entries = state[part]
        if not isinstance(entries, dict):
            raise MalformedError("it has a module without parts")
        for key, value in entries.items():
            if part == "_modules" and value is not None:
                if not _is_module(value):
                    raise MalformedError(f"it has a module {prefix}{key} of an unknown kind"[:200])
                yield from _walk(value, f"{prefix}{key}.", depth + 1, left)
            elif value is not None and not (
                part == "_buffers" and isinstance(left_out, (set, frozenset)) and key in left_out
            ):
                yield f"{prefix}{key}", value


def _settings(name: str, value: Any, depth: int, left: list[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and name.endswith("kwargs"):
        if depth > MOST_MODULES_DEEP:
            raise MalformedError(f"it has settings nested more than {MOST_MODULES_DEEP} deep")
        left[0] -= len(value)
        if left[0] < 0:
            raise MalformedError(f"it has a network of more than {MOST_ENTRIES} entries")
        for key, each in value.items():
            yield from _settings(f"{name}.{key}", each, depth + 1, left)
    else:
        yield name, value


def _tensorflow(
    state: dict[Any, Any], prefix: str, depth: int, left: list[int]
) -> Iterator[tuple[str, Any]]:
    """NVIDIA's TensorFlow networks: their own variables, then those of their components."""
    yield f"{prefix}version", state.get("version")
    yield from _settings(f"{prefix}static_kwargs", state.get("static_kwargs"), depth, left)
    variables, components = state.get("variables"), state.get("components", {})
    if not isinstance(variables, list) or not isinstance(components, dict):
        raise MalformedError("it has a TensorFlow network without variables")
    left[0] -= len(variables)
    for name, value in variables:
        yield f"{prefix}{name}", value
    for name, component in components.items():
        if not _is_module(component):
            raise MalformedError("it has a TensorFlow network of an unknown kind")
        yield from _walk(component, f"{prefix}{name}/", depth + 1, left)


def _is_module(tree: Any) -> bool:
    if not isinstance(tree, Record) or not isinstance(_state(tree), dict):
        return False
    return (
        all(part in _state(tree) for part in PARTS)
        or tree.what.module.partition(".")[0] == "__torch__"
        or _is_tensorflow(tree)
    )


def _is_tensorflow(tree: Record) -> bool:
    return tree.what.module.endswith("tflib.network") and tree.what.name == "Network"


def _state(tree: Record) -> Any:
    meta = _persistent(tree)
    return tree.state if meta is None else meta.get("state")


def _class_name(tree: Record) -> str:
    meta = _persistent(tree)
    name = tree.what.name if meta is None else meta.get("class_name", "")
    if not isinstance(name, str):  # printing it could take for ever: a name of lists in lists
        raise MalformedError("it has a persistent object whose class has no text for a name")
    return name[:100]


def _persistent(tree: Record) -> dict[Any, Any] | None:
    """What NVIDIA's ``torch_utils.persistence`` writes in place of an object: one dict."""
    if tree.what.name != "_reconstruct_persistent_obj":
        return None
    if len(tree.args) != 1 or not isinstance(tree.args[0], dict):
        raise MalformedError("it has a persistent object without its description")
    return tree.args[0]
