"""Banks of global directions: the relevance of a generator's style channels, in our own format.

  metadata = {"format": "styleclip/1", "kind": "directions", "config": json}
  config   = {"generator", "clip": hashes of the weights it belongs to, "measured": RelevanceConfig}
  tensors  = matrix [S,E], mean, std, effect, images [S]
A scan that is under way is kept in the same way, kind "scan", so that a kill loses one piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from styleclip.checkpoints.files import check_hashes, first_line
from styleclip.checkpoints.native import Network, read_network, write_network
from styleclip.editing.relevance import Relevance, Scan
from styleclip.errors import CheckpointError

KIND = "directions"
SCAN = "scan"
BANK_TENSORS = ("matrix", "mean", "std", "effect", "images")
SCAN_TENSORS = ("change", "length", "images", "chunks")


@dataclass(frozen=True, eq=False)
class Bank(Relevance):
    """Relevance from a file, which knows the weights that it belongs to (their hashes)."""

    generator_hash: str = ""
    clip_hash: str = ""


def save_bank(path: str | Path, relevance: Relevance, generator_hash: str, clip_hash: str) -> None:
    """Write a bank at once or not at all. Raises ``CheckpointError`` if it cannot be written."""
    tensors = {name: getattr(relevance, name) for name in BANK_TENSORS}
    tensors["matrix"] = tensors["matrix"].half()  # directions, of unit length
    config = {
        "generator": generator_hash, "clip": clip_hash, "measured": dict(relevance.config),
    }  # fmt: skip
    write_network(path, KIND, config, tensors)


def load_bank(path: str | Path) -> Bank:
    """Read a file of ``save_bank``. Raises ``CheckpointError``."""
    network = read_network(path, KIND)
    tensors = _checked(Path(path), network, BANK_TENSORS)
    if tensors["matrix"].ndim != 2 or any(
        tensors[name].shape != tensors["matrix"].shape[:1] for name in BANK_TENSORS[1:]
    ):
        raise CheckpointError(f"{path} has tensors that do not fit together: measure it again")
    try:
        values = network.config
        return Bank(
            **tensors, config=dict(values["measured"]), generator_hash=str(values["generator"]),
            clip_hash=str(values["clip"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not describe a bank ({type(error).__name__}: {first_line(error)}): "
            "measure it again"
        ) from error


def check_bank(bank: Bank, hashes: Mapping[str, str], model: str) -> None:
    """Raise ``CheckpointError`` unless the bank belongs to these "generator" and "clip"."""
    theirs = {"generator": bank.generator_hash, "clip": bank.clip_hash}
    check_hashes(
        theirs, hashes, "the bank was measured", model,
        "measure one for this model (styleclip directions measure)",
    )  # fmt: skip


def save_scan(path: str | Path, scan: Scan, settings: Mapping[str, Any]) -> None:
    """Write the state of a scan, so that ``load_scan`` with the same settings goes on from it."""
    tensors = {
        "change": scan.change, "length": scan.length, "images": scan.images,
        "chunks": torch.tensor([scan.chunks]),
    }  # fmt: skip
    write_network(path, SCAN, settings, tensors)


def load_scan(path: str | Path, settings: Mapping[str, Any]) -> Scan | None:
    """The state of a scan with these settings; None where there is none.

    Raises ``CheckpointError`` for the state of another one: its numbers must not be mixed in.
    """
    if not Path(path).exists():
        return None
    network = read_network(path, SCAN, floats=None)
    if network.config != dict(settings):
        raise CheckpointError(
            f"{path} is a measurement under way with other settings or weights: delete it, or "
            "measure into another file"
        )
    tensors = _checked(Path(path), network, SCAN_TENSORS)
    return Scan(tensors["change"], tensors["length"], tensors["images"], int(tensors["chunks"][0]))


def _checked(path: Path, network: Network, wanted: tuple[str, ...]) -> dict[str, torch.Tensor]:
    tensors = network.state_dict
    if sorted(tensors) != sorted(wanted):
        found = ", ".join(sorted(tensors)[:5]) or "no tensors"
        raise CheckpointError(
            f"{path} holds {found}, expected {', '.join(wanted)}: measure it again"
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path} has numbers in {name} that are not finite: measure it "
                                  "again")  # fmt: skip
    return tensors
