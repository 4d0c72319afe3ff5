"""What takes long: handlers of dropped files, optimising and training, with previews and Stop.

announce (at once) -> a turn in the queue -> Job: busy, busy, ... -> the look with its result
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.jobs import StoppedError
from styleclip.apps.web.session import Look, Row, Session
from styleclip.apps.web.telling import told
from styleclip.apps.web.uploads import taken

if TYPE_CHECKING:
    from styleclip.apps.web.engine import Engine
    from styleclip.apps.web.updates import Updates

DONE = "The picture is yours: drag the strength."


class LongWork:
    """Handlers: each takes a session and yields what ``updates`` tells the controls."""

    def __init__(self, engine: Engine, updates: Updates) -> None:
        self.engine = engine
        self.updates = updates

    def announce(self, session: Session) -> dict[str, Any]:
        """Long work was asked for, and may have to wait; what was under way stops."""
        session.stop.set()
        session.stop = threading.Event()
        return {"n": session.version, "busy": {"text": "waiting for a turn", "step": 0, "steps": 1}}

    def stop(self, session: Session) -> None:
        """Enough."""
        session.stop.set()

    def take_in(self, session: Session, file: dict[str, Any] | None) -> dict[str, Any]:
        """A file was dropped: it is read and deleted, and waits for its turn in memory."""
        session.upload = taken(file["path"]) if file else None
        return self.announce(session)

    def dropped(self, session: Session) -> Iterator[list[Any]]:
        """That file, inverted before everybody's eyes; or a recipe, back on the sliders."""
        upload, session.upload = session.upload, None
        whole = self.updates.whole
        if upload is None:
            yield [None, *whole(session)]
            return
        try:
            with told(), upload.file() as path:
                job = self.engine.opened(path, session.stop)
                for news in job:
                    yield [gr.skip(), *self.updates.busy(session, news)]
                look, note = job.result
                if not look.edits:
                    look = replace(session.look.with_subject(look.subject), keep=session.look.keep)
                    look = self.engine.found(look)
                session.change(look)
                yield [None, *whole(session, note)]
        except StoppedError:
            yield [None, *whole(session, "Stopped.")]
        except gr.Error:
            yield [None, *whole(session)]
            raise

    def optimise(self, session: Session, index: int) -> Iterator[list[Any]]:
        """The best edit of this one picture."""
        yield from self._long(
            session, index, lambda look, stop: self.engine.optimise(look, index, stop),
            lambda row, edit: replace(row, edit=edit, strength=1.0),
            "Optimised: " + DONE,
        )  # fmt: skip

    def train(self, session: Session, index: int) -> Iterator[list[Any]]:
        """A mapper of one sentence, for any picture."""
        yield from self._long(
            session, index, lambda look, stop: self.engine.train(look, index, stop),
            lambda row, mapper: replace(
                row, mapper=mapper, method="mapper", strength=1.0, edit=None
            ),
            "Trained: it edits any picture at once now. " + DONE,
        )  # fmt: skip

    def _long(
        self, session: Session, index: int, start: Callable[[Look, threading.Event], Any],
        use: Callable[[Row, Any], Row], note: str,
    ) -> Iterator[list[Any]]:  # fmt: skip
        try:
            with told():
                look = session.look
                job = start(look, session.stop)
                for news in job:
                    yield self.updates.busy(session, news)
                rows = list(look.rows)
                rows[index] = use(rows[index], job.result)
                session.change(self.engine.found(replace(look, rows=tuple(rows))))
                yield self.updates.whole(session, note)
        except StoppedError:
            yield self.updates.whole(session, "Stopped; everything is as it was.")
        except gr.Error:
            yield self.updates.whole(session)
            raise
