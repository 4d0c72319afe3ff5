"""Folders that `transformers` saved: their config and their weights, compared without memory.

  config.json -> a network on the meta device  <->  names and shapes in model.safetensors, .bin
`transformers` gives a network the memory that its config asks for, and looks at the weights then:
of a stranger's folder that may be any number of bytes, or layers without end. So the sizes are
looked at here first; what remains to be said of single entries, ``problems`` lists.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints import hub
from styleclip.checkpoints.files import first_line, read_weights
from styleclip.checkpoints.keymap import Problems
from styleclip.errors import CheckpointError

CLIP, DINO = ("clip",), ("dinov2", "dinov2_with_registers")
WORDS = {"clip": "CLIP", "dinov2": "DINOv2"}
MOST_LAYERS = 200  # of a tower; the largest published ones have 48
SPARE = 1 << 20  # numbers that a config may ask for beyond twice those that are there
# buffers of older versions, and what a network for something else has on top
EXTRA = re.compile(r"(.*\.)?position_ids|classifier\..*")


def read_config(folder: Path, kinds: tuple[str, ...] = (*CLIP, *DINO)) -> dict[str, Any]:
    """What ``config.json`` says, of a network of these kinds and of no absurd depth.

    Raises ``CheckpointError``.
    """
    path = folder / "config.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        towers = [said, *(each for each in said.values() if isinstance(each, dict))]
        layers = max(int(tower.get("num_hidden_layers", 0)) for tower in towers)
        if said.get("model_type") not in kinds:
            raise ValueError(f"it is of a {str(said.get('model_type'))[:40]}")
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        wanted = " or ".join(f"a {WORDS[kind]}" for kind in kinds if kind in WORDS)
        raise CheckpointError(
            f"{folder} is not the folder of {wanted} that transformers saved "
            f"({first_line(error)}): give a file, or such a folder"
        ) from error
    if layers > MOST_LAYERS:
        raise CheckpointError(
            f"{path} asks for {layers} layers, more than any such network has: take the one that "
            "was published with the weights"
        )
    return dict(said)


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that transformers would take; none if there are none."""
    for name in hub.TRANSFORMERS:
        stem, _, ending = name.rpartition(".")
        if (folder / name).is_file():
            return [folder / name]
        if pieces := sorted(folder.glob(f"{stem}-*-of-*.{ending}")):
            return pieces
    return []


def read_shapes(files: list[Path]) -> dict[str, Tensor]:
    """The entries of all files, on the meta device. Raises ``CheckpointError``."""
    entries: dict[str, Tensor] = {}
    for each in files:
        entries |= read_weights(each, shapes=True).contents
    return entries


def check_size(folder: Path, entries: Mapping[str, Any]) -> None:
    """Raise ``CheckpointError`` if the config asks for far more numbers than the files have."""
    wanted = sum(each.numel() for each in _network(folder).values())
    found = sum(each.numel() for each in entries.values() if isinstance(each, Tensor))
    if wanted > 2 * found + SPARE:
        raise CheckpointError(
            f"{folder / 'config.json'} asks for {wanted:,} numbers, and the weights beside it have "
            f"{found:,}: take the one that was published with the weights"
        )


def check_entries(folder: Path, entries: Mapping[str, Any]) -> None:
    """Raise ``CheckpointError`` that lists what is missing, unexpected or of another shape.

    transformers gives the layers of a DINOv2 other names than its files have, by its version: of
    those the shapes alone are compared.
    """
    network = _network(folder)
    found = {name: _shape(value) for name, value in entries.items() if not EXTRA.fullmatch(name)}
    wanted = {name: _shape(tensor) for name, tensor in network.items()}
    if read_config(folder)["model_type"] in DINO:
        lacking, spare = (Counter(map(str, each.values())) for each in (wanted, found))
        missing = [f"a tensor {shape}" for shape in (lacking - spare).elements()]
        unexpected = [f"a tensor {shape}" for shape in (spare - lacking).elements()]
        Problems(missing, unexpected, []).check(folder)
        return
    Problems(
        missing=[name for name in wanted if name not in found],
        unexpected=[name for name in found if name not in wanted],
        misshapen=[
            f"{name} {found[name]} instead of {shape}"
            for name, shape in wanted.items()
            if found.get(name, shape) != shape
        ],
    ).check(folder)


def _shape(value: Any) -> list[int]:
    return list(getattr(value, "shape", ()))


def _network(folder: Path) -> dict[str, Tensor]:
    """The entries of the network that the config describes, without memory."""
    from transformers import AutoConfig, AutoModel

    from styleclip.clip.embedder import silenced

    try:
        with silenced(), torch.device("meta"):
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            return dict(AutoModel.from_config(config, trust_remote_code=False).state_dict())
    except Exception as error:  # transformers raises whatever its many parts raise
        raise CheckpointError(
            f"{folder / 'config.json'} describes a network that cannot be built "
            f"({first_line(error)}): take the one that was published with the weights"
        ) from error
