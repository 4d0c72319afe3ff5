"""A sentence that asks for an edit: a target text, and the neutral text it departs from.

  "a face -> a face with red hair"  ->  PromptPair(target="a face with red hair", neutral="a face")
A target alone takes the neutral text of the model.
  templates: "a photo of a {}." ...       CLIP sees a text in each of them; the mean is its vector
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from styleclip.errors import ArgumentError, PromptError

Templates = Literal["imagenet"] | Sequence[str]  # sentences with one {}, or the name of a list


def _imagenet_templates() -> tuple[str, ...]:
    """OpenAI's sentences for ImageNet but "a photo of many {}.", as the official code has them.

    Their number is 79 (the paper says 80); their order means nothing.
    """
    looks = ("bad", "good", "low resolution", "pixelated", "jpeg corrupted", "blurry", "cropped",
             "close-up", "bright", "dark", "black and white")  # fmt: skip
    things = ("hard to see", "clean", "dirty", "cool", "nice", "weird", "small", "large")
    works = ("drawing", "painting", "sketch", "doodle", "sculpture", "tattoo", "rendering",
             "rendition")  # fmt: skip
    stuffs = ("toy", "plushie", "plastic", "origami", "embroidered", "cartoon")
    both = ("a", "the")
    return (
        *(f"a {look} photo of {one} {{}}." for look, one in product(looks, both)),
        *(f"a photo of {one} {thing} {{}}." for thing, one in product(things, both)),
        *(f"a photo of {one} {{}}." for one in (*both, "my", "one")),
        *(f"itap of {one} {{}}." for one in (*both, "my")),
        *(f"a {work} of {one} {{}}." for work, one in product(works, both)),
        *(f"{work} of {one} {{}}." for work, one in product(("art", "graffiti"), both)),
        *(f"{one} {stuff} {{}}." for stuff, one in product(stuffs, both)),
        *(f"{one} {{}} in a video game." for one in both),
    )


IMAGENET_TEMPLATES = _imagenet_templates()


def template_sentences(templates: Templates) -> tuple[str, ...]:
    """The sentences that are meant, each with one ``{}``. Raises ``ArgumentError``."""
    if templates == "imagenet":
        return IMAGENET_TEMPLATES
    if isinstance(templates, str) or any(
        not isinstance(each, str) or each.count("{}") != 1 for each in templates
    ):
        raise ArgumentError(
            f"templates are 'imagenet' or sentences that each have exactly one {{}}, such as "
            f"'a photo of {{}}', got {templates if isinstance(templates, str) else [*templates]!r}"
        )
    return tuple(templates)


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


def names_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """ "hair colour, glasses", or a list -> its names. Raises ``ArgumentError``."""
    listed = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(each, str) for each in listed):
        raise ArgumentError(f"what is preserved is named by texts, got {names!r}")
    several = names.split(",") if isinstance(names, str) else listed
    return tuple(name.strip() for name in several if name.strip())
