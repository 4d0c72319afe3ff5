"""What one person has: looks as values, undo as a place in a list, recipes and links as looks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from styleclip.apps.web import session as sessions
from styleclip.apps.web.links import LARGEST_SEED, link_of, wanted_by
from styleclip.apps.web.session import (
    MOST_LOOKS,
    MOST_ROWS,
    Look,
    Row,
    Session,
    Subject,
    kept_by,
    rows_of,
)
from styleclip.checkpoints import SavedMapper
from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError
from styleclip.prompts import PromptPair
from styleclip.recipe import Recipe, Source

RED = "a face with red hair"


def subject(seed: int = 3, **source: Any) -> Subject:
    chosen = Source(**source) if source else Source(seed=seed, truncation=0.7)
    return Subject(chosen, torch.zeros(1, 2, 3), Image.new("RGB", (4, 4)))


def edit(method: str = "direction", **config: Any) -> Edit:
    return Edit(method, PromptPair(RED, "a face"), style_step=torch.ones(1, 5), config=config)


def begun(*titles: str) -> Session:
    session = Session()
    for title in titles:
        session.change(Look(subject(), (Row(title),)))
    return session


# Looks


def test_a_strength_keeps_what_was_found_and_anything_else_does_not() -> None:
    look = Look(subject(), (Row(RED, edit=edit(), mapper=object()),))  # type: ignore[arg-type]
    assert look.with_row(0, strength=2.0).rows[0].edit is look.rows[0].edit
    for change in ({"threshold": 0.2}, {"method": "mapper"}, {"target": "x"}, {"neutral": "y"}):
        assert look.with_row(0, **change).rows[0].edit is None
    assert look.with_row(0, threshold=0.2).rows[0].mapper is not None
    assert look.with_row(0, target="x").rows[0].mapper is None


def test_a_strength_that_is_chosen_needs_not_be_found() -> None:
    look = Look(subject(), (Row(RED, edit=edit(), fits=True),))
    assert not look.with_row(0, strength=0.0).rows[0].fits
    for other in (look.with_keep(["hat"]), look.with_subject(subject(4)),
                  look.with_row(0, threshold=0.2)):  # fmt: skip
        assert other.rows[0].fits


def test_another_picture_keeps_directions_and_asks_mappers_again() -> None:
    rows = tuple(Row(RED, method=each, edit=edit()) for each in sessions.METHODS)
    kept = [row.edit is not None for row in Look(subject(), rows).with_subject(subject(4)).rows]
    assert kept == [True, False, True]
    found = Row(RED, method="mapper", edit=edit("mapper", width=5))  # by the model's own
    foreign = Row(RED, method="mapper", edit=edit("mapper", trained=True))
    here = Row(RED, method="mapper", edit=edit("mapper"), mapper=object())  # type: ignore[arg-type]
    carried = Look(subject(), (*rows, found, foreign, here)).with_subject(subject(4))
    assert [row.carried for row in carried.rows] == [False, True, True, False, True, False]
    assert carried.with_row(4, strength=2.0).with_subject(subject(5)).rows[4].carried
    assert not carried.with_row(4, method="direction").rows[4].carried
    back = carried.with_row(2, strength=2.0).with_subject(subject())  # where it was found
    assert not back.rows[2].carried and back.rows[4].carried
    assert back.with_subject(subject(truncation=0.8)).rows[2].carried
    kept = [row.edit is not None for row in Look(subject(), rows).with_keep(["hat"]).rows]
    assert kept == [False, True, True]


def test_a_mapper_that_was_trained_here_is_recalled_for_edits_of_such_mappers() -> None:
    """Not for one that the model's own mapper found: nothing of it is to change."""
    session, mapper = Session(), SavedMapper(None, (PromptPair(RED, "a face"),))  # type: ignore[arg-type]
    session.remember(Row(RED), mapper)
    found = Row(RED, "a face", method="mapper", edit=edit("mapper", width=5))
    trained = replace(found, edit=edit("mapper", width=5, trained=True))
    asked, direction = Row(RED, method="mapper"), Row(RED, edit=edit())
    look = session.recalled(Look(subject(), (found, trained, asked, direction)))
    assert [row.mapper is mapper for row in look.rows] == [False, True, True, False]


def test_the_stack_has_a_first_and_a_last_row() -> None:
    look = Look(subject())
    for _ in range(MOST_ROWS - 1):
        look = look.with_another_row()
    with pytest.raises(ArgumentError, match="remove one first"):
        look.with_another_row()
    for _ in range(MOST_ROWS + 2):
        look = look.without_row(0)
    assert len(look.rows) == 1 and not look.rows[0].asks
    with pytest.raises(ArgumentError, match="no sentence 2"):
        look.with_row(1, strength=1)


# History


def test_undo_and_redo_stop_at_the_ends() -> None:
    session = begun("a", "b", "c")
    assert [session.undo().rows[0].target for _ in range(3)] == ["b", "a", "a"]
    assert not session.can_undo and session.can_redo
    assert [session.redo().rows[0].target for _ in range(3)] == ["b", "c", "c"]
    assert session.go(0).rows[0].target == "a"


def test_a_change_after_undo_drops_what_was_ahead() -> None:
    session = begun("a", "b", "c")
    session.go(0)
    session.change(Look(subject(), (Row("d"),)))
    assert [each.look.rows[0].target for each in session.moments] == ["a", "d"]


def test_one_drag_is_one_step_until_the_slider_is_let_go() -> None:
    session = begun("a")
    for strength in (1.0, 2.0, 3.0):
        session.change(session.look.with_row(0, strength=strength), "strength 0")
    assert len(session.moments) == 2
    session.settle()
    session.change(session.look.with_row(0, strength=4.0), "strength 0")
    assert len(session.moments) == 3
    assert session.undo().rows[0].strength == 3.0
    assert session.undo().rows[0].strength == 0.0


def test_the_history_is_bounded() -> None:
    session = begun(*(str(i) for i in range(2 * MOST_LOOKS)))
    assert len(session.moments) == MOST_LOOKS and session.look.rows[0].target == "119"


def test_large_pictures_bound_it_sooner() -> None:
    def large() -> Subject:
        return replace(subject(), picture=Image.new("L", (2000, 2000)))

    session, same = Session(), large()
    for i in range(10):
        session.change(Look(same, (Row(str(i)),)))
    assert len(session.moments) == 10  # it is one picture
    for i in range(5):
        session.change(Look(large(), (Row(str(i)),)))
    assert [each.look.rows[0].target for each in session.moments] == ["2", "3", "4"]
    session.change(Look(replace(subject(), picture=Image.new("L", (9000, 9000)))))
    assert len(session.moments) == 1 and session.begun


@given(st.lists(st.one_of(st.just("undo"), st.just("redo"), st.text("ab", min_size=1))))
def test_history_is_what_a_list_says(actions: list[str]) -> None:
    session, looks, at = begun("start"), ["start"], 0
    for action in actions:
        before = session.version
        if action == "undo":
            session.undo()
            at = max(0, at - 1)
        elif action == "redo":
            session.redo()
            at = min(len(looks) - 1, at + 1)
        else:
            session.change(Look(subject(), (Row(action),)))
            looks = [*looks[: at + 1], action][-MOST_LOOKS:]
            at = len(looks) - 1
        assert session.look.rows[0].target == looks[at] and session.version > before


def test_versions_only_grow_so_late_answers_can_be_dropped() -> None:
    session = begun("a", "b")
    seen = [session.version]
    for act in (session.undo, session.redo, lambda: session.change(session.look, "x"),
                lambda: session.complete(lambda look: look)):  # fmt: skip
        act()
        seen.append(session.version)
    assert seen == sorted(set(seen))


def test_what_waits_is_found_for_every_look_and_is_no_step() -> None:
    session = begun("a", "b", "c")
    session.go(1)

    def found(look: Look) -> Look:
        if look.rows[0].target == "c":
            raise ArgumentError("not this one")
        return look.with_row(0, strength=2.0)

    session.complete(found)
    assert [each.look.rows[0].strength for each in session.moments] == [2.0, 2.0, 0.0]
    assert session.at == 1 and len(session.moments) == 3
    session.go(2)
    with pytest.raises(ArgumentError, match="not this one"):
        session.complete(found)


def test_a_copy_for_somebody_else_is_empty() -> None:
    other = copy.deepcopy(begun("mine"))
    assert not other.begun
    with pytest.raises(ArgumentError, match="no picture yet"):
        _ = other.look


def test_the_echo_of_a_text_box_is_not_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suggestion is clicked, and the box that loses the focus tells its old text after it."""
    clock = [100.0]
    monkeypatch.setattr(sessions.time, "monotonic", lambda: clock[0])
    session = begun("old")
    assert session.hears(0, "typed", "")
    session.change(session.look.with_row(0, target="typed"))
    assert not session.hears(0, "typed", "")
    session.change(session.look.with_row(0, target="suggested"))
    assert not session.hears(0, "typed", "")  # the echo
    clock[0] += 60
    assert session.hears(0, "typed", "")  # typed again, a minute later


# Recipes


def test_a_direction_of_the_command_line_is_counted_in_deviations() -> None:
    found = edit(strength=None, strengths=[2.5], threshold=0.1)
    recipe = Recipe("m", {}, Source(seed=1), ((found, 2.0),))
    (row,) = rows_of(recipe)
    assert row.strength == 5.0 and row.threshold == 0.1 and row.method == "direction"
    assert row.edit is not None and row.edit.style_step is not None and found.style_step is not None
    assert torch.allclose(row.strength * row.edit.style_step, 2.0 * found.style_step)
    assert sessions.deviations(row.edit) == 1.0  # saved again, it comes back the same


@pytest.mark.parametrize(
    ("alpha", "fitted"), [(None, [0.0]), (-4.0, None), (3.0, [0.5]), (1, None)]
)
def test_what_a_direction_draws_survives(alpha: float | None, fitted: list[float] | None) -> None:
    found = edit(strength=alpha, strengths=fitted)
    (row,) = rows_of(Recipe("m", {}, Source(seed=1), ((found, 1.5),)))
    assert row.edit is not None and row.edit.style_step is not None and found.style_step is not None
    assert torch.allclose(row.strength * row.edit.style_step, 1.5 * found.style_step)


def test_other_methods_keep_their_strength_and_unknown_ones_are_refused() -> None:
    edits = ((edit("mapper"), 0.5), (edit("optimization"), -1.0))
    rows = rows_of(Recipe("m", {}, Source(seed=1), edits))
    assert [(row.method, row.strength) for row in rows] == [("mapper", 0.5), ("optimisation", -1.0)]
    with pytest.raises(ArgumentError, match="no method 'magic'"):
        rows_of(Recipe("m", {}, Source(seed=1), ((edit("magic"), 1.0),)))
    with pytest.raises(ArgumentError, match="7 edits"):
        rows_of(Recipe("m", {}, Source(seed=1), ((edit(), 1.0),) * 7))
    (empty,) = rows_of(Recipe("m", {}, Source(seed=1)))
    assert not empty.asks


def test_what_directions_leave_alone_comes_back() -> None:
    lists = ["age", "hat"], ["hat", 5, "x" * 500, "glasses"], "age", None
    edits = [(edit(preserve=each), 1.0) for each in lists]
    recipe = Recipe("m", {}, Source(seed=1), (*edits, (edit("mapper", preserve=["no"]), 1.0)))
    assert kept_by(recipe) == ("age", "hat", "glasses")
    alone = Recipe("m", {}, Source(seed=1), preserve=["hat", "age"])  # nothing was found
    assert kept_by(Recipe.from_json(alone.to_json())) == ("hat", "age")
    many = edit(preserve=[str(i) for i in range(1000)])
    assert len(kept_by(Recipe("m", {}, Source(seed=1), ((many, 1.0),)))) == sessions.MOST_KEPT


# Links


@given(
    st.integers(0, LARGEST_SEED),
    st.floats(0, 2).map(lambda x: round(x, 3)),
    st.lists(
        st.builds(
            Row,
            target=st.text(min_size=1, max_size=30).filter(str.strip),
            neutral=st.text(max_size=30),
            method=st.sampled_from(["direction", "mapper"]),
            strength=st.floats(-12, 12).map(lambda x: round(x, 2)),
            threshold=st.none() | st.floats(0, 0.9).map(lambda x: round(x, 2)),
        ),
        max_size=MOST_ROWS,
    ),
    st.lists(st.text(min_size=1, max_size=20), max_size=3),
)
def test_a_link_says_what_it_was_made_from(
    seed: int, truncation: float, rows: list[Row], keep: list[str]
) -> None:
    source = Source(seed=seed, truncation=truncation)
    look = Look(replace(subject(), source=source), tuple(rows) or (Row(),), tuple(keep))
    wanted = wanted_by(link_of(look))
    assert wanted is not None
    assert (wanted.seed, wanted.keep) == (seed, tuple(keep))
    assert wanted.truncation == pytest.approx(truncation, rel=1e-5)
    said = [(r.target, r.neutral, r.method, r.strength, r.threshold) for r in rows]
    assert said == [(r.target, r.neutral, r.method, r.strength, r.threshold) for r in wanted.rows]


@pytest.mark.parametrize("word", ["optimise", "optimisation", "optimize", "optimization"])
def test_links_know_the_command_lines_words_too(word: str) -> None:
    wanted = wanted_by(f"?seed=3&to=a+sad+face&by={word}")
    assert wanted is not None and wanted.rows[0].method == "optimisation"


def test_a_strength_that_a_link_does_not_say_is_the_pictures_own() -> None:
    wanted = wanted_by("?to=a&strength=0&to=b&threshold=0.2")
    assert wanted is not None and [row.fits for row in wanted.rows] == [False, True]


def test_what_does_not_fit_into_a_link_is_refused_with_the_reason() -> None:
    with pytest.raises(ArgumentError, match="dropped here does not fit"):
        link_of(Look(subject(w_plus=torch.zeros(1, 2, 3))))
    with pytest.raises(ArgumentError, match="what optimisation found"):
        link_of(Look(subject(), (Row(RED, method="optimisation"),)))


@pytest.mark.parametrize(
    ("numbers", "truncation", "words"),
    [({"threshold": 0.995}, 0.7, "threshold of 0.995"), ({"strength": 50.0}, 0.7, "strength of 50"),
     ({}, 3.0, "truncation of 3")],
)  # fmt: skip
def test_no_link_is_written_that_would_be_refused(
    numbers: dict[str, Any], truncation: float, words: str
) -> None:
    """What a PNG of the command line brings may be more."""
    person = replace(subject(), source=Source(seed=3, truncation=truncation))
    look = Look(person, (Row(RED, edit=edit(), **numbers),))
    with pytest.raises(ArgumentError, match=f"{words} is too much for a link"):
        link_of(look)


@pytest.mark.parametrize("query", ["", "?", "?utm_source=x", "?by=mapper", "?__theme=dark"])
def test_an_address_without_a_recipe_asks_for_nothing(query: str) -> None:
    assert wanted_by(query) is None


@pytest.mark.parametrize(
    "query",
    [
        "?seed=x", "?seed=-1", "?seed=1e3", "?truncation=nan", "?to=a&strength=inf", "?to=a&by=rm",
        "?to=a&threshold=1", "?" + "&".join(["to=a"] * 6), "?seed=99999999999999999999",
        "?" + "&".join(["x=1"] * 200),
    ],
)  # fmt: skip
def test_a_broken_link_gets_one_sentence(query: str) -> None:
    with pytest.raises(ArgumentError, match="this link"):
        wanted_by(query)
