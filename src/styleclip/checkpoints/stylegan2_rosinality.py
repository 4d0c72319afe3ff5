"""StyleGAN2 in the layout of rosinality's PyTorch code, which StyleCLIP's own checkpoints have.

  {"g_ema": state dict, "latent_avg": w [D]}, or "g" in its place, or the state dict alone
Convolutions are stored at unit variance and scaled at run time: ours = theirs / sqrt(9 C). The
architecture follows from the shapes. Older files lack the noise images, and some the mean w: the
first are then drawn and the second computed, always the same way. Of the variants beside
{"g_ema", "latent_avg"} the only evidence is files that this project wrote.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from styleclip.checkpoints.keymap import LOW_PASS, Rule
from styleclip.errors import CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2Config

NETWORKS = ("g_ema", "g")  # the average of the training's networks, or the last one
# the low-pass filter, which is a constant of our network and must be the same in theirs
DROPPED = dict.fromkeys(
    (r"convs\.\d+\.conv\.blur\.kernel", r"to_rgbs\.\d+\.upsample\.kernel"), LOW_PASS
)


def recognises(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of such a file."""
    return "input.input" in unwrap(contents)


def unwrap(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The flat state dict with ``latent_avg`` in it, whatever surrounds it in the file."""
    state = next((contents[name] for name in NETWORKS if name in contents), contents)
    if not isinstance(state, Mapping):
        return {}
    flat = {str(key).removeprefix("module."): value for key, value in state.items()}
    average = contents.get("latent_avg", flat.get("latent_avg"))
    if average is not None:  # what is no tensor is refused with the others
        flat["latent_avg"] = average.squeeze() if isinstance(average, Tensor) else average
    return flat


def infer_config(state: Mapping[str, Any], source: str | Path) -> StyleGAN2Config:
    """The architecture, from the shapes of a few entries."""
    try:
        mapping = len([key for key in state if re.fullmatch(r"style\.\d+\.weight", key)])
        blocks = len([key for key in state if re.fullmatch(r"to_rgbs\.\d+\.conv\.weight", key)])
        first, last = state["style.1.weight"], state[f"style.{mapping}.weight"]
        w_dim = last.shape[0]
        hidden = first.shape[0]
        if min(first.shape[1], w_dim) < 1:
            raise ValueError(f"z of {first.shape[1]} and w of {w_dim} numbers")
        widths = [state["input.input"].shape[1]]
        widths += [state[f"convs.{2 * i}.conv.weight"].shape[1] for i in range(blocks)]
        return StyleGAN2Config(
            resolution=4 << blocks,
            channels=tuple(widths),
            w_dim=w_dim,
            z_dim=first.shape[1],
            mapping_layers=mapping,
            mapping_width=None if hidden == w_dim else hidden,
        )
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{source} has keys of a rosinality StyleGAN2 but not enough to tell its architecture "
            f"({error}): it is damaged or incomplete"
        ) from error


def rules(config: StyleGAN2Config) -> list[Rule]:
    """The table: every entry of our network once."""
    table = [
        Rule("w_average", "latent_avg"),
        Rule("const", "input.input", shape=(1, config.channels[0], 4, 4)),
    ]
    for i in range(config.mapping_layers):
        table += [
            Rule(f"mapping_layers.{i}.{part}", f"style.{i + 1}.{part}")
            for part in ("weight", "bias")
        ]
    table += _convolution(config, 0, "conv", "conv1", "noises.noise_0")
    table += _to_rgb(config, 0, "to_rgb1")
    for block in range(1, len(config.channels)):
        up, conv = 2 * block - 2, 2 * block - 1
        table += _convolution(config, block, "up", f"convs.{up}", f"noises.noise_{up + 1}")
        table += _convolution(config, block, "conv", f"convs.{conv}", f"noises.noise_{conv + 1}")
        table += _to_rgb(config, block, f"to_rgbs.{block - 1}")
    return table


def _convolution(
    config: StyleGAN2Config, block: int, layer: str, theirs: str, noise: str
) -> list[Rule]:
    ours = f"blocks.{block}.{layer}"
    outputs = config.channels[block]
    inputs = config.channels[block - 1] if layer == "up" else outputs
    weight_shape, scale = (1, outputs, inputs, 3, 3), 1 / math.sqrt(9 * inputs)
    return [
        Rule(f"{ours}.weight", f"{theirs}.conv.weight", scale, weight_shape),
        Rule(f"{ours}.bias", f"{theirs}.activate.bias"),
        Rule(f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight"),
        Rule(f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias"),
        Rule(f"{ours}.noise_strength", f"{theirs}.noise.weight", shape=(1,)),
        Rule(f"{ours}.noise_const", noise),
    ]


def _to_rgb(config: StyleGAN2Config, block: int, theirs: str) -> list[Rule]:
    ours = f"blocks.{block}.rgb"
    weight_shape = (1, 3, config.channels[block], 1, 1)
    return [
        Rule(f"{ours}.weight", f"{theirs}.conv.weight", shape=weight_shape),
        Rule(f"{ours}.bias", f"{theirs}.bias", shape=(1, 3, 1, 1)),
        Rule(f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight"),
        Rule(f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias"),
    ]
