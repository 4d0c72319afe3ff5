"""Edits in files: one safetensors file an edit, in our own format.

  metadata = {"format": "styleclip/1", "kind": "edit", "config": json}
  config   = {"method", "target", "neutral", "config", "generator"}      generator: hash of weights
  tensors  = "w_plus_step" [1 or B,L,D], "style_step" [1 or B,S], or both
A step means something to one generator only, so the file names its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from styleclip.checkpoints.files import first_line
from styleclip.checkpoints.native import Network, read_network, write_network
from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.prompts import PromptPair

KIND = "edit"
DIMENSIONS = {"w_plus_step": 3, "style_step": 2}


@dataclass(frozen=True, eq=False)
class SavedEdit(Edit):
    """An edit from a file, which knows the weights that it belongs to (their ``tensors_hash``)."""

    generator_hash: str = ""


def save_edit(path: str | Path, edit: Edit, generator_hash: str) -> None:
    """Write ``edit`` at once or not at all; a file of that name is replaced.

    ``generator_hash`` is the ``tensors_hash`` of the generator that it belongs to. Raises
    ``ArgumentError`` for an edit without a step, ``CheckpointError`` if it cannot be written.
    """
    steps = {name: getattr(edit, name) for name in DIMENSIONS if getattr(edit, name) is not None}
    if not steps:
        raise ArgumentError("this edit has neither a step in W+ nor one in S: nothing to save")
    description = {
        "method": edit.method,
        "target": edit.prompt.target,
        "neutral": edit.prompt.neutral,
        "config": dict(edit.config),
        "generator": generator_hash,
    }
    write_network(path, KIND, description, steps)


def load_edit(path: str | Path) -> SavedEdit:
    """Read a file of ``save_edit``; the edit knows the weights it belongs to.

    Raises ``CheckpointError`` for a file that is missing, damaged or of another kind or version.
    """
    path = Path(path)
    network = read_network(path, KIND)
    _check_steps(path, network)
    try:
        values = network.config
        return SavedEdit(
            method=str(values["method"]),
            prompt=PromptPair(target=str(values["target"]), neutral=str(values["neutral"])),
            config=dict(values["config"]),
            generator_hash=str(values["generator"]),
            **network.state_dict,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not describe an edit ({type(error).__name__}: {first_line(error)}): "
            "save it again"
        ) from error


def _check_steps(path: Path, network: Network) -> None:
    steps = network.state_dict
    if not steps or not set(steps) <= set(DIMENSIONS):
        found = ", ".join(sorted(steps)[:5]) or "no tensors"
        raise CheckpointError(
            f"{path} holds {found}, expected {' or '.join(DIMENSIONS)}: save the edit again"
        )
    for name, step in steps.items():
        if step.ndim != DIMENSIONS[name] or not len(step) or not step.is_floating_point():
            raise CheckpointError(
                f"{path} has a {name} of {step.dtype} {list(step.shape)}, expected "
                f"{DIMENSIONS[name]} dimensions of floating-point numbers: save the edit again"
            )
        if not torch.isfinite(step).all():
            raise CheckpointError(
                f"{path} has numbers in its {name} that are not finite: make the edit again"
            )
