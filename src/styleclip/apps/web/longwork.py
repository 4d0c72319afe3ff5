"""What takes long: handlers of dropped files, optimising and training, with previews and Stop.

announce (at once) -> a turn in the queue -> Job: busy, busy, ... -> the look with its result
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from styleclip.apps.web.jobs import StoppedError
from styleclip.apps.web.session import Look, Row, Session
from styleclip.apps.web.telling import brief, told
from styleclip.apps.web.uploads import taken
from styleclip.errors import ArgumentError

if TYPE_CHECKING:
    from styleclip.apps.web.engine import Engine
    from styleclip.apps.web.jobs import Job
    from styleclip.apps.web.updates import Updates
    from styleclip.checkpoints import SavedMapper
    from styleclip.editing.edit import Edit

Result = TypeVar("Result")
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

    def refused(self, session: Session) -> dict[str, Any]:
        """It did not even get a place in the queue, or it failed: nothing waits any more."""
        session.upload = None
        return {"n": session.version}

    def take_in(self, session: Session, file: dict[str, Any] | None) -> list[Any]:
        """A file was dropped: it is read and deleted, and waits for its turn in memory.

        The control is empty again at once, for while it shows a file it takes no other.
        """
        session.upload = taken(file["path"]) if file else None
        return [None, self.announce(session)]

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
                    yield [gr.skip(), *self.updates.busy(session, news, session.version)]
                look, note = job.result
                with session.trying():
                    if look.subject.original is not None:  # no recipe: what was asked stays
                        look = self.engine.found(session.look.with_subject(look.subject))
                    look = session.recalled(look)
                    session.change(look)
                    answer = whole(session, note)
                yield [None, *answer]  # without the lock: another thread may go on from here
        except StoppedError:
            another = session.upload is not None  # what it says is shown by now
            answer = self.updates.nothing() if another else whole(session, "Stopped.")
            yield [gr.skip() if another else None, *answer]
        except gr.Error:
            yield [None, *whole(session)]
            raise

    def optimise(self, session: Session, index: int) -> Iterator[list[Any]]:
        """The best edit of this one picture."""
        yield from self._long(session, index, self.engine.optimise, self._optimised)

    def train(self, session: Session, index: int) -> Iterator[list[Any]]:
        """A mapper of one sentence, for any picture."""
        yield from self._long(session, index, self.engine.train, self._trained)

    def _long(
        self, session: Session, index: int,
        start: Callable[[Look, int, threading.Event], Job[Result]],
        use: Callable[[Session, Look, Row, Result], str],
    ) -> Iterator[list[Any]]:  # fmt: skip
        """Work for a row of the look of now; ``use`` changes the look of then, and says so."""
        whole = self.updates.whole
        try:
            with told():
                look, since = session.look, session.version
                if index >= len(look.rows):
                    raise ArgumentError("this sentence was removed while its work waited")
                job = start(look, index, session.stop)
                for news in job:
                    yield self.updates.busy(session, news, since)
                with session.trying():
                    answer = whole(session, use(session, look, look.rows[index], job.result))
                yield answer  # without the lock: another thread may go on from here
        except StoppedError:
            yield whole(session, "Stopped; everything is as it was.")
        except gr.Error:
            yield whole(session)
            raise

    def _optimised(self, session: Session, look: Look, row: Row, edit: Edit) -> str:
        now, place = session.look, session.look.place_of(row)
        if (
            now.subject is not look.subject
            or place is None
            or now.rows[place].method != "optimisation"
        ):
            return (
                f"Optimising {brief(repr(row.target))} is done, but something else is shown by "
                "now, so it was not applied."
            )
        session.change(self.engine.found(now.with_row(place, edit=edit, strength=1.0)))
        return f"Optimised. {DONE}"

    def _trained(self, session: Session, look: Look, row: Row, mapper: SavedMapper) -> str:
        session.remember(row, mapper)
        now, place = session.look, session.look.place_of(row)
        if place is None:
            return (
                f"The mapper of {brief(repr(row.target))} is trained. Its sentence is gone, so "
                "nothing was changed: type it again and choose Mapper."
            )
        now = now.with_row(place, mapper=mapper, method="mapper", strength=1.0)
        session.change(self.engine.found(now))
        return f"Trained: it edits any picture at once now. {DONE}"
