"""Our own format: one safetensors file that says what network it holds.

  metadata = {"format": "styleclip/1", "kind": "stylegan2" | "encoder" | ..., "config": json}
``kind`` and ``config`` are enough to build the network; its state dict must then fit exactly. Files
are written under a temporary name and renamed, so that a reader never meets half a file.
"""

from __future__ import annotations

import functools
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from styleclip.checkpoints.files import Weights, first_line, read_weights
from styleclip.checkpoints.tensor_files import TYPES
from styleclip.errors import ArgumentError, CheckpointError

FORMAT = "styleclip/1"
# Kinds whose tensors no network describes, and their axes: one letter is one size.
AXES: dict[str, dict[str, str]] = {
    "latent-map": {"matrix": "ED", "mean": "E", "covariance": "EE"},
    "directions": {"matrix": "SE", "mean": "S", "std": "S", "effect": "S", "images": "S"},
    "scan": {
        "change": "SE",
        "length": "S",
        "images": "S",
        "along": "S",
        "slopes": "NSK",
        "basis": "BV",
    },
}

# of configs: what is built once for each, and how many a network may have
COUNTS = ("mapping_layers", "layers", "rows", "units")
MOST_LAYERS = 1000
LARGEST = 1 << 31  # number of anything


class Network(NamedTuple):
    """What a native file holds: enough to build the network and to fill it."""

    kind: str
    config: dict[str, Any]
    state_dict: dict[str, Tensor]


def save_network(
    path: str | Path,
    kind: str,
    config: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a network to ``path`` at once or not at all.

    ``config`` must be JSON; ``dtype`` (such as ``torch.float16``) is how floating-point tensors are
    stored, None as they are.
    """
    path = Path(path)
    text = json.dumps(dict(config), sort_keys=True)
    metadata = {"format": FORMAT, "kind": kind, "config": text}
    types = {
        name: dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        for name, tensor in state_dict.items()
    }
    order, header = _header(state_dict, types, metadata)
    handle, temporary = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(header)
            for name in order:  # one at a time: a network is not in memory twice to be written
                stored = state_dict[name].detach().to("cpu", types[name]).contiguous()
                stream.write(stored.reshape(-1).view(torch.uint8).numpy().data)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp allows the owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_network(
    path: str | Path,
    kind: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
) -> None:
    """``save_network`` where a user named the file. Raises ``CheckpointError`` if it cannot be."""
    try:
        save_network(path, kind, config, tensors, dtype)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written ({first_line(error)}): choose another place"
        ) from error


def save_unfinished(
    path: str | Path, kind: str, tensors: Mapping[str, Tensor], made_by: Mapping[str, str]
) -> None:
    """Write what a long job has so far, with the hashes of the networks that made it.

    Raises ``CheckpointError`` if it cannot be written.
    """
    write_network(path, kind, made_by, tensors)


def load_unfinished(path: str | Path, kind: str, made_by: Mapping[str, str]) -> dict[str, Tensor]:
    """What ``save_unfinished`` wrote with the same networks; nothing if there is no such file.

    Raises ``CheckpointError`` for a file that cannot be read or is of another kind.
    """
    if not Path(path).exists():
        return {}
    network = read_network(path, kind)
    return network.state_dict if network.config == dict(made_by) else {}


def _header(
    tensors: Mapping[str, Tensor], types: Mapping[str, torch.dtype], metadata: Mapping[str, str]
) -> tuple[list[str], bytes]:
    """The order of the tensors in a safetensors file, and what stands in front of them.

    Wide numbers come first, so that all lie at multiples of their size; then names decide: one
    network, one sequence of bytes.
    """
    names = {known: name for name, known in TYPES.items()}
    order = sorted(tensors, key=lambda each: (-types[each].itemsize, names[types[each]], each))
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].numel() * types[name].itemsize
        entries[name] = {
            "dtype": names[types[name]],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8
    return order, len(text).to_bytes(8, "little") + text


def read_network(
    path: str | Path, kind: str | None = None, floats: torch.dtype | None = torch.float32
) -> Network:
    """Read a native file: (kind, config, state dict with ``floats`` as float32, None: as stored).

    ``kind``, if given, is what the file must hold. Raises ``CheckpointError`` otherwise.
    """
    return parse_network(read_weights(path), kind, floats)


def is_native(weights: Weights) -> bool:
    """Whether the file says that it is in this format (of any version)."""
    return weights.metadata.get("format", "").startswith("styleclip/")


def parse_network(
    weights: Weights, kind: str | None = None, floats: torch.dtype | None = torch.float32
) -> Network:
    """``read_network`` of a file that has been read already."""
    path, metadata = weights.path, weights.metadata
    if metadata.get("format") != FORMAT:
        found = metadata.get("format")
        raise CheckpointError(
            f"{path} is not a {FORMAT} file (format {found!r}): "
            + ("update styleclip to read it" if is_native(weights) else "it was not written here")
        )
    try:
        config = json.loads(metadata["config"])
        found_kind = metadata["kind"]
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has no readable kind and config: save it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} has a config that is not a JSON object: save it again")
    if kind is not None and found_kind != kind:
        raise CheckpointError(
            f"{path} is a file of kind {found_kind!r}, expected {kind!r}: give another file"
        )
    state_dict = {
        name: tensor.to(floats) if floats and tensor.is_floating_point() else tensor
        for name, tensor in weights.contents.items()
    }
    return Network(found_kind, config, state_dict)


def check_config(config: Any) -> None:
    """Raise ``ArgumentError`` unless the fields of a config from a file are of their types.

    Counts of what is built one by one are bounded: nothing else would end a network without end.
    """
    hints = _hints(type(config))  # type: ignore[arg-type]  # types can be hashed
    for field in fields(config):
        value = getattr(config, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        endless = field.name in COUNTS and any(
            isinstance(number, int) and number > MOST_LAYERS for number in numbers
        )
        if endless or not _fits(value, hints[field.name]):
            raise ArgumentError(f"{field.name} = {str(value)[:60]!r}")


@functools.cache
def _hints(config: Any) -> dict[str, Any]:
    return get_type_hints(config)


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the type that an annotation says."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is float:
        return type(value) in (int, float) and abs(value) < math.inf
    if hint is int:
        return type(value) is int and 0 <= value < LARGEST
    if origin is Literal:
        return value in parts
    if origin is UnionType:
        return any(_fits(value, part) for part in parts)
    if origin is tuple and isinstance(value, tuple):
        if parts[-1] is Ellipsis:
            return all(_fits(each, parts[0]) for each in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if is_dataclass(hint) and type(value) is hint:
        check_config(value)
        return True
    return type(value) is hint


def check_axes(path: str | Path, kind: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise ``CheckpointError`` unless these are the tensors of ``kind``, of sizes that agree."""
    wanted = AXES[kind]
    sizes: dict[str, int] = {}
    misshapen = []
    for name, axes in wanted.items():
        shape = tuple(tensors[name].shape) if name in tensors else ()
        fits = len(shape) == len(axes) and all(
            sizes.setdefault(axis, size) == size for axis, size in zip(axes, shape, strict=True)
        )
        if name in tensors and not fits:
            misshapen.append(f"{name} {list(shape)} instead of [{', '.join(axes)}]")
    found = {
        "missing": [name for name in wanted if name not in tensors],
        "unexpected": [name for name in tensors if name not in wanted],
        "misshapen": misshapen,
    }
    problems = "; ".join(f"{what}: {', '.join(each[:12])}" for what, each in found.items() if each)
    if problems:
        raise CheckpointError(
            f"{path} does not hold what a file of kind {kind!r} holds; {problems}: measure it again"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
