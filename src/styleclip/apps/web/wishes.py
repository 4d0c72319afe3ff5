"""What a call over HTTP asks for: any JSON -> checked rows, numbers and texts, or one sentence.

  prompt, strength, method, threshold, preserve -> Wishes (rows of a look, names that stay)
gradio hands over whatever JSON was sent, so every value is read here before anything computes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from styleclip.apps.web.links import LARGEST_SEED, METHOD_OF_WORD
from styleclip.apps.web.session import (
    MOST_LETTERS,
    MOST_ROWS,
    MOST_THRESHOLD,
    MOST_TRUNCATION,
    STEEPEST,
    Method,
    Row,
    kept,
)
from styleclip.errors import ArgumentError
from styleclip.prompts import names_of

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Wishes:
    """Sentences to be added to a picture's, and what their directions leave alone."""

    rows: tuple[Row, ...]
    keep: tuple[str, ...] = ()


def wishes(
    prompt: Any,
    strength: Any = None,
    method: Any = "direction",
    threshold: Any = None,
    preserve: Any = "",
) -> Wishes:
    """One sentence or a list of them; a strength for all, or a list with one for each, or None.

    Raises ``ArgumentError``.
    """
    targets, keep = texts("prompt", prompt), names(preserve)
    by = method_of(method)
    given = {"strength": strength, "threshold": threshold, "preserve": keep or None,
             "method": None if by == "direction" else by}  # fmt: skip
    if not targets and (idle := [name for name, value in given.items() if value is not None]):
        raise ArgumentError(f"{idle[0]} belongs to a prompt: give one, or leave it out")
    if by == "optimisation":
        raise ArgumentError("optimising takes its time: call /optimise, which streams")
    for name in ("threshold", "preserve"):
        if given[name] is not None and by != "direction":
            raise ArgumentError(
                f"{name} belongs to the method direction: leave it out or take that"
            )
    beta = None if threshold is None else number("threshold", threshold, 0, MOST_THRESHOLD)
    rows = (
        Row(target, "", by, threshold=beta, fits=each is None, strength=each or 0.0)
        for target, each in zip(targets, _strengths(strength, len(targets)), strict=True)
    )
    return Wishes(tuple(rows), keep)


def method_of(word: Any) -> Method:
    """The method that a word means, the page's or the command line's. Raises ``ArgumentError``."""
    found = METHOD_OF_WORD.get(word) if isinstance(word, str) else None
    if found is None:
        raise ArgumentError(f"there is no method {_shown(word)}: direction or mapper")
    return found


def seed_of(value: Any) -> int:
    """A seed. Raises ``ArgumentError``."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0
    if not whole or not 0 <= value <= LARGEST_SEED:
        raise ArgumentError(
            f"a seed is a whole number from 0 to {LARGEST_SEED}, got {_shown(value)}"
        )
    return int(value)


def truncation_of(value: Any) -> float:
    """The variety of a seed's picture. Raises ``ArgumentError``."""
    return number("truncation", value, 0, MOST_TRUNCATION)


def number(name: str, value: Any, low: float, high: float) -> float:
    """A finite number, also one that is written as text. Raises ``ArgumentError``."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not low <= found <= high:
        raise ArgumentError(
            f"the {name} must be a number between {low:g} and {high:g}, got {_shown(value)}"
        )
    return found


def text(name: str, value: Any) -> str:
    """A text that is not too long. Raises ``ArgumentError``."""
    if not isinstance(value, str):
        raise ArgumentError(f"the {name} must be a text, got {_shown(value)}")
    if len(value) > MOST_LETTERS:
        raise ArgumentError(f"the {name} has {len(value)} letters, at most {MOST_LETTERS} are read")
    return value


def one_of(name: str, value: Any, known: Mapping[str, Choice]) -> Choice:
    """What a word stands for. Raises ``ArgumentError``."""
    if not isinstance(value, str) or value not in known:
        raise ArgumentError(f"the {name} is {' or '.join(known)}, got {_shown(value)}")
    return known[value]


def texts(name: str, value: Any) -> tuple[str, ...]:
    """One text, or a list of some; none for an empty one. Raises ``ArgumentError``."""
    several = value if isinstance(value, list | tuple) else [value] if value != "" else []
    if len(several) > MOST_ROWS:
        raise ArgumentError(f"at most {MOST_ROWS} sentences fit on a picture, got {len(several)}")
    return tuple(text(name, each) for each in several)


def names(value: Any) -> tuple[str, ...]:
    """What must stay: names with commas between, or a list of names. Raises ``ArgumentError``."""
    for each in value if isinstance(value, list | tuple) else [value]:
        text("preserve", each)
    return kept(names_of(value))


def _strengths(value: Any, count: int) -> list[float | None]:
    several = value if isinstance(value, list | tuple) else [value] * count
    if len(several) != count:
        raise ArgumentError(
            f"give one strength for all sentences or one for each: {count} sentences, "
            f"{len(several)} strengths"
        )
    return [
        None if each is None else number("strength", each, -STEEPEST, STEEPEST) for each in several
    ]


def _shown(value: Any) -> str:
    """What was sent, as far as it helps: a long text is cut."""
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:40]}…"
