"""Latent mappers (StyleCLIP, section 5): a network that says how a prompt moves each picture.

  w_plus' = w_plus + 0.1 M(w_plus)         M = (M_coarse, M_medium, M_fine), each on its rows of W+
  style'  = style  + 0.1 M(style)          one network for every layer that is not toRGB
Each network is a normalisation to unit second moment and four layers of leaky ReLU. A level that
is switched off moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError
from styleclip.generators.ops import EqualLinear, normalize_second_moment
from styleclip.latents import StyleLayout
from styleclip.prompts import PromptPair

LAYERS = 4
FACTOR = 0.1  # of the step
LEVELS = {"coarse": (0, 4), "medium": (4, 8), "fine": (8, None)}  # rows of W+


@dataclass(frozen=True)
class Group:
    """What one network moves: rows of W+, or columns of the style, ``first`` up to ``stop``."""

    name: str
    first: int
    stop: int | None
    width: int  # of its layers: D, or the channels of a style layer


@dataclass(frozen=True)
class MapperConfig:
    """The networks of a mapper.

    ``norm``: over the channels of a row; or "layers", over the rows of a level, which is what the
    official code does in W+ and its checkpoints need.
    """

    space: Literal["w_plus", "style"]
    groups: tuple[Group, ...]
    norm: Literal["channels", "layers"] = "channels"

    def __post_init__(self) -> None:
        if not self.groups:
            raise ArgumentError("a mapper needs at least one level that is not switched off")
        for before, after in pairwise(self.groups):
            if before.stop is None or before.stop > after.first:
                raise ArgumentError(f"the groups {before.name} and {after.name} overlap")

    @classmethod
    def levels(
        cls,
        width: int,
        levels: Sequence[Literal["coarse", "medium", "fine"]] = ("coarse", "medium", "fine"),
    ) -> MapperConfig:
        """A network for each of ``levels``; leave "fine" out where colours should stay."""
        unknown = [name for name in levels if name not in LEVELS]
        if unknown:
            raise ArgumentError(
                f"there is no level {unknown[0]!r}: choose from {', '.join(LEVELS)}"
            )
        twice = [name for name in LEVELS if levels.count(name) > 1]
        if twice:
            raise ArgumentError(f"the level {twice[0]!r} is there twice: name each level once")
        chosen = [name for name in LEVELS if name in levels]
        return cls("w_plus", tuple(Group(name, *LEVELS[name], width) for name in chosen))

    @classmethod
    def single(cls, width: int) -> MapperConfig:
        """One network for all rows."""
        return cls("w_plus", (Group("all", 0, None, width),))

    @classmethod
    def style(cls, layout: StyleLayout) -> MapperConfig:
        """One network for every layer that is not toRGB."""
        groups, first = [], 0
        for layer in layout:
            if layer.kind == "conv":
                groups.append(Group(layer.name, first, first + layer.channels, layer.channels))
            first += layer.channels
        return cls("style", tuple(groups))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MapperConfig:
        return cls(**{**values, "groups": tuple(Group(**each) for each in values["groups"])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Mapper(nn.Module):
    """w_plus [B,L,D] or style [B,S] -> the step that a prompt asks for, of the same shape."""

    def __init__(self, config: MapperConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(
            nn.Sequential(
                *(
                    EqualLinear(group.width, group.width, lr_multiplier=0.01, activate=True)
                    for _ in range(LAYERS)
                )
            )
            for group in config.groups
        )

    def delta(self, latents: Tensor) -> Tensor:
        """The step before its factor 0.1; zero where no network is."""
        self._check(latents)
        step = torch.zeros_like(latents)
        # in W+ axis 1 are the rows; in S, whose groups have no rows, axis 1 are the channels
        axis = 1 if self.config.space == "style" or self.config.norm == "layers" else 2
        for group, network in zip(self.config.groups, self.networks, strict=True):
            part = latents[:, group.first : group.stop]
            step[:, group.first : group.stop] = network(normalize_second_moment(part, dim=axis))
        return step

    def forward(self, latents: Tensor) -> Tensor:
        return latents + FACTOR * self.delta(latents)

    def edit(self, latents: Tensor, prompt: PromptPair) -> Edit:
        """The edit of these pictures: w_plus [B,L,D], or style [B,S] for a mapper in S."""
        with torch.no_grad():
            step = FACTOR * self.delta(latents)
        if self.config.space == "style":
            return Edit("mapper", prompt, style_step=step)
        return Edit("mapper", prompt, w_plus_step=step)

    def _check(self, latents: Tensor) -> None:
        axes = 3 if self.config.space == "w_plus" else 2
        last = self.config.groups[-1]
        needed = last.first + 1 if last.stop is None else last.stop
        if latents.ndim != axes or latents.shape[1] < needed or (
            axes == 3 and latents.shape[2] != last.width
        ):  # fmt: skip
            shape = f"[B, L, {last.width}]" if axes == 3 else "[B, S]"
            what = "rows" if axes == 3 else "columns"
            raise ArgumentError(
                f"this mapper moves latents {shape} of at least {needed} {what}, got "
                f"{list(latents.shape)}: was it trained for another generator?"
            )
