"""What a call over HTTP asks for, and what it answers, without a server."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from styleclip.apps.web.api import Api
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.wishes import names, wishes
from styleclip.errors import ArgumentError
from styleclip.images import RECIPE_KEY


def recipe_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What the picture of an answer carries."""
    content = base64.b64decode(answer["image"].partition(",")[2])
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        recipe: dict[str, Any] = json.loads(picture.text[RECIPE_KEY])  # type: ignore[attr-defined]
    return recipe


def test_the_names_that_stay_are_not_without_end() -> None:
    assert names(["glasses"] * 1000) == ("glasses",)
    assert names("glasses, age,glasses,") == ("glasses", "age")
    assert names(["glasses, round", " age "]) == ("glasses, round", "age")  # as Studio.edit has it
    with pytest.raises(ArgumentError, match="at most 30 names can stay, got 1000"):
        names([f"glasses {i}" for i in range(1000)])


def test_what_a_picture_says_must_stay_stays(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny CLIP tells no sentence from what must stay: its directions leave alone nothing."""
    calls, found = Api(engine), engine.direction
    monkeypatch.setattr(engine, "direction", lambda row, _: found(row, ()))
    first = calls.edit("a face with a beard", seed=3, strength=2, preserve="hat")
    assert recipe_of(first)["preserve"] == ["hat"]
    again = calls.edit("a smiling face", image=first["image"], strength=1, preserve="age, hat")
    assert recipe_of(again)["preserve"] == ["hat", "age"]
    last = calls.edit("a smiling face", image=first["image"], strength=1)
    assert recipe_of(last)["preserve"] == ["hat"]


@pytest.mark.parametrize(
    "given",
    [{"strength": 8}, {"threshold": 0.0}, {"preserve": "age"}, {"method": "mapper"}],
    ids=str,
)
def test_what_belongs_to_a_prompt_is_not_ignored_without_one(given: dict[str, Any]) -> None:
    assert wishes("", None, "direction", None, " ,").rows == ()
    with pytest.raises(ArgumentError, match=f"{next(iter(given))} belongs to a prompt: give one"):
        wishes("", **given)


def test_no_call_takes_a_threshold_that_a_link_may_not_have() -> None:
    assert wishes("red hair", threshold=0.99).rows[0].threshold == 0.99
    for threshold in (0.995, 1):
        with pytest.raises(ArgumentError, match=r"threshold must be .* between 0 and 0\.99"):
            wishes("red hair", threshold=threshold)


def test_every_answer_has_notes(engine: Engine) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 32)).save(content, "PNG")
    answer = Api(engine).latent(image=base64.b64encode(content.getvalue()).decode())
    assert answer["notes"] and Api(engine).latent(3)["notes"] == []
