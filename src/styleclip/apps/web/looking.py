"""What is looked at and taken home: handlers of the history, the grid, the map, files and links."""

from __future__ import annotations

import html
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.grid import GRID, cells
from styleclip.apps.web.links import link_of
from styleclip.apps.web.saving import Kind, save_file
from styleclip.apps.web.session import Session
from styleclip.apps.web.show import encode
from styleclip.apps.web.telling import brief, told

if TYPE_CHECKING:
    from styleclip.apps.web.engine import Engine
    from styleclip.apps.web.updates import Updates

NOTHING = "There is nothing to compare yet: type what the picture should show."


class Looking:
    """Handlers: each takes a session and returns what its control shows."""

    def __init__(self, engine: Engine, updates: Updates) -> None:
        self.engine = engine
        self.updates = updates

    # history

    def go_back(self, session: Session) -> list[Any]:
        """Undo."""
        session.undo()
        return self.updates.whole(session)

    def go_on(self, session: Session) -> list[Any]:
        """Redo."""
        session.redo()
        return self.updates.whole(session)

    def go_to(self, session: Session, event: gr.EventData) -> list[Any]:
        """A picture of the strip."""
        session.go(int(event.index))
        return self.updates.whole(session)

    # comparing

    def draw(self, session: Session) -> dict[str, Any]:
        """Pictures of the last sentence over strength and threshold."""
        with told():
            if session.look.last_asked is None:
                return {"items": [], "empty": NOTHING}
            items = [
                {"src": encode(picture, 192), "text": f"{strength:g} · {threshold:g}",
                 "title": f"strength {strength:g}, threshold {threshold:g}"}
                for strength, threshold, picture in cells(self.engine, session.look)
            ]  # fmt: skip
            return {"items": items, "columns": len(GRID[0])}

    def take(self, session: Session, event: gr.EventData) -> list[Any]:
        """The values of a picture of the grid."""
        with told(), session.lock:
            strengths, thresholds = GRID
            down, across = divmod(int(event.index), len(strengths))
            index = session.look.last_asked
            if index is None:
                return self._sought(session, NOTHING)
            was = session.look.rows[index]
            look = session.look.with_row(
                index, method="direction", threshold=thresholds[down % len(thresholds)]
            )
            look = self.engine.found(look.with_row(index, strength=strengths[across]))
            session.change(look)
            another = f"The grid is of directions: the method of {brief(repr(was.target))} is"
            note = "" if was.method == "direction" else f"{another} Direction now."
            return self._sought(session, note)

    def _sought(self, session: Session, note: str) -> list[Any]:
        """Every control, and the picture comes into view: it was asked for from below."""
        whole = self.updates.whole(session, note)
        whole[0]["sought"] = True
        return whole

    def chart(self, session: Session) -> str:
        """A map of the changes, and bars for the channels."""
        with told():
            picture, moved = self.engine.changes(self.engine.found(session.look))
        if not moved:
            return '<p class="sc-help">Nothing changed yet: drag a strength.</p>'
        most = max(abs(each.deviations or 0.0) for each in moved) or 1.0
        lines = "".join(
            f'<tr><th scope="row">{each}</th>'
            f'<td><i style="width:{100 * abs(each.deviations or 0) / most:.0f}%"></i></td>'
            f"<td>{each.deviations or 0:+.2f}</td></tr>"
            for each in moved
        )
        return (
            f'<div class="sc-map"><img src="{encode(picture)}" alt="where the picture changed">'
            f"<table><caption>channel (layer:number), deviations</caption>{lines}</table></div>"
        )

    # taking home

    def saved(self, kind: Kind) -> Callable[[Session], dict[str, Any]]:
        """The handler that saves a file of that kind."""

        def save(session: Session) -> dict[str, Any]:
            with told():
                look = session.look
                name, data = save_file(self.engine, look, kind)
                if kind == "png" and (waiting := look.waiting):
                    names = brief(", ".join(repr(each) for each in waiting))
                    said = f"Left out of the PNG, as it waits for Optimise: {names}."
                    gr.Info(html.escape(said, quote=False), title="")
                return {"n": random.random(), "name": name, "data": data}

        return save

    def copied(self, session: Session) -> dict[str, Any]:
        """The address of all this."""
        with told():
            return {"n": random.random(), "copy": link_of(session.look)}
