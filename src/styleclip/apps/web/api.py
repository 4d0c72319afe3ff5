"""The page without the page: the same actions as named calls over HTTP, by gradio's own API.

  /picture (seed)   /invert (picture)   /edit (sentence, method, strength)   /optimise (streams)
Pictures go in and out as data URIs (base64 in text), so no call leaves a file on the server, and
no call knows of another's. Documented in docs/page.md; `styleclip serve` prints where they are.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradio.events import api

from styleclip.apps.web.engine import Engine
from styleclip.apps.web.limits import LARGEST_FILE
from styleclip.apps.web.links import LARGEST_SEED
from styleclip.apps.web.saving import gif, png
from styleclip.apps.web.session import METHODS, MOST_LETTERS, Look, Row
from styleclip.apps.web.show import data_uri
from styleclip.apps.web.telling import told
from styleclip.errors import ArgumentError, ImageError


class Api:
    """The calls on one engine; ``offer`` adds them to the blocks that are open."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def offer(self) -> None:
        """Register every call under its name."""
        options: dict[str, Any] = {"concurrency_id": "api", "concurrency_limit": 2}
        api(self.picture, api_name="picture", **options)
        api(self.invert, api_name="invert", **options)
        api(self.edit, api_name="edit", **options)
        api(self.animate, api_name="animate", **options)
        long: dict[str, Any] = {"concurrency_id": "optimise", "concurrency_limit": 1}
        api(self.optimise, api_name="optimise", **long)

    def picture(self, seed: int = 0, truncation: float = 0.7) -> dict[str, Any]:
        """The picture of a seed: {"image": data URI of a PNG that carries its recipe}."""
        with told():
            look = Look(self.engine.person(_seed(seed), _truncation(truncation)))
            return self._answer(look)

    def invert(self, image: str) -> dict[str, Any]:
        """A picture as the model sees it; a PNG with a recipe is drawn again from that.

        image: a data URI or base64 of a PNG, JPEG or WebP file.
        """
        with told():
            look, note = self._opened(image)
            return self._answer(look, note)

    def edit(
        self,
        prompt: str,
        seed: int = 0,
        image: str = "",
        strength: float | None = None,
        method: str = "direction",
        threshold: float | None = None,
        truncation: float = 0.7,
        preserve: str = "",
    ) -> dict[str, Any]:
        """Edit the picture of a seed, or an image (a data URI), with a sentence.

        prompt: "neutral -> target", or a target alone. strength: deviations of a direction, times
        the mapper's edit; found for this picture if absent. method: direction or mapper. threshold:
        of a direction. preserve: what a direction must leave alone, separated by commas.
        """
        with told():
            if method == "optimisation":
                raise ArgumentError("optimising takes its time: call /optimise, which streams")
            look, note = self._edited(prompt, seed, image, strength, method, threshold,
                                      truncation, preserve)  # fmt: skip
            return self._answer(look, note)

    def animate(
        self, prompt: str, seed: int = 0, image: str = "", strength: float | None = None
    ) -> dict[str, Any]:
        """The way to an edit and back, by its direction: {"gif": data URI}."""
        with told():
            look, _ = self._edited(prompt, seed, image, strength)
            return {"gif": data_uri(gif(self.engine, look), "image/gif")}

    def optimise(
        self, prompt: str, seed: int = 0, image: str = "", truncation: float = 0.7
    ) -> Iterator[dict[str, Any]]:
        """Optimise one picture: {"step", "steps", "preview"} a step, and last what /edit answers.

        The arguments are those of /edit.
        """
        stop = threading.Event()
        try:
            with told():
                look, note = self._begun(seed, image, truncation)
                look = _asking(look, Row(_text(prompt), "", "optimisation", 1.0))
                last = len(look.rows) - 1
                job = self.engine.optimise(look, last, stop)
                for news in job:
                    yield {"step": news.step, "steps": news.steps, "preview": news.picture}
                yield self._answer(look.with_row(last, edit=job.result), note)
        finally:
            stop.set()  # who goes away needs no more steps

    # parts

    def _edited(
        self, prompt: str, seed: int, image: str, strength: float | None,
        method: str = "direction", threshold: float | None = None, truncation: float = 0.7,
        preserve: str = "",
    ) -> tuple[Look, str]:  # fmt: skip
        if method not in METHODS:
            raise ArgumentError(f"there is no method {method[:40]!r}: direction or mapper")
        look, note = self._begun(seed, image, truncation)
        names = tuple(each.strip() for each in _text(preserve).split(",") if each.strip())
        row = Row(_text(prompt), "", method, threshold=threshold)
        self.engine.pair(row)  # raises for a text that says nothing
        look = replace(_asking(look, row), keep=names)  # edits that are there stay as they are
        last = len(look.rows) - 1
        wanted = self.engine.fitted(look, last) if strength is None else float(strength)
        if not -20 <= wanted <= 20:
            raise ArgumentError(f"the strength must be between -20 and 20, got {wanted:g}")
        return self.engine.found(look.with_row(last, strength=wanted)), note

    def _begun(self, seed: int, image: str, truncation: float) -> tuple[Look, str]:
        if image:
            return self._opened(image)
        return Look(self.engine.person(_seed(seed), _truncation(truncation))), ""

    def _opened(self, image: str) -> tuple[Look, str]:
        content = _bytes(image)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture"
            path.write_bytes(content)
            job = self.engine.opened(path, threading.Event())
            for _ in job:
                pass
        return job.result

    def _answer(self, look: Look, note: str = "") -> dict[str, Any]:
        content = png(self.engine, look)
        notes = [note, *self.engine.notes(look)]
        return {
            "image": data_uri(content, "image/png"),
            "edits": [
                {"target": row.target, "method": row.method, "strength": row.strength}
                for row in look.rows if row.asks
            ],
            "notes": [each for each in notes if each],
        }  # fmt: skip


def _asking(look: Look, row: Row) -> Look:
    """One sentence more, behind those that a picture brought. Raises ``ArgumentError``."""
    return replace(look, rows=tuple(each for each in look.rows if each.asks)).with_another_row(row)


def _bytes(image: str) -> bytes:
    """What a data URI, or base64, holds. Raises ``ImageError``."""
    text = image.partition(",")[2] if image.startswith("data:") else image
    if len(text) * 3 // 4 > LARGEST_FILE:
        raise ImageError(f"the image has more than {LARGEST_FILE // 1_000_000} MB: make it smaller")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            "the image is not base64: give a data URI, or the base64 of a picture file"
        ) from error


def _seed(seed: int) -> int:
    if not 0 <= seed <= LARGEST_SEED:
        raise ArgumentError(f"a seed is a whole number from 0 to {LARGEST_SEED}, got {seed}")
    return int(seed)


def _truncation(truncation: float) -> float:
    if not 0 <= truncation <= 2:
        raise ArgumentError(f"the truncation must be between 0 and 2, got {truncation:g}")
    return float(truncation)


def _text(text: str) -> str:
    if len(text) > MOST_LETTERS:
        raise ArgumentError(f"the text has {len(text)} letters, at most {MOST_LETTERS} are read")
    return text
