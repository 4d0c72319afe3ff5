"""Tunings in files: what one safetensors file adds to a generator so that it redraws a picture.

  metadata = {"format": "styleclip/1", "kind": "tuning", "config": json}
  config   = {"generator": hash of its weights, "tuned": TuningConfig, "figures"}
  tensors  = "pivot" [B,L,D] (float32), and each changed weight's difference (float16), by its name
A difference means something to one generator only, so the file names its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from styleclip.checkpoints.files import check_hashes, first_line
from styleclip.checkpoints.native import read_network, write_network
from styleclip.errors import CheckpointError
from styleclip.inversion.tuning import Tuning

KIND = "tuning"
PIVOT = "pivot"


@dataclass(frozen=True, eq=False)
class SavedTuning(Tuning):
    """A tuning from a file, which knows the weights that it belongs to (their ``tensors_hash``)."""

    generator_hash: str = ""


def save_tuning(path: str | Path, tuning: Tuning, generator_hash: str) -> None:
    """Write ``tuning`` at once or not at all; a file of that name is replaced.

    ``generator_hash`` is the ``tensors_hash`` of the generator before tuning. Raises
    ``CheckpointError`` if it cannot be written.
    """
    config = {
        "generator": generator_hash,
        "tuned": dict(tuning.config),
        "figures": dict(tuning.figures),
    }
    write_network(path, KIND, config, {PIVOT: tuning.w_plus, **tuning.differences})


def load_tuning(path: str | Path) -> SavedTuning:
    """Read a file of ``save_tuning``; the tuning knows the weights it belongs to.

    Raises ``CheckpointError`` for a file that is missing, damaged or of another kind or version.
    """
    network = read_network(path, KIND, floats=None)
    differences = dict(network.state_dict)
    pivot = differences.pop(PIVOT, None)
    if pivot is None or pivot.ndim != 3 or pivot.dtype != torch.float32:
        raise CheckpointError(f"{path} holds no latents [B, L, D] to draw from: save it again")
    for name, tensor in {PIVOT: pivot, **differences}.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path} has numbers in {name} that are not finite: tune again")
    try:
        values = network.config
        return SavedTuning(
            differences=differences,
            w_plus=pivot,
            config=dict(values["tuned"]),
            figures={str(name): float(value) for name, value in values["figures"].items()},
            generator_hash=str(values["generator"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} does not describe a tuning ({type(error).__name__}: {first_line(error)}): "
            "save it again"
        ) from error


def check_tuning(tuning: Tuning, generator_hash: str, model: str) -> None:
    """Raise ``CheckpointError`` unless a tuning from a file belongs to this generator."""
    if isinstance(tuning, SavedTuning):
        check_hashes(
            {"generator": tuning.generator_hash}, {"generator": generator_hash},
            "the tuning was made", model, "give the model that it was made with",
        )  # fmt: skip
