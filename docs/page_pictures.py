"""Draws the pictures of the page into docs/images: `styleclip serve` in chromium, as it is.

  python docs/page_pictures.py
Half a minute on two cores. A wide window with two sentences, and a telephone.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # for benchmarks

from benchmarks.page import KNOWN, after, chromium, serving  # noqa: E402

WIDE = {"viewport": {"width": 1440, "height": 900}}
NARROW = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "is_mobile": True,
          "has_touch": True}  # fmt: skip


def opened(browser: Any, address: str, query: str, options: dict[str, Any]) -> Any:
    """The page at a link, with everything that it says drawn."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/{query}")
    page.wait_for_function(KNOWN)
    page.wait_for_timeout(2000)
    return page


def say(page: Any, row: int, words: str) -> None:
    """Type a sentence and see what comes of it."""
    page.fill(f"#target-{row} input, #target-{row} textarea", words)
    after(page, lambda: page.keyboard.press("Enter"))


def save(page: Any, name: str) -> None:
    """The window as a PNG, its shades in steps of 3 of 255: nobody sees it, and it is a third less.

    255 is a step, so white stays white.
    """
    shades = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), dtype=np.float32)
    steps = ((shades / 3).round() * 3).astype(np.uint8)
    Image.fromarray(steps).save(HERE / "images" / name, optimize=True)


def wide(browser: Any, address: str) -> None:
    """Somebody tried a few things and stays with two."""
    page = opened(browser, address, "?seed=15&truncation=0.7&to=a+face+with+a+beard", WIDE)
    for words in ("a face with a beanie", "an old face", "a face with red hair"):
        say(page, 1, words)
    after(page, lambda: page.click("#add"))
    say(page, 2, "a face with glasses")
    page.locator("#head h1").click()
    page.wait_for_timeout(1000)
    save(page, "page.png")


def narrow(browser: Any, address: str) -> None:
    """The same on a telephone, its first screen."""
    query = "?seed=21&truncation=0.7&to=a+face+with+sunglasses"
    save(opened(browser, address, query, NARROW), "page-narrow.png")


if __name__ == "__main__":
    with serving() as (address, _), chromium() as browser:
        wide(browser, address)
        narrow(browser, address)
