"""What the handlers of the page do to a session, without a browser; a tiny engine."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from PIL import Image

from styleclip.apps.web import engine as engines
from styleclip.apps.web.controls import Controls
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.links import link_of, wanted_by
from styleclip.apps.web.longwork import LongWork
from styleclip.apps.web.looking import NOTHING, Looking
from styleclip.apps.web.people import EXAMPLES, People
from styleclip.apps.web.saving import png
from styleclip.apps.web.sentences import Sentences
from styleclip.apps.web.session import MOST_ROWS, Look, Session
from styleclip.apps.web.updates import ROW_CONTROLS, Updates
from styleclip.apps.web.uploads import Upload
from styleclip.editing.mapper_training import TrainingConfig
from styleclip.errors import ArgumentError
from styleclip.recipe import Source
from styleclip.studio import Studio

GLASSES = "a face with glasses"
SEED = 6 + MOST_ROWS  # its place among ``Controls.whole``, and that of what stands beside it


class Handlers:
    """Of one engine; controls are not there, only how many they are."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        controls = SimpleNamespace(whole=[None] * 20, opening="", chips=[("glasses", GLASSES)])
        updates = Updates(engine, cast(Controls, controls))
        self.updates = updates
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
    page.sentences.slide(session, control, None)
    assert len(session.moments) == 1


def test_sliders_stay_within_bounds_whoever_sends_them(page: Handlers) -> None:
    session = page.visit()
    page.sentences.slide(session, "strength-1", 1e9)
    page.sentences.slide(session, "threshold-1", float("nan"))
    (row,) = session.look.rows
    assert (row.strength, row.threshold) == (20.0, 0.0)


def test_a_number_that_was_typed_is_put_right(page: Handlers) -> None:
    """Beyond the bounds, or deleted: the controls show what the picture does."""
    session = page.visit()
    answer = page.sentences.keyed(session, event(control="strength-1", value=1e9, typed=True))
    assert session.look.rows[0].strength == 20
    slider = answer[-ROW_CONTROLS * MOST_ROWS + 2]
    assert slider.value == slider.maximum == 20 and answer[0]["n"] == session.version
    answer = page.sentences.keyed(session, event(control="strength-1", value=None, typed=True))
    assert answer[-ROW_CONTROLS * MOST_ROWS + 2].value == 20 and len(session.moments) == 2


def test_a_seed_that_is_none_is_said_and_the_true_one_comes_back(
    page: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: said.append(text))
    session = page.visit()
    for count, seed in enumerate((-1, 2.5, 1e30, float("1e15") * 10, float("nan")), start=1):
        assert page.people.typed(session, 0.7, event(value=seed))[SEED] == 3
        assert len(said) == count and "whole number from 0 to" in said[-1]
    assert page.people.someone(session, None, 0.7)[SEED] == 3
    page.people.someone(session, 4, None)
    assert (session.look.subject.source.seed, session.look.subject.source.truncation) == (4, 0.7)


@pytest.mark.parametrize(
    ("truncation", "furthest", "threshold", "highest"), [(0.7, 1.5, 0.1, 0.3), (1.9, 1.9, 0.4, 0.4)]
)
def test_numbers_of_a_link_are_on_their_sliders(
    deaf: Handlers, truncation: float, furthest: float, threshold: float, highest: float
) -> None:
    query = f"truncation={truncation}&to=red&by=direction&strength=2&threshold={threshold}"
    session = deaf.visit("?seed=3&" + query)
    whole = deaf.updates.whole(session)
    variety, other = whole[SEED + 1], whole[-ROW_CONTROLS * MOST_ROWS + 5]
    assert (variety.value, variety.maximum) == (truncation, furthest)
    assert (other.value, other.maximum) == (threshold, highest)
    assert session.look.subject.source.truncation == truncation
    assert deaf.updates.past(session)[0]["link"] == f"?seed=3&{query}"


def test_a_picture_without_a_seed_shows_none(page: Handlers) -> None:
    """The number of the last person would bring them back as soon as its box is left."""
    session = page.visit()
    dropped = replace(session.look.subject, source=Source(w_plus=session.look.subject.w_plus))
    session.change(session.look.with_subject(dropped))
    assert page.updates.whole(session)[SEED] is None
    page.people.typed(session, 0.7, event(value=None))
    assert session.look.subject is dropped
    page.people.typed(session, 0.7, event(value=4))
    assert session.look.subject.source.seed == 4


def test_an_answer_leaves_the_words_that_are_typed_meanwhile(page: Handlers) -> None:
    session = page.visit()
    page.sentences.another(session)
    answer = page.sentences.ask(session, 1, GLASSES, "")
    rows = answer[-ROW_CONTROLS * MOST_ROWS :]
    texts = [rows[ROW_CONTROLS * index + place] for index in (0, 1) for place in (1, 6)]
    assert texts == ["a face with red hair", "", gr.skip(), gr.skip()]


@pytest.mark.parametrize(
    ("query", "reason"),
    [("?seed=abc", "'abc' is no number"), ("?to=a&by=evil", "method 'evil'"),
     ("?seed=3" + "&to=a" * 7, "7 sentences")],
)  # fmt: skip
def test_a_link_that_cannot_be_read_opens_the_page_all_the_same(
    page: Handlers, query: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else there was no picture, and a reload asked for the same link again."""
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: said.append(text))
    session = page.visit(query)
    assert session.look.subject.source.seed == EXAMPLES[0]
    (sentence,) = said
    assert reason in sentence


def event(**values: object) -> gr.EventData:
    return gr.EventData(None, values)


# Long work, and what people do meanwhile


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that is soon over."""
    config = TrainingConfig(steps=4, batch=2, check_every=1, held_out=2)
    monkeypatch.setattr(TrainingConfig, "of", classmethod(lambda *_: config))
    monkeypatch.setattr(engines, "TRAINING_LATENTS", 8)


OPTIMISE = "?seed=3&to=a+face+with+red+hair&by=optimisation"


def last(answers: Iterator[list[Any]], meanwhile: Callable[[], object] = lambda: None) -> str:
    """Work to its end, with something done in between; what is said then."""
    next(answers)
    meanwhile()
    note = ""
    for answer in answers:
        note = answer[0].get("note", note)
    return str(note)


def test_what_was_optimised_is_used_where_its_picture_is(page: Handlers) -> None:
    session = page.visit(OPTIMISE)

    def meanwhile() -> None:  # all that leaves picture and sentence as they are
        page.sentences.another(session)
        page.sentences.ask(session, 1, GLASSES, "")

    assert last(page.long.optimise(session, 0), meanwhile).startswith("Optimised.")
    first, second = session.look.rows
    assert first.edit is not None and first.edit.method == "optimization" and first.strength == 1
    assert second.target == GLASSES and second.edit is not None


@pytest.mark.parametrize("change", ["person", "sentence", "method"])
def test_what_was_optimised_for_something_else_is_not(page: Handlers, change: str) -> None:
    session = page.visit(OPTIMISE)
    act = {
        "person": lambda: page.people.someone(session, 4, 0.7),
        "sentence": lambda: page.sentences.ask(session, 0, GLASSES, ""),
        "method": lambda: page.sentences.choose(session, 0, "direction"),
    }[change]
    note = last(page.long.optimise(session, 0), act)
    assert note == (
        "Optimising 'a face with red hair' is done, but something else is shown by now, so it "
        "was not applied."
    )
    (row,), source = session.look.rows, session.look.subject.source
    assert row.edit is None or row.edit.method == "direction"
    assert source.seed == (4 if change == "person" else 3)


def test_a_preview_is_not_laid_over_anything_newer(page: Handlers) -> None:
    """Half of the stage would show one person, the other half another."""
    session = page.visit(OPTIMISE)
    answers = page.long.optimise(session, 0)
    assert "after" in next(answers)[0]
    page.people.someone(session, 4, 0.7)
    left = [answer[0] for answer in answers]
    assert left and all("after" not in each for each in left[:-1]) and "before" in left[-1]


@pytest.mark.usefixtures("quick")
def test_a_trained_mapper_is_used_whoever_is_shown(page: Handlers) -> None:
    session = page.visit()
    note = last(page.long.train(session, 0), lambda: page.people.someone(session, 4, 0.7))
    assert note.startswith("Trained")
    (row,) = session.look.rows
    assert row.method == "mapper" and row.mapper is not None and row.edit is not None
    assert session.look.subject.source.seed == 4


@pytest.mark.usefixtures("quick")
def test_a_trained_mapper_waits_for_its_sentence(page: Handlers) -> None:
    session = page.visit()
    note = last(page.long.train(session, 0), lambda: page.sentences.ask(session, 0, GLASSES, ""))
    assert "type it again and choose Mapper" in note
    assert session.look.rows[0].method == "direction" and session.look.rows[0].target == GLASSES
    page.sentences.ask(session, 0, "a face with red hair", "")
    page.sentences.choose(session, 0, "mapper")
    assert session.look.rows[0].mapper is not None and session.look.rows[0].strength == 1


@pytest.mark.parametrize("work", ["optimise", "drop"])
def test_another_thread_may_go_on_after_every_answer(
    page: Handlers, tmp_path: Path, work: str
) -> None:
    """gradio takes any of its threads, and a lock belongs to the one that took it."""
    session = page.visit(OPTIMISE)
    Image.new("RGB", (32, 32)).save(tmp_path / "me.png")
    session.upload = Upload("me.png", (tmp_path / "me.png").read_bytes())
    answers = page.long.optimise(session, 0) if work == "optimise" else page.long.dropped(session)
    over, failures = list[bool](), list[BaseException]()

    def go_on() -> None:
        try:
            over.append(next(answers, None) is None)
        except BaseException as error:
            failures.append(error)

    while not failures and not (over and over[-1]):
        thread = threading.Thread(target=go_on)
        thread.start()
        thread.join(100)
    assert not failures and session.lock.acquire(timeout=1)
    session.lock.release()


def drop(page: Handlers, session: Session, content: bytes) -> str:
    """What is said when that file was dropped."""
    session.upload = Upload("me.png", content)
    *_, answer = page.long.dropped(session)
    return str(answer[1]["note"])


@pytest.mark.usefixtures("quick")
def test_a_mapper_that_was_trained_elsewhere_is_said_not_to_be_here(
    page: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its edit came with the picture; another picture gets the model's own mapper."""
    session, other = page.visit(), page.visit()
    last(page.long.train(session, 0))
    mapper, content = session.look.rows[0].mapper, png(page.engine, session.look)
    monkeypatch.setattr(page.engine, "_own_mapper", lambda: mapper)  # the tiny model has none
    missing = "The mapper that was trained for 'a face with red hair' is not here"
    assert missing not in drop(page, other, content)
    with pytest.raises(ArgumentError, match="does not fit into a link"):
        link_of(other.look)
    for seed in (4, 5):
        assert missing in page.people.someone(other, seed, 0.7)[0]["note"]
    assert missing in page.sentences.slide(other, "truncation", 0.5)["note"]
    page.sentences.choose(other, 0, "direction")
    assert missing not in page.updates.stage(other)["note"]
    drop(page, session, content)  # where it is, it is used
    assert page.people.someone(session, 4, 0.7)[0]["note"] == ""
    assert session.look.rows[0].mapper is mapper


def test_what_was_optimised_for_another_picture_is_said_to_be(page: Handlers) -> None:
    session, words = page.visit(OPTIMISE), "was found in another picture: press Optimise"
    assert words not in page.people.someone(session, 4, 0.7)[0]["note"]  # nothing was yet
    assert words not in last(page.long.optimise(session, 0))
    assert words in page.people.someone(session, 5, 0.7)[0]["note"]
    assert words in page.sentences.slide(session, "strength-1", 0.5)["note"]
    assert words not in page.looking.go_to(session, event(index=2))[0]["note"]  # there it was found
    page.people.someone(session, 5, 0.7)
    assert words not in last(page.long.optimise(session, 0))


def test_a_recipe_without_edits_is_a_recipe(page: Handlers) -> None:
    """Nothing of what was asked before is left, and what must stay comes back."""
    plain = Look(page.engine.person(5, 0.7), keep=("hat",))
    session = page.visit()
    assert "recipe" in drop(page, session, png(page.engine, plain))
    assert session.look.subject.source.seed == 5 and session.look.keep == ("hat",)
    (row,) = session.look.rows
    assert not row.asks


def test_the_names_that_stay_are_not_without_end(page: Handlers) -> None:
    session = page.visit("?seed=3")
    page.sentences.preserve(session, ["glasses"] * 1000)
    assert session.look.keep == ("glasses",)
    with pytest.warns(UserWarning, match="At most 30 names can stay, got 1000"):
        page.sentences.preserve(session, [f"glasses {i}" for i in range(1000)])
    assert session.look.keep == ("glasses",)
    with pytest.raises(ArgumentError, match="at most 30 names can stay, got 40"):
        wanted_by("?" + "&".join(f"keep={i}" for i in range(40)))


def test_a_picture_that_cannot_be_shown_is_not_kept(
    page: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every control failed from then on."""
    session, content = page.visit(), png(page.engine, Look(page.engine.person(5, 0.7)))
    before = list(session.moments)
    with monkeypatch.context() as patch:
        patch.setattr(page.updates, "portraits", None)
        with pytest.raises(TypeError):
            drop(page, session, content)
    assert session.moments == before and session.look.subject.source.seed == 3
    page.sentences.slide(session, "strength-1", 1.0)


def test_a_picture_without_a_recipe_keeps_what_was_asked(page: Handlers) -> None:
    session, content = page.visit(), io.BytesIO()
    Image.new("RGB", (32, 32)).save(content, format="PNG")
    drop(page, session, content.getvalue())
    (row,) = session.look.rows
    assert session.look.subject.source.seed is None and row.edit is not None


@pytest.mark.parametrize(("query", "count"), [("&by=optimisation", 1), ("", 0)])
def test_what_a_png_leaves_out_is_said(
    page: Handlers, query: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Info", lambda text, **_: said.append(text))
    session = page.visit("?seed=3&to=a+face+with+<b>+hair" + query)
    page.looking.saved("png")(session)
    expected = "Left out of the PNG, as it waits for Optimise: 'a face with &lt;b&gt; hair'."
    assert said == [expected] * count


# The grid


def test_the_grid_is_of_the_last_sentence_that_asks(page: Handlers) -> None:
    session = page.visit()
    page.sentences.another(session)  # an empty one
    pictures = {item["src"] for item in page.looking.draw(session)["items"]}
    assert len(pictures) > 1
    page.looking.take(session, event(index=3))
    first, empty = session.look.rows
    assert (first.strength, first.threshold) == (4.0, 0.0) and not empty.asks


def test_a_grid_of_no_sentence_says_so(page: Handlers) -> None:
    session = page.visit("?seed=3")
    assert page.looking.draw(session) == {"items": [], "empty": NOTHING}
    assert page.looking.take(session, event(index=3))[0]["note"] == NOTHING
    assert len(session.moments) == 1


@pytest.mark.parametrize("method", ["optimisation", "direction"])
def test_a_picture_of_the_grid_is_a_direction_and_says_so(page: Handlers, method: str) -> None:
    session = page.visit("?seed=3&to=a+face+with+red+hair&strength=1&by=" + method)
    stage = page.looking.take(session, event(index=3))[0]
    assert session.look.rows[0].method == "direction" and stage["sought"]
    assert ("is Direction now." in stage["note"]) is (method != "direction")


def test_work_of_a_sentence_that_went_while_it_waited(page: Handlers) -> None:
    session = page.visit()
    with pytest.raises(gr.Error, match="was removed while"):
        list(page.long.optimise(session, 1))


def test_a_file_that_found_no_place_in_the_queue_is_forgotten(page: Handlers) -> None:
    session = page.visit()
    session.upload = Upload("me.png", b"x")
    assert page.long.refused(session) == {"n": session.version} and session.upload is None
