"""Reading files of weights without running what is in them.

  path --read_weights--> {name: tensor or nested dict}, metadata
Safetensors hold only tensors and text; torch files go through the ``weights_only`` reader, which
knows tensors and plain containers. What a file is, its first bytes decide, never its name.
Every way in which a file can fail becomes one ``CheckpointError`` that says what to do.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.errors import CheckpointError

ADVICE = "download it again, or check that it is the file you meant"


@dataclass(frozen=True)
class Weights:
    """What a file held: tensors by name (torch files may nest dicts), and safetensors metadata."""

    path: Path
    contents: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)


def read_weights(path: str | Path) -> Weights:
    """Read a ``.safetensors`` or torch file to the CPU, whatever its name.

    Raises ``CheckpointError`` if the file is missing, damaged, of another kind, or holds Python
    objects other than tensors and containers.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give the file of weights inside it")
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}: check the path")
    with path.open("rb") as stream:
        head = stream.read(512)
    if head[8:9] == b"{":  # the length of a JSON header in 8 bytes, then the header
        return _read_safetensors(path)
    if head.startswith(b"PK\x03\x04"):
        return _read_torch_zip(path)
    if head.startswith(b"\x80"):
        return _read_torch_pickle(path)
    raise CheckpointError(f"{path} is not a file of weights: {_guess(head)}; {ADVICE}")


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


def first_line(error: BaseException) -> str:
    """The first line of another library's message, for ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            metadata = dict(opened.metadata() or {})
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is a damaged or incomplete safetensors file ({first_line(error)}): {ADVICE}"
        ) from error
    return Weights(path, tensors, metadata)


def _read_torch_zip(path: Path) -> Weights:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for entry in archive.infolist():
                if entry.CRC:  # torch can be told to write none, which reads as 0
                    _check_sum(archive, entry)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is a damaged or incomplete torch file ({first_line(error)}): {ADVICE}"
        ) from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript archive, which is not readable yet: "
            "save the state dict of its model with torch.save and give that file"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(f"{path} is a zip archive but not a torch file: {ADVICE}")
    return _read_torch_pickle(path)


def _check_sum(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Read an entry to its end; torch's own reader does not compare the checksum, zipfile does."""
    with archive.open(entry) as stream:
        while stream.read(1 << 20):
            pass


def _read_torch_pickle(path: Path) -> Weights:
    try:
        # an open file, because by its name torch would choose another reader
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of uncommon pickle protocols
            contents = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _mentions_classes(error):
            raise CheckpointError(
                f"{path} is a pickle that holds Python objects, not only tensors, and such files "
                "are not readable yet: save the state dict alone (torch.save or safetensors) and "
                "give that file"
            ) from error
        raise CheckpointError(
            f"{path} is a damaged or incomplete torch file ({first_line(error)}): {ADVICE}"
        ) from error
    except Exception as error:  # the reader fails in many ways on damaged bytes
        raise CheckpointError(
            f"{path} is a damaged or incomplete torch file ({first_line(error)}): {ADVICE}"
        ) from error
    if not isinstance(contents, Mapping) or not all(isinstance(key, str) for key in contents):
        found = type(contents).__name__
        raise CheckpointError(
            f"{path} holds a {found}, expected a dict of tensors by name: {ADVICE}"
        )
    return Weights(path, dict(contents))


def _mentions_classes(error: Exception) -> bool:
    text = str(error)
    return "GLOBAL" in text or "class" in text.lower() or "Unsupported operand" in text


def _guess(head: bytes) -> str:
    start = head.lstrip().lower()
    if not head:
        return "it is empty"
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page, perhaps a download that asked for a login"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, the weights themselves were not fetched (git lfs pull)"
    return "its first bytes are neither safetensors nor torch"
