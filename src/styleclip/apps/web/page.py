"""What the page does: what is pressed becomes a look, and a look what is shown.

  control -> handler -> Session.change(look) -> `_whole` (every control again) or the stage alone
Sliders are answered outside the queue, the newest position only; long work waits in the queue and
streams.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.api import Api
from styleclip.apps.web.controls import AUTOMATIC, TRUNCATION, Controls, RowControls
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.guard import Guarded
from styleclip.apps.web.jobs import StoppedError
from styleclip.apps.web.links import Wanted, link_of, wanted_by
from styleclip.apps.web.saving import Kind, save_file
from styleclip.apps.web.session import (
    MOST_ROWS,
    Look,
    Row,
    Session,
)
from styleclip.apps.web.show import encode, thumb
from styleclip.apps.web.telling import plain, sentence, told
from styleclip.apps.web.uploads import taken
from styleclip.errors import StyleclipError

if TYPE_CHECKING:
    from PIL import Image

EXAMPLES = (15, 3, 8, 21, 30, 42, 57, 64)  # seeds
LONG_AT_ONCE = 1  # long works of a kind at a time; others wait in the order of asking
GRID = ((-3.0, 0.0, 2.0, 4.0, 6.0, 8.0), (0.0, 0.05, 0.1, 0.15))  # strengths, thresholds
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# Messages (gr.Error, gr.Warning) are only shown for events of the queue: NOW and LIVE raise none.
QUICK: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", **PRIVATE}
NOW: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}
LIVE: dict[str, Any] = {"trigger_mode": "always_last", **NOW}
LONG: dict[str, Any] = {"concurrency_limit": LONG_AT_ONCE, **PRIVATE}
DROPPING, DRAWING, OPTIMISING, TRAINING = (  # a file does not wait for somebody's training
    {**LONG, "show_progress": progress, "concurrency_id": kind}
    for kind, progress in (
        ("drop", "hidden"), ("draw", "full"), ("optimise", "hidden"), ("train", "hidden"),
    )
)  # fmt: skip
DONE = "The picture is yours: drag the strength."


class Page:
    """The page of one engine. ``blocks`` is the gradio app."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with Guarded(
            title="StyleCLIP", analytics_enabled=False, fill_width=True
        ) as self.blocks:  # fmt: skip
            self.session = gr.State(Session())  # forgotten by the blocks
            self.controls = Controls(engine.studio)
            Api(engine).offer()  # first: names of calls are given once
            self._wire(self.controls)

    # wiring

    def _wire(self, c: Controls) -> None:
        session, whole = self.session, c.whole
        self.blocks.load(
            self.first, [session, c.query], whole,
            js="(session, query) => [session, window.location.search]", **QUICK,
        ).then(self.some, None, c.gallery, **QUICK).then(
            self.begin, session, whole, **QUICK
        )  # fmt: skip
        c.undo.click(self.go_back, session, whole, **QUICK)
        c.redo.click(self.go_on, session, whole, **QUICK)
        c.history.pick(self.go_to, session, whole, **QUICK)

        someone = [session, c.seed, c.truncation]
        c.dice.click(self.roll, [session, c.truncation], whole, **QUICK)
        c.seed.submit(self.someone, someone, whole, **QUICK)
        c.seed.blur(self.someone, someone, whole, **QUICK)
        c.truncation.input(self.vary, someone, [c.stage, c.person], **LIVE)
        c.truncation.release(self.settle, session, c.past, **NOW)
        c.gallery.pick(self.example, session, whole, **QUICK)
        c.drop.upload(self.take_in, [session, c.drop], c.stage, preprocess=False, **NOW).then(
            self.dropped, session, [c.drop, *whole], **DROPPING
        )
        c.stage.stop(self.stop, session, None, **NOW)

        for index, row in enumerate(c.rows):
            self._wire_row(c, index, row)
        c.chip_list.pick(self.chip, session, whole, **QUICK)
        c.add.click(self.another, session, whole, **QUICK)
        c.keep.change(self.preserve, [session, c.keep], whole, **QUICK)  # typed words are no input
        c.draw_grid.click(self.draw, session, c.grid, **DRAWING)
        c.draw_map.click(self.chart, session, c.map, **QUICK)
        c.grid.pick(self.take, session, whole, **QUICK)

        c.png.click(self.saved("png"), session, c.saver, **QUICK)
        c.gif.click(self.saved("gif"), session, c.saver, **QUICK)
        c.mp4.click(self.saved("mp4"), session, c.saver, **QUICK)
        c.latent.click(self.saved("latent"), session, c.saver, **QUICK)
        c.link.click(self.copied, session, c.saver, **QUICK)

    def _wire_row(self, c: Controls, index: int, row: RowControls) -> None:
        session, whole = self.session, c.whole
        number = gr.State(index)
        texts = [session, number, row.target, row.neutral]
        for event in (row.target.submit, row.target.blur, row.neutral.submit, row.neutral.blur):
            event(self.ask, texts, whole, **QUICK)
        row.strength.input(self.slide, [session, number, row.strength], c.stage, **LIVE)
        row.strength.release(self.settle, session, c.past, **NOW)
        row.threshold.input(self.thin, [session, number, row.threshold], c.stage, **LIVE)
        row.threshold.release(self.settle, session, c.past, **NOW)
        row.method.input(self.choose, [session, number, row.method], whole, **QUICK)
        row.run.click(self.announce, session, c.stage, **NOW).then(
            self.optimise, [session, number], whole, **OPTIMISING
        )
        row.train.click(self.announce, session, c.stage, **NOW).then(
            self.train, [session, number], whole, **TRAINING
        )
        row.remove.click(self.remove, [session, number], whole, **QUICK)

    # handlers: the picture

    def first(self, session: Session, query: str) -> list[Any]:
        """The first picture, before any word is understood."""
        note = "" if self.engine.knows_text else "Getting ready to read sentences …"
        with told():
            wanted = wanted_by(query or "")
            if wanted is None:
                wanted = Wanted(EXAMPLES[0], TRUNCATION, (Row(self.controls.opening),))
            subject = self.engine.person(wanted.seed, wanted.truncation)
            session.change(Look(subject, wanted.rows or (Row(),), wanted.keep))
            session.fits = wanted.fits
            return self._whole(session, note)

    def some(self) -> dict[str, Any]:
        """People to begin with, drawn for the first who comes."""
        with told():
            return {"items": self.examples}

    @cached_property
    def examples(self) -> list[dict[str, str]]:
        people = self.engine.people(EXAMPLES, TRUNCATION)
        return [
            {"src": thumb(each), "title": f"person {seed}"}
            for seed, each in zip(EXAMPLES, people, strict=True)
        ]

    def begin(self, session: Session) -> list[Any]:
        """The sentence that the page opens with, as soon as it is understood."""
        with told():
            look = session.look
            version = session.version
            look = self.engine.found(look)
            if session.fits and look.rows[0].asks:
                look = look.with_row(0, strength=self.engine.fitted(look, 0))
            if session.version == version:  # nobody was quicker
                session.amend(look)
            return self._whole(session, " ".join(self.engine.notes(session.look)))

    def roll(self, session: Session, truncation: float) -> list[Any]:
        return self._person(session, random.randrange(100_000), truncation)

    def someone(self, session: Session, seed: float | None, truncation: float) -> Any:
        source = session.look.subject.source if session.begun else None
        if seed is None or (source is not None and source.seed == int(seed)):
            return self._nothing()
        return self._person(session, int(seed), truncation)

    def example(self, session: Session, event: gr.EventData) -> list[Any]:
        with told():
            return self._person(session, EXAMPLES[int(event.index) % len(EXAMPLES)], TRUNCATION)

    def _person(self, session: Session, seed: int, truncation: float) -> list[Any]:
        with told(), session.lock:
            subject = self.engine.person(seed, truncation)
            session.change(self.engine.found(session.look.with_subject(subject)))
            return self._whole(session)

    def vary(self, session: Session, seed: float | None, truncation: float) -> list[Any]:
        """Another variety, live."""
        with session.lock:
            source = session.look.subject.source
            at = source.seed if source.seed is not None else int(seed or 0)
            look = session.look.with_subject(self.engine.person(at, truncation))
            note = self._live_change(session, look, "truncation")
            return [self._stage(session, note, before=True), self._portraits(session.look)]

    def take_in(self, session: Session, file: dict[str, Any] | None) -> dict[str, Any]:
        """A file was dropped: it is read and deleted, and waits for its turn in memory."""
        session.upload = taken(file["path"]) if file else None
        return self.announce(session)

    def dropped(self, session: Session) -> Iterator[list[Any]]:
        """That file, inverted before everybody's eyes; or a recipe, back on the sliders."""
        upload, session.upload = session.upload, None
        if upload is None:
            yield [None, *self._whole(session)]
            return
        try:
            with told(), upload.file() as path:
                job = self.engine.opened(path, session.stop)
                for news in job:
                    yield [gr.skip(), *self._busy(session, news)]
                look, note = job.result
                if look.rows == (Row(),) or not look.edits:
                    look = replace(session.look.with_subject(look.subject), keep=session.look.keep)
                    look = self.engine.found(look)
                session.change(look)
                yield [None, *self._whole(session, note)]
        except StoppedError:
            yield [None, *self._whole(session, "Stopped.")]
        except gr.Error:
            yield [None, *self._whole(session)]
            raise

    # handlers: the sentences

    def ask(self, session: Session, index: int, target: str, neutral: str) -> Any:
        """A sentence that was typed: its edit, and the strength that shows it."""
        with told(), session.lock:
            target, neutral = target.strip(), neutral.strip()
            if index >= len(session.look.rows) or not session.hears(index, target, neutral):
                return self._nothing()
            look = session.look.with_row(index, target=target, neutral=neutral)
            return self._asked(session, look, index)

    def _asked(self, session: Session, look: Look, index: int) -> list[Any]:
        note = ""
        if look.rows[index].asks:
            strength = self.engine.fitted(look, index)
            if strength == 0:
                note = "The picture shows this already, as CLIP sees it; more strength exaggerates."
            look = self.engine.found(look.with_row(index, strength=strength))
            if look.rows[index].edit is None:
                note = "Press Optimise: it takes some seconds."
        session.change(look)
        return self._whole(session, " ".join([*self.engine.notes(look), note]).strip())

    def chip(self, session: Session, event: gr.EventData) -> list[Any]:
        """A suggestion: it becomes the last sentence."""
        with told(), session.lock:
            index = len(session.look.rows) - 1
            target = self.controls.chips[int(event.index) % len(self.controls.chips)][1]
            look = session.look.with_row(index, target=target, neutral="")
            return self._asked(session, look, index)

    def slide(self, session: Session, index: int, strength: float) -> Any:
        """A strength, live."""
        with session.lock:
            if index >= len(session.look.rows):  # removed a moment ago
                return gr.skip()
            look = session.look.with_row(index, strength=_within(strength, 20.0))
            return self._live(session, look, f"strength {index}")

    def thin(self, session: Session, index: int, threshold: float) -> Any:
        """A threshold, live."""
        with session.lock:
            if index >= len(session.look.rows):
                return gr.skip()
            look = session.look.with_row(index, threshold=abs(_within(threshold, 0.99)))
            return self._live(session, look, f"threshold {index}")

    def _live(self, session: Session, look: Look, control: str) -> dict[str, Any]:
        return self._stage(session, self._live_change(session, look, control))

    def _live_change(self, session: Session, look: Look, control: str) -> str:
        """A look of a drag that goes on, and what is wrong with it: nothing, mostly."""
        note = ""
        try:
            look = self.engine.found(look)
        except StyleclipError as error:  # a threshold that leaves nothing
            note = plain(error)
        session.change(look, control)
        return note

    def settle(self, session: Session) -> list[Any]:
        """A slider was let go: its picture is there, so only the history grows."""
        with session.lock:
            session.settle()
            return self._history(session)

    def choose(self, session: Session, index: int, method: str) -> list[Any]:
        with session.lock:
            try:
                look = session.look.with_row(index, method=method)
                return self._asked(session, look, index)
            except StyleclipError as error:  # the controls show what is true still
                gr.Warning(sentence(error), title="")
                return self._whole(session)

    def another(self, session: Session) -> list[Any]:
        with told(), session.lock:
            session.change(session.look.with_another_row())
            return self._whole(session, "Say what else should change.")

    def remove(self, session: Session, index: int) -> list[Any]:
        with told(), session.lock:
            session.change(session.look.without_row(index))
            return self._whole(session)

    def preserve(self, session: Session, names: list[str] | None) -> Any:
        with session.lock:
            if tuple(names or ()) == tuple(session.look.keep):
                return gr.skip()  # the page set it itself
            try:
                look = self.engine.found(session.look.with_keep(names or ()))
                notes = self.engine.notes(look)
            except StyleclipError as error:  # the controls show what is true still
                gr.Warning(sentence(error), title="")
                return self._whole(session)
            session.change(look)
            return self._whole(session, " ".join(notes))

    # handlers: long work

    def optimise(self, session: Session, index: int) -> Iterator[list[Any]]:
        yield from self._long(
            session, index, lambda look, stop: self.engine.optimise(look, index, stop),
            lambda row, edit: replace(row, edit=edit, strength=1.0),
            "Optimised: " + DONE,
        )  # fmt: skip

    def train(self, session: Session, index: int) -> Iterator[list[Any]]:
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
                    yield self._busy(session, news)
                rows = list(look.rows)
                rows[index] = use(rows[index], job.result)
                session.change(self.engine.found(replace(look, rows=tuple(rows))))
                yield self._whole(session, note)
        except StoppedError:
            yield self._whole(session, "Stopped; everything is as it was.")
        except gr.Error:
            yield self._whole(session)
            raise

    def announce(self, session: Session) -> dict[str, Any]:
        """Long work was asked for, and may have to wait; what was under way stops."""
        session.stop.set()
        session.stop = threading.Event()
        return {"n": session.version, "busy": {"text": "waiting for a turn", "step": 0, "steps": 1}}

    def stop(self, session: Session) -> None:
        session.stop.set()

    # handlers: history

    def go_back(self, session: Session) -> list[Any]:
        session.undo()
        return self._whole(session)

    def go_on(self, session: Session) -> list[Any]:
        session.redo()
        return self._whole(session)

    def go_to(self, session: Session, event: gr.EventData) -> list[Any]:
        session.go(int(event.index))
        return self._whole(session)

    # handlers: more

    def draw(self, session: Session) -> dict[str, Any]:
        """Pictures of the last sentence over strength and threshold."""
        with told():
            look = session.look
            index = len(look.rows) - 1
            if look.rows[index].method != "direction":
                look = look.with_row(index, method="direction")
            strengths, thresholds = GRID
            items = []
            for threshold in thresholds:
                try:
                    row_look = self.engine.found(look.with_row(index, threshold=threshold))
                except StyleclipError:  # it leaves nothing: so do all higher ones
                    break
                looks = [row_look.with_row(index, strength=each) for each in strengths]
                pictures = self.engine.pictures(row_look, [each.edits for each in looks])
                items += [
                    {"src": encode(picture, 192), "text": f"{strength:g} · {threshold:g}",
                     "title": f"strength {strength:g}, threshold {threshold:g}"}
                    for strength, picture in zip(strengths, pictures, strict=True)
                ]  # fmt: skip
            return {"items": items, "columns": len(strengths)}

    def take(self, session: Session, event: gr.EventData) -> list[Any]:
        """The values of a picture of the grid."""
        with told(), session.lock:
            strengths, thresholds = GRID
            down, across = divmod(int(event.index), len(strengths))
            index = len(session.look.rows) - 1
            look = session.look.with_row(
                index, method="direction", threshold=thresholds[down % len(thresholds)]
            )
            look = self.engine.found(look.with_row(index, strength=strengths[across]))
            session.change(look)
            return self._whole(session)

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

    def saved(self, kind: Kind) -> Callable[[Session], dict[str, Any]]:
        def save(session: Session) -> dict[str, Any]:
            with told():
                name, data = save_file(self.engine, session.look, kind)
                return {"n": random.random(), "name": name, "data": data}

        return save

    def copied(self, session: Session) -> dict[str, Any]:
        with told():
            return {"n": random.random(), "copy": link_of(session.look)}

    # what is shown

    def _stage(self, session: Session, note: Any = "", before: bool = False) -> dict[str, Any]:
        look, version = session.look, session.version
        value: dict[str, Any] = {
            "n": version, "after": encode(self._picture(session, look)), "title": look.title,
        }  # fmt: skip
        if isinstance(note, str):
            value["note"] = note
        if before:
            value["before"] = encode(look.subject.picture)
        return value

    def _whole(self, session: Session, note: Any = "") -> list[Any]:
        """Every control, from the look."""
        look = session.look
        stage = self._stage(session, note, before=True)
        source = look.subject.source
        return [
            stage,
            *self._history(session),
            self._portraits(look),
            gr.skip() if source.seed is None else source.seed,
            gr.skip() if source.seed is None else source.truncation,
            list(look.keep),
            gr.Button(visible=len(look.rows) < MOST_ROWS),
            *(update for i in range(MOST_ROWS) for update in self._row_updates(look, i)),
        ]

    def _link(self, look: Look) -> str:
        """The address of the page as it is; empty where a link cannot say it."""
        try:
            return link_of(look)
        except StyleclipError:
            return ""

    def _history(self, session: Session) -> list[Any]:
        """The address, the strip, and whether there is a way back and on."""
        moment = session.moments[session.at]
        if not moment.thumb:
            moment.thumb = thumb(self._picture(session, moment.look))
        items = [
            {"src": each.thumb, "title": each.look.title, "now": i == session.at}
            for i, each in enumerate(session.moments)
        ]
        return [
            {"link": self._link(session.look)},
            {"items": items if len(items) > 1 else []},
            gr.Button(interactive=session.can_undo),
            gr.Button(interactive=session.can_redo),
        ]

    def _picture(self, session: Session, look: Look) -> Image.Image:
        """The picture of a look, drawn once for one after the other who asks."""
        drawn = session.drawn
        if drawn is None or drawn[0] is not look:
            drawn = session.drawn = (look, self.engine.picture(look))
        return drawn[1]

    def _row_updates(self, look: Look, index: int) -> list[Any]:
        """As ``RowControls.all`` has them."""
        if index >= len(look.rows):
            return [gr.Group(visible=False), *[gr.skip()] * 8]
        row = look.rows[index]
        return [
            gr.Group(visible=True),
            row.target,
            gr.Slider(value=row.strength, minimum=-row.limit, maximum=row.limit),
            row.method,
            gr.Button(visible=row.method == "optimisation"),
            gr.Slider(
                value=AUTOMATIC if row.threshold is None else row.threshold,
                visible=row.method == "direction",
            ),
            row.neutral,
            gr.skip(),
            gr.Button(visible=len(look.rows) > 1),
        ]

    def _portraits(self, look: Look) -> str:
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

    def _busy(self, session: Session, news: Any) -> list[Any]:
        """How far long work is: the stage alone changes."""
        text = news.title + (f" · step {news.step} of {news.steps}" if news.steps > 1 else "")
        busy = {"text": text, "step": news.step, "steps": news.steps}
        stage = {"n": session.version, "busy": busy}
        if news.picture is not None:
            stage["after"] = news.picture
        return [stage, *[gr.skip()] * (len(self.controls.whole) - 1)]

    def _nothing(self) -> list[Any]:
        return [gr.skip()] * len(self.controls.whole)


def _within(number: float, most: float) -> float:
    """A slider's number, whoever sent it: finite, and not beyond ``most`` either way."""
    return min(max(float(number), -most), most) if math.isfinite(number) else 0.0
