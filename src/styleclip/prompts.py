"""A sentence that asks for an edit: a target text, and the neutral text it departs from.

  "a face -> a face with red hair"  ->  PromptPair(target="a face with red hair", neutral="a face")
A target alone takes the neutral text of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

from styleclip.errors import PromptError


@dataclass(frozen=True)
class PromptPair:
    """``target`` says what the picture should show, ``neutral`` what pictures show anyway."""

    target: str
    neutral: str

    def __str__(self) -> str:
        return f"{self.neutral} -> {self.target}"


def parse_prompt(text: str, default_neutral: str) -> PromptPair:
    """Read "neutral -> target" or a target alone.

    Raises ``PromptError`` for an empty side, and for two sides that say the same.
    """
    sides = [side.strip() for side in text.split("->")]
    if len(sides) > 2:
        raise PromptError(f"a prompt has one arrow at most, as in 'a -> b'; got {text!r}")
    neutral, target = sides if len(sides) == 2 else (default_neutral, sides[0])
    if not target or not neutral:
        raise PromptError(
            "the prompt is empty: say what the picture should show, "
            "for example 'a face with red hair' or 'a face -> a face with red hair'"
        )
    if target.casefold().split() == neutral.casefold().split():
        raise PromptError(
            f"the target {target!r} is the neutral text itself, so nothing would change: "
            "say what should be different, for example 'a face -> a face with red hair'"
        )
    return PromptPair(target=target, neutral=neutral)
