"""The page without the page: the same actions as named calls over HTTP, by gradio's own API.

  /picture  /invert  /latent        a seed, or a picture, as the model has it
  /edit  /animate  /map  /grid      a stack of sentences, and what it does
  /optimise  /train                 long work, which streams
Pictures go in and out as data URIs (base64 in text), so no call leaves a file on the server, and
no call knows of another's. Documented in docs/page.md; `styleclip serve` prints where they are.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gradio.events import api

from styleclip.apps.web import saving
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.grid import cells
from styleclip.apps.web.jobs import Job
from styleclip.apps.web.limits import LARGEST_FILE
from styleclip.apps.web.session import Look, Method, Row, kept
from styleclip.apps.web.show import data_uri, encode
from styleclip.apps.web.telling import told
from styleclip.apps.web.wishes import Wishes, one_of, seed_of, text, truncation_of, wishes
from styleclip.errors import ImageError

if TYPE_CHECKING:
    from styleclip.checkpoints import SavedMapper
    from styleclip.editing.edit import Edit

Result = TypeVar("Result")
Answer = dict[str, Any]
BINARY = "application/octet-stream"
FILMS = {"gif": (saving.gif, "image/gif"), "mp4": (saving.mp4, "video/mp4")}


class Api:
    """The calls on one engine; ``offer`` adds them to the blocks that are open."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def offer(self) -> None:
        """Register every call under its name; what takes long waits with the page's own."""
        waits = {"grid": "draw", "optimise": "optimise", "optimize": "optimise", "train": "train"}
        calls: dict[str, Callable[..., Any]] = {
            "picture": self.picture, "invert": self.invert, "latent": self.latent,
            "edit": self.edit, "animate": self.animate, "map": self.map, "grid": self.grid,
            "optimise": self.optimise, "optimize": self.optimise, "train": self.train,
        }  # fmt: skip
        for name, call in calls.items():
            kind = waits.get(name, "api")
            api(call, api_name=name, concurrency_id=kind, concurrency_limit=1 + (kind == "api"))

    # a picture

    def picture(self, seed: int = 0, truncation: float = 0.7) -> dict[str, Any]:
        """The picture of a seed: {"image": data URI of a PNG that carries its recipe}."""
        with told():
            return self._answer(*self._begun(seed, "", truncation))

    def invert(self, image: str) -> dict[str, Any]:
        """A picture as the model sees it; a PNG with a recipe is drawn again from that.

        image: a data URI or base64 of a PNG, JPEG or WebP file.
        """
        with told():
            return self._answer(*self._opened(image))

    def latent(self, seed: int = 0, image: str = "", truncation: float = 0.7) -> dict[str, Any]:
        """The unedited w_plus: {"latent": data URI of a NumPy file, "shape": [1, L, D]}."""
        with told():
            look, note = self._begun(seed, image, truncation)
            shape = list(look.subject.w_plus.shape)
            uri = data_uri(saving.latent(look), BINARY)
            return {"latent": uri, "shape": shape, "notes": self._notes(look, note)}

    # its edits

    def edit(
        self,
        prompt: str | list[str],
        seed: int = 0,
        image: str = "",
        strength: float | list[float] | None = None,
        method: str = "direction",
        threshold: float | None = None,
        truncation: float = 0.7,
        preserve: str | list[str] = "",
    ) -> dict[str, Any]:
        """Edit the picture of a seed, or an image (a data URI), with a sentence or a stack of them.

        prompt: "neutral -> target", or a target alone; or a list. strength: deviations of a
        direction, times the mapper's edit; one for all or a list; found for this picture if absent.
        method: direction or mapper. threshold: of a direction. preserve: what a direction must
        leave alone, a list or separated by commas.
        """
        with told():
            asked = wishes(prompt, strength, method, threshold, preserve)
            return self._answer(*self._edited(asked, seed, image, truncation))

    def animate(
        self,
        prompt: str | list[str] = "",
        seed: int = 0,
        image: str = "",
        strength: float | list[float] | None = None,
        method: str = "direction",
        threshold: float | None = None,
        truncation: float = 0.7,
        preserve: str | list[str] = "",
        kind: str = "gif",
    ) -> dict[str, Any]:
        """The way to an edit and back: {"gif": data URI}, or {"mp4": data URI}.

        kind: gif or mp4. The other arguments are those of /edit; without a prompt, the edits that
        an image brings.
        """
        with told():
            film, name = one_of("kind", kind, FILMS)
            asked = wishes(prompt, strength, method, threshold, preserve)
            look, note = self._edited(asked, seed, image, truncation)
            uri = data_uri(film(self.engine, look), name)
            return {kind: uri, "notes": self._notes(look, note)}

    def map(
        self,
        prompt: str | list[str] = "",
        seed: int = 0,
        image: str = "",
        strength: float | list[float] | None = None,
        method: str = "direction",
        threshold: float | None = None,
        truncation: float = 0.7,
        preserve: str | list[str] = "",
    ) -> dict[str, Any]:
        """Where an edit changed the picture: {"map": data URI, "channels": those that moved most}.

        A channel is {"channel": "layer:number", "change", "deviations"}. The arguments are those of
        /edit; without a prompt, the edits that an image brings.
        """
        with told():
            asked = wishes(prompt, strength, method, threshold, preserve)
            look, note = self._edited(asked, seed, image, truncation)
            picture, moved = self.engine.changes(look)
            channels = [
                {"channel": str(each), "change": each.change, "deviations": each.deviations}
                for each in moved
            ]
            return {"map": encode(picture), "channels": channels, "notes": self._notes(look, note)}

    def grid(
        self,
        prompt: str,
        seed: int = 0,
        image: str = "",
        truncation: float = 0.7,
        preserve: str | list[str] = "",
    ) -> dict[str, Any]:
        """A direction over strengths and thresholds: {"pictures": [{"strength", "threshold",
        "image"}]}.

        The arguments are those of /edit; a picture's own edits are in all of them.
        """
        with told():
            asked = wishes(text("prompt", prompt), 0.0, preserve=preserve)
            look, note = self._edited(asked, seed, image, truncation)
            pictures = [
                {"strength": strength, "threshold": threshold, "image": encode(picture, 192)}
                for strength, threshold, picture in cells(self.engine, look)
            ]
            return {"pictures": pictures, "notes": self._notes(look, note)}

    # long work

    def optimise(
        self, prompt: str, seed: int = 0, image: str = "", truncation: float = 0.7
    ) -> Iterator[dict[str, Any]]:
        """Optimise one picture: {"step", "steps", "preview"} a step, and last what /edit answers.

        The arguments are those of /edit.
        """

        yield from self._long(self.engine.optimise, self._optimised, "optimisation",
                              prompt, seed, image, truncation)  # fmt: skip

    def train(
        self, prompt: str, seed: int = 0, image: str = "", truncation: float = 0.7
    ) -> Iterator[dict[str, Any]]:
        """Train a mapper of one sentence, watched on a picture; steps are told as by /optimise.

        Last what /edit answers for that picture, and {"mapper": data URI of a file} for any other:
        ``styleclip edit --method mapper --mapper FILE``. The arguments are those of /edit.
        """
        yield from self._long(self.engine.train, self._trained, "mapper",
                              prompt, seed, image, truncation)  # fmt: skip

    # parts

    def _long(
        self,
        start: Callable[[Look, int, threading.Event], Job[Result]],
        finish: Callable[[Look, int, Result, str], Answer],
        method: Method,
        prompt: str, seed: int, image: str, truncation: float,
    ) -> Iterator[Answer]:  # fmt: skip
        """Work on one sentence more; who goes away, or cancels, stops it."""
        stop = threading.Event()
        try:
            with told():
                look, note = self._begun(seed, image, truncation)
                look = _asking(look, Row(text("prompt", prompt), "", method, 1.0))
                last = len(look.rows) - 1
                self.engine.pair(look.rows[last])  # raises for a text that says nothing
                job = start(look, last, stop)
                for news in job:
                    yield {"step": news.step, "steps": news.steps, "preview": news.picture}
                yield finish(look, last, job.result, note)
        finally:
            stop.set()

    def _optimised(self, look: Look, row: int, edit: Edit, note: str) -> Answer:
        return self._answer(look.with_row(row, edit=edit), note)

    def _trained(self, look: Look, row: int, mapper: SavedMapper, note: str) -> Answer:
        look = self.engine.found(look.with_row(row, mapper=mapper))
        file = saving.mapper_file(self.engine, mapper)
        return {**self._answer(look, note), "mapper": data_uri(file, BINARY)}

    def _edited(
        self, asked: Wishes, seed: int, image: str, truncation: float = 0.7
    ) -> tuple[Look, str]:
        look, note = self._begun(seed, image, truncation)
        if not asked.rows and not look.edits:
            asked = Wishes((Row(),))
        for row in asked.rows:
            self.engine.pair(row)  # raises for a text that says nothing
        look = _asking(look, *asked.rows)
        return self.engine.found(replace(look, keep=kept((*look.keep, *asked.keep)))), note

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
        content = saving.png(self.engine, look)
        return {
            "image": data_uri(content, "image/png"),
            "edits": [
                {"target": row.target, "method": row.method, "strength": row.strength}
                for row in look.rows if row.asks
            ],
            "notes": self._notes(look, note),
        }  # fmt: skip

    def _notes(self, look: Look, note: str) -> list[str]:
        return [each for each in (note, *self.engine.notes(look)) if each]


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
