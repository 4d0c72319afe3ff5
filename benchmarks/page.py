"""The page as a person meets it: seconds to the first picture, milliseconds from slider to picture.

Starts `styleclip serve` and opens it in chromium. First picture: from the start of the command to
the picture on the screen. A release: the slider of strength is clicked somewhere else; counted from
its input event to the new picture painted. The direction is known, as it is after the first look.
Wanted on two cores: 12 s, and a median below 100 ms.       python benchmarks/page.py [RELEASES]
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
RESULT = Path(__file__).parent / "results" / "page.json"
SLIDER = "#strength-1 input[type=range]"
KNOWN = f"Number(document.querySelector('{SLIDER}')?.value ?? 0) !== 0"
CLOCK = """() => {
  const slider = document.querySelector("#strength-1 input[type=range]");
  const after = document.querySelector(".sc-after");
  window.asked = window.painted = 0;
  slider.addEventListener("input", () => { window.asked = performance.now(); window.painted = 0; },
    true);
  after.addEventListener("load", () => requestAnimationFrame(() => {
    if (window.asked && !window.painted) window.painted = performance.now();
  }));
}"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*options: str, environment: dict[str, str] | None = None) -> Iterator[tuple[str, Any]]:
    """`styleclip serve` in a process of its own: its address, once it is said, and the process."""
    port = free_port()
    command = [sys.executable, "-m", "styleclip", "serve", *options, "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(f"the page is at http://127.0.0.1:{port} "):
                break
        else:
            raise RuntimeError("".join(said))
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def after(page: Any, act: Callable[[], object]) -> None:
    """Do something, and wait for the picture that comes of it."""
    before = int(page.get_attribute(".sc-frame", "data-n") or -1)
    act()
    page.wait_for_function(
        f"Number(document.querySelector('.sc-frame').dataset.n) > {before} "
        "&& document.querySelector('.sc-busy').hidden"
    )


def click_slider(page: Any, share: float) -> None:
    """Click the slider of strength at a share of its length."""
    box = page.locator(SLIDER).bounding_box()
    page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def release_times(page: Any, count: int) -> list[float]:
    """Milliseconds from the slider's new value to its picture, of ``count`` releases."""
    page.evaluate(CLOCK)
    times = []
    for i in range(count):
        click_slider(page, 0.1 + 0.8 * ((i * 11) % count) / count)
        page.wait_for_function("window.painted > 0", polling=5)
        times.append(page.evaluate("window.painted - window.asked"))
        page.wait_for_timeout(400)  # a person looks
    return times


def run(releases: int = 30) -> dict[str, Any]:
    """The figures of one start of the page."""
    with chromium() as browser:
        started = time.perf_counter()
        with serving() as (address, _):
            ready = time.perf_counter() - started
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(address)
            page.wait_for_function("document.querySelector('.sc-after')?.complete === true "
                                   "&& document.querySelector('.sc-ready') !== null")  # fmt: skip
            first = time.perf_counter() - started
            page.wait_for_function(KNOWN, timeout=120_000)
            known = time.perf_counter() - started
            page.wait_for_timeout(1000)
            times = release_times(page, releases)
    seconds = {"address_s": ready, "first_picture_s": first, "first_edit_s": known}
    return {**{name: round(value, 2) for name, value in seconds.items()}, **summary(times)}


def summary(times: Sequence[float]) -> dict[str, Any]:
    """Of the milliseconds of some releases."""
    ordered = sorted(times)
    return {
        "releases": len(ordered),
        "release_median_ms": round(median(ordered), 1),
        "release_90_ms": round(ordered[int(0.9 * (len(ordered) - 1))], 1),
        "release_most_ms": round(ordered[-1], 1),
    }


def kept(figures: dict[str, Any]) -> dict[str, Any]:
    """Written to results/page.json, with the machine that gave them."""
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
    if hasattr(os, "getloadavg"):  # with others at work the figures are theirs
        machine["load"] = round(os.getloadavg()[0], 1)
    result = {"command": "python benchmarks/page.py", **machine, **figures}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    for name, value in kept(run(*map(int, sys.argv[1:2]))).items():
        print(f"{name:20}{value}")
