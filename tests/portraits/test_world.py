"""The portraits world: sampling, truth of captions, what a change draws, and the prompt files."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import styleclip
from styleclip.evaluation.prompts import read_prompt_file, read_prompt_list
from styleclip.portraits.attributes import (
    ATTRIBUTES,
    BASE,
    CORRELATIONS,
    IDENTITY,
    NUISANCE,
    Portrait,
    attribute_values,
    sample_portrait,
    visible,
)
from styleclip.portraits.captions import (
    LONGEST,
    PHRASES,
    VOCABULARY,
    Caption,
    attribute_phrase,
    sample_caption,
)

NAMES = [attribute.name for attribute in ATTRIBUTES]
PLAIN = Portrait(values=(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1))
PAIRS = [
    (attribute.name, first, second)
    for attribute in ATTRIBUTES
    for first, second in zip(attribute.values, attribute.values[1:], strict=False)
]
PROMPTS = Path(styleclip.__file__).parent / "portraits" / "prompts"


def portraits(count: int, seed: int = 0) -> list[Portrait]:
    rng = np.random.default_rng(seed)
    return [sample_portrait(rng) for _ in range(count)]


def showing(**values: str) -> Portrait:
    """A middling portrait with these values."""
    return PLAIN.replaced(**values)


@pytest.fixture(scope="module")
def told() -> list[tuple[Portrait, Caption]]:
    """Many portraits, each with a caption."""
    rng = np.random.default_rng(1)
    return [(portrait, sample_caption(portrait, rng)) for portrait in portraits(20_000, seed=1)]


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
    # weights .70, .15 x .3, .15 x .3
    assert share("hat", "none", "hair_style", "mohawk") == pytest.approx(0.70 / 0.79, abs=0.04)
    warm, bare = (share("neckwear", "scarf", "hat", hat) for hat in ("beanie", "none"))
    assert warm > 1.5 * bare > 0


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


def test_captions_are_true_visible_and_in_the_vocabulary(
    told: list[tuple[Portrait, Caption]],
) -> None:
    words: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    for portrait, caption in told:
        assert caption.holds(portrait), (caption, portrait)
        seen = {name for name, shown in zip(NAMES, visible(portrait), strict=True) if shown}
        assert set(caption.states) <= seen
        assert caption.text == caption.text.lower().strip()
        assert "  " not in caption.text and " ," not in caption.text
        words.update(caption.text.replace(",", "").split())
        sizes[len(caption.states)] += 1
    assert set(words) == set(VOCABULARY)
    assert not {"ginger", "hipster"} & set(VOCABULARY)
    # six attributes, and what the noun says
    assert max(sizes) == 7 and 0.02 < sizes[0] / len(told) < 0.06
    assert sizes[1] + sizes[2] + sizes[3] > 0.65 * len(told)


@pytest.mark.parametrize(
    ("nouns", "name", "never"),
    [({"woman", "lady"}, "facial_hair", "beard"), ({"man", "guy"}, "lipstick", "lipstick")],
)
def test_a_noun_states_what_it_excludes(
    told: list[tuple[Portrait, Caption]], nouns: set[str], name: str, never: str
) -> None:
    said = [(p, c) for p, c in told if nouns & set(c.text.split())]
    assert len(said) > 0.05 * len(told)
    for portrait, caption in said:
        assert caption.states[name] == {"none"}
        assert not caption.holds(portrait.replaced(**{name: never}))


def test_the_longest_caption_is_as_long_as_may_be(told: list[tuple[Portrait, Caption]]) -> None:
    lengths = [len(caption.text.replace(",", " ,").split()) for _, caption in told]
    assert max(lengths) == LONGEST


def test_articles_fit_their_words(told: list[tuple[Portrait, Caption]]) -> None:
    counted = 0
    for _, caption in told:
        words = caption.text.replace(",", "").split()
        for article, word in pairwise(words):
            if article in ("a", "an"):
                assert article == ("an" if word[0] in "aeiou" else "a"), caption.text
                counted += article == "an"
    assert counted > 100


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


@pytest.mark.parametrize(("first", "second"), list(combinations(attribute_values("neckwear"), 2)))
def test_neckwear_can_be_told_apart_on_all_clothes(first: str, second: str) -> None:
    pytest.importorskip("skia")
    for clothes in attribute_values("clothes"):
        for covered in ({}, {"hair_style": "long"}, {"facial_hair": "beard"}):
            portrait = showing(clothes=clothes, **covered)
            pair = (portrait.replaced(neckwear=value) for value in (first, second))
            assert changed_pixels(*pair) >= 30, (clothes, covered)


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


# --- masks --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("hair_colour", "red"), ("hat", "beanie"), ("eyewear", "sunglasses"), ("background", "green"),
     ("age", "old"), ("neckwear", "scarf"), ("lipstick", "lipstick")],
)  # fmt: skip
def test_a_mask_is_where_two_drawings_differ(name: str, value: str) -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import mask, render

    for portrait in [PLAIN, *portraits(3, seed=6)]:
        portrait = portrait.replaced(hair_style="long")
        drawn, other = (
            render(each, 64).astype(int) for each in (portrait, portrait.replaced(**{name: value}))
        )
        inside = mask(portrait, name, value, 64)
        assert inside.shape == (64, 64) and inside.dtype == bool
        assert inside.any() == (portrait.value(name) != value)
        # two levels of 255 are the rounding of the shades
        assert np.abs(drawn - other)[~inside].max(initial=0) <= 2
        assert np.abs(drawn - other).max(axis=2)[inside].min(initial=255) > 2


def test_a_mask_without_a_value_covers_every_value() -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import mask

    for name in ("hat", "expression"):
        values = [mask(PLAIN, name, value, 64) for value in attribute_values(name)]
        np.testing.assert_array_equal(mask(PLAIN, name, size=64), np.logical_or.reduce(values))


def test_masks_lie_where_their_attribute_is_drawn() -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import mask

    assert not mask(PLAIN, "clothes", size=64)[:32].any()
    assert not mask(PLAIN, "eye_colour", size=64)[40:].any()
    assert not mask(PLAIN, "lipstick", size=64)[:32].any()
    behind = mask(PLAIN, "background", size=64)
    assert behind[2, 2] and behind[2, 61] and not behind[36, 32]


def test_the_mask_of_what_is_hidden_is_empty() -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import mask

    assert not mask(showing(hair_style="bald", facial_hair="beard"), "hair_colour", size=64).any()
    assert not mask(showing(eyewear="sunglasses"), "eye_colour", size=64).any()


def test_a_mask_of_unknown_names_teaches() -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import mask

    with pytest.raises(KeyError, match="shoes"):
        mask(PLAIN, "shoes")
    with pytest.raises(ValueError, match=r"purple.*choose one of"):
        mask(PLAIN, "hair_colour", "purple")


# --- the world as an evaluation sees it ----------------------------------------


def test_the_truth_can_be_drawn_again() -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import mask, render
    from styleclip.portraits.world import PortraitsWorld

    people = portraits(3, seed=4)
    world = PortraitsWorld(people, 32)
    targets = {"hat": "cap", "lipstick": "lipstick"}
    redrawn = world.redrawn(1, targets)
    pixels = ((redrawn + 1) * 127.5).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels, render(people[1].replaced(**targets), 32))
    region = world.region(1, targets)
    expected = mask(people[1], "hat", size=32) | mask(people[1], "lipstick", size=32)
    assert region.dtype == torch.bool and np.array_equal(region.numpy(), expected)
    assert len(world.correlations) == len(CORRELATIONS)
    assert (("age", "old"), ("hair_colour", "grey"), 11.0) in world.correlations


@pytest.mark.parametrize("targets", [{"hat": "beanie", "age": "old"}, {"hair_colour": "red"}])
def test_examples_show_what_is_asked(
    targets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from styleclip.portraits import world as world_module

    drawn: list[Portrait] = []

    def render(portrait: Portrait, size: int) -> np.ndarray:
        drawn.append(portrait)
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(world_module, "render", render)
    world = world_module.PortraitsWorld([], 8)
    assert world.examples(targets, 30, seed=1).shape == (30, 3, 8, 8)
    world.examples(targets, 30, seed=2)
    assert len(set(drawn)) == 60  # other seeds, other people
    for portrait in drawn:
        seen = dict(zip(NAMES, visible(portrait), strict=True))
        assert all(portrait.value(name) == value for name, value in targets.items())
        assert all(seen[name] for name in targets)


# --- the committed prompts ------------------------------------------------------


def rows_of(name: str) -> list[dict[str, Any]]:
    return json.loads((PROMPTS / f"{name}.json").read_text(encoding="utf-8"))["prompts"]


def words_of(text: str) -> set[str]:
    return set(text.replace(",", " ").split())


FILES = [("plain", 1), ("novel", 1), ("double", 2), ("untrained", 1), ("single", 1), ("one", 1)]


@pytest.mark.parametrize(("name", "targets"), FILES)
def test_prompts_ask_in_known_words_for_what_can_be_drawn(name: str, targets: int) -> None:
    file = read_prompt_file(PROMPTS / f"{name}.json")
    texts = [each.prompt.target for each in file.prompts]
    assert len(set(texts)) == len(texts)
    for each in file.prompts:
        assert words_of(each.prompt.target) | words_of(each.prompt.neutral) <= set(VOCABULARY)
        assert len(each.targets) == targets
        # the values exist, and can be seen together
        wanted = PLAIN.replaced(**each.targets)
        seen = dict(zip(NAMES, visible(wanted), strict=True))
        assert all(seen[asked] for asked in each.targets), each


def test_plain_prompts_are_twenty_over_ten_attributes() -> None:
    asked = Counter(name for row in rows_of("plain") for name in row["targets"])
    assert sum(asked.values()) == 20 and len(asked) >= 10
    assert asked["background"] + asked["clothes"] <= 2


def test_novel_prompts_are_worded_as_no_caption_is(told: list[tuple[Portrait, Caption]]) -> None:
    rows = rows_of("novel")
    assert len(rows) == 20
    captions = "\n".join(caption.text for _, caption in told)
    for row in rows:
        assert row["new"] in row["text"]
        assert row["new"] not in captions, row
    assert not {row["text"] for row in rows} & {row["text"] for row in rows_of("plain")}


def test_double_prompts_are_ten() -> None:
    assert len(rows_of("double")) == 10


def test_the_text_mapper_was_told_nothing_of_what_it_is_asked_unseen() -> None:
    trained = read_prompt_list(PROMPTS / "training.txt")
    assert len(set(trained)) == len(trained) > 300
    untrained = {pair for row in rows_of("untrained") for pair in row["targets"].items()}
    assert len(untrained) >= 5
    wordings = {
        phrase.text
        for name, phrases in PHRASES.items()
        for phrase in phrases
        if any((name, value) in untrained for value in phrase.values) and len(phrase.values) == 1
    }
    assert {"green hair", "a bow tie", "dark skin"} <= wordings
    for text in trained:
        assert words_of(text) <= set(VOCABULARY), text
        said = re.sub(r"^an? ", "", text)
        assert not any(f" {each} " in f" {said} " for each in wordings), text
        assert not any(row["new"] in text for row in rows_of("novel")), text


def test_what_is_trained_for_each_prompt_is_judged_on_plain_prompts() -> None:
    plain = rows_of("plain")
    assert rows_of("single") == plain[::5]
    assert rows_of("one") == [plain[5]]


def test_unknown_prompts_name_the_words_that_no_caption_has() -> None:
    rows = rows_of("unknown")
    assert rows
    for row in rows:
        assert row["unknown"] == [w for w in row["text"].split() if w not in VOCABULARY] != []
