"""How a picture was made, complete enough to make it again: what a PNG carries in its metadata.

  source (seed, or latent w_plus) + edits (each: its step and strength) + noise "const"  ->  pixels
An optimisation is chaotic across machines, so a recipe holds the step that it found and not
only its settings. Numbers are float32, little-endian, zlib, base64. Never a path: a recipe travels.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleclip.editing.edit import Edit
from styleclip.errors import ImageError
from styleclip.prompts import PromptPair

VERSION = 1
ALIKE = 2  # of 255: what another machine's arithmetic may change in a replay
MOST_NUMBERS = 1 << 22  # in one tensor: a recipe is a stranger's text


@dataclass(frozen=True, eq=False)
class Source:
    """What was edited: the picture of a seed, or a ``w_plus`` [1,L,D] found for a picture."""

    seed: int | None = None
    truncation: float = 1.0
    w_plus: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Recipe:
    """``hashes`` name the weights, "generator" at least; ``edits`` are (edit, strength).

    ``corners`` of the square that the recipe makes, if it was set into a photo: (x, y) in pixels,
    clockwise from its upper left. The photo itself is not in a recipe. ``preserve`` names what
    further directions are to leave alone; those that were found name what they did.
    """

    model: str
    hashes: Mapping[str, str]
    source: Source
    edits: tuple[tuple[Edit, float], ...] = ()
    made_with: str = field(default="styleclip")
    corners: Sequence[tuple[float, float]] | None = None
    preserve: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values; ``from_json`` reads them again, bit by bit the same."""
        source: dict[str, Any] = {"noise": "const"}
        if self.source.w_plus is not None:
            source["w_plus"] = _pack(self.source.w_plus)
        else:
            source |= {"seed": self.source.seed, "truncation": self.source.truncation}
        more: dict[str, Any] = {}
        if self.corners is not None:
            more["photo"] = {"corners": [list(each) for each in self.corners]}
        if self.preserve:
            more["preserve"] = list(self.preserve)
        return {
            "version": VERSION,
            "made_with": self.made_with,
            "model": self.model,
            "hashes": dict(self.hashes),
            "source": source,
            "edits": [_edit_to_json(edit, strength) for edit, strength in self.edits],
            **more,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """Raises ``ImageError`` for a recipe of another version or one that is not whole."""
        version = values.get("version")
        if version != VERSION:
            raise ImageError(
                f"the recipe has version {version!r} and this styleclip reads version {VERSION}: "
                "use the styleclip that wrote it"
            )
        try:
            return cls(
                model=str(values["model"]),
                hashes={str(name): str(value) for name, value in values["hashes"].items()},
                source=_source_from_json(values["source"]),
                edits=tuple(_edit_from_json(each) for each in values["edits"]),
                made_with=str(values["made_with"]),
                corners=_corners_from_json(values["photo"]) if "photo" in values else None,
                preserve=tuple(str(each) for each in values.get("preserve", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ImageError(
                f"the recipe is not complete ({type(error).__name__}: {error}): make the picture "
                "again"
            ) from error


def _source_from_json(values: Mapping[str, Any]) -> Source:
    if values["noise"] != "const":
        raise ValueError(f"noise {values['noise']!r}")
    if "w_plus" in values:
        w_plus = _unpack(values["w_plus"])
        if w_plus.ndim != 3 or len(w_plus) != 1:  # two kilobytes could ask for a thousand pictures
            raise ValueError(f"a w_plus of shape {list(w_plus.shape)}")
        return Source(w_plus=w_plus)
    if not 0 <= (seed := int(values["seed"])) < 1 << 63:
        raise ValueError(f"seed {seed}")
    return Source(seed=seed, truncation=_finite(values["truncation"]))


def _corners_from_json(values: Mapping[str, Any]) -> list[tuple[float, float]]:
    corners = [(_finite(x), _finite(y)) for x, y in values["corners"]]
    if len(corners) != 4:
        raise ValueError(f"{len(corners)} corners")
    return corners


def _edit_to_json(edit: Edit, strength: float) -> dict[str, Any]:
    steps = {"w_plus_step": edit.w_plus_step, "style_step": edit.style_step}
    return {
        "method": edit.method,
        "target": edit.prompt.target,
        "neutral": edit.prompt.neutral,
        "strength": strength,
        "config": dict(edit.config),
        **{name: _pack(step) for name, step in steps.items() if step is not None},
    }


def _edit_from_json(values: Mapping[str, Any]) -> tuple[Edit, float]:
    steps = {
        name: _unpack(values[name]) for name in ("w_plus_step", "style_step") if name in values
    }
    edit = Edit(
        method=str(values["method"]),
        prompt=PromptPair(target=str(values["target"]), neutral=str(values["neutral"])),
        config=dict(values["config"]),
        **steps,
    )
    return edit, _finite(values["strength"])


def _pack(tensor: Tensor) -> dict[str, Any]:
    numbers = tensor.detach().float().cpu().contiguous().numpy().astype("<f4")
    packed = base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii")
    return {"shape": list(tensor.shape), "float32": packed}


def _unpack(values: Mapping[str, Any]) -> Tensor:
    shape = [int(length) for length in values["shape"]]
    count = math.prod(shape)
    if not shape or min(shape) < 1 or count > MOST_NUMBERS:
        raise ValueError(f"shape {shape}")
    try:
        packed = base64.b64decode(values["float32"], validate=True)
        stream = zlib.decompressobj()
        content = stream.decompress(packed, 4 * count + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(str(error)) from error
    if len(content) != 4 * count or not stream.eof:
        raise ValueError(f"{len(content)} bytes for shape {shape}")
    numbers = np.frombuffer(content, dtype="<f4").astype(np.float32).reshape(shape)
    if not np.isfinite(numbers).all():
        raise ValueError("numbers that are not finite")
    return torch.from_numpy(numbers)


def _finite(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"the number {value!r}")
    return number
