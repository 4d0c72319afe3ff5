"""Files of prompts, and which picture gets which prompt."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from styleclip.errors import ArgumentError
from styleclip.evaluation.prompts import JudgedPrompt, assign_pictures, read_prompt_file
from styleclip.prompts import PromptPair

RED = {"text": "red hair", "targets": {"hair": "red"}}


def test_a_file_of_prompts(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    both = {"text": "a pirate", "neutral": "a person", "targets": {"hat": "cap", "eyes": "one"}}
    path.write_text(json.dumps({"about": "x", "neutral": "a dog", "prompts": [RED, both]}))
    file = read_prompt_file(path)
    assert file.name == "mine"
    assert file.prompts == (
        JudgedPrompt(PromptPair(target="red hair", neutral="a dog"), {"hair": "red"}),
        JudgedPrompt(
            PromptPair(target="a pirate", neutral="a person"), {"hat": "cap", "eyes": "one"}
        ),
    )


def test_the_neutral_text_is_a_face_if_absent(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"prompts": [RED]}))
    assert read_prompt_file(str(path)).prompts[0].prompt.neutral == "a face"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", r"is not a file of prompts \(JSONDecodeError.*should read"),
        ("{", "is not a file of prompts"),
        ("\u00ff", "is not a file of prompts"),
        ("[]", r"TypeError.*should read"),
        ("{}", r"KeyError: 'prompts'.*should read"),
        ('{"prompts": null}', "TypeError"),
        ('{"prompts": {"text": "a", "targets": {"hair": "red"}}}', "TypeError"),
        ('{"prompts": ["red hair"]}', "TypeError"),
        ('{"prompts": [{"targets": {"hair": "red"}}]}', "KeyError: 'text'"),
        ('{"prompts": [{"text": "red hair"}]}', "KeyError: 'targets'"),
        ('{"prompts": [{"text": "red hair", "targets": ["hair"]}]}', "AttributeError"),
        ('{"prompts": []}', "at least one prompt"),
        ('{"prompts": [{"text": "red hair", "targets": {}}]}', "at least one target"),
    ],
)
def test_a_bad_file_is_explained(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ArgumentError, match=rf"bad\.json.*{sentence}"):
        read_prompt_file(path)


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ArgumentError, match=r"cannot be read: .*check the path"):
            read_prompt_file(path)


@pytest.mark.parametrize(("pictures", "prompts"), [(20, 2), (21, 3), (40, 20), (35, 7), (3, 20)])
def test_every_picture_gets_two_different_prompts(pictures: int, prompts: int) -> None:
    plan = assign_pictures(pictures, prompts, seed=3)
    assert len(plan) == prompts
    for index in plan:
        assert len(set(index)) == len(index)  # two prompts are different ones
    counts = Counter(picture for index in plan for picture in index)
    assert counts == dict.fromkeys(range(pictures), 2)


@pytest.mark.parametrize(("pictures", "prompts"), [(20, 2), (40, 20), (200, 20), (200, 10)])
def test_every_prompt_gets_as_many_pictures(pictures: int, prompts: int) -> None:
    plan = assign_pictures(pictures, prompts, seed=3)
    assert {len(index) for index in plan} == {2 * pictures // prompts}


def test_prompts_differ_by_two_at_most_if_they_do_not_divide() -> None:
    sizes = [len(index) for index in assign_pictures(50, 20, seed=0)]
    assert max(sizes) - min(sizes) <= 2


def test_one_prompt_alone_gets_every_picture_once() -> None:
    assert sorted(assign_pictures(7, 1, seed=0)[0]) == list(range(7))


def test_the_plan_is_a_function_of_the_seed() -> None:
    assert assign_pictures(40, 20, seed=1) == assign_pictures(40, 20, seed=1)
    assert assign_pictures(40, 20, seed=1) != assign_pictures(40, 20, seed=2)
