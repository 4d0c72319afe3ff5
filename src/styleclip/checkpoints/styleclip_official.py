"""Mappers as the official StyleCLIP code saves them: ``{"state_dict": ..., "opts": ...}``.

  mapper.course_mapping.mapping.1.weight  ->  networks.0.0.weight      rows 0 to 3 of W+
  mapper.mapping.mapping.1.weight         ->  networks.0.0.weight      SingleMapper, all rows
  mapper.mapper_3.mapping.1.weight        ->  networks.2.0.weight      in S, by the layer's number
``opts.work_in_stylespace`` says whether it works in S, never ``opts.mapper_type``. Real files also
carry the whole generator under ``decoder.``, which is dropped.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from styleclip.checkpoints.keymap import Rule
from styleclip.editing.mapper import LAYERS, LEVELS, Group, MapperConfig
from styleclip.errors import CheckpointError

NAMES = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}
DROPPED: dict[str, Tensor | None] = {r"decoder\..*": None, r"latent_avg": None}


def recognises(contents: dict[str, Any]) -> bool:
    """Whether this is a checkpoint of an official mapper."""
    state = contents.get("state_dict")
    return isinstance(state, dict) and any(str(key).startswith("mapper.") for key in state)


def infer_config(contents: dict[str, Any], source: str | Path) -> MapperConfig:
    """The networks that the checkpoint holds. Raises ``CheckpointError``."""
    state, options = contents["state_dict"], contents.get("opts", {})
    if not isinstance(options, dict):
        options = {}
    if options.get("work_in_stylespace", any(k.startswith("mapper.mapper_") for k in state)):
        return MapperConfig("style", tuple(_style_groups(state, source)))
    prefixes = {name: f"mapper.{theirs}" for name, theirs in NAMES.items()}
    found = {
        name: state[f"{prefix}.mapping.1.weight"].shape[0]
        for name, prefix in prefixes.items()
        if f"{prefix}.mapping.1.weight" in state
    }
    if found:
        groups = tuple(Group(name, *LEVELS[name], width) for name, width in found.items())
    elif "mapper.mapping.mapping.1.weight" in state:
        width = state["mapper.mapping.mapping.1.weight"].shape[0]
        groups = (Group("all", 0, None, width),)
    else:
        raise CheckpointError(
            f"{source} has the keys of no known mapper (levels, single, style space); its first "
            f"keys: {', '.join(list(state)[:5])}"
        )
    return MapperConfig("w_plus", groups, norm="layers")


def rules(config: MapperConfig) -> list[Rule]:
    """The table of one mapper."""
    return [
        Rule(
            f"networks.{i}.{layer}.{kind}",
            f"mapper.{_their_name(group)}.mapping.{layer + 1}.{kind}",
        )
        for i, group in enumerate(config.groups)
        for layer in range(LAYERS)
        for kind in ("weight", "bias")
    ]


def _their_name(group: Group) -> str:
    if group.name == "all":
        return "mapping"
    return NAMES.get(group.name, group.name)


def _style_groups(state: dict[str, Any], source: str | Path) -> list[Group]:
    """The conv layers by their numbers 0, 2, 3, 5, 6, ...; toRGB has its block's width."""
    widths = {
        int(match[1]): tensor.shape[0]
        for key, tensor in state.items()
        if (match := re.fullmatch(r"mapper\.mapper_(\d+)\.mapping\.1\.weight", key))
    }
    groups, first = [], 0
    for number in range(max(widths, default=-1) + 2):  # the last layer is a toRGB
        is_rgb = number % 3 == 1
        if not is_rgb and number not in widths:
            raise CheckpointError(
                f"{source} has mappers for the style layers {sorted(widths)}, but none for layer "
                f"{number}: was it copied only in part?"
            )
        width = widths[number - 1] if is_rgb else widths[number]
        if not is_rgb:
            groups.append(Group(f"mapper_{number}", first, first + width, width))
        first += width
    return groups
