"""What is said on the page, in whose words."""

from __future__ import annotations

import pytest

from styleclip.apps.web.telling import brief, plain


@pytest.mark.parametrize(
    "text",
    ["the model 'portraits' never learned the words 'img', 'src', 'x', 'onerror' and ignores them",
     "the model 'portraits' knows nothing about '\N{GRINNING FACE}': it never learned 'hat' so",
     "what he's got isn't long, but it's longer than forty-eight letters, and it isn't quoted"],
)  # fmt: skip
def test_what_stands_between_two_quotations_stays(text: str) -> None:
    assert brief(text) == text


def test_a_long_quotation_is_cut() -> None:
    assert brief(f"the text {'red hair ' * 9!r} and 'hat'") == (
        "the text 'red hair red hair red hair red hair red …' and 'hat'"
    )
    words = "don't " * 20
    assert brief(f'shorten it: "{words}"') == f'shorten it: "{words[:40]}…"'


def test_the_name_of_a_file_keeps_its_letters() -> None:
    assert plain(ValueError("me.png is not a picture")) == "me.png is not a picture."
    assert plain(ValueError("the picture is too large")) == "The picture is too large."
