"""What went wrong, said on the page and over HTTP in its one sentence."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from styleclip.apps.web.jobs import StoppedError
from styleclip.errors import StyleclipError


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


def plain(error: Exception) -> str:
    """Text, for where the page shows text."""
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
