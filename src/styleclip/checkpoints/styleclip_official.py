"""What the official StyleCLIP code saves: mappers, and the arrays of its global directions.

Mappers are ``{"state_dict": ..., "opts": ...}``:
  mapper.course_mapping.mapping.1.weight  ->  networks.0.0.weight      rows 0 to 3 of W+
  mapper.mapping.mapping.1.weight         ->  networks.0.0.weight      SingleMapper, all rows
  mapper.mapper_3.mapping.1.weight        ->  networks.2.0.weight      in S, by the layer's number
``opts.work_in_stylespace`` says whether it works in S, never ``opts.mapper_type``. Real files also
carry the whole generator under ``decoder.``, which is dropped.

  fs3.npy [rows,E]   relevance of the conv channels, layer by layer, up to some resolution -> [S,E]
  S_mean_std         a pickle [means, deviations], each a list with an array for every style layer
The released fs3 go up to 128 pixels (5,376 rows for config F of 256 pixels and more), later ones to
the end (6,048 for 1024). They name neither generator nor CLIP. Of these two, only files that this
project wrote were read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.keymap import Rule
from styleclip.editing.mapper import LAYERS, LEVELS, Group, MapperConfig
from styleclip.errors import CheckpointError
from styleclip.latents import StyleLayout

NAMES = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}
DROPPED: dict[str, Tensor | None] = {r"decoder\..*": None, r"latent_avg": None}


def recognises(contents: Mapping[str, Any]) -> bool:
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
        name: _width(state, f"{prefix}.mapping.1.weight", source)
        for name, prefix in prefixes.items()
        if f"{prefix}.mapping.1.weight" in state
    }
    if found:
        groups = tuple(Group(name, *LEVELS[name], width) for name, width in found.items())
    elif "mapper.mapping.mapping.1.weight" in state:
        width = _width(state, "mapper.mapping.mapping.1.weight", source)
        groups = (Group("all", 0, None, width),)
    else:
        raise CheckpointError(
            f"{source} has the keys of no known mapper (levels, single, style space); its first "
            f"keys: {', '.join(list(state)[:5])}"
        )
    return MapperConfig("w_plus", groups, norm="layers")


def _width(state: dict[str, Any], key: str, source: str | Path) -> int:
    """The width of the network whose first layer is ``key``."""
    shape: tuple[int, ...] = getattr(state[key], "shape", ())
    if len(shape) != 2 or not shape[0]:
        raise CheckpointError(
            f"{source} has a {key} of the shape {list(shape)}, expected that of a linear layer: it "
            "is damaged, or of another kind"
        )
    return int(shape[0])


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
        int(match[1]): _width(state, key, source)
        for key in state
        if (match := re.fullmatch(r"mapper\.mapper_(\d{1,3})\.mapping\.1\.weight", key))
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


def relevance_matrix(rows: Tensor, layout: StyleLayout, source: str | Path) -> Tensor:
    """fs3 [rows,E] -> [S,E], zero at toRGB and beyond the last resolution that it has.

    A row of NaN is a channel that changed nothing (0 / 0 in the official code) and becomes zeros.
    Raises ``CheckpointError`` unless the rows are those of whole resolutions of ``layout``, each of
    unit length or zero.
    """
    until: dict[int, int] = {}  # resolution -> conv channels up to it
    channels = 0
    for layer in layout:
        channels += layer.channels if layer.kind == "conv" else 0
        until[layer.resolution] = channels
    if rows.ndim != 2 or rows.shape[0] not in until.values():
        known = ", ".join(f"{count} (to {size} pixels)" for size, count in until.items())
        raise CheckpointError(
            f"{source} is an array of shape {list(rows.shape)}, expected [rows, E] with one of "
            f"{known} rows for this generator: it was measured on another generator, or is no fs3"
        )
    unknown = rows.isnan().all(dim=1, keepdim=True)
    rows = torch.where(unknown, 0.0, rows)
    lengths = rows.norm(dim=1)
    if not bool(((lengths - 1).abs().lt(0.02) | lengths.eq(0)).all()):
        raise CheckpointError(
            f"{source} has rows that are not of unit length, so it is no fs3 (the relevance of "
            "style channels): give another file"
        )
    columns = layout.conv_columns().nonzero().flatten()[: len(rows)]
    matrix = torch.zeros(layout.size, rows.shape[1])
    matrix[columns] = rows
    return matrix


def style_statistics(
    contents: Any, layout: StyleLayout, source: str | Path
) -> tuple[Tensor, Tensor]:
    """The contents of ``S_mean_std`` -> mean and standard deviation [S] of the style.

    Raises ``CheckpointError`` unless it has both for every layer of ``layout``.
    """
    widths = [layer.channels for layer in layout]
    found = []
    for values in contents if isinstance(contents, list | tuple) else ():
        if not isinstance(values, list | tuple):
            break
        try:
            parts = [torch.as_tensor(value, dtype=torch.float32).flatten() for value in values]
        except (TypeError, ValueError, RuntimeError):
            break
        if [len(part) for part in parts] != widths:
            raise CheckpointError(
                f"{source} has statistics of {len(parts)} layers with {sum(map(len, parts))} "
                f"channels, this generator has {len(widths)} with {layout.size}: they are another "
                "generator's"
            )
        found.append(torch.cat(parts))
    if len(found) != 2 or len(contents) != 2:
        raise CheckpointError(
            f"{source} does not hold two lists of arrays, the means and the deviations of every "
            "style layer: give the S_mean_std that belongs to the fs3, or move it away to have "
            "them measured"
        )
    mean, std = found
    if not bool(mean.isfinite().all() and std.isfinite().all() and (std >= 0).all()):
        raise CheckpointError(f"{source} has statistics that are no finite numbers, or negative "
                              "deviations: move it away to have them measured")  # fmt: skip
    return mean, std
