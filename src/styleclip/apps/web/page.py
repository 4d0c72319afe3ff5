"""The layout of the page and its wiring: what is pressed becomes a look, a look what is shown.

  who (seed, examples, file) | view (before | after, history, save) | ask (sentences, sliders)
Sliders are answered outside the queue, the newest position only; long work waits in the queue and
streams. Every handler ends in `_whole` (all controls from the look) or in the stage alone.
"""

from __future__ import annotations

import html
import importlib.util
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.api import Api
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.guard import Guarded
from styleclip.apps.web.jobs import StoppedError
from styleclip.apps.web.links import Wanted, link_of, wanted_by
from styleclip.apps.web.saving import Kind, save_file
from styleclip.apps.web.session import (
    METHODS,
    MOST_LETTERS,
    MOST_ROWS,
    MOST_STRENGTH,
    Look,
    Row,
    Session,
)
from styleclip.apps.web.show import encode, thumb
from styleclip.apps.web.telling import plain, told
from styleclip.apps.web.uploads import taken
from styleclip.errors import StyleclipError

if TYPE_CHECKING:
    from PIL import Image

STATIC = Path(__file__).parent / "static"
EXAMPLES = (15, 3, 8, 21, 30, 42, 57, 64)  # seeds
TRUNCATION = 0.7
OPENING = "a face with red hair"  # the sentence that the page opens with
AUTOMATIC = 0.1  # where the threshold's slider stands while it is automatic
LONG_AT_ONCE = 1  # long works of a kind at a time; others wait in the order of asking
GRID = ((-3.0, 0.0, 2.0, 4.0, 6.0, 8.0), (0.0, 0.05, 0.1, 0.15))  # strengths, thresholds
NAMES = {"direction": "Direction", "mapper": "Mapper", "optimisation": "Optimise"}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}
LIVE: dict[str, Any] = {"trigger_mode": "always_last", **QUICK}
LONG: dict[str, Any] = {"concurrency_limit": LONG_AT_ONCE, **PRIVATE}
DROPPING, DRAWING, OPTIMISING, TRAINING = (  # a file does not wait for somebody's training
    {**LONG, "show_progress": progress, "concurrency_id": kind}
    for kind, progress in (
        ("drop", "hidden"), ("draw", "full"), ("optimise", "hidden"), ("train", "hidden"),
    )
)  # fmt: skip
DONE = "The picture is yours: drag the strength."


@dataclass(frozen=True)
class RowControls:
    """The controls of one sentence."""

    box: gr.Group
    target: gr.Textbox
    strength: gr.Slider
    method: gr.Radio
    run: gr.Button
    threshold: gr.Slider
    neutral: gr.Textbox
    train: gr.Button
    remove: gr.Button

    @property
    def all(self) -> list[Any]:
        """In the order of ``_row_updates``."""
        return [self.box, self.target, self.strength, self.method, self.run, self.threshold,
                self.neutral, self.train, self.remove]  # fmt: skip


class Page:
    """The page of one engine. ``blocks`` is the gradio app."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.chips = _suggestions(engine.studio.vocabulary)
        name, neutral = engine.studio.model.name, engine.studio.model.neutral
        self.opening = OPENING if neutral and OPENING.startswith(neutral) else ""
        with Guarded(
            title="StyleCLIP", analytics_enabled=False, fill_width=True,
        ) as self.blocks:  # fmt: skip
            self.session = gr.State(Session())  # forgotten by the blocks
            self._head(name)
            with gr.Row(elem_id="studio"):
                self._who()
                self._view()
                self._ask()
            self._more()
            self.saver = _custom("saver.js", "<span></span>", elem_id="saver")
            self.address = _custom("address.js", "<span></span>", elem_id="address")
            self.query = gr.Textbox(visible="hidden", elem_id="query")
            self.whole = [
                self.stage, self.address, self.history, self.undo, self.redo, self.person,
                self.seed, self.truncation, self.keep, self.add,
                *(control for row in self.rows for control in row.all),
            ]  # fmt: skip
            self.past = self.whole[1:5]
            Api(engine).offer()  # first: names of calls are given once
            self._wire()

    # layout

    def _head(self, name: str) -> None:
        with gr.Row(elem_id="head"):
            gr.HTML(
                "<h1>StyleCLIP</h1><p>Say what should change in a picture, and drag how much. "
                f"Model: {html.escape(name)}.</p>"
            )
            self.undo = gr.Button("Undo", size="sm", elem_id="undo", interactive=False)
            self.redo = gr.Button("Redo", size="sm", elem_id="redo", interactive=False)

    def _who(self) -> None:
        with gr.Column(elem_id="who"):
            self.person = gr.HTML("", elem_id="person")
            self.dice = gr.Button("Someone else", elem_id="dice")
            self.gallery = _custom("thumbs.js", _static("thumbs.html"), elem_id="examples")
            self.drop = gr.File(
                label="Your own picture", show_label=False, file_types=["image"], type="filepath",
                height=64, elem_id="drop",
            )  # fmt: skip
            gr.HTML(
                '<p class="sc-help">A face in the middle of a square works best. A PNG that was '
                "saved here brings all its sliders back.</p>"
            )
            with gr.Group():
                self.seed = gr.Number(
                    0, precision=0, minimum=0, label="Seed", elem_id="seed",
                    info="The same number is the same person.",
                )  # fmt: skip
                self.truncation = gr.Slider(
                    0, 1.5, TRUNCATION, step=0.05, label="Variety", elem_id="truncation",
                    info="0 is the average face.", buttons=[],
                )  # fmt: skip

    def _view(self) -> None:
        with gr.Column(elem_id="view"):
            self.stage = _custom("stage.js", _static("stage.html"), elem_id="stage")
            with gr.Row(elem_id="tools"):
                self.png = gr.Button("Save PNG", size="sm", variant="primary", elem_id="save-png")
                self.gif = gr.Button("GIF", size="sm", elem_id="save-gif")
                self.mp4 = gr.Button("MP4", size="sm", elem_id="save-mp4", visible=_has_films())
                self.latent = gr.Button("Latent", size="sm", elem_id="save-latent")
                self.link = gr.Button("Copy link", size="sm", elem_id="copy-link")
            self.history = _custom("thumbs.js", _static("thumbs.html"), elem_id="history")

    def _ask(self) -> None:
        with gr.Column(elem_id="ask"):
            self.rows = [self._row(index) for index in range(MOST_ROWS)]
            with gr.Column(visible=bool(self.chips), elem_id="try"):
                gr.HTML('<p class="sc-title">Or try</p>')
                self.chip_list = _custom(
                    "thumbs.js", _static("thumbs.html"), elem_id="chips",
                    value={"items": [{"text": short, "title": text} for short, text in self.chips]},
                )  # fmt: skip
            self.add = gr.Button("Add another sentence", size="sm", elem_id="add")
            self.keep = gr.Dropdown(
                list(self.engine.studio.vocabulary), multiselect=True, allow_custom_value=True,
                label="Keep as it is", elem_id="keep",
                info="What directions must leave alone: choose, or type your own words.",
            )  # fmt: skip

    def _row(self, index: int) -> RowControls:
        number = index + 1
        with gr.Group(
            visible=index == 0, elem_id=f"row-{number}", elem_classes="row-box"
        ) as box:  # fmt: skip
            target = gr.Textbox(
                label="What the picture should show", placeholder=self.opening or "something else",
                info="Press Enter to see it.", max_length=MOST_LETTERS, max_lines=1,
                elem_id=f"target-{number}",
            )  # fmt: skip
            most = MOST_STRENGTH["direction"]
            strength = gr.Slider(
                -most, most, 0, step=0.1, label="Strength", elem_id=f"strength-{number}",
                info="0 changes nothing, negative is the opposite.", buttons=[],
            )  # fmt: skip
            method = gr.Radio(
                [(NAMES[each], each) for each in METHODS], value="direction", label="Method",
                info="Direction and mapper answer at once; optimising takes seconds.",
                elem_id=f"method-{number}",
            )  # fmt: skip
            run = gr.Button(
                "Optimise this picture", variant="primary", visible=False, elem_id=f"run-{number}"
            )
            with gr.Accordion("More", open=False, elem_id=f"more-{number}"):
                threshold = gr.Slider(
                    0, 0.3, AUTOMATIC, step=0.01, label="Threshold", buttons=[],
                    info="Of a direction: a higher one moves fewer channels, so less else changes.",
                    elem_id=f"threshold-{number}",
                )  # fmt: skip
                neutral = gr.Textbox(
                    label="Instead of", placeholder=self.engine.studio.model.neutral,
                    info="What pictures show anyway; the change is from this to the sentence.",
                    max_length=MOST_LETTERS, max_lines=1, elem_id=f"neutral-{number}",
                )  # fmt: skip
                train = gr.Button(
                    "Train a mapper for this sentence", size="sm", elem_id=f"train-{number}"
                )
                remove = gr.Button("Remove", size="sm", elem_id=f"remove-{number}")
        return RowControls(box, target, strength, method, run, threshold, neutral, train, remove)

    def _more(self) -> None:
        with gr.Accordion("Compare strengths and thresholds", open=False, elem_id="compare"):
            gr.HTML(
                '<p class="sc-help">The last sentence over strength (to the right) and threshold '
                "(downwards). Choose a picture to take its values.</p>"
            )
            self.draw_grid = gr.Button("Draw them", size="sm", elem_id="draw-grid")
            self.grid = _custom("thumbs.js", _static("thumbs.html"), elem_id="grid")

        with gr.Accordion("Where it changed", open=False, elem_id="changed"):
            gr.HTML(
                '<p class="sc-help">The brighter, the more a place changed; and the style channels '
                "that moved most, in standard deviations of theirs over random pictures.</p>"
            )
            self.draw_map = gr.Button("Show it", size="sm", elem_id="draw-map")
            self.map = gr.HTML("", elem_id="map")

    # wiring

    def _wire(self) -> None:
        session, whole = self.session, self.whole
        self.blocks.load(
            self.first, [session, self.query], whole,
            js="(session, query) => [session, window.location.search]", **QUICK,
        ).then(self.some, None, self.gallery, **QUICK).then(
            self.begin, session, whole, **QUICK
        )  # fmt: skip
        gr.on(
            [self.undo.click], self.go_back, session, whole, **QUICK
        )  # fmt: skip
        self.redo.click(self.go_on, session, whole, **QUICK)
        self.history.pick(self.go_to, session, whole, **QUICK)

        someone = [session, self.seed, self.truncation]
        self.dice.click(self.roll, [session, self.truncation], whole, **QUICK)
        self.seed.submit(self.someone, someone, whole, **QUICK)
        self.seed.blur(self.someone, someone, whole, **QUICK)
        self.truncation.input(self.vary, someone, [self.stage, self.person], **LIVE)
        self.truncation.release(self.settle, session, self.past, **QUICK)
        self.gallery.pick(self.example, session, whole, **QUICK)
        self.drop.upload(
            self.take_in, [session, self.drop], self.stage, preprocess=False, **QUICK
        ).then(self.dropped, session, [self.drop, *whole], **DROPPING)
        self.stage.stop(self.stop, session, None, **QUICK)

        for index, row in enumerate(self.rows):
            self._wire_row(index, row)
        self.chip_list.pick(self.chip, session, whole, **QUICK)
        self.add.click(self.another, session, whole, **QUICK)
        self.keep.input(self.preserve, [session, self.keep], whole, **QUICK)
        self.draw_grid.click(self.draw, session, self.grid, **DRAWING)
        self.draw_map.click(self.chart, session, self.map, **QUICK)
        self.grid.pick(self.take, session, whole, **QUICK)

        self.png.click(self.saved("png"), session, self.saver, **QUICK)
        self.gif.click(self.saved("gif"), session, self.saver, **QUICK)
        self.mp4.click(self.saved("mp4"), session, self.saver, **QUICK)
        self.latent.click(self.saved("latent"), session, self.saver, **QUICK)
        self.link.click(self.copied, session, self.saver, **QUICK)

    def _wire_row(self, index: int, row: RowControls) -> None:
        session, whole = self.session, self.whole
        number = gr.State(index)
        texts = [session, number, row.target, row.neutral]
        for event in (row.target.submit, row.target.blur, row.neutral.submit, row.neutral.blur):
            event(self.ask, texts, whole, **QUICK)
        row.strength.input(self.slide, [session, number, row.strength], self.stage, **LIVE)
        row.strength.release(self.settle, session, self.past, **QUICK)
        row.threshold.input(self.thin, [session, number, row.threshold], self.stage, **LIVE)
        row.threshold.release(self.settle, session, self.past, **QUICK)
        row.method.input(self.choose, [session, number, row.method], whole, **QUICK)
        row.run.click(self.announce, session, self.stage, **QUICK).then(
            self.optimise, [session, number], whole, **OPTIMISING
        )
        row.train.click(self.announce, session, self.stage, **QUICK).then(
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
                wanted = Wanted(EXAMPLES[0], TRUNCATION, (Row(self.opening),))
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
        with told(), session.lock:
            source = session.look.subject.source
            at = source.seed if source.seed is not None else int(seed or 0)
            look = session.look.with_subject(self.engine.person(at, truncation))
            session.change(self.engine.found(look), "truncation")
            return [self._stage(session, before=True), self._portraits(session.look)]

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
            target = self.chips[int(event.index) % len(self.chips)][1]
            look = session.look.with_row(index, target=target, neutral="")
            return self._asked(session, look, index)

    def slide(self, session: Session, index: int, strength: float) -> Any:
        """A strength, live."""
        with session.lock:
            look = session.look.with_row(index, strength=float(strength))
            return self._live(session, look, f"strength {index}")

    def thin(self, session: Session, index: int, threshold: float) -> Any:
        """A threshold, live."""
        with session.lock:
            look = session.look.with_row(index, threshold=float(threshold))
            return self._live(session, look, f"threshold {index}")

    def _live(self, session: Session, look: Look, control: str) -> Any:
        note = ""
        try:
            look = self.engine.found(look)
        except StyleclipError as error:  # a threshold that leaves nothing: say it, keep sliding
            note = plain(error)
        session.change(look, control)
        return self._stage(session, note)

    def settle(self, session: Session) -> list[Any]:
        """A slider was let go: its picture is there, so only the history grows."""
        with told(), session.lock:
            session.settle()
            return self._history(session)

    def choose(self, session: Session, index: int, method: str) -> list[Any]:
        with session.lock:
            try:
                look = session.look.with_row(index, method=method)
                return self._asked(session, look, index)
            except StyleclipError as error:  # the controls show what is true still
                return self._whole(session, plain(error))

    def another(self, session: Session) -> list[Any]:
        with told(), session.lock:
            session.change(session.look.with_another_row())
            return self._whole(session, "Say what else should change.")

    def remove(self, session: Session, index: int) -> list[Any]:
        with told(), session.lock:
            session.change(session.look.without_row(index))
            return self._whole(session)

    def preserve(self, session: Session, names: list[str] | None) -> list[Any]:
        with session.lock:
            try:
                look = self.engine.found(session.look.with_keep(names or ()))
                notes = self.engine.notes(look)
            except StyleclipError as error:  # the controls show what is true still
                return self._whole(session, plain(error))
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
        if session.drawn is None or session.drawn[0] is not look:
            session.drawn = (look, self.engine.picture(look))
        return session.drawn[1]

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
        return [stage, *[gr.skip()] * (len(self.whole) - 1)]

    def _nothing(self) -> list[Any]:
        return [gr.skip()] * len(self.whole)


def _has_films() -> bool:
    """Whether MP4 can be written here (extra ``video``)."""
    return importlib.util.find_spec("av") is not None


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _custom(script: str, template: str, **options: Any) -> Any:
    """A component of our own: a template that stays, and a script that shows ``value`` in it."""
    return gr.HTML(
        html_template=template, js_on_load=_static(script), apply_default_css=False, **options
    )


def _suggestions(vocabulary: dict[str, list[str]]) -> list[tuple[str, str]]:
    """(short, whole) sentences that the model knows, one or two of a kind."""
    found = []
    for texts in vocabulary.values():
        for text in texts[-1:]:
            short = text.removeprefix("a face ").removeprefix("with ").removeprefix("a ")
            found.append((short, text))
    return found[:12]


def theme() -> gr.themes.Base:
    """Fonts of the machine, one accent, soft edges."""
    from gradio.themes import colors, sizes

    sans = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans",
            "sans-serif")  # fmt: skip
    return gr.themes.Base(
        primary_hue=colors.teal, neutral_hue=colors.stone, radius_size=sizes.radius_lg,
        font=sans, font_mono=("ui-monospace", "DejaVu Sans Mono", "monospace"),
    ).set(
        body_background_fill="*neutral_50", body_background_fill_dark="*neutral_950",
        block_border_width="1px", block_shadow="none",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white", button_primary_text_color_dark="white",
        slider_color="*primary_700", slider_color_dark="*primary_400",
        color_accent="*primary_700", color_accent_soft="*primary_50",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px", button_large_text_weight="500", button_small_text_weight="500",
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400",
        block_title_text_color="*neutral_800", block_title_text_color_dark="*neutral_100",
        block_title_text_weight="550",
        checkbox_label_background_fill="white", checkbox_label_background_fill_dark="*neutral_800",
        checkbox_label_border_color="*neutral_300", checkbox_label_border_width="1px",
    )  # fmt: skip


def launch_options() -> dict[str, Any]:
    """What ``launch`` is told about looks and about what may leave the server: nothing."""
    return {
        "theme": theme(), "css": _static("page.css"), "js": _static("page.js"),
        "footer_links": ["api"], "run_history": False, "enable_monitoring": False,
        "ssr_mode": False, "pwa": False, "allowed_paths": [], "show_error": True, "share": False,
        "quiet": True, "inbrowser": False,
    }  # fmt: skip
