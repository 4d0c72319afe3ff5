"""ArcFace, e4e and pSp written out literally on their foreign state dicts, and such dicts, small.

Names and shapes come from the reference vectors' list of the public files, the weights from its
formula; ``small_identity`` and ``small_encoder`` cut the widths down and keep every name.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.reference.networks import VECTORS

# public width -> small width, of convolutions, gates and the last linear layer
SMALL = {3: 3, 64: 4, 128: 6, 256: 8, 512: 10, 4: 2, 8: 3, 16: 4, 32: 5, 1: 1}
SIDE = 2  # pixels left where ArcFace's trunk ends: 32 / 16
SMALL_W, SMALL_EMBEDDING = 32, 12  # W is as wide as that of the generator in the vectors


def listed() -> dict[str, dict[str, list[int]]]:
    """Names and shapes of the public files: "encoder" and "identity"; and "images"."""
    contents = json.loads((VECTORS / "face-encoders.json").read_text())
    return {part: contents[part] for part in ("encoder", "identity", "images")}


def listed_images(which: str) -> Tensor:
    drawn = listed()["images"][which]
    random = torch.Generator().manual_seed(drawn["seed"])
    return torch.rand(drawn["shape"], generator=random) * 2 - 1


def weights(name: str, shape: tuple[int, ...]) -> Tensor:
    """The vectors' formula."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    match (name.rpartition(".")[2], len(shape)):
        case ("num_batches_tracked", _):
            return torch.tensor(7)
        case ("running_var", _):
            return 1 + 0.3 * drawn.abs()
        case ("running_mean", _) | ("bias", _):
            return 0.1 * drawn
        case (_, 4):
            return drawn / (shape[1] * shape[2] * shape[3]) ** 0.5
        case (_, 2):
            return drawn if "styles." in name else drawn / shape[1] ** 0.5
        case _:
            return 1 + 0.1 * drawn


class Drawn(Mapping[str, Tensor]):
    """A state dict whose tensors are drawn when they are asked for, and not kept."""

    def __init__(self, shapes: Mapping[str, list[int]], prefix: str = "") -> None:
        self.shapes = {prefix + name: tuple(shape) for name, shape in shapes.items()}
        self.prefix = prefix

    def __getitem__(self, key: str) -> Tensor:
        return weights(key.removeprefix(self.prefix), self.shapes[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def small_identity(scaled: bool = True) -> dict[str, Tensor]:
    """An IR-SE50 file, narrow and at 32 pixels; ``scaled`` as the public one, the vectors not."""
    shapes = {name: _small(shape) for name, shape in listed()["identity"].items() if shape}
    shapes["output_layer.3.weight"] = (SMALL_EMBEDDING, SMALL[512] * SIDE**2)
    for name in ("3.bias", "4.running_mean", "4.running_var"):
        shapes[f"output_layer.{name}"] = (SMALL_EMBEDDING,)
    if scaled:
        shapes |= {f"output_layer.4.{part}": (SMALL_EMBEDDING,) for part in ("weight", "bias")}
    counters = {name: () for name, shape in listed()["identity"].items() if not shape}
    return {name: weights(name, shape) for name, shape in {**shapes, **counters}.items()}


def small_encoder(rows: int = 8, resolution: int = 64) -> dict[str, Tensor]:
    """The encoder's entries of an e4e or pSp file, narrow, with the prefix they have there."""
    found = {}
    for name, shape in listed()["encoder"].items():
        small = _small(shape)
        if head := re.fullmatch(r"styles\.(\d+)\.(?:convs\.(\d+)|linear)\.\w+", name):
            row, conv = int(head[1]), int(head[2] or 0)
            steps = resolution.bit_length() - 5 + (row >= 3) + (row >= 7)
            if row >= rows or conv >= 2 * steps:
                continue
            inputs = SMALL[512] if head[2] == "0" else SMALL_W
            small = (SMALL_W, inputs, *small[2:])[: len(shape)]
        found[f"encoder.{name}"] = weights(name, small)
    return found


def identity(state: Mapping[str, Tensor], crops: Tensor) -> Tensor:
    x = _trunk(state, "", crops)[23]
    x = _norm(state, "output_layer.0", x).flatten(1)
    x = F.linear(x, state["output_layer.3.weight"], state["output_layer.3.bias"])
    x = _norm(state, "output_layer.4", x)
    return x / x.norm(dim=1, keepdim=True)


def encoder(state: Mapping[str, Tensor], images: Tensor, method: str) -> Tensor:
    """w_plus without the average."""
    maps = _trunk(state, "encoder.", images)
    c1, c2, c3 = maps[6], maps[20], maps[23]
    p2 = _twice(c3) + _conv(state, "encoder.latlayer1", c2)
    p1 = _twice(p2) + _conv(state, "encoder.latlayer2", c1)
    rows: list[Tensor] = []
    while f"encoder.styles.{len(rows)}.linear.weight" in state:
        name = f"encoder.styles.{len(rows)}"
        x = c3 if len(rows) < 3 else p2 if len(rows) < 7 else p1
        layer = 0
        while x.shape[-1] > 1:
            x = F.leaky_relu(_conv(state, f"{name}.convs.{layer}", x, stride=2, padding=1))
            layer += 2
        weight = state[f"{name}.linear.weight"]
        row = x[:, :, 0, 0] @ weight.t() / weight.shape[1] ** 0.5 + state[f"{name}.linear.bias"]
        rows.append(row if method == "psp" or not rows else rows[0] + row)
    return torch.stack(rows, dim=1)


def _trunk(state: Mapping[str, Tensor], prefix: str, x: Tensor) -> dict[int, Tensor]:
    name = f"{prefix}input_layer"
    x = _conv(state, f"{name}.0", x, padding=1)
    x = F.prelu(_norm(state, f"{name}.1", x), state[f"{name}.2.weight"])
    maps = {}
    for number in range(24):
        name = f"{prefix}body.{number}.res_layer"
        stride = 2 if number in (0, 3, 7, 21) else 1
        y = _conv(state, f"{name}.1", _norm(state, f"{name}.0", x), padding=1)
        y = _conv(state, f"{name}.3", F.prelu(y, state[f"{name}.2.weight"]), stride, padding=1)
        y = _norm(state, f"{name}.4", y)
        gate = F.adaptive_avg_pool2d(y, 1)
        gate = _conv(state, f"{name}.5.fc2", _conv(state, f"{name}.5.fc1", gate).relu()).sigmoid()
        shortcut = f"{prefix}body.{number}.shortcut_layer"
        if f"{shortcut}.0.weight" in state:
            past = _norm(state, f"{shortcut}.1", _conv(state, f"{shortcut}.0", x, stride))
        else:
            past = F.max_pool2d(x, 1, stride)
        x = maps[number] = y * gate + past
    return maps


def _conv(
    state: Mapping[str, Tensor], name: str, x: Tensor, stride: int = 1, padding: int = 0
) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)


def _norm(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, variance = (state[f"{name}.running_{part}"].view(shape) for part in ("mean", "var"))
    x = (x - mean) / (variance + 1e-5).sqrt()
    if f"{name}.weight" in state:
        x = x * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)
    return x


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _small(shape: list[int]) -> tuple[int, ...]:
    return (*(SMALL.get(width, width) for width in shape[:2]), *shape[2:])
