"""What is asked for: handlers of sentences, methods, what is kept, and of every slider.

A slider that moves is answered outside the queue, its newest position only; when it is let go, the
history grows by one. A control is named as its element is: "strength-2", "truncation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.controls import AUTOMATIC
from styleclip.apps.web.session import (
    MOST_THRESHOLD,
    MOST_TRUNCATION,
    STEEPEST,
    Look,
    Session,
    kept,
    within,
)
from styleclip.apps.web.telling import plain, sentence, told
from styleclip.errors import StyleclipError
from styleclip.prompts import names_of

if TYPE_CHECKING:
    from styleclip.apps.web.engine import Engine
    from styleclip.apps.web.updates import Updates


class Sentences:
    """Handlers: each takes a session and returns what ``updates`` tells the controls."""

    def __init__(self, engine: Engine, updates: Updates) -> None:
        self.engine = engine
        self.updates = updates

    def ask(self, session: Session, index: int, target: str, neutral: str) -> list[Any]:
        """A sentence that was typed: its edit, and the strength that shows it."""
        with told(), session.lock:
            target, neutral = target.strip(), neutral.strip()
            if index >= len(session.look.rows) or not session.hears(index, target, neutral):
                return self.updates.nothing()
            look = session.look.with_row(index, target=target, neutral=neutral)
            return self.updates.but_texts(self._asked(session, look, index), index)

    def entered(self, session: Session, index: int, target: str, neutral: str) -> list[Any]:
        """The same by Enter, which even an empty sentence is answered to."""
        answer = self.ask(session, index, target, neutral)
        if target.strip():
            return answer
        example = self.updates.controls.example
        return self.updates.whole(
            session, f"Type what the picture should show, such as {example!r}, and press Enter."
        )

    def _asked(self, session: Session, look: Look, index: int) -> list[Any]:
        note = ""
        if look.rows[index].asks:
            look = session.recalled(look.with_row(index, fits=True))
            look = self.engine.found(look)
            if look.rows[index].strength == 0:
                note = "The picture shows this already, as CLIP sees it; more strength exaggerates."
            if look.rows[index].edit is None:
                note = "Press Optimise: it takes some seconds."
        session.change(look)
        return self.updates.whole(session, " ".join([*self.engine.notes(look), note]).strip())

    def chip(self, session: Session, event: gr.EventData) -> list[Any]:
        """A suggestion: it becomes the last sentence."""
        with told(), session.lock:
            index = len(session.look.rows) - 1
            chips = self.updates.controls.chips
            target = chips[int(event.index) % len(chips)][1]
            look = session.look.with_row(index, target=target, neutral="")
            return self._asked(session, look, index)

    def choose(self, session: Session, index: int, method: str) -> list[Any]:
        """Another method for a sentence."""
        with session.lock:
            try:
                look = session.look.with_row(index, method=method)
                return self._asked(session, look, index)
            except StyleclipError as error:  # the controls show what is true still
                gr.Warning(sentence(error), title="")
                return self.updates.whole(session)

    def automatic(self, session: Session, index: int, on: bool) -> list[Any]:
        """The threshold that is chosen by itself, or the same as a number."""
        with told(), session.lock:
            threshold = None if on else AUTOMATIC
            session.change(self.engine.found(session.look.with_row(index, threshold=threshold)))
            return self.updates.whole(session)

    def another(self, session: Session) -> list[Any]:
        """Room for one more."""
        with told(), session.lock:
            session.change(session.look.with_another_row())
            return self.updates.whole(session, "Say what else should change.")

    def remove(self, session: Session, index: int) -> list[Any]:
        """One less."""
        with told(), session.lock:
            session.change(session.look.without_row(index))
            return self.updates.whole(session)

    def preserve(self, session: Session, names: list[str] | None) -> Any:
        """What directions must leave alone."""
        with session.lock:
            if tuple(names or ()) == tuple(session.look.keep):
                return gr.skip()  # the page set it itself
            try:
                look = self.engine.found(session.look.with_keep(kept(names_of(names or ()))))
                notes = self.engine.notes(look)
            except StyleclipError as error:  # the controls show what is true still
                gr.Warning(sentence(error), title="")
                return self.updates.whole(session)
            session.change(look)
            return self.updates.whole(session, " ".join(notes))

    # sliders

    def slide(self, session: Session, control: str, value: float | None) -> dict[str, Any]:
        """A slider of a sentence, live."""
        with session.lock:
            note = self._moved(session, control, value)
            return self.updates.stage(session, note)

    def vary(self, session: Session, value: float | None) -> list[Any]:
        """Another variety, live."""
        with session.lock:
            note = self._moved(session, "truncation", value)
            if session.look.subject.source.seed is None:
                note = "Variety is of people with a seed: a picture of your own is what it is."
            stage = self.updates.stage(session, note, before=True)
            return [stage, self.updates.portraits(session.look)]

    def settle(self, session: Session, control: str, value: float | None) -> list[Any]:
        """A slider was let go at ``value``: the history grows.

        The last position may arrive after this, and then changes nothing.
        """
        with session.lock:
            self._moved(session, control, value)
            session.settle()
            return self.updates.past(session)

    def keyed(self, session: Session, event: gr.EventData) -> list[Any]:
        """The same by keys, or by a number that was typed.

        What is typed may be none, or beyond the bounds: then every control shows what is true.
        """
        value = None if event.value is None else float(event.value)
        with session.lock:
            past = self.settle(session, str(event.control), value)
            typed = getattr(event, "typed", False)
            return self.updates.whole(session) if typed else self.updates.only(past)

    def _moved(self, session: Session, control: str, value: float | None) -> str:
        """A slider stands somewhere; what is wrong with that: nothing, mostly."""
        look, note = self._at(session.look, control, value), ""
        if look is None:
            return note
        try:
            look = self.engine.found(look)
        except StyleclipError as error:  # a threshold that leaves nothing
            note = plain(error)
        session.change(look, control)
        return note

    def _at(self, look: Look, control: str, value: float | None) -> Look | None:
        """The look with a slider at ``value``; None if it is there, or is there no more."""
        if value is None:  # its number was deleted, for another one
            return None
        name, _, number = control.partition("-")
        if name == "truncation":
            source = look.subject.source
            value = abs(within(value, MOST_TRUNCATION))
            if source.seed is None or source.truncation == value:
                return None
            return look.with_subject(self.engine.person(source.seed, value))
        index = int(number) - 1 if number.isdecimal() else -1
        if name not in ("strength", "threshold") or not 0 <= index < len(look.rows):
            return None  # removed a moment ago
        row = look.rows[index]
        if name == "strength":
            value = within(value, STEEPEST)
            same = row.strength == value and not row.fits
            return None if same else look.with_row(index, strength=value)
        value = abs(within(value, MOST_THRESHOLD))
        return None if row.threshold == value else look.with_row(index, threshold=value)
