"""Draws the pictures of the page into docs/images: `styleclip serve` in chromium, as it is.

  python docs/page_pictures.py
Half a minute on two cores. A wide window with two sentences, and a telephone.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # for benchmarks

from benchmarks.page import KNOWN, chromium, serving  # noqa: E402

WIDE = {"viewport": {"width": 1440, "height": 900}, "device_scale_factor": 1.25}
NARROW = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True,
          "has_touch": True}  # fmt: skip
COLOURS = 255  # of the files: below 400 kB each


def opened(browser: Any, address: str, query: str, options: dict[str, Any]) -> Any:
    """The page at a link, with everything that it says drawn."""
    page = browser.new_context(**options).new_page()
    page.goto(f"{address}/{query}")
    page.wait_for_selector(".sc-ready", timeout=60_000)
    page.wait_for_function(KNOWN, timeout=120_000)
    page.wait_for_timeout(3000)
    return page


def save(page: Any, name: str) -> None:
    """The window as a small PNG."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    few = picture.quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    few.save(HERE / "images" / name, optimize=True)


def wide(browser: Any, address: str) -> None:
    """Somebody tried a few things and stays with two."""
    page = opened(browser, address, "?seed=15&truncation=0.7&to=a+face+with+red+hair", WIDE)
    for words in ("a face with a beard", "a face with a beanie", "a face with red hair"):
        page.fill("#target-1 input, #target-1 textarea", words)
        page.keyboard.press("Enter")
        page.wait_for_timeout(2500)
    page.click("#add")
    page.wait_for_timeout(1000)
    page.fill("#target-2 input, #target-2 textarea", "a face with glasses")
    page.keyboard.press("Enter")
    page.wait_for_timeout(2500)
    page.locator("#head h1").click()
    save(page, "page.png")


def narrow(browser: Any, address: str) -> None:
    """The same on a telephone, its first screen."""
    query = "?seed=21&truncation=0.7&to=a+face+with+sunglasses"
    save(opened(browser, address, query, NARROW), "page-narrow.png")


if __name__ == "__main__":
    with serving() as (address, _), chromium() as browser:
        wide(browser, address)
        narrow(browser, address)
