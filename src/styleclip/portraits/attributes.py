"""The truth of the portraits world: attributes, identities, and how portraits are sampled.

A portrait is a record: one value per discrete attribute (ATTRIBUTES), nine continuous identity
traits and five nuisances, each in [-1, 1]. `sample_portrait` draws one by ancestral sampling:
attribute a takes value v with probability proportional to BASE[a][v] times every factor in
CORRELATIONS whose condition holds. HIDES says which value makes another attribute invisible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# Figures of different versions of the renderer, captions or tables cannot be compared.
WORLD_VERSION = 2


@dataclass(frozen=True)
class Attribute:
    """A discrete property of a portrait and the values it can take, in index order."""

    name: str
    values: tuple[str, ...]


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("hair_colour", ("black", "brown", "blond", "red", "grey", "blue", "pink", "green")),
    Attribute("hair_style", ("bald", "short", "long", "curly", "mohawk")),
    Attribute("expression", ("neutral", "smiling", "sad", "surprised")),
    Attribute("eyewear", ("none", "glasses", "sunglasses")),
    Attribute("facial_hair", ("none", "moustache", "beard")),
    Attribute("hat", ("none", "cap", "beanie")),
    Attribute("earrings", ("none", "earrings")),
    Attribute("lipstick", ("none", "lipstick")),
    Attribute("neckwear", ("none", "scarf", "bow tie")),
    Attribute("age", ("young", "old")),
    Attribute("eye_colour", ("brown", "blue", "green")),
    Attribute("skin", ("light", "tan", "dark")),
    Attribute("background", ("white", "yellow", "blue", "green", "purple")),
    Attribute("clothes", ("red", "blue", "green", "black", "white")),
)

IDENTITY: tuple[str, ...] = (
    "jaw_width",
    "face_length",
    "eye_spacing",
    "eye_size",
    "nose_length",
    "nose_width",
    "brow_height",
    "ear_size",
    "mouth_width",
)

NUISANCE: tuple[str, ...] = ("shift_x", "shift_y", "scale", "roll", "light")

_INDEX = {attribute.name: index for index, attribute in enumerate(ATTRIBUTES)}


def attribute_values(name: str) -> tuple[str, ...]:
    """The values of an attribute, in index order. Raises KeyError for an unknown name."""
    return ATTRIBUTES[_INDEX[name]].values


@dataclass(frozen=True)
class Portrait:
    """Everything that determines one drawing.

    values: index into each attribute's values, in ATTRIBUTES order.
    identity, nuisance: numbers in [-1, 1], in IDENTITY and NUISANCE order; 0 is the middle.
    """

    values: tuple[int, ...]
    identity: tuple[float, ...] = (0.0,) * len(IDENTITY)
    nuisance: tuple[float, ...] = (0.0,) * len(NUISANCE)

    def value(self, name: str) -> str:
        """The value of the attribute called `name`. Raises KeyError for an unknown name."""
        index = _INDEX[name]
        return ATTRIBUTES[index].values[self.values[index]]

    def replaced(self, **values: str) -> Portrait:
        """The same portrait with some attributes changed, e.g. `replaced(hair_colour="red")`.

        Raises KeyError for an unknown attribute, ValueError for an unknown value.
        """
        changed = list(self.values)
        for name, value in values.items():
            index = _INDEX[name]
            if value not in ATTRIBUTES[index].values:
                raise ValueError(
                    f"{name} has no value {value!r}; choose one of {ATTRIBUTES[index].values}"
                )
            changed[index] = ATTRIBUTES[index].values.index(value)
        return replace(self, values=tuple(changed))


@dataclass(frozen=True)
class Correlation:
    """If `given` holds, the weight of `attribute` = `value` is multiplied by `factor`."""

    given: tuple[str, str]
    attribute: str
    value: str
    factor: float


# Unconditional weights, in value order; the keys are in sampling order (conditions come first).
BASE: dict[str, tuple[float, ...]] = {
    "age": (0.68, 0.32),
    "skin": (0.40, 0.32, 0.28),
    "background": (0.20, 0.20, 0.20, 0.20, 0.20),
    "facial_hair": (0.62, 0.17, 0.21),
    "hair_style": (0.10, 0.33, 0.28, 0.18, 0.13),
    "hair_colour": (0.17, 0.18, 0.18, 0.15, 0.05, 0.09, 0.09, 0.09),
    "lipstick": (0.70, 0.30),
    "earrings": (0.70, 0.30),
    "eyewear": (0.60, 0.23, 0.17),
    "hat": (0.70, 0.15, 0.15),
    "neckwear": (0.64, 0.18, 0.18),
    "expression": (0.33, 0.35, 0.16, 0.16),
    "eye_colour": (0.38, 0.32, 0.30),
    "clothes": (0.20, 0.20, 0.20, 0.20, 0.20),
}


def _given(name: str, value: str, attribute: str, **factors: float) -> tuple[Correlation, ...]:
    return tuple(Correlation((name, value), attribute, v, f) for v, f in factors.items())


CORRELATIONS: tuple[Correlation, ...] = (
    *_given("age", "old", "facial_hair", beard=1.4),
    *_given("age", "old", "hair_style", bald=1.8, mohawk=0.4),
    *_given("age", "old", "hair_colour", grey=11.0, blue=0.5, pink=0.5, green=0.5),
    *_given("age", "old", "eyewear", glasses=1.6),
    *_given("age", "old", "hat", cap=0.7),
    *_given("skin", "dark", "hair_colour", black=1.8, blond=0.5, red=0.5),
    *_given("skin", "dark", "hair_style", curly=1.4),
    *_given("skin", "dark", "eye_colour", brown=1.6, blue=0.6, green=0.6),
    *_given("facial_hair", "moustache", "hair_style", long=0.5),
    *_given("facial_hair", "beard", "hair_style", long=0.5, bald=1.4),
    *_given("facial_hair", "moustache", "lipstick", lipstick=0.2),
    *_given("facial_hair", "beard", "lipstick", lipstick=0.2),
    *_given("facial_hair", "moustache", "earrings", earrings=0.4),
    *_given("facial_hair", "beard", "earrings", earrings=0.4),
    *_given("hair_style", "mohawk", "hair_colour", blue=2.5, pink=2.5, green=2.5),
    *_given("hair_style", "long", "lipstick", lipstick=1.7),
    *_given("hair_style", "long", "earrings", earrings=1.5),
    *_given("lipstick", "lipstick", "earrings", earrings=2.0),
    *_given("background", "yellow", "eyewear", sunglasses=1.8),
    *_given("background", "blue", "eyewear", sunglasses=1.8),
    *_given("background", "yellow", "expression", smiling=1.3),
    *_given("hair_style", "short", "hat", cap=1.6, beanie=1.3),
    *_given("hair_style", "mohawk", "hat", cap=0.3, beanie=0.3),
    *_given("hat", "beanie", "neckwear", scarf=3.0),
    *_given("age", "old", "neckwear", **{"bow tie": 2.0}),
    *_given("hair_colour", "blond", "eye_colour", blue=1.6),
    *_given("hair_colour", "red", "eye_colour", green=1.6),
)

# (attribute, value) -> the attributes that cannot be seen then.
HIDES: dict[tuple[str, str], tuple[str, ...]] = {
    ("hair_style", "bald"): ("hair_colour",),
    ("eyewear", "sunglasses"): ("eye_colour",),
}


def sample_portrait(rng: np.random.Generator) -> Portrait:
    """One portrait from the stated distribution; traits are clipped normals of deviation 0.5."""
    drawn: dict[str, str] = {}
    for name, base in BASE.items():
        values = ATTRIBUTES[_INDEX[name]].values
        weights = np.array(base)
        for rule in CORRELATIONS:
            if rule.attribute == name and drawn.get(rule.given[0]) == rule.given[1]:
                weights[values.index(rule.value)] *= rule.factor
        cumulative = np.cumsum(weights)
        choice = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        drawn[name] = values[choice]
    traits = np.clip(0.5 * rng.standard_normal(len(IDENTITY) + len(NUISANCE)), -1.0, 1.0)
    return Portrait(
        values=tuple(a.values.index(drawn[a.name]) for a in ATTRIBUTES),
        identity=tuple(float(trait) for trait in traits[: len(IDENTITY)]),
        nuisance=tuple(float(trait) for trait in traits[len(IDENTITY) :]),
    )


def visible(portrait: Portrait) -> tuple[bool, ...]:
    """For each attribute, in ATTRIBUTES order, whether the drawing shows its value."""
    hidden = {
        name
        for (attribute, value), names in HIDES.items()
        if portrait.value(attribute) == value
        for name in names
    }
    return tuple(attribute.name not in hidden for attribute in ATTRIBUTES)
