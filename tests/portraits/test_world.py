"""The portraits world: sampling, truth of captions, and what a change of attribute draws."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from styleclip.portraits.attributes import (
    ATTRIBUTES,
    BASE,
    CORRELATIONS,
    IDENTITY,
    NUISANCE,
    Portrait,
    sample_portrait,
    visible,
)
from styleclip.portraits.captions import (
    PHRASES,
    VOCABULARY,
    attribute_phrase,
    sample_caption,
)

NAMES = [attribute.name for attribute in ATTRIBUTES]
PLAIN = Portrait(values=(1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1))
PAIRS = [
    (attribute.name, first, second)
    for attribute in ATTRIBUTES
    for first, second in zip(attribute.values, attribute.values[1:], strict=False)
]


def portraits(count: int, seed: int = 0) -> list[Portrait]:
    rng = np.random.default_rng(seed)
    return [sample_portrait(rng) for _ in range(count)]


def changed_pixels(first: Portrait, second: Portrait) -> int:
    """How many of the 64 x 64 pixels move by more than 24 of 255 levels in some channel."""
    from styleclip.portraits.renderer import render

    difference = np.abs(render(first, 64).astype(int) - render(second, 64).astype(int))
    return int((difference.max(axis=2) > 24).sum())


def test_sampling_is_a_function_of_the_seed() -> None:
    assert portraits(20, seed=5) == portraits(20, seed=5)
    assert portraits(20, seed=5) != portraits(20, seed=6)


def test_no_value_is_rare_and_traits_are_in_range() -> None:
    drawn = portraits(6000)
    for index, attribute in enumerate(ATTRIBUTES):
        counts = Counter(portrait.values[index] for portrait in drawn)
        for value in range(len(attribute.values)):
            assert counts[value] / len(drawn) >= 0.03, (attribute, value)
    traits = np.array([portrait.identity + portrait.nuisance for portrait in drawn])
    assert traits.shape[1] == len(IDENTITY) + len(NUISANCE)
    assert np.abs(traits).max() <= 1.0
    assert np.all(traits.std(axis=0) > 0.4)


def test_tables_name_known_values_and_conditions_are_drawn_first() -> None:
    assert sorted(BASE) == sorted(NAMES)
    order = list(BASE)
    for rule in CORRELATIONS:
        assert order.index(rule.given[0]) < order.index(rule.attribute)
        PLAIN.replaced(**{rule.given[0]: rule.given[1], rule.attribute: rule.value})


def test_correlations_show() -> None:
    drawn = portraits(6000)

    def share(name: str, value: str, given: str, is_: str) -> float:
        kept = [portrait for portrait in drawn if portrait.value(given) == is_]
        return sum(portrait.value(name) == value for portrait in kept) / len(kept)

    old, young = (share("hair_colour", "grey", "age", age) for age in ("old", "young"))
    assert old > 3 * young > 0
    bearded, bare = (share("lipstick", "lipstick", "facial_hair", f) for f in ("beard", "none"))
    assert 0 < bearded < 0.5 * bare
    assert share("hat", "none", "hair_style", "mohawk") == 1.0


def test_replaced_changes_one_value_and_teaches() -> None:
    red = PLAIN.replaced(hair_colour="red", hat="cap")
    assert (red.value("hair_colour"), red.value("hat")) == ("red", "cap")
    assert red.replaced(hair_colour="brown", hat="none") == PLAIN
    with pytest.raises(ValueError, match=r"purple.*choose one of"):
        PLAIN.replaced(hair_colour="purple")
    with pytest.raises(KeyError):
        PLAIN.replaced(shoes="red")


def test_visible_follows_what_hides() -> None:
    assert all(visible(PLAIN))
    hidden = PLAIN.replaced(hair_style="bald", eyewear="sunglasses")
    assert [name for name, seen in zip(NAMES, visible(hidden), strict=True) if not seen] == [
        "hair_colour",
        "eye_colour",
    ]


def test_captions_are_true_visible_and_in_the_vocabulary() -> None:
    rng = np.random.default_rng(1)
    words: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    for portrait in portraits(6000, seed=1):
        caption = sample_caption(portrait, rng)
        assert caption.holds(portrait), (caption, portrait)
        seen = {name for name, shown in zip(NAMES, visible(portrait), strict=True) if shown}
        assert set(caption.states) <= seen
        assert caption.text == caption.text.lower().strip()
        assert "  " not in caption.text and " ," not in caption.text
        words.update(caption.text.replace(",", "").split())
        sizes[len(caption.states)] += 1
    assert set(words) == set(VOCABULARY)
    assert not {"ginger", "woman", "man"} & set(VOCABULARY)
    assert max(sizes) <= 6 and 0.02 < sizes[0] / 6000 < 0.06
    assert sizes[1] + sizes[2] + sizes[3] > 0.75 * 6000


def test_captions_are_a_function_of_the_seed() -> None:
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    assert [sample_caption(PLAIN, first) for _ in range(30)] == [
        sample_caption(PLAIN, second) for _ in range(30)
    ]


def test_every_value_has_a_phrase_of_its_own() -> None:
    canonical = set()
    for attribute in ATTRIBUTES:
        for value in attribute.values:
            assert any(phrase.values == {value} for phrase in PHRASES[attribute.name])
            canonical.add(attribute_phrase(attribute.name, value))
        assert all(phrase.values < set(attribute.values) for phrase in PHRASES[attribute.name])
    assert len(canonical) == sum(len(attribute.values) for attribute in ATTRIBUTES)
    assert attribute_phrase("hair_colour", "red") == "red hair"
    assert attribute_phrase("eyewear", "none") == "no glasses"


@pytest.mark.parametrize("size", [64, 128])
def test_render_is_uint8_and_deterministic(size: int) -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import render

    for portrait in portraits(4, seed=size):
        image = render(portrait, size)
        assert image.shape == (size, size, 3) and image.dtype == np.uint8
        assert image.std() > 20
        np.testing.assert_array_equal(image, render(portrait, size))


# The least number of 64 x 64 pixels that a change of value must visibly move.
LEAST = {"eye_colour": 20, "earrings": 25, "lipstick": 25, "age": 20, "facial_hair": 25}


@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
def test_every_change_of_value_shows(name: str, first: str, second: str) -> None:
    pytest.importorskip("skia")
    # Over faces of all kinds, with the attribute kept visible.
    for portrait in portraits(12, seed=2):
        if name == "hair_colour":
            portrait = portrait.replaced(hair_style="short")
        if name == "eye_colour":
            portrait = portrait.replaced(eyewear="none")
        pair = (portrait.replaced(**{name: value}) for value in (first, second))
        assert changed_pixels(*pair) >= LEAST.get(name, 40)


def test_hidden_values_leave_the_pixels_alone() -> None:
    pytest.importorskip("skia")
    bald = PLAIN.replaced(hair_style="bald", facial_hair="beard")
    assert changed_pixels(bald, bald.replaced(hair_colour="pink")) == 0
    shaded = PLAIN.replaced(eyewear="sunglasses")
    assert changed_pixels(shaded, shaded.replaced(eye_colour="green")) == 0


@pytest.mark.parametrize("trait", range(len(IDENTITY)))
def test_identity_moves_pixels_moderately(trait: int) -> None:
    pytest.importorskip("skia")
    low, high = (
        Portrait(
            PLAIN.values,
            tuple(end if index == trait else 0.0 for index in range(len(IDENTITY))),
        )
        for end in (-1.0, 1.0)
    )
    assert 10 <= changed_pixels(low, high) <= 600
