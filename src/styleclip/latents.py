"""The currency of the library: what a latent is, and whose columns are whose in a flat style.

Letters used as trailing shape comments everywhere:
  B batch · L rows of W+ · D width of w · S width of the flat style · C channels · E embedding
  H W pixels
A ``w_plus [B,L,D]`` is what is stored, inverted and shared. A ``style [B,S]`` is all affine outputs
of a generator side by side (StyleSpace, Wu et al. 2021); its ``StyleLayout`` is computed from the
generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from styleclip.errors import ArgumentError


@dataclass(frozen=True)
class StyleLayer:
    """One affine layer: ``channels`` columns of the style, fed by row ``w_row`` of W+."""

    name: str
    kind: Literal["conv", "rgb"]
    resolution: int
    channels: int
    w_row: int


@dataclass(frozen=True)
class StyleLayout:
    """The layers of a flat style in column order."""

    layers: tuple[StyleLayer, ...]

    def __iter__(self) -> Iterator[StyleLayer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @cached_property
    def size(self) -> int:
        """S, the number of columns."""
        return sum(layer.channels for layer in self.layers)

    @cached_property
    def rows(self) -> int:
        """L, the number of rows of the W+ that feeds this style."""
        return 1 + max(layer.w_row for layer in self.layers)

    def split(self, style: Tensor) -> tuple[Tensor, ...]:
        """[..., S] -> one [..., C] per layer (views)."""
        if style.shape[-1] != self.size:
            raise ArgumentError(
                f"this generator's style has {self.size} columns, got {style.shape[-1]}: "
                "was it made with another generator?"
            )
        return torch.split(style, [layer.channels for layer in self.layers], dim=-1)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """One [..., C] per layer -> [..., S]; the inverse of ``split``."""
        widths = [part.shape[-1] for part in parts]
        if widths != [layer.channels for layer in self.layers]:
            expected = [layer.channels for layer in self.layers]
            raise ArgumentError(f"expected layer widths {expected}, got {widths}")
        return torch.cat(list(parts), dim=-1)

    def channel(self, column: int) -> tuple[StyleLayer, int]:
        """Column of the style -> its layer, and which channel of that it is."""
        first = 0
        for layer in self.layers:
            if first <= column < first + layer.channels:
                return layer, column - first
            first += layer.channels
        raise ArgumentError(f"the style has columns 0 to {self.size - 1}, got {column}")

    def column(self, name: str) -> int:
        """ "layer:channel" -> column of the style. Raises ``ArgumentError``."""
        first = 0
        layer_name, _, number = name.partition(":")
        for layer in self.layers:
            if layer.name == layer_name and number.isdecimal() and int(number) < layer.channels:
                return first + int(number)
            first += layer.channels
        known = ", ".join(f"{each.name}:0-{each.channels - 1}" for each in self.layers)
        raise ArgumentError(f"there is no channel {name!r}: this generator has {known}")

    def columns(self, keep: Callable[[StyleLayer], bool]) -> Tensor:
        """Boolean [S]: True in the columns of every layer for which ``keep`` is true."""
        return torch.cat(
            [torch.full((layer.channels,), keep(layer), dtype=torch.bool) for layer in self.layers]
        )

    def conv_columns(self) -> Tensor:
        """Boolean [S]: the columns that edits move, those of the layers that are not toRGB."""
        return self.columns(lambda layer: layer.kind == "conv")


def check_w_plus(w_plus: Tensor, rows: int, width: int) -> None:
    """Raise ``ArgumentError`` unless ``w_plus`` is [B, rows, width]."""
    if w_plus.ndim != 3 or w_plus.shape[1:] != (rows, width):
        raise ArgumentError(
            f"expected w_plus of shape [B, {rows}, {width}] for this generator, "
            f"got {list(w_plus.shape)}"
        )
