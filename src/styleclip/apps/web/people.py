"""Who is edited: handlers of what opens the page, of seeds, examples and variety.

first (a picture at once) -> begin (its sentence, as soon as words are understood)
"""

from __future__ import annotations

import random
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.controls import TRUNCATION
from styleclip.apps.web.links import LARGEST_SEED, Wanted, wanted_by
from styleclip.apps.web.session import MOST_TRUNCATION, Look, Row, Session, within
from styleclip.apps.web.show import thumb
from styleclip.apps.web.telling import sentence, told
from styleclip.errors import ArgumentError

if TYPE_CHECKING:
    from styleclip.apps.web.engine import Engine
    from styleclip.apps.web.updates import Updates

EXAMPLES = (15, 3, 8, 21, 30, 42, 57, 64)  # seeds


class People:
    """Handlers: each takes a session and returns what ``updates`` tells the controls."""

    def __init__(self, engine: Engine, updates: Updates) -> None:
        self.engine = engine
        self.updates = updates

    def first(self, session: Session, query: str) -> list[Any]:
        """The first picture, before any word is understood."""
        note = "" if self.engine.knows_text else "Getting ready to read sentences …"
        with told():
            wanted = None
            try:
                wanted = wanted_by(query or "")
            except ArgumentError as error:  # the page opens as it does without a link
                gr.Warning(sentence(error), title="")
            if wanted is None:
                opening = Row(self.updates.controls.opening, fits=True)
                wanted = Wanted(EXAMPLES[0], TRUNCATION, (opening,))
            subject = self.engine.person(wanted.seed, wanted.truncation)
            session.change(Look(subject, wanted.rows or (Row(),), wanted.keep))
            return self.updates.whole(session, note)

    def some(self) -> dict[str, Any]:
        """People to begin with, drawn for the first who comes."""
        with told():
            return {"items": self.examples}

    @cached_property
    def examples(self) -> list[dict[str, str]]:
        """Small pictures of theirs."""
        people = self.engine.people(EXAMPLES, TRUNCATION)
        return [
            {"src": thumb(each), "title": f"person {seed}"}
            for seed, each in zip(EXAMPLES, people, strict=True)
        ]

    def begin(self, session: Session) -> list[Any]:
        """What the page opened with, as soon as it is understood, whatever was changed since."""
        with told():
            self.engine.wait_for_text()
            with session.lock:
                session.complete(self.engine.found)
                return self.updates.whole(session, " ".join(self.engine.notes(session.look)))

    def roll(self, session: Session, truncation: float | None) -> list[Any]:
        """Somebody else."""
        return self._person(session, random.randrange(100_000), truncation)

    def typed(
        self, session: Session, truncation: float | None, event: gr.EventData
    ) -> list[Any]:  # fmt: skip
        """A seed was typed, and then Enter, or its box was left."""
        seed = None if event.value is None else float(event.value)
        return self.someone(session, seed, truncation)

    def someone(self, session: Session, seed: float | None, truncation: float | None) -> list[Any]:
        """The person of a seed, as it was typed."""
        with told():
            if seed is None:  # deleted: whose it is comes back
                return self.updates.whole(session)
            if seed == session.look.subject.source.seed:
                return self.updates.nothing()
            if not 0 <= seed <= LARGEST_SEED or seed != int(seed):  # the true one comes back
                said = f"a seed is a whole number from 0 to {LARGEST_SEED}, got {seed:g}"
                gr.Warning(sentence(ArgumentError(said)), title="")
                return self.updates.whole(session)
            return self._person(session, int(seed), truncation)

    def example(self, session: Session, event: gr.EventData) -> list[Any]:
        """One of the examples."""
        with told():
            return self._person(session, EXAMPLES[int(event.index) % len(EXAMPLES)], TRUNCATION)

    def _person(self, session: Session, seed: int, truncation: float | None) -> list[Any]:
        with told(), session.lock:
            if truncation is None:  # its number was deleted
                truncation = session.look.subject.source.truncation
            subject = self.engine.person(seed, abs(within(truncation, MOST_TRUNCATION)))
            session.change(self.engine.found(session.look.with_subject(subject)))
            return self.updates.whole(session)
