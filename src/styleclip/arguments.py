"""What a studio is given, checked where it enters: the wrong thing is told in one sentence.

w_plus [B,L,D]   a picture   a seed, a number, a count   an edit, or (edit, strength) ...
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError, ImageError
from styleclip.generators import Generator

LARGEST_SEED = 2**63 - 1


def check_latents(w_plus: object, generator: Generator) -> None:
    """Raise ``ArgumentError`` unless ``w_plus`` is finite latents [B,L,D] of the generator."""
    hint = "give what studio.open(picture) or studio.sample(seed) returns"
    if not isinstance(w_plus, Tensor):
        raise ArgumentError(f"the latent is a tensor w_plus [B,L,D], got {_shown(w_plus)}: {hint}")
    rows, width = generator.rows, generator.w_average.shape[-1]
    if w_plus.ndim != 3 or len(w_plus) == 0 or w_plus.shape[1:] != (rows, width):
        raise ArgumentError(
            f"the latent has the shape [B,{rows},{width}] here, got {list(w_plus.shape)}: {hint}"
        )
    if not w_plus.is_floating_point() or not bool(w_plus.isfinite().all()):
        raise ArgumentError("the latent has numbers that are not finite, or none: " + hint)


def check_square(picture: object) -> None:
    """Raise ``ImageError`` unless it is a file's name, PIL, or a tensor of one picture."""
    if isinstance(picture, Tensor):
        if picture.shape[-3:-2] != (3,) or picture.shape[:-3] not in ((), (1,)):
            raise ImageError(
                f"a picture as a tensor has the shape [1,3,H,W], got {list(picture.shape)}"
            )
    elif not isinstance(picture, str | Path | Image.Image):
        raise ImageError(f"a picture is a file, PIL or a tensor [1,3,H,W], got {_shown(picture)}")


def check_seed(seed: object) -> int:
    """The seed. Raises ``ArgumentError``."""
    if not isinstance(seed, Integral) or not 0 <= int(seed) <= LARGEST_SEED:
        raise ArgumentError(f"a seed is a whole number from 0 to 2^63 - 1, got {_shown(seed)}")
    return int(seed)


def check_number(name: str, value: Any) -> None:
    """Raise ``ArgumentError`` unless it is a finite number."""
    try:
        finite = not isinstance(value, str) and math.isfinite(float(value))
    except (TypeError, ValueError):
        finite = False
    if not finite:
        raise ArgumentError(f"{name} must be a finite number, got {_shown(value)}")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise ``ArgumentError`` unless it is a whole number, ``least`` or more."""
    if not isinstance(value, Integral) or int(value) < least:
        raise ArgumentError(f"{name} is a whole number, at least {least}, got {_shown(value)}")


def stack_of(edits: Edit | Sequence[tuple[Edit, float]]) -> list[tuple[Edit, float]]:
    """An edit, or (edit, strength) pairs, as such pairs. Raises ``ArgumentError``."""
    if isinstance(edits, Edit):
        return [(edits, 1.0)]
    stack = list(edits) if isinstance(edits, Sequence) else [edits]
    for each in stack:
        if not (isinstance(each, Sequence) and len(each) == 2 and isinstance(each[0], Edit)):
            raise ArgumentError(
                f"a stack is a list of (edit, strength), as in [(red, 1.0), (smile, 0.5)], got "
                f"{_shown(each)} in it"
            )
        check_number("a strength", each[1])
    return stack


def _shown(value: object) -> str:
    """A small value as it is, of others the kind."""
    small = value is None or isinstance(value, str | int | float)
    return repr(value)[:80] if small else f"a {type(value).__name__}"
