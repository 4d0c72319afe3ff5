"""Mappers in files: our own, those of the official code, and trainings that are under way.

  metadata = {"format": "styleclip/1", "kind": "mapper" | "text-mapper", "config": json}
  config   = {"network", "prompts": [[neutral, target], ...], "generator", "clip", "training"}
  tensors  = the state dict of the network
A training under way is a torch file of plain tensors and numbers beside its goal, so that a kill
loses some seconds. Official checkpoints name neither prompts nor weights.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints import face_encoders, keymap, layouts, styleclip_official
from styleclip.checkpoints.files import Weights, check_hashes, first_line, read_weights
from styleclip.checkpoints.loaders import described, empty_network
from styleclip.checkpoints.native import is_native, parse_network, write_network
from styleclip.clip.embedder import Embedder
from styleclip.editing.edit import Edit
from styleclip.editing.mapper import Mapper, MapperConfig
from styleclip.editing.mapper_training import TrainingState
from styleclip.editing.text_mapper import TextMapper
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.generators import Generator
from styleclip.latents import StyleLayout
from styleclip.prompts import PromptPair

STATE = ("step", "weights", "average", "optimizer", "best", "lowest", "since")


@dataclass(frozen=True, eq=False)
class SavedMapper:
    """A mapper from a file, and what the file knows: its prompts, and whose weights it needs.

    Of an official checkpoint: no prompts, and empty hashes.
    """

    network: Mapper | TextMapper
    prompts: tuple[PromptPair, ...] = ()
    generator_hash: str = ""
    clip_hash: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own_prompt(self) -> PromptPair:
        """The one that it was trained for. Raises ``ArgumentError`` if it does not name one."""
        if len(self.prompts) != 1:
            raise ArgumentError(
                "this mapper does not name one prompt of its own: say what to change, as in "
                "'a face with red hair'"
            )
        return self.prompts[0]

    def edit(
        self, generator: Generator, embedder: Embedder, w_plus: Tensor, prompt: PromptPair
    ) -> Edit:
        """The edit of ``w_plus`` [B,L,D].

        Raises ``ArgumentError`` for a prompt that it cannot do, or another generator's layers.
        """
        check_layers(self, generator.layout)
        if isinstance(self.network, TextMapper):
            return self.network.edit(w_plus, embedder, prompt)
        if self.prompts and prompt not in self.prompts:
            known = ", ".join(repr(str(each)) for each in self.prompts)
            raise ArgumentError(
                f"this mapper was trained for {known} alone: leave the prompt out, or train one "
                "for yours (styleclip mapper train)"
            )
        in_style = self.network.config.space == "style"
        return self.network.edit(generator.affine(w_plus) if in_style else w_plus, prompt)


def check_mapper(mapper: SavedMapper, hashes: Mapping[str, str], model: str) -> None:
    """Raise ``CheckpointError`` unless the mapper belongs to these "generator" and "clip"."""
    theirs = {"generator": mapper.generator_hash, "clip": mapper.clip_hash}
    check_hashes(
        theirs, hashes, "the mapper was trained", model,
        "train one for this model (styleclip mapper train)",
    )  # fmt: skip


def check_layers(mapper: SavedMapper, layout: StyleLayout) -> None:
    """Raise ``ArgumentError`` for a mapper in S unless its networks are of these layers.

    In W+ only the width of w and the number of rows can be compared: the network does it.
    """
    config = mapper.network.config
    if not isinstance(config, MapperConfig) or config.space != "style":
        return
    theirs, ours = (
        [(each.first, each.width) for each in groups]
        for groups in (config.groups, MapperConfig.style(layout).groups)
    )
    if theirs != ours:
        found, expected = (
            ", ".join(str(width) for _, width in widths) for widths in (theirs, ours)
        )
        raise ArgumentError(
            f"this mapper moves style layers of {found} channels, this generator has layers of "
            f"{expected}: it was trained for another generator"
        )


def save_mapper(
    path: str | Path,
    network: Mapper | TextMapper,
    prompts: Sequence[PromptPair],
    hashes: Mapping[str, str],
    training: Mapping[str, Any],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a mapper at once or not at all; ``hashes`` of its "generator" and "clip".

    ``dtype`` is how floats are stored, None as they are. Raises ``CheckpointError`` if it cannot be
    written.
    """
    config = {
        "network": network.config.to_dict(),
        "prompts": [[each.neutral, each.target] for each in prompts],
        "generator": hashes["generator"],
        "clip": hashes["clip"],
        "training": dict(training),
    }
    kind = "text-mapper" if isinstance(network, TextMapper) else "mapper"
    write_network(path, kind, config, network.state_dict(), dtype)


def load_mapper(path: str | Path) -> SavedMapper:
    """A mapper from a file of ours or of the official code. Raises ``CheckpointError``."""
    weights = read_weights(path, inside=face_encoders.of_others)
    if is_native(weights):
        return _native(weights)
    layout = layouts.layout_of(weights)
    if layout not in (None, layouts.MAPPER):
        raise layouts.refusal(weights, "a mapper", "the official code's, ours")
    if layout is None:
        raise CheckpointError(
            f"{weights.path} is not a mapper: it has no state_dict with keys that begin with "
            "'mapper.'; give a checkpoint of the official code, or one of ours"
        )
    state = weights.contents["state_dict"]
    config = styleclip_official.infer_config(weights.contents, weights.path)
    mapper = empty_network(Mapper, config, weights.path)
    table, dropped = styleclip_official.rules(config), styleclip_official.DROPPED
    converted = keymap.convert(
        state, table, mapper.state_dict(), source=weights.path, dropped=dropped
    )
    keymap.fill(mapper, converted, weights.path)
    return SavedMapper(mapper.eval().requires_grad_(False))


def _native(weights: Weights) -> SavedMapper:
    kind, values, state_dict = parse_network(weights)
    if kind not in ("mapper", "text-mapper"):
        raise CheckpointError(
            f"{weights.path} is a file of kind {kind!r}, expected a mapper: give another file"
        )
    _, network = described(kind, values, weights.path)
    try:
        prompts = tuple(PromptPair(target=t, neutral=n) for n, t in values["prompts"])
        hashes = str(values["generator"]), str(values["clip"])
        training = dict(values["training"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{weights.path} does not describe a mapper ({type(error).__name__}: "
            f"{first_line(error)}): train it again"
        ) from error
    if not all(bool(torch.isfinite(each).all()) for each in state_dict.values()):
        raise CheckpointError(f"{weights.path} has numbers that are not finite: train it again")
    keymap.fill(network, state_dict, weights.path)
    return SavedMapper(network.eval().requires_grad_(False), prompts, *hashes, training)


def save_training(path: str | Path, state: TrainingState, settings: Mapping[str, Any]) -> None:
    """Write the state of a training, so that ``load_training`` with the same settings goes on."""
    path = Path(path)
    content = io.BytesIO()
    torch.save({"settings": dict(settings), **{n: getattr(state, n) for n in STATE}}, content)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(content.getbuffer())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written ({first_line(error)}): choose another place"
        ) from error


def load_training(path: str | Path, settings: Mapping[str, Any]) -> TrainingState | None:
    """The state of a training with these settings; None where there is none.

    Raises ``CheckpointError`` for the state of another one: its numbers must not be mixed in.
    """
    if not Path(path).exists():
        return None
    contents = read_weights(path).contents
    if set(contents) != {"settings", *STATE}:
        raise CheckpointError(f"{path} is not a training under way: delete it, or write elsewhere")
    if contents["settings"] != dict(settings):
        raise CheckpointError(
            f"{path} is a training under way with other settings or weights: delete it, or train "
            "into another file"
        )
    return TrainingState(**{name: contents[name] for name in STATE})
