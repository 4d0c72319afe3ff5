"""Sentences to pairs of texts."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from styleclip.errors import ArgumentError, PromptError, StyleclipError
from styleclip.prompts import IMAGENET_TEMPLATES, PromptPair, parse_prompt, template_sentences

texts = st.text(min_size=1).map(str.strip).filter(lambda text: text and "->" not in text)


def test_an_arrow_parts_neutral_from_target() -> None:
    pair = parse_prompt("a face  ->  a face with red hair ", default_neutral="a dog")
    assert pair == PromptPair(target="a face with red hair", neutral="a face")


def test_a_target_alone_takes_the_neutral_text_of_the_model() -> None:
    pair = parse_prompt(" a smiling face\n", default_neutral="a face")
    assert pair == PromptPair(target="a smiling face", neutral="a face")


@given(texts, texts, texts)
@settings(deadline=None)
def test_a_printed_pair_reads_back(target: str, neutral: str, default: str) -> None:
    assume(target.casefold().split() != neutral.casefold().split())
    pair = PromptPair(target=target, neutral=neutral)
    assert parse_prompt(str(pair), default) == pair


@given(texts, texts)
@settings(deadline=None)
def test_a_single_text_is_the_target_unchanged(target: str, default: str) -> None:
    assume(target.casefold().split() != default.casefold().split())
    assert parse_prompt(target, default) == PromptPair(target=target, neutral=default)


@pytest.mark.parametrize("text", ["", "  ", "->", "-> a face", "a face ->", " -> \t"])
def test_an_empty_side_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PromptError, match=r"empty.*for example 'a face with red hair'"):
        parse_prompt(text, default_neutral="a face")


@pytest.mark.parametrize("text", ["a face", "a face -> A  Face", "x -> x"])
def test_a_target_that_changes_nothing_is_refused(text: str) -> None:
    with pytest.raises(PromptError, match="is the neutral text itself"):
        parse_prompt(text, default_neutral="a face")


def test_two_arrows_are_refused() -> None:
    with pytest.raises(PromptError, match=r"one arrow at most.*'a -> b -> c'"):
        parse_prompt("a -> b -> c", default_neutral="a face")


def test_prompt_errors_are_of_the_tree_and_value_errors() -> None:
    assert issubclass(PromptError, StyleclipError) and issubclass(PromptError, ValueError)


def test_the_official_sentences() -> None:
    assert len(IMAGENET_TEMPLATES) == len(set(IMAGENET_TEMPLATES)) == 79
    assert template_sentences("imagenet") == IMAGENET_TEMPLATES
    wanted = {
        "a bad photo of a {}.", "a photo of the hard to see {}.", "itap of my {}.", "the toy {}.",
        "a rendering of the {}.", "graffiti of a {}.", "a {} in a video game.",
        "a photo of one {}.", "a black and white photo of the {}.", "a embroidered {}.",
        "a jpeg corrupted photo of a {}.",
    }  # fmt: skip
    assert wanted <= set(IMAGENET_TEMPLATES)
    assert "a photo of many {}." not in IMAGENET_TEMPLATES


@pytest.mark.parametrize("wrong", ["photos", ["a photo"], ["{} and {}"], [3]])
def test_templates_have_one_place_for_the_text(wrong: list[str]) -> None:
    with pytest.raises(ArgumentError, match=r"exactly one \{\}"):
        template_sentences(wrong)
