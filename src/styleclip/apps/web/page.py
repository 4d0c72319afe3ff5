"""The page: which control is answered by which handler, and who waits for whom.

  control -> handler -> Session.change(look) -> Updates.whole (every control again) or .stage alone
Handlers: `people` (who is edited), `sentences` (what is asked, every slider), `longwork` (files,
optimising, training), `looking` (history, grids, saving). Sliders are answered outside the queue,
the newest position only; long work waits in the queue and streams.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from styleclip.apps.web.api import Api
from styleclip.apps.web.controls import Controls, RowControls
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.guard import Guarded
from styleclip.apps.web.longwork import LongWork
from styleclip.apps.web.looking import Looking
from styleclip.apps.web.people import People
from styleclip.apps.web.sentences import Sentences
from styleclip.apps.web.session import Session
from styleclip.apps.web.updates import Updates

LONG_AT_ONCE = 1  # long works of a kind at a time; others wait in the order of asking
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# Messages (gr.Error, gr.Warning) are only shown for events of the queue: NOW and LIVE raise none.
QUICK: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", **PRIVATE}
NOW: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}
# Numbers come as they were typed: gradio fails at none, and at one beyond a slider's ends.
TYPED: dict[str, Any] = {"preprocess": False}
SETTLED: dict[str, Any] = {**TYPED, **NOW}
LIVE: dict[str, Any] = {"trigger_mode": "always_last", **SETTLED}
LONG: dict[str, Any] = {"concurrency_limit": LONG_AT_ONCE, **PRIVATE}
DROPPING, DRAWING, OPTIMISING, TRAINING = (  # a file does not wait for somebody's training
    {**LONG, "show_progress": progress, "concurrency_id": kind}
    for kind, progress in (
        ("drop", "hidden"), ("draw", "full"), ("optimise", "hidden"), ("train", "hidden"),
    )
)  # fmt: skip


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
            updates = Updates(engine, self.controls)
            self.people = People(engine, updates)
            self.sentences = Sentences(engine, updates)
            self.long = LongWork(engine, updates)
            self.looking = Looking(engine, updates)
            self._wire(self.controls)

    def _wire(self, c: Controls) -> None:
        self._wire_people(c)
        for index, row in enumerate(c.rows):
            self._wire_row(c, index, row)
        session, whole = self.session, c.whole
        c.keys.settle(self.sentences.keyed, session, whole, **NOW)
        c.chip_list.pick(self.sentences.chip, session, whole, **QUICK)
        c.add.click(self.sentences.another, session, whole, **QUICK)
        keeping = [session, c.keep]
        c.keep.change(self.sentences.preserve, keeping, whole, **QUICK)  # typed words are no input
        self._wire_looking(c)

    def _wire_people(self, c: Controls) -> None:
        session, whole, people = self.session, c.whole, self.people
        self.blocks.load(
            people.first, [session, c.query], whole,
            js="(session, query) => [session, window.location.search]", **QUICK,
        ).then(people.some, None, c.gallery, **QUICK).then(
            people.begin, session, whole, **QUICK
        )  # fmt: skip
        c.dice.click(people.roll, [session, c.truncation], whole, **TYPED, **QUICK)
        c.keys.seed(people.typed, [session, c.truncation], whole, **TYPED, **QUICK)
        c.gallery.pick(people.example, session, whole, **QUICK)
        c.truncation.input(
            self.sentences.vary, [session, c.truncation], [c.stage, c.person], **LIVE
        )
        self._settles(c, c.truncation)
        c.drop.upload(  # the next file may come while one is inverted: it takes its place
            self.long.take_in, [session, c.drop], [c.drop, c.stage], preprocess=False,
            trigger_mode="multiple", **NOW,
        ).then(
            self.long.dropped, session, [c.drop, *whole], trigger_mode="multiple", **DROPPING
        ).failure(self.long.refused, session, c.stage, **NOW)  # fmt: skip
        c.stage.stop(self.long.stop, session, None, **NOW)

    def _wire_row(self, c: Controls, index: int, row: RowControls) -> None:
        session, whole, sentences, long = self.session, c.whole, self.sentences, self.long
        number = gr.State(index)
        texts = [session, number, row.target, row.neutral]
        for text in (row.target, row.neutral):
            text.submit(sentences.entered, texts, whole, **QUICK)
            text.blur(sentences.ask, texts, whole, **QUICK)
        for slider in (row.strength, row.threshold):
            at = [session, gr.State(slider.elem_id), slider]
            slider.input(sentences.slide, at, c.stage, **LIVE)
            self._settles(c, slider)
        automatic = [session, number, row.automatic]
        row.automatic.input(sentences.automatic, automatic, whole, **QUICK)
        row.method.input(sentences.choose, [session, number, row.method], whole, **QUICK)
        for button, work, options in (
            (row.run, long.optimise, OPTIMISING), (row.train, long.train, TRAINING),
        ):  # fmt: skip
            button.click(long.announce, session, c.stage, **NOW).then(
                work, [session, number], whole, **options
            ).failure(long.refused, session, c.stage, **NOW)
        row.remove.click(sentences.remove, [session, number], whole, **QUICK)

    def _settles(self, c: Controls, slider: gr.Slider) -> None:
        at = [self.session, gr.State(slider.elem_id), slider]
        slider.release(self.sentences.settle, at, c.past, **SETTLED)

    def _wire_looking(self, c: Controls) -> None:
        session, whole, looking = self.session, c.whole, self.looking
        c.undo.click(looking.go_back, session, whole, **QUICK)
        c.redo.click(looking.go_on, session, whole, **QUICK)
        c.history.pick(looking.go_to, session, whole, **QUICK)
        c.draw_grid.click(looking.draw, session, c.grid, **DRAWING)
        c.draw_map.click(looking.chart, session, c.map, **QUICK)
        c.grid.pick(looking.take, session, whole, **QUICK)
        c.png.click(looking.saved("png"), session, c.saver, **QUICK)
        c.gif.click(looking.saved("gif"), session, c.saver, **QUICK)
        c.mp4.click(looking.saved("mp4"), session, c.saver, **QUICK)
        c.latent.click(looking.saved("latent"), session, c.saver, **QUICK)
        c.link.click(looking.copied, session, c.saver, **QUICK)
