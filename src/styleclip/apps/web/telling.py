"""What went wrong, said on the page and over HTTP in its one sentence."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from styleclip.apps.web.jobs import StoppedError
from styleclip.errors import StyleclipError

# What is quoted, and too long to read: not what stands between two quotations or apostrophes.
QUOTED = re.compile(
    r"""(?<![^\s(])(?P<mark>['"])(?P<words>(?:(?!(?P=mark)(?!\w)).){48,})(?P=mark)(?!\w)""",
    re.DOTALL,
)
SHORT = 40  # letters that are left of it


@contextmanager
def told() -> Iterator[None]:
    """Turn errors that are meant for people into messages; others are bugs, and stay."""
    try:
        yield
    except StoppedError:
        raise
    except StyleclipError as error:
        raise gr.Error(sentence(error), title="", print_exception=False, duration=12) from error


def sentence(error: Exception) -> str:
    """HTML for a message: a prompt in it must not become part of the page."""
    return html.escape(plain(error), quote=False)


def brief(text: str) -> str:
    """With long quotations cut: whoever typed them knows them."""
    return QUOTED.sub(lambda it: f"{it['mark']}{it['words'][:SHORT]}…{it['mark']}", text)


def plain(error: Exception) -> str:
    """Text, for where the page shows text."""
    text = capital(brief(str(error)))
    return text + ("" if text.endswith(".") else ".")


def capital(text: str) -> str:
    """With a large first letter, unless it begins with a name, such as that of a file."""
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text
