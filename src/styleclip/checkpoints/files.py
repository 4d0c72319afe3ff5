"""Reading files of weights without running what is in them.

  path --read_weights--> {name: tensor or nested dict}, metadata, settings
Safetensors hold only tensors and text; the pickles of torch files, of TorchScript archives and of
NVIDIA's networks go through a machine that runs nothing (``pickles``). What a file is, its first
bytes decide, never its name. Every way in which a file can fail becomes one ``CheckpointError``
that says what to do. Bytes are read once, straight into the tensors' own memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints import archives, tensor_files
from styleclip.checkpoints.finished import ADVICE, Finished, Shapes, guarded, opened
from styleclip.checkpoints.finished import first_line as first_line  # most of the room uses it
from styleclip.checkpoints.pickle_machine import Record, Source, UnsuitableError
from styleclip.errors import CheckpointError

LONGEST_NAME = 500
MOST_ENTRIES = 1_000_000  # of all networks in a file
Keep = Callable[[list[str]], Collection[str]]


@dataclass(frozen=True)
class Weights:
    """What a file held: tensors by name (torch files may nest dicts), and what it says of them.

    A network in a pickle is a flat dict of its tensors by dotted names; ``settings`` are its plain
    attributes, by dotted names behind the network's ("G_ema.synthesis.b4.conv1.conv_clamp").
    ``metadata`` is of safetensors files.
    """

    path: Path
    contents: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def read_weights(
    path: str | Path,
    keep: Keep | None = None,
    shapes: bool = False,
    inside: Keep | None = None,
) -> Weights:
    """Read a file of weights to the CPU, whatever its name: safetensors, torch, or NVIDIA's.

    Tensors have the file's precision and memory of their own. A TorchScript archive and a pickled
    module become a flat {dotted name: tensor}; what they could compute is not looked at. Objects of
    other classes stay inert ``Record``s.
    ``keep`` chooses from the names at the top, ``inside`` of a torch file from those of each dict
    there; what they leave out is not read. Of a torch file the checksums of what is read are
    compared. With ``shapes`` tensors are on the meta device: their shapes and types, and no memory.
    Raises ``CheckpointError`` if the file is missing, damaged, hostile or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give the file of weights inside it")
    with opened(path) as (stream, _):
        head = stream.read(512)
    if head[8:9] == b"{":  # the length of a JSON header in 8 bytes, then the header
        weights = _read_safetensors(path, keep, shapes)
    elif head.startswith(b"PK\x03\x04"):
        weights = _read_torch(path, keep, inside, shapes, zipped=True)
    elif head.startswith(b"\x80"):
        weights = _read_torch(path, keep, inside, shapes, zipped=False)
    else:
        raise CheckpointError(f"{path} is not a file of weights: {_guess(head)}; {ADVICE}")
    _check_names(weights)
    return weights


def _check_names(weights: Weights) -> None:
    """Messages list names of entries: they must be of one line, and of no commands to terminals."""
    for key, value in weights.contents.items():
        for name in (key, *(value if isinstance(value, dict) else ())):
            if isinstance(name, str) and (len(name) > LONGEST_NAME or not name.isprintable()):
                raise CheckpointError(
                    f"{weights.path} has entries whose names are no readable text: {ADVICE}"
                )


def check_hashes(
    theirs: Mapping[str, str], ours: Mapping[str, str], made: str, model: str, advice: str
) -> None:
    """Raise ``CheckpointError`` unless a file's networks, hashes by part, are the model's."""
    for part, expected in theirs.items():
        if ours[part] != expected:
            raise CheckpointError(
                f"{made} with another {part}: expected {expected[:12]}, but the model {model!r} "
                f"has {ours[part][:12]}; {advice}"
            )


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors, in the order of their names.

    Independent of the file format, device and memory layout: the same network gives the same hash.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        header = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        digest.update(json.dumps(header).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file {path}: check the path")
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_safetensors(path: Path, keep: Keep | None, shapes: bool) -> Weights:
    with opened(path) as (stream, size), guarded(path, "safetensors file"):
        return Weights(path, *tensor_files.read_tensors(Source(stream, 0, size), keep, shapes))


def _read_torch(
    path: Path, keep: Keep | None, inside: Keep | None, shapes: bool, zipped: bool
) -> Weights:
    with opened(path) as (stream, size), guarded(path, "torch file"):
        source = Source(stream, 0, size)
        tree = archives.zip_tree(source) if zipped else archives.stream_tree(source)
        contents, settings = _by_name(tree, keep)
        for name, value in contents.items():
            if isinstance(value, dict) and all(isinstance(key, str) for key in value):
                contents[name] = _chosen(value, inside)
        finished = Shapes(size) if shapes else Finished(size)
        return Weights(path, finished.value(contents), settings=settings)


def _by_name(tree: Any, keep: Keep | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries that are wanted, networks among them flat, and the networks' settings."""
    whole = archives.find_module(tree)
    if whole is not None:
        return _chosen(whole.tensors, keep), whole.settings
    if isinstance(tree, tuple) and len(tree) == 3 and all(map(archives.find_module, tree)):
        tree = dict(zip(("G", "D", "Gs"), tree, strict=True))  # as NVIDIA's TensorFlow code wrote
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UnsuitableError(
            f"it holds a {_name_of(tree)}, expected a dict of tensors by name; {ADVICE}"
        )
    contents: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    entries = 0
    for key, value in _chosen(tree, keep).items():
        module = archives.find_module(value)
        if module is None:
            contents[key] = value
        else:
            contents[key] = module.tensors
            entries += len(module.tensors) + len(module.settings) + 100
            if entries > MOST_ENTRIES:
                raise UnsuitableError(f"it has networks of more than {MOST_ENTRIES} entries")
            settings |= {f"{key}.{name}": each for name, each in module.settings.items()}
    return contents, settings


def _chosen(entries: dict[str, Any], keep: Keep | None) -> dict[str, Any]:
    if keep is None:
        return entries
    wanted = set(keep(list(entries)))
    return {name: value for name, value in entries.items() if name in wanted}


def _name_of(tree: Any) -> str:
    if isinstance(tree, Record):
        return str(tree)[:100]
    found = type(tree).__name__
    return {"StoredTensor": "Tensor", "StoredArray": "numpy array"}.get(found, found)


def _guess(head: bytes) -> str:
    start = head.lstrip().lower()
    if not head:
        return "it is empty"
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page, perhaps a download that asked for a login"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, the weights themselves were not fetched (git lfs pull)"
    return "its first bytes are neither safetensors nor torch"
