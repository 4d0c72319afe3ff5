"""Somebody in front of the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.page import KNOWN, after

PATIENCE = 120_000  # milliseconds: on a busy machine everything comes, late


def profile(browser: Any, **options: Any) -> Any:
    """Of a browser, for pages of one person."""
    return browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})


class Visitor:
    """Somebody with the page open, and what went wrong or out in their browser."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._request)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = address

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.outside.append(request.url)

    def open(self, query: str = "") -> Visitor:
        """Wait for the picture, and for its first sentence."""
        self.page.goto(self.address + "/" + query)
        self.page.wait_for_selector(".sc-ready", timeout=PATIENCE)
        if not query:
            self.page.wait_for_function(KNOWN, timeout=PATIENCE)
        return self

    def after(self, act: Any, note: str | None = None) -> None:
        """Do something and wait for the picture that comes of it."""
        after(self.page, act)
        if note is not None:
            self.page.wait_for_function(
                "words => document.querySelector('.sc-note').textContent.includes(words)", arg=note
            )

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def value(self, selector: str) -> str:
        return str(self.page.input_value(f"{selector} input, {selector} textarea"))

    def say(self, sentence: str, row: int = 1) -> None:
        """Type a sentence and press Enter."""
        self.page.fill(f"#target-{row} input, #target-{row} textarea", sentence)
        self.page.keyboard.press("Enter")

    def drop(self, path: Path) -> None:
        self.page.set_input_files("#drop input[type=file]", str(path))


def shown(visitor: Any, which: str = "after") -> np.ndarray[Any, Any]:
    """The picture that the browser has, [H,W,3] in 0..255."""
    source = visitor.page.get_attribute(f".sc-{which}", "src")
    content = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.float32)


def steps(visitor: Visitor, count: int) -> None:
    """Wait until the history has so many."""
    visitor.page.wait_for_function(
        "count => document.querySelectorAll('#history .sc-thumbs button').length == count",
        arg=count,
    )
