"""Captions of portraits, as people type them, with the set of states that makes each one true.

A caption states a random subset of a portrait's visible attributes. Each attribute has phrases
(PHRASES); a phrase has a kind that says how it joins a sentence: "adjective" before the noun,
"clause" after it, and objects that follow "with", "wearing", "without", "in" or "on". Hair and
beard combine with the hair colour ("long red hair", "a grey beard"). The world has no sexes; its
words are a convention: a "woman" has no facial hair, a "man" no lipstick. All text is lower case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from styleclip.portraits.attributes import ATTRIBUTES, Portrait, visible

States = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Caption:
    """A text and its truth: it holds iff every stated attribute's value is in its set."""

    text: str
    states: States

    def holds(self, portrait: Portrait) -> bool:
        """Whether the caption is true of the portrait."""
        return all(portrait.value(name) in values for name, values in self.states.items())


@dataclass(frozen=True)
class Phrase:
    """Words that are true of some values of one attribute; `weight` is how often, relatively."""

    text: str
    kind: str
    values: frozenset[str]
    weight: float = 1.0


# kind -> (joining word, weight) choices that may precede the phrase after a noun.
JOINS: dict[str, tuple[tuple[str, float], ...]] = {
    "adjective": (("", 1.0),),
    "clause": (("", 1.0),),
    "feature": (("with", 0.92), ("that has", 0.08)),
    "worn": (("with", 0.48), ("wearing", 0.48), ("that has", 0.04)),
    "clothes": (("in", 0.5), ("wearing", 0.4), ("with", 0.1)),
    "absent": (("without", 0.6), ("with no", 0.4)),
    "background": (("on", 0.4), ("with", 0.35), ("against", 0.1), ("in front of", 0.15)),
}


@dataclass(frozen=True)
class Opening:
    """The noun of a sentence, and what it says by itself."""

    text: str
    weight: float
    states: tuple[tuple[str, str], ...] = ()  # (attribute, the one value it allows)


OPENINGS: tuple[Opening, ...] = (
    Opening("person", 0.28),
    Opening("face", 0.22),
    Opening("portrait", 0.12),
    Opening("portrait of a person", 0.09),
    Opening("picture of a person", 0.06),
    Opening("photo of a person", 0.06),
    Opening("photo of a face", 0.04),
    Opening("character", 0.04),
    Opening("woman", 0.13, (("facial_hair", "none"),)),
    Opening("lady", 0.02, (("facial_hair", "none"),)),
    Opening("portrait of a woman", 0.03, (("facial_hair", "none"),)),
    Opening("man", 0.13, (("lipstick", "none"),)),
    Opening("guy", 0.02, (("lipstick", "none"),)),
    Opening("portrait of a man", 0.03, (("lipstick", "none"),)),
)
ARTICLES: tuple[tuple[str, float], ...] = (("a", 0.52), ("", 0.32), ("the", 0.1), ("this", 0.06))

# Extra words that the hair and beard combinations use.
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "black": ("black",),
    "brown": ("brown",),
    "blond": ("blond", "blonde"),
    "red": ("red",),
    "grey": ("grey", "gray"),
    "blue": ("blue",),
    "pink": ("pink",),
    "green": ("green",),
}


def _phrases(kind: str, values: str, *texts: str, weight: float = 1.0) -> tuple[Phrase, ...]:
    """Synonyms of one kind; the first is twice as frequent as the others."""
    truth = frozenset(values.split("|"))
    return tuple(
        Phrase(text, kind, truth, weight * (2.0 if index == 0 else 1.0))
        for index, text in enumerate(texts)
    )


def _hair_colours() -> tuple[Phrase, ...]:
    return tuple(
        phrase
        for value, words in COLOUR_WORDS.items()
        for word in words
        for phrase in (
            *_phrases("feature", value, f"{word} hair", weight=2.0 / len(words)),
            *_phrases("adjective", value, f"{word} haired", weight=0.2 / len(words)),
        )
    )


def _coloured(name: str, kind: str, *nouns: str) -> tuple[Phrase, ...]:
    values = next(attribute.values for attribute in ATTRIBUTES if attribute.name == name)
    return tuple(
        phrase
        for value in values
        for phrase in _phrases(kind, value, *(noun.format(value) for noun in nouns))
    )


PHRASES: dict[str, tuple[Phrase, ...]] = {
    "hair_colour": (
        *_hair_colours(),
        *_phrases("feature", "black|brown", "dark hair", weight=0.2),
        *_phrases("feature", "blue|pink|green", "dyed hair", "colourful hair", weight=0.2),
    ),
    "hair_style": (
        *_phrases("adjective", "bald", "bald", weight=2.0),
        *_phrases("absent", "bald", "hair"),
        *_phrases("feature", "bald", "a bald head", "a shaved head", weight=0.5),
        *_phrases("feature", "short", "short hair", "a short haircut"),
        *_phrases("feature", "long", "long hair"),
        *_phrases("feature", "curly", "curly hair", "curls", "an afro", "frizzy hair"),
        *_phrases("feature", "mohawk", "a mohawk", "a mohawk haircut", "spiky hair"),
    ),
    "expression": (
        *_phrases("feature", "neutral", "a neutral expression", "a serious look"),
        *_phrases("adjective", "neutral", "serious", "calm", weight=0.5),
        *_phrases("adjective", "smiling", "smiling", "happy", "cheerful", "grinning", weight=1.5),
        *_phrases("feature", "smiling", "a smile", "a big smile", "a happy expression"),
        *_phrases("clause", "smiling", "smiling", "laughing"),
        *_phrases("adjective", "sad", "sad", "frowning", "unhappy", weight=1.5),
        *_phrases("feature", "sad", "a sad expression", "a frown", "a sad look"),
        *_phrases("clause", "sad", "frowning", weight=0.5),
        *_phrases("adjective", "surprised", "surprised", "shocked", "astonished", weight=1.5),
        *_phrases("feature", "surprised", "an open mouth", "a surprised expression"),
        *_phrases("clause", "surprised", "looking surprised", weight=0.5),
        *_phrases("clause", "neutral|sad|surprised", "not smiling", weight=0.3),
    ),
    "eyewear": (
        *_phrases("absent", "none", "glasses"),
        *_phrases("absent", "none|glasses", "sunglasses", weight=0.15),
        *_phrases("worn", "glasses", "glasses", "eyeglasses", "spectacles", weight=2.0),
        *_phrases("worn", "sunglasses", "sunglasses", "dark glasses", "shades", weight=2.0),
    ),
    "facial_hair": (
        *_phrases("adjective", "none", "clean shaven"),
        *_phrases("absent", "none", "facial hair"),
        *_phrases("absent", "none|moustache", "a beard", weight=0.5),
        *_phrases("feature", "moustache", "a moustache", "a mustache", weight=2.0),
        *_phrases("feature", "beard", "a beard", "a full beard", weight=2.0),
        *_phrases("adjective", "beard", "bearded"),
        *_phrases("feature", "moustache|beard", "facial hair", weight=0.3),
    ),
    "hat": (
        *_phrases("absent", "none", "a hat"),
        *_phrases("worn", "cap", "a cap", "a baseball cap", weight=2.0),
        *_phrases("worn", "beanie", "a beanie", "a knitted hat", "a woolly hat", weight=2.0),
        *_phrases("worn", "cap|beanie", "a hat"),
    ),
    "earrings": (
        *_phrases("absent", "none", "earrings"),
        *_phrases("worn", "earrings", "earrings", "gold earrings", "golden earrings"),
    ),
    "lipstick": (
        *_phrases("absent", "none", "lipstick", "makeup"),
        *_phrases("worn", "lipstick", "lipstick", "red lipstick", weight=1.5),
        *_phrases("feature", "lipstick", "red lips", "painted lips", weight=0.7),
    ),
    "neckwear": (
        *_phrases("feature", "none", "a bare neck", "an open collar"),
        *_phrases("absent", "none|bow tie", "a scarf", weight=0.5),
        *_phrases("absent", "none|scarf", "a bow tie", weight=0.5),
        *_phrases("worn", "scarf", "a scarf", "a woolly scarf", "a winter scarf", weight=2.0),
        *_phrases("worn", "bow tie", "a bow tie", "a bowtie", weight=2.0),
    ),
    "age": (
        *_phrases("adjective", "young", "young", "youthful", weight=2.0),
        *_phrases("absent", "young", "wrinkles", weight=0.4),
        *_phrases("adjective", "old", "old", "elderly", "aged", weight=2.0),
        *_phrases("feature", "old", "wrinkles", "a wrinkled face"),
    ),
    "eye_colour": (
        *_coloured("eye_colour", "feature", "{} eyes"),
        *_phrases("adjective", "brown", "brown eyed", weight=0.2),
        *_phrases("adjective", "blue", "blue eyed", weight=0.2),
        *_phrases("adjective", "green", "green eyed", weight=0.2),
    ),
    "skin": (
        *_phrases("feature", "light", "light skin", "pale skin", "fair skin"),
        *_phrases("feature", "tan", "tan skin", "tanned skin"),
        *_phrases("feature", "dark", "dark skin"),
        *_phrases("adjective", "dark", "dark skinned", weight=0.3),
    ),
    "background": _coloured("background", "background", "a {} background", "{} background"),
    "clothes": _coloured("clothes", "clothes", "a {} shirt", "a {} sweater", "{} clothes"),
}

CANONICAL: dict[str, tuple[str, ...]] = {
    "hair_style": ("bald", "short hair", "long hair", "curly hair", "a mohawk"),
    "expression": ("a neutral expression", "smiling", "sad", "surprised"),
    "eyewear": ("no glasses", "glasses", "sunglasses"),
    "facial_hair": ("clean shaven", "a moustache", "a beard"),
    "hat": ("no hat", "a cap", "a beanie"),
    "earrings": ("no earrings", "earrings"),
    "lipstick": ("no lipstick", "lipstick"),
    "neckwear": ("a bare neck", "a scarf", "a bow tie"),
    "age": ("young", "old"),
}

# How readily people mention an attribute, and the values they rarely mention.
MENTION: dict[str, float] = {
    "hair_colour": 1.3,
    "hair_style": 1.1,
    "expression": 1.1,
    "age": 1.4,
    "skin": 0.6,
    "background": 0.6,
    "clothes": 0.6,
    "eye_colour": 0.8,
}
SELDOM: dict[tuple[str, str], float] = {
    ("expression", "neutral"): 0.35,
    ("eyewear", "none"): 0.25,
    ("facial_hair", "none"): 0.25,
    ("hat", "none"): 0.2,
    ("earrings", "none"): 0.15,
    ("lipstick", "none"): 0.15,
    ("neckwear", "none"): 0.15,
    ("age", "young"): 0.5,
}
SIZES: tuple[float, ...] = (0.28, 0.26, 0.20, 0.12, 0.08, 0.06)  # probability of 1..6 attributes
EMPTY = 0.04  # probability of a caption that states nothing
LONGEST = 28  # words and commas: what the text tower can read


def sample_caption(portrait: Portrait, rng: np.random.Generator) -> Caption:
    """A true caption of one to six visible attributes (or, rarely, of none), not too long."""
    while True:
        caption = _drawn_caption(portrait, rng)
        if len(caption.text.replace(",", " ,").split()) <= LONGEST:
            return caption


def _drawn_caption(portrait: Portrait, rng: np.random.Generator) -> Caption:
    true = [o for o in OPENINGS if all(portrait.value(name) == value for name, value in o.states)]
    opening = true[_pick_index(np.array([o.weight for o in true]), rng)]
    said = {name: frozenset({value}) for name, value in opening.states}
    if rng.random() < EMPTY:
        return Caption(_sentence(opening.text, [], rng), said)

    names = [a.name for a, seen in zip(ATTRIBUTES, visible(portrait), strict=True) if seen]
    weights = np.array(
        [MENTION.get(name, 1.0) * SELDOM.get((name, portrait.value(name)), 1.0) for name in names]
    )
    count = 1 + _pick_index(np.array(SIZES), rng)
    # The largest of u^(1/w) is a weighted choice without replacement.
    order = np.argsort(-(rng.random(len(names)) ** (1.0 / weights)))
    chosen = [names[index] for index in order[:count]]

    parts, states = _parts(portrait, chosen, "hair_colour" in names, rng)
    if rng.random() < 0.33:
        return Caption(_tags(parts, rng), states)
    for name, values in said.items():
        states[name] = states.get(name, values) & values
    return Caption(_sentence(opening.text, parts, rng), states)


def attribute_phrase(name: str, value: str) -> str:
    """The canonical phrase of a value, used by prompts: ("hair_colour", "red") -> "red hair"."""
    values = next(attribute.values for attribute in ATTRIBUTES if attribute.name == name)
    index = values.index(value)
    if name in CANONICAL:
        return CANONICAL[name][index]
    return next(phrase.text for phrase in PHRASES[name] if phrase.values == {value})


def _parts(
    portrait: Portrait, chosen: list[str], colour_seen: bool, rng: np.random.Generator
) -> tuple[list[tuple[str, str]], States]:
    """The (kind, text) parts that state the chosen attributes, and what they state."""
    parts: list[tuple[str, str]] = []
    states: States = {}
    left = list(chosen)
    colour, style = portrait.value("hair_colour"), portrait.value("hair_style")
    facial = portrait.value("facial_hair")
    word = COLOUR_WORDS[colour][int(rng.integers(len(COLOUR_WORDS[colour])))]
    combined: tuple[str, ...] = ()

    if "hair_colour" in left and "hair_style" in left and rng.random() < 0.85:
        text = f"a {word} mohawk" if style == "mohawk" else f"{style} {word} hair"
        combined, part = ("hair_colour", "hair_style"), ("feature", text)
    elif (
        "facial_hair" in left
        and facial != "none"
        and colour_seen
        and rng.random() < (0.5 if "hair_colour" in left else 0.15)
    ):
        combined, part = ("hair_colour", "facial_hair"), ("feature", f"a {word} {facial}")
    if combined:
        parts.append(part)
        states.update({name: frozenset({portrait.value(name)}) for name in combined})
        left = [name for name in left if name not in combined]

    for name in left:
        fitting = [phrase for phrase in PHRASES[name] if portrait.value(name) in phrase.values]
        phrase = fitting[_pick_index(np.array([p.weight for p in fitting]), rng)]
        parts.append((phrase.kind, phrase.text))
        states[name] = phrase.values
    return [parts[index] for index in rng.permutation(len(parts))], states


def _sentence(noun: str, parts: list[tuple[str, str]], rng: np.random.Generator) -> str:
    """ "an old person with red hair and glasses, wearing a cap": adjectives, noun, the rest."""
    parts = [
        ("clause", f"that is {text}")
        if kind == "adjective" and rng.random() < 0.1
        else (kind, text)
        for kind, text in parts
    ]
    adjectives = [text for kind, text in parts if kind == "adjective"]
    if adjectives and " of a " in noun:  # the adjectives belong to the person
        head, _, noun = noun.partition(" of a ")
        words = " ".join([*adjectives, noun])
        opening = f"{head} of {indefinite_article(words)} {words}"
    else:
        opening = " ".join([*adjectives, noun])
    article = _pick(ARTICLES, rng)
    if article == "a":
        article = indefinite_article(opening)
    text = f"{article} {opening}" if article else opening

    previous = ""
    for kind, phrase in parts:
        if kind == "adjective":
            continue
        join = _pick(JOINS[kind], rng)
        if kind == "absent" and join == "with no":
            phrase = _bare(phrase)
        if join and join == previous:
            text += f"{_pick(((' and', 0.75), (',', 0.25)), rng)} {phrase}"
        elif previous:
            glue = _pick(((" and", 0.3), (",", 0.4), ("", 0.3)), rng)
            text += f"{glue} {join} {phrase}" if join else f"{glue} {phrase}"
        else:
            text += f" {join} {phrase}" if join else f" {phrase}"
        previous = join or "clause"
    return text


def _tags(parts: list[tuple[str, str]], rng: np.random.Generator) -> str:
    """ "red hair, glasses": the bare phrases, as in a search box."""
    bare = rng.random() < 0.6
    words = []
    for kind, phrase in parts:
        if kind == "absent":
            phrase = f"no {_bare(phrase)}" if rng.random() < 0.7 else f"without {phrase}"
        elif kind == "worn" and rng.random() < 0.15:
            phrase = f"wearing {phrase}"
        elif bare:
            phrase = _bare(phrase)
        words.append(phrase)
    if len(words) == 1:
        return words[0]
    # "without glasses and curly hair" would deny both, so a denial takes commas only.
    denial = any(kind == "absent" for kind, _ in parts)
    glue = ", " if denial else _pick(((" and ", 0.4), (", ", 0.6)), rng)
    return ", ".join(words[:-1]) + glue + words[-1]


def indefinite_article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _bare(phrase: str) -> str:
    return phrase.removeprefix("a ").removeprefix("an ")


def _pick_index(weights: np.ndarray, rng: np.random.Generator) -> int:
    cumulative = np.cumsum(weights)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _pick(choices: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    return choices[_pick_index(np.array([weight for _, weight in choices]), rng)][0]


def _vocabulary() -> tuple[str, ...]:
    texts = [phrase.text for phrases in PHRASES.values() for phrase in phrases]
    texts += [text for phrases in CANONICAL.values() for text in phrases]
    texts += [word for words in COLOUR_WORDS.values() for word in words]
    texts += [join for joins in JOINS.values() for join, _ in joins]
    texts += [opening.text for opening in OPENINGS]
    texts += [article for article, _ in ARTICLES]
    texts += ["a an and no of wearing without that is"]
    return tuple(sorted({word for text in texts for word in text.split()}))


VOCABULARY: tuple[str, ...] = _vocabulary()
