"""Safetensors files: a JSON header of names, types, shapes and places, then the bytes.

  8 bytes (length of the header), {name: {"dtype", "shape", "data_offsets"}, "__metadata__"}, bytes
The bytes go into memory of our own. The format's library maps the file in its place: whoever then
writes over the file changes weights that are in use, and whoever shortens it ends the process. The
places must follow one another without gaps or overlaps to the end of the file, as the format says
(github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.pickle_machine import MalformedError, Source
from styleclip.checkpoints.stored import Place, sizes_of

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "C64": torch.complex64,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
MOST_ENTRIES = 100_000
LONGEST_HEADER = 32_000_000  # bytes; a network of 10,000 tensors has one of 1,500,000
METADATA = "__metadata__"


def read_tensors(
    source: Source, keep: Callable[[list[str]], Collection[str]] | None, shapes: bool
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors that ``keep`` chooses, and the metadata; with ``shapes`` on the meta device.

    Raises ``MalformedError`` or what damaged bytes raise.
    """
    length = int.from_bytes(source.read(8), "little")
    if length > LONGEST_HEADER:
        raise MalformedError("its header is of absurd length")
    header = json.loads(source.read(length).decode("utf-8"), object_pairs_hook=_unique)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise MalformedError("its metadata is no text")

    if len(header) > MOST_ENTRIES:
        raise MalformedError(f"it has more than {MOST_ENTRIES} entries")

    # Where each tensor lies, and that together they are the rest of the file.
    start, size = source.position, source.end - source.position
    places = {name: _place(entry) for name, entry in header.items()}
    reached = 0
    for _, _, begin, end in sorted(places.values(), key=lambda place: place[2:]):
        if begin != reached:
            raise MalformedError("it holds tensors with gaps or overlaps between them")
        reached = end
    if reached != size:
        raise MalformedError(f"its tensors take {reached} bytes, and it has {size}")

    wanted = set(places if keep is None else keep(list(places)))
    tensors = {}
    for name, (dtype, shape, begin, end) in places.items():
        if name not in wanted:
            continue
        if shapes:
            tensors[name] = torch.empty(shape, dtype=dtype, device="meta")
        else:
            content = Place(source, start + begin, end - begin).read()
            tensors[name] = content.view(dtype).reshape(shape)
    return tensors, metadata


def _place(entry: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """Type, shape, and where its bytes begin and end."""
    dtype = TYPES.get(entry["dtype"])
    if dtype is None:
        raise MalformedError(f"it holds a tensor of an unknown type, {str(entry['dtype'])[:20]}")
    shape = sizes_of(entry["shape"])
    begin, end = sizes_of(entry["data_offsets"])
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise MalformedError(
            f"it holds a tensor {str(list(shape))[:80]} of {end - begin} bytes, which do not fit"
        )
    return dtype, shape, begin, end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("its header has one name twice")
    return found
