"""What the handlers of the page do to a session, without a browser; a tiny engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import gradio as gr
import pytest

from styleclip.apps.web.controls import Controls
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.longwork import LongWork
from styleclip.apps.web.looking import Looking
from styleclip.apps.web.people import People
from styleclip.apps.web.sentences import Sentences
from styleclip.apps.web.session import Session
from styleclip.apps.web.updates import Updates
from styleclip.studio import Studio

GLASSES = "a face with glasses"


class Handlers:
    """Of one engine; controls are not there, only how many they are."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        controls = SimpleNamespace(whole=[None] * 20, opening="", chips=[("glasses", GLASSES)])
        updates = Updates(engine, cast(Controls, controls))
        self.people = People(engine, updates)
        self.sentences = Sentences(engine, updates)
        self.long = LongWork(engine, updates)
        self.looking = Looking(engine, updates)

    def visit(self, query: str = "?seed=3&to=a+face+with+red+hair&strength=2") -> Session:
        """Somebody with the page open."""
        session = Session()
        self.people.first(session, query)
        if self.engine.knows_text:
            self.people.begin(session)
        return session


@pytest.fixture(scope="module")
def page(engine: Engine) -> Handlers:
    return Handlers(engine)


@pytest.fixture
def deaf(tiny_model: Path) -> Handlers:
    """Words are not understood yet."""
    return Handlers(Engine(Studio.load(tiny_model)))


# The first sentence


def test_the_first_sentence_gets_its_strength_whatever_was_changed_before(deaf: Handlers) -> None:
    """CLIP takes seconds to load, and people do not wait for it."""
    session, engine = deaf.visit("?seed=3&to=a+face+with+red+hair"), deaf.engine
    session.change(session.look.with_keep(["hat"]))
    engine.start()
    deaf.people.begin(session)
    (row,) = session.look.rows
    assert session.look.keep == ("hat",) and row.edit is not None
    assert row.strength == engine.fitted(session.look, 0) != 0
    (row,) = session.undo().rows  # nor is it lost behind
    assert row.strength == engine.fitted(session.look, 0) != 0 and row.edit is not None


def test_a_strength_that_somebody_chose_before_stays(deaf: Handlers) -> None:
    session = deaf.visit("?seed=3&to=a+face+with+red+hair")
    session.change(session.look.with_row(0, strength=2.5))
    deaf.engine.start()
    deaf.people.begin(session)
    assert session.look.rows[0].strength == 2.5 and session.look.rows[0].edit is not None


# Sliders


def test_a_slider_that_is_let_go_is_one_step_whatever_arrives_first(page: Handlers) -> None:
    session = page.visit()
    for value in (2.1, 2.2):
        page.sentences.slide(session, "strength-1", value)
    page.sentences.settle(session, "strength-1", 2.3)
    page.sentences.slide(session, "strength-1", 2.3)  # it was under way
    assert [each.look.rows[0].strength for each in session.moments] == [2.0, 2.3]
    page.sentences.keyed(session, event(control="strength-1", value=2.4))
    assert [each.look.rows[0].strength for each in session.moments] == [2.0, 2.3, 2.4]


@pytest.mark.parametrize(
    ("control", "value"),
    [("strength-1", 2.0), ("strength-2", 1.0), ("strength-x", 1.0), ("strength", 1.0),
     ("seed", 1.0), ("", 1.0), ("truncation", 0.7)],
)  # fmt: skip
def test_what_moves_nothing_is_no_step(page: Handlers, control: str, value: float) -> None:
    session = page.visit()
    page.sentences.keyed(session, event(control=control, value=value))
    assert len(session.moments) == 1


def test_sliders_stay_within_bounds_whoever_sends_them(page: Handlers) -> None:
    session = page.visit()
    page.sentences.slide(session, "strength-1", 1e9)
    page.sentences.slide(session, "threshold-1", float("nan"))
    (row,) = session.look.rows
    assert (row.strength, row.threshold) == (20.0, 0.0)


def event(**values: object) -> gr.EventData:
    return gr.EventData(None, values)
