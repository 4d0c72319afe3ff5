"""What the handlers of the page do to a session, without a browser; a tiny engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

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
