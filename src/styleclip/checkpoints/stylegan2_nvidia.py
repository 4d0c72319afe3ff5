"""StyleGAN2(-ADA) in the layout of NVIDIA's PyTorch code: ``G_ema`` of a .pkl, or its state dict.

  mapping.fc0 ... , mapping.embed, mapping.w_avg, synthesis.b4.conv1, synthesis.b8.conv0 ...
Convolutions are stored and used unscaled, as here. The architecture follows from the shapes, but
for ``conv_clamp``, which is no tensor: a .pkl has it at each layer, a state dict does not. Read are
the networks of stylegan2-ada-pytorch and the StyleGAN2 networks of stylegan3, which are told by the
same names; for those of stylegan3 the only evidence is a file that this project wrote.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styleclip.checkpoints.keymap import LOW_PASS, Rule
from styleclip.errors import CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2Config

NETWORK = "G_ema"  # the average of the training's networks, in a .pkl
CLAMP = r"synthesis\.b\d+\.(conv[01]|torgb)\.conv_clamp"
SETTINGS: dict[str, Any] = {
    r"synthesis\.b\d+\.architecture": "skip",
    r"synthesis\.b\d+\.conv[01]\.activation": "lrelu",
    r"mapping\.fc\d+\.activation": "lrelu",
    r"mapping\.fc\d+\.bias_gain": 0.01,  # the learning rate's multiplier
}
# the low-pass filter, which is a constant of our network and must be the same in theirs
DROPPED = dict.fromkeys((r"synthesis\.b\d+\.(conv[01]\.)?resample_filter",), LOW_PASS)


def recognises(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of such a file."""
    return "synthesis.b4.const" in unwrap(contents)


def unwrap(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The flat state dict of ``G_ema``, without the prefix of a data-parallel wrapper."""
    state = contents.get(NETWORK, contents)
    if not isinstance(state, Mapping):
        return {}
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def clamp_of(settings: Mapping[str, Any], source: str | Path) -> float | None:
    """``conv_clamp`` of a .pkl's settings, None where nothing is clamped or nothing is known.

    Raises ``CheckpointError`` for a network of another kind than ours: other settings than these
    leave no trace in names and shapes, and would give other pictures without a word.
    """
    ours = {
        key.removeprefix(f"{NETWORK}.").removeprefix("module."): value
        for key, value in settings.items()
        if key.startswith((f"{NETWORK}.", "synthesis.", "mapping.", "module."))
    }
    for pattern, expected in SETTINGS.items():
        for key, value in ours.items():
            if re.fullmatch(pattern, key) and value != expected:
                raise CheckpointError(
                    f"{source} is a StyleGAN2 with {key} = {value!r:.60}, and only {expected!r} is "
                    "readable: take a network of the usual settings"
                )
    clamps = {value for key, value in ours.items() if re.fullmatch(CLAMP, key)}
    if len(clamps) > 1:
        found = ", ".join(sorted(repr(each)[:20] for each in clamps)[:4])
        raise CheckpointError(f"{source} has layers of several conv_clamp ({found}): expected one")
    clamp = clamps.pop() if clamps else None
    if clamp is None:
        return None
    if isinstance(clamp, bool) or not isinstance(clamp, (int, float)) or not 0 < clamp < math.inf:
        raise CheckpointError(
            f"{source} has conv_clamp = {clamp!r:.40}, expected a positive number"
        )
    return float(clamp)


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
        z_dim = first.shape[1] - (0 if label is None else label.shape[0])
        if min(z_dim, w_dim) < 1:
            raise ValueError(f"z of {z_dim} and w of {w_dim} numbers")
        sizes = [4 << i for i in range(blocks)]
        return StyleGAN2Config(
            resolution=sizes[-1],
            channels=tuple(state[f"synthesis.b{size}.conv1.weight"].shape[0] for size in sizes),
            w_dim=w_dim,
            z_dim=z_dim,
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
