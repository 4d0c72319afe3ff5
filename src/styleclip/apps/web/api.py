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
from styleclip.apps.web.saving import gif, png
from styleclip.apps.web.session import Look, Row
from styleclip.apps.web.show import data_uri
from styleclip.apps.web.telling import told
from styleclip.apps.web.wishes import Wishes, seed_of, text, truncation_of, wishes
from styleclip.errors import ImageError


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
            return self._answer(*self._begun(seed, "", truncation))

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
            asked = wishes(prompt, strength, method, threshold, preserve)
            return self._answer(*self._edited(asked, seed, image, truncation))

    def animate(
        self, prompt: str, seed: int = 0, image: str = "", strength: float | None = None
    ) -> dict[str, Any]:
        """The way to an edit and back, by its direction: {"gif": data URI}."""
        with told():
            look, _ = self._edited(wishes(prompt, strength), seed, image)
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
                look = _asking(look, Row(text("prompt", prompt), "", "optimisation", 1.0))
                last = len(look.rows) - 1
                job = self.engine.optimise(look, last, stop)
                for news in job:
                    yield {"step": news.step, "steps": news.steps, "preview": news.picture}
                yield self._answer(look.with_row(last, edit=job.result), note)
        finally:
            stop.set()  # who goes away needs no more steps

    # parts

    def _edited(
        self, asked: Wishes, seed: int, image: str, truncation: float = 0.7
    ) -> tuple[Look, str]:
        look, note = self._begun(seed, image, truncation)
        if not asked.rows and not look.edits:
            asked = Wishes((Row(),))
        for row in asked.rows:
            self.engine.pair(row)  # raises for a text that says nothing
        look = _asking(look, *asked.rows)
        return self.engine.found(replace(look, keep=asked.keep)), note

    def _begun(self, seed: int, image: str, truncation: float) -> tuple[Look, str]:
        if image:
            return self._opened(image)
        return Look(self.engine.person(seed_of(seed), truncation_of(truncation))), ""

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


def _asking(look: Look, *rows: Row) -> Look:
    """More sentences, behind those that a picture brought. Raises ``ArgumentError``."""
    look = replace(look, rows=tuple(each for each in look.rows if each.asks))
    for row in rows:
        look = look.with_another_row(row)
    return look


def _bytes(image: str) -> bytes:
    """What a data URI, or base64, holds. Raises ``ImageError``."""
    if not isinstance(image, str):
        raise ImageError("the image is not a text: give a data URI, or base64 of a picture file")
    base64_text = image.partition(",")[2] if image.startswith("data:") else image
    if len(base64_text) * 3 // 4 > LARGEST_FILE:
        raise ImageError(f"the image has more than {LARGEST_FILE // 1_000_000} MB: make it smaller")
    try:
        return base64.b64decode(base64_text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            "the image is not base64: give a data URI, or the base64 of a picture file"
        ) from error
