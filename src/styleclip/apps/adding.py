"""What ``styleclip models add`` does: find the parts of a model, look at each, write model.json.

A part is a file or folder of the user's, which stays where it is, or a public file by its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleclip.apps.outputs import make_folder
from styleclip.errors import ArgumentError, CheckpointError

if TYPE_CHECKING:
    from styleclip.checkpoints.cache import Cache

READERS = {  # what reads a part of a model
    "generator": "load_generator",
    "clip": "load_clip",
    "encoder": "load_encoder",
    "identity": "load_identity",
}


def written(place: Cache, stated: str) -> str:
    """How a file is written into ``model.json``: its whole path, or a public file's name.

    Raises ``ArgumentError`` for one that is not there.
    """
    from styleclip.checkpoints.public import FILES

    path = Path(stated).expanduser()
    if path.exists():
        return str(path.absolute())
    if stated not in FILES:
        raise ArgumentError(f"there is no file {stated}: check the path")
    if not place.file(stated).is_file():
        raise ArgumentError(
            f"{stated} has not been fetched yet: run 'styleclip models fetch {stated}' first"
        )
    return stated


def located(place: Cache, part: str) -> Path:
    """Where a part that is ``written`` so lies."""
    path = Path(part)
    return path if path.is_absolute() else place.file(part)


def check_parts(paths: Mapping[str, Path]) -> None:
    """Look at each part as 'styleclip inspect' does: can it be what it is given as?

    Raises ``CheckpointError``, ``ArgumentError``.
    """
    from styleclip.checkpoints.clips import check_tokenizer
    from styleclip.checkpoints.inspection import METHOD, inspect

    found = {part: inspect(path) for part, path in paths.items() if part in READERS}
    for part, each in found.items():
        wanted, inside = READERS[part], part == "generator" and each.carries_generator
        if each.layout.reader != wanted and not inside:
            raise CheckpointError(
                f"{each.path} is {each.layout.hint}: give --{part} a file that {wanted} reads; "
                "'styleclip inspect' says what a file is"
            )
        if part == "encoder" and METHOD in each.missing:
            raise ArgumentError(
                f"{each.path} does not say whether it is e4e or pSp: write it with 'styleclip "
                f"convert {each.path} encoder.safetensors --method e4e' (or psp), and add that"
            )
    if "tokenizer" not in paths:
        return
    if found["clip"].layout.origin == "transformers":
        raise ArgumentError(
            f"the folder {paths['clip']} has its own tokenizer: leave --tokenizer out"
        )
    check_tokenizer(paths["tokenizer"], found["clip"].figures["tokens"])


def write_description(target: Path, values: dict[str, Any]) -> None:
    """``model.json``, whole or not at all. Raises ``ArgumentError``."""
    temporary = target.with_name(f"{target.name}.part")
    make_folder(target.parent)
    try:
        temporary.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
        os.replace(temporary, target)
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written ({error.strerror})") from error
