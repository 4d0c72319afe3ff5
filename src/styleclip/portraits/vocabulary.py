"""What a model of this world can tell apart: a plain text for every value of every attribute."""

from __future__ import annotations

from styleclip.portraits.attributes import attribute_values
from styleclip.portraits.captions import CANONICAL, COLOUR_WORDS, indefinite_article

ADJECTIVES = ("bald", "smiling", "sad", "surprised", "clean shaven", "young", "old")


def vocabulary() -> dict[str, list[str]]:
    """The texts by what they are about: {"hair colour": ["a face with black hair", ...], ...}."""
    noun = "a face"
    plain = {
        "hair colour": [f"{noun} with {words[0]} hair" for words in COLOUR_WORDS.values()],
        "eye colour": [f"{noun} with {value} eyes" for value in attribute_values("eye_colour")],
        "skin": [f"{noun} with {value} skin" for value in attribute_values("skin")],
        "background": [
            f"{noun} on a {value} background" for value in attribute_values("background")
        ],
        "clothes": [f"{noun} in a {value} shirt" for value in attribute_values("clothes")],
    }
    for name, values in CANONICAL.items():
        texts = []
        for value in values:
            alone = value.startswith(ADJECTIVES)
            texts.append(
                f"{indefinite_article(value)} {value} face" if alone else f"{noun} with {value}"
            )
        plain[name.replace("_", " ")] = texts
    return plain
