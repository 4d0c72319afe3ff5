"""A link that carries the recipe: what is typed and slid, never a latent.

  ?seed=3&truncation=0.7&to=a+face+with+red+hair&from=a+face&by=direction&strength=2.9&keep=glasses
Every ``to`` begins a sentence, and what follows belongs to it; without a strength the picture gets
its own. Pictures of seeds under directions
and the model's mapper are made again from that; others are refused with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

from styleclip.apps.web.session import (
    MOST_LETTERS,
    MOST_ROWS,
    MOST_THRESHOLD,
    MOST_TRUNCATION,
    STEEPEST,
    Look,
    Method,
    Row,
    kept,
)
from styleclip.errors import ArgumentError

Number = TypeVar("Number", int, float)
LARGEST_SEED = 2**53 - 1  # that a browser's numbers hold
METHOD_OF_WORD: dict[str, Method] = {
    "direction": "direction",
    "mapper": "mapper",
    "optimize": "optimisation",  # the command line's word
    "optimise": "optimisation",
    "optimization": "optimisation",
    "optimisation": "optimisation",
}


@dataclass(frozen=True)
class Wanted:
    """What a link asks for."""

    seed: int = 0
    truncation: float = 0.7
    rows: tuple[Row, ...] = field(default_factory=tuple)
    keep: tuple[str, ...] = ()


def link_of(look: Look) -> str:
    """The query of a look, with its question mark. Raises ``ArgumentError`` with the reason."""
    source = look.subject.source
    if source.w_plus is not None or source.seed is None:
        raise ArgumentError(
            "a picture that was dropped here does not fit into a link: download the PNG, which "
            "carries all of it, and drop that"
        )
    if source.seed > LARGEST_SEED:
        raise ArgumentError("this seed is too large for a link: download the PNG instead")
    variety = _said("truncation", source.truncation, 0, MOST_TRUNCATION)
    pairs = [("seed", str(source.seed)), ("truncation", variety)]
    for row in look.rows:
        if not row.asks:
            continue
        if row.method == "optimisation" or row.trained:
            raise ArgumentError(
                f"what {row.method} found for {row.target!r} does not fit into a link: download "
                "the PNG, which carries all of it, and drop that"
            )
        pairs.append(("to", row.target))
        if row.neutral:
            pairs.append(("from", row.neutral))
        strength = _said("strength", row.strength, -STEEPEST, STEEPEST)
        pairs += [("by", row.method), ("strength", strength)]
        if row.threshold is not None:
            pairs.append(("threshold", _said("threshold", row.threshold, 0, MOST_THRESHOLD)))
    pairs += [("keep", name) for name in look.keep]
    return "?" + urlencode(pairs)


def _said(name: str, number: float, low: float, high: float) -> str:
    """A number as a link has it. Raises ``ArgumentError`` for one that no link may have."""
    if not low <= number <= high:
        raise ArgumentError(
            f"a {name} of {number:g} is too much for a link, which has {low:g} to {high:g}: "
            "download the PNG instead"
        )
    return f"{number:g}"


def wanted_by(query: str) -> Wanted | None:
    """What a query asks for; None if it carries no recipe. Raises ``ArgumentError``."""
    wanted, rows, found = Wanted(), list[Row](), False
    try:
        pairs = parse_qsl(query.lstrip("?"), max_num_fields=100) if len(query) < 8000 else []
        for name, value in pairs:
            if name == "seed":
                wanted = replace(wanted, seed=_within(_number(int, value), 0, LARGEST_SEED))
            elif name == "truncation":
                wanted = replace(
                    wanted, truncation=_within(_number(float, value), 0, MOST_TRUNCATION)
                )
            elif name == "to":
                rows.append(Row(target=value[:MOST_LETTERS], fits=True))
            elif name == "keep":
                wanted = replace(wanted, keep=(*wanted.keep, value[:MOST_LETTERS]))
            elif rows and name in ("from", "by", "strength", "threshold"):
                rows[-1] = _told(rows[-1], name, value)
            else:
                continue  # somebody else's
            found = True
    except ValueError as error:
        raise ArgumentError(f"this link cannot be read ({error}), so it is not used") from error
    if len(rows) > MOST_ROWS:
        raise ArgumentError(
            f"this link has {len(rows)} sentences, the page holds {MOST_ROWS}: it is not used"
        )
    kept(wanted.keep)
    return replace(wanted, rows=tuple(rows)) if found else None


def _told(row: Row, name: str, value: str) -> Row:
    if name == "from":
        return replace(row, neutral=value[:MOST_LETTERS])
    if name == "by":
        if value not in METHOD_OF_WORD:
            raise ValueError(f"method {value[:20]!r}")
        return replace(row, method=METHOD_OF_WORD[value])
    if name == "strength":
        return replace(
            row, strength=_within(_number(float, value), -STEEPEST, STEEPEST), fits=False
        )
    return replace(row, threshold=_within(_number(float, value), 0, MOST_THRESHOLD))


def _number(kind: type[Number], value: str) -> Number:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{value[:20]!r} is no number") from None


def _within(number: Number, low: float, high: float) -> Number:
    if not low <= number <= high:  # NaN too
        raise ValueError(f"{number:g} is not between {low:g} and {high:g}")
    return number
