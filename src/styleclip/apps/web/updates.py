"""What the controls are told: a session becomes the values of the stage, the history, every slider.

  Session -> whole (every control) | stage (the picture alone) | past (address, history, undo, redo)
Long work tells the stage how far it is: `busy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.controls import AUTOMATIC, Controls
from styleclip.apps.web.links import link_of
from styleclip.apps.web.session import MOST_ROWS, USUAL_THRESHOLD, USUAL_TRUNCATION, Look, Session
from styleclip.apps.web.show import encode, thumb
from styleclip.apps.web.telling import brief
from styleclip.errors import StyleclipError

if TYPE_CHECKING:
    from PIL import Image

    from styleclip.apps.web.engine import Engine
    from styleclip.apps.web.jobs import News

ROW_CONTROLS = 8  # that a look sets, of each sentence: ``RowControls.all``


class Updates:
    """Of the controls of one page, whose pictures ``engine`` draws."""

    def __init__(self, engine: Engine, controls: Controls) -> None:
        self.engine = engine
        self.controls = controls

    def whole(self, session: Session, note: str = "") -> list[Any]:
        """Every control, from the look."""
        with session.lock:
            look = session.look
            source = look.subject.source
            return [
                self.stage(session, note, before=True),
                *self.past(session),
                self.portraits(look),
                source.seed,  # None empties its box
                gr.skip() if source.seed is None else _slider(source.truncation, USUAL_TRUNCATION),
                list(look.keep),
                gr.Button(visible=len(look.rows) < MOST_ROWS),
                *(update for i in range(MOST_ROWS) for update in self._row(look, i)),
            ]

    def stage(self, session: Session, note: str = "", before: bool = False) -> dict[str, Any]:
        """The picture, and what is to be said of it."""
        look, version = session.look, session.version
        value = {
            "n": version, "after": encode(self._picture(session, look)), "title": look.title,
            "note": " ".join([*filter(None, [note]), *_carried(look)]),
        }  # fmt: skip
        if before:
            value["before"] = encode(look.subject.picture)
        return value

    def past(self, session: Session) -> list[Any]:
        """The address, the strip, and whether there is a way back and on."""
        for moment in session.moments:
            if not moment.thumb:
                moment.thumb = thumb(self._picture(session, moment.look))
        items = [
            {"src": each.thumb, "title": each.look.title, "now": i == session.at}
            for i, each in enumerate(session.moments)
        ]
        return [
            {"link": _link(session.look)},
            {"items": items if len(items) > 1 else []},
            gr.Button(interactive=session.can_undo),
            gr.Button(interactive=session.can_redo),
            *(_automatic(session.look, i) for i in range(MOST_ROWS)),
        ]

    def portraits(self, look: Look) -> str:
        """Who is edited; of a file what it was, too."""
        subject = look.subject
        shown = [(subject.picture, "the picture")]
        if subject.original is not None:
            shown = [(subject.original, "your picture"), (subject.picture, "as the model sees it")]
        figures = "".join(
            f'<figure><img src="{encode(each, 256)}" alt="{caption}">'
            f"<figcaption>{caption}</figcaption></figure>"
            for each, caption in shown
        )
        return f'<div class="sc-person">{figures}</div>'

    def busy(self, session: Session, news: News, since: int) -> list[Any]:
        """How far long work is: the stage alone changes.

        ``since`` is the session's version when it began: a preview is not laid over anything newer.
        """
        counted = news.step and news.steps > 1
        text = news.title + (f" · step {news.step} of {news.steps}" if counted else "")
        busy = {"text": text, "step": news.step, "steps": news.steps}
        version = session.version
        stage = {"n": version, "busy": busy}
        if news.picture is not None and version == since:
            stage["after"] = news.picture
        return [stage, *self.nothing()[1:]]

    def nothing(self) -> list[Any]:
        """Everything stays as it is."""
        return [gr.skip()] * len(self.controls.whole)

    def only(self, past: list[Any]) -> list[Any]:
        """The controls of ``past``, and all others stay."""
        nothing = self.nothing()
        return [nothing[0], *past, *nothing[1 + len(past) :]]

    def but_texts(self, whole: list[Any], index: int) -> list[Any]:
        """An answer to the text boxes of a row, which may hold newer words by the time it comes."""
        row = len(whole) - ROW_CONTROLS * (MOST_ROWS - index)
        return [gr.skip() if i in (row + 1, row + 6) else it for i, it in enumerate(whole)]

    def _picture(self, session: Session, look: Look) -> Image.Image:
        """The picture of a look, drawn once for one after the other who asks."""
        drawn = session.drawn
        if drawn is None or drawn[0] is not look:
            drawn = session.drawn = (look, self.engine.picture(look))
        return drawn[1]

    def _row(self, look: Look, index: int) -> list[Any]:
        """As ``RowControls.all`` has them."""
        if index >= len(look.rows):
            return [gr.Group(visible=False), *[gr.skip()] * (ROW_CONTROLS - 1)]
        row = look.rows[index]
        threshold = AUTOMATIC if row.threshold is None else row.threshold
        return [
            gr.Group(visible=True),
            row.target,
            gr.Slider(value=row.strength, minimum=-row.limit, maximum=row.limit),
            row.method,
            gr.Column(visible=row.method == "optimisation"),
            _slider(threshold, USUAL_THRESHOLD, visible=row.method == "direction"),
            row.neutral,
            gr.Column(visible=len(look.rows) > 1),
        ]


def _slider(value: float, most: float, visible: bool = True) -> Any:
    """A slider to ``most``, or as far as it has to go."""
    return gr.Slider(value=value, maximum=max(most, value), visible=visible)


def _automatic(look: Look, index: int) -> Any:
    """Whether the threshold of a row is the automatic one."""
    if index >= len(look.rows):
        return gr.skip()
    row = look.rows[index]
    return gr.Checkbox(value=row.threshold is None, visible=row.method == "direction")


def _carried(look: Look) -> list[str]:
    """What is to be said of edits that were found for another picture."""
    said = {
        "mapper": "The mapper that was trained for {} is not here: the model's own is used.",
        "optimisation": "What was optimised for {} was found in another picture: press Optimise to "
        "search in this one.",
    }
    return [
        said[row.method].format(brief(repr(row.target)))
        for row in look.rows if row.carried and row.mapper is None
    ]  # fmt: skip


def _link(look: Look) -> str:
    """The address of the page as it is; empty where a link cannot say it."""
    try:
        return link_of(look)
    except StyleclipError:
        return ""
