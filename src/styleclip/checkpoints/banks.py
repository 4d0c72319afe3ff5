"""Banks of global directions: the relevance of a generator's style channels, of our own or fs3.

  metadata = {"format": "styleclip/1", "kind": "directions", "config": json}
  config   = {"generator", "clip": hashes of the weights it belongs to, "measured": RelevanceConfig}
  tensors  = matrix [S,E], mean, std, effect, images [S]
A scan that is under way is kept in the same way, kind "scan", so that a kill loses one piece. The
official ``fs3.npy`` is read for a generator that is given: it names none.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints import styleclip_official
from styleclip.checkpoints.arrays import is_npy, read_array
from styleclip.checkpoints.files import check_hashes, first_line
from styleclip.checkpoints.native import AXES, Network, check_axes, read_network, write_network
from styleclip.editing.relevance import Relevance, RelevanceConfig, style_statistics
from styleclip.editing.scan import Scan
from styleclip.errors import ArgumentError, CheckpointError, CheckpointWarning
from styleclip.generators import Generator

KIND = "directions"
SCAN = "scan"
STATISTICS = "S_mean_std"  # the official file beside an fs3
ENOUGH = 2_000  # samples, to see whether statistics are a generator's
FURTHEST = 0.5  # deviations between a mean there and the mean here, of half of the channels


@dataclass(frozen=True, eq=False)
class Bank(Relevance):
    """Relevance from a file, which knows the weights that it belongs to (their hashes).

    Of an official fs3: empty hashes, for it says neither, and zeros in ``effect`` and ``images``.
    """

    generator_hash: str = ""
    clip_hash: str = ""


def save_bank(
    path: str | Path,
    relevance: Relevance,
    generator_hash: str,
    clip_hash: str,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a bank at once or not at all; ``dtype`` is of its matrix, directions of unit length.

    Raises ``CheckpointError`` if it cannot be written.
    """
    tensors = {name: getattr(relevance, name) for name in AXES[KIND]}
    tensors["matrix"] = tensors["matrix"].to(dtype)
    config = {
        "generator": generator_hash, "clip": clip_hash, "measured": dict(relevance.config),
    }  # fmt: skip
    write_network(path, KIND, config, tensors)


def load_bank(path: str | Path, generator: Generator | None = None) -> Bank:
    """Read a file of ``save_bank``, or the official ``fs3.npy`` for ``generator``.

    The standard deviations of an fs3's channels are those of ``S_mean_std`` beside it, or else
    measured here. Whether it was measured on this generator, and with which CLIP, it does not say:
    only its sizes, and the statistics beside it, are compared; warns so (``CheckpointWarning``).
    Only fs3 that this project wrote were read. Raises ``CheckpointError``, and ``ArgumentError``
    for an fs3 without a generator.
    """
    if is_npy(path):
        if generator is None:
            raise ArgumentError(
                f"{path} is an official fs3, which does not say what it was measured on: name its "
                "generator, as in load_bank(path, generator)"
            )
        return _official(Path(path), generator)
    network = read_network(path, KIND)
    tensors = _checked(Path(path), network)
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
    """Raise ``CheckpointError`` unless the bank belongs to these "generator" and "clip".

    A bank that does not say whose it is passes.
    """
    theirs = {"generator": bank.generator_hash, "clip": bank.clip_hash}
    check_hashes(
        {part: value for part, value in theirs.items() if value}, hashes,
        "the bank was measured", model,
        "measure one for this model (styleclip directions measure)",
    )  # fmt: skip


def _official(path: Path, generator: Generator) -> Bank:
    """An fs3 with its statistics."""
    matrix = styleclip_official.relevance_matrix(read_array(path), generator.layout, path)
    beside = path.with_name(STATISTICS)
    usual = RelevanceConfig()
    if beside.is_file():
        mean, std = _official_statistics(beside, generator, usual)
    else:
        mean, std = style_statistics(generator, usual.samples, usual.seed, usual.truncation)
    warnings.warn(
        f"{path} does not say which generator and CLIP it was measured with: its sizes fit, but it "
        "means something only for those two (the released ones: for OpenAI's ViT-B/32)",
        CheckpointWarning, stacklevel=3,
    )  # fmt: skip
    return Bank(
        matrix, mean, std, torch.zeros_like(mean), torch.zeros(len(mean), dtype=torch.int64),
        {"method": "exact", "sigma": usual.sigma, "source": path.name},
    )  # fmt: skip


def _official_statistics(
    path: Path, generator: Generator, usual: RelevanceConfig
) -> tuple[Tensor, Tensor]:
    """The statistics in a file, if they are this generator's: its means tell."""
    from styleclip.checkpoints.pickles import read_plain

    mean, std = styleclip_official.style_statistics(read_plain(path), generator.layout, path)
    ours, spread = style_statistics(generator, ENOUGH, usual.seed, usual.truncation)
    conv = generator.layout.conv_columns()
    apart = ((mean - ours).abs() / spread.clamp(min=1e-6))[conv].median()
    if apart > FURTHEST:
        raise CheckpointError(
            f"{path} has the statistics of another generator (half of its means lie {apart:.1f} "
            "deviations and more from this one's), so the fs3 beside it is probably another's too: "
            f"give this generator's, or move {path.name} away to have them measured"
        )
    return mean, std


def save_scan(path: str | Path, scan: Scan, settings: Mapping[str, Any]) -> None:
    """Write the state of a scan, so that ``load_scan`` with the same settings goes on from it."""
    tensors = {name: getattr(scan, name) for name in AXES[SCAN]}
    write_network(path, SCAN, settings, tensors)


def scan_keeper(
    path: str | Path, settings: Mapping[str, Any], seconds: float = 30.0
) -> Callable[[Scan], None]:
    """``save_scan`` as a function of the scan, which writes the first time and now and then."""
    due = 0.0

    def keep(scan: Scan) -> None:
        nonlocal due
        if time.monotonic() >= due:
            save_scan(path, scan, settings)
            due = time.monotonic() + seconds

    return keep


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
    return Scan(**_checked(Path(path), network))


def _checked(path: Path, network: Network) -> dict[str, torch.Tensor]:
    tensors = network.state_dict
    check_axes(path, network.kind, tensors)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path} has numbers in {name} that are not finite: measure it "
                                  "again")  # fmt: skip
    return tensors
