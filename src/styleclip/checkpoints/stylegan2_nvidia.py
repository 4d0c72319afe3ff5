"""StyleGAN2(-ADA) in the layout of NVIDIA's PyTorch code: the state dict of ``G_ema``.

  mapping.fc0 ... , mapping.embed, mapping.w_avg, synthesis.b4.conv1, synthesis.b8.conv0 ...
Convolutions are stored and used unscaled, as here. The architecture follows from the shapes, but
for ``conv_clamp``, which is no tensor: it comes from the file's metadata or from the caller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styleclip.checkpoints.keymap import LOW_PASS, Rule
from styleclip.errors import CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2Config

# the low-pass filter, which is a constant of our network and must be the same in theirs
DROPPED = dict.fromkeys((r"synthesis\.b\d+\.(conv[01]\.)?resample_filter",), LOW_PASS)


def recognises(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of such a file."""
    return "synthesis.b4.const" in unwrap(contents)


def unwrap(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The flat state dict, without the prefix of a data-parallel wrapper."""
    return {key.removeprefix("module."): value for key, value in contents.items()}


def infer_config(
    state: Mapping[str, Any], source: str | Path, clamp: float | None = None
) -> StyleGAN2Config:
    """The architecture, from the shapes of a few entries."""
    try:
        mapping = len([key for key in state if re.fullmatch(r"mapping\.fc\d+\.weight", key)])
        blocks = len([key for key in state if re.fullmatch(r"synthesis\.b\d+\.torgb\.weight", key)])
        first, last = state["mapping.fc0.weight"], state[f"mapping.fc{mapping - 1}.weight"]
        w_dim, hidden = last.shape[0], first.shape[0]
        label = state.get("mapping.embed.weight")
        sizes = [4 << i for i in range(blocks)]
        return StyleGAN2Config(
            resolution=sizes[-1],
            channels=tuple(state[f"synthesis.b{size}.conv1.weight"].shape[0] for size in sizes),
            w_dim=w_dim,
            z_dim=first.shape[1] - (0 if label is None else label.shape[0]),
            c_dim=0 if label is None else label.shape[1],
            mapping_layers=mapping,
            mapping_width=None if hidden == w_dim else hidden,
            clamp=clamp,
        )
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{source} has keys of an NVIDIA StyleGAN2 but not enough to tell its architecture "
            f"({error}): it is damaged or incomplete"
        ) from error


def rules(config: StyleGAN2Config) -> list[Rule]:
    """The table: every entry of our network once."""
    table = [Rule("w_average", "mapping.w_avg"), Rule("const", "synthesis.b4.const")]
    if config.c_dim:
        table += _same("label_embedding", "mapping.embed", "weight", "bias")
    for i in range(config.mapping_layers):
        table += _same(f"mapping_layers.{i}", f"mapping.fc{i}", "weight", "bias")
    for block in range(len(config.channels)):
        size = 4 << block
        ours, theirs = f"blocks.{block}", f"synthesis.b{size}"
        if block:
            table += _convolution(f"{ours}.up", f"{theirs}.conv0", size)
        table += _convolution(f"{ours}.conv", f"{theirs}.conv1", size)
        table += _same(f"{ours}.rgb", f"{theirs}.torgb", *PARTS)
    return table


PARTS = ("weight", "bias", "affine.weight", "affine.bias")


def _convolution(ours: str, theirs: str, size: int) -> list[Rule]:
    return [
        *_same(ours, theirs, *PARTS, "noise_strength"),
        Rule(f"{ours}.noise_const", f"{theirs}.noise_const", shape=(size, size)),
    ]


def _same(ours: str, theirs: str, *parts: str) -> list[Rule]:
    return [Rule(f"{ours}.{part}", f"{theirs}.{part}") for part in parts]
