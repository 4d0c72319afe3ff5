"""StyleGAN2 in the pickles of NVIDIA's TensorFlow code: ``(G, D, Gs)``, each a list of variables.

  dlatent_avg, mapping/Dense0/weight [in,out], synthesis/4x4/Conv/weight [kh,kw,in,out], ...
As theirs are turned into those of the PyTorch code (``stylegan2_nvidia``, whose table goes on from
there): axes are moved, upsampling kernels turned by 180 degrees, and the 1 that TensorFlow adds to
the scales is added to their bias. The names are facts of NVIDIA's own converter; the only evidence
here is a file that this project wrote.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleclip.errors import CheckpointError

NETWORK = "Gs"  # the average of the training's networks
CONVOLUTIONS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
# what must be so where the file says it, by the names of the arguments
SETTINGS = {
    "architecture": "skip",
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "mapping_lrmul": 0.01,
}
OLDEST_VERSION = 4


def recognises(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of such a file, of StyleGAN2 or of what came before."""
    state = contents.get(NETWORK, contents)
    return isinstance(state, Mapping) and any(
        str(key).startswith(("synthesis/", "mapping/", "dlatent_avg", "lod")) for key in state
    )


def clamp_of(settings: Mapping[str, Any], source: str | Path) -> float | None:
    """``conv_clamp``, None where there is none; ``CheckpointError`` for another kind of network."""
    settings = {key.removeprefix(f"{NETWORK}."): value for key, value in settings.items()}
    version = settings.get("version")
    if isinstance(version, int) and version < OLDEST_VERSION:
        raise CheckpointError(
            f"{source} is a network of TensorFlow code older than StyleGAN2 (version "
            f"{version!r:.20}): take one of StyleGAN2"
        )
    for name, expected in SETTINGS.items():
        value = settings.get(f"static_kwargs.{name}", expected)
        if value is not None and value != expected:
            raise CheckpointError(
                f"{source} is a StyleGAN2 with {name} = {value!r:.60}, and only {expected!r} is "
                "readable: take a network of config F's settings"
            )
    clamp = settings.get("static_kwargs.conv_clamp")
    if clamp is None:
        return None
    if isinstance(clamp, bool) or not isinstance(clamp, (int, float)) or not 0 < clamp < math.inf:
        raise CheckpointError(
            f"{source} has conv_clamp = {clamp!r:.40}, expected a positive number"
        )
    return float(clamp)


def as_pytorch(
    contents: Mapping[str, Any], source: str | Path, shapes: bool = False
) -> dict[str, Tensor]:
    """The state dict that NVIDIA's PyTorch code would have; with ``shapes`` on the meta device.

    Raises ``CheckpointError`` for other networks, as of StyleGAN or progressive growing.
    """
    state = contents.get(NETWORK, contents)
    older = [key for key in state if "_lod" in key or "AdaIN" in key or "StyleMod" in key]
    if older or "synthesis/4x4/Const/const" not in state:
        shown = ", ".join(older[:1] or list(state)[:1])
        raise CheckpointError(
            f"{source} is a network that grows progressively or of the first StyleGAN ({shown}), "
            "which is not readable: take one of StyleGAN2"
        )
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in ("lod", "synthesis/lod"):  # a counter of the training
            continue
        name, change = _theirs(key)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise CheckpointError(f"{source} holds {key} that is not an array of numbers")
        try:
            array = change(value)
        except (ValueError, IndexError) as error:
            raise CheckpointError(
                f"{source} holds {key} of the unusual shape {list(value.shape)}"
            ) from error
        if shapes:
            converted[name] = torch.empty(array.shape, device="meta")
        else:
            converted[name] = torch.from_numpy(np.array(array, np.float32, order="C"))
    return converted


Change = Callable[[Any], Any]
TABLE: list[tuple[str, str, Change]] = [
    (r"dlatent_avg", "mapping.w_avg", lambda v: v),
    (r"mapping/Dense(\d+)/weight", "mapping.fc{0}.weight", lambda v: v.transpose(1, 0)),
    (r"mapping/Dense(\d+)/bias", "mapping.fc{0}.bias", lambda v: v),
    (r"mapping/LabelEmbed/weight", "mapping.embed.weight", lambda v: v.transpose(1, 0)),
    (r"mapping/LabelEmbed/bias", "mapping.embed.bias", lambda v: v),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const", lambda v: v[0]),
]
PARTS: dict[str, tuple[str, Change]] = {
    "weight": ("weight", lambda v: v.transpose(3, 2, 0, 1)),
    "bias": ("bias", lambda v: v),
    "noise_strength": ("noise_strength", lambda v: v),
    "mod_weight": ("affine.weight", lambda v: v.transpose(1, 0)),
    "mod_bias": ("affine.bias", lambda v: v + 1),
}


def _theirs(key: str) -> tuple[str, Change]:
    """Their name in PyTorch and what happens to the array; unknown names stay, to be listed."""
    for pattern, name, change in TABLE:
        if match := re.fullmatch(pattern, key):
            return name.format(*match.groups()), change
    if match := re.fullmatch(r"synthesis/noise(\d{1,2})", key):
        layer = int(match[1])  # 0 at 4 pixels, then two at each size
        conv = "conv0" if layer % 2 else "conv1"
        return f"synthesis.b{4 << (layer + 1) // 2}.{conv}.noise_const", lambda v: v[0, 0]
    if match := re.fullmatch(r"synthesis/(\d+)x\1/(\w+)/(\w+)", key):
        size, layer_name, part = match.groups()
        if layer_name in CONVOLUTIONS and part in PARTS:
            ours, change = PARTS[part]
            name = f"synthesis.b{size}.{CONVOLUTIONS[layer_name]}.{ours}"
            if (layer_name, part) == ("Conv0_up", "weight"):
                return name, lambda v: v[::-1, ::-1].transpose(3, 2, 0, 1)
            return name, change
    return key, lambda v: v
