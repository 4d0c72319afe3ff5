"""One model for everybody: pictures, edits, files and long work, without a browser."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from styleclip import images
from styleclip.apps.web import engine as engines
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.jobs import Job, StoppedError
from styleclip.apps.web.saving import gif, latent, png, save_file
from styleclip.apps.web.session import METHODS, Look, Row
from styleclip.errors import ArgumentError, ImageError, PromptError, StyleclipError
from styleclip.recipe import Recipe
from styleclip.studio import Studio

RED = Row("a face with red hair", strength=3.0)


def pixels(picture: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(picture, dtype=np.int16)


def result_of(job: Job[Any]) -> Any:
    list(job)
    return job.result


def look_of(engine: Engine, *rows: Row, seed: int = 1) -> Look:
    return Look(engine.person(seed, 0.7), rows or (Row(),))


def test_a_seed_is_a_person_before_any_word_is_understood(tiny_model: Path) -> None:
    engine = Engine(Studio.load(tiny_model))
    one, same, other = engine.person(1, 0.7), engine.person(1, 0.7), engine.person(2, 0.7)
    assert (pixels(one.picture) == pixels(same.picture)).all()
    assert (pixels(one.picture) != pixels(other.picture)).any()
    assert not engine.knows_text and "embedder" not in vars(engine.studio)


def test_a_broken_clip_is_told_to_who_asks_and_pictures_go_on(tiny_model: Path) -> None:
    studio = Studio.load(tiny_model)
    studio.model = replace(studio.model, neutral="")
    engine = Engine(studio)
    vars(engine.studio)["generator"] = engine.studio.generator
    broken = type("Broken", (Studio,), {"embedder": property(lambda _: 1 / 0)})
    engine.studio.__class__ = broken
    engine.start()
    with pytest.raises(ZeroDivisionError):
        engine.wait_for_text()
    assert engine.person(1, 0.7).picture.size == (32, 32)


def test_strength_scales_what_a_direction_draws(engine: Engine) -> None:
    look = engine.found(look_of(engine, RED))
    (edit, strength), = look.edits  # fmt: skip
    assert strength == 3.0 and edit.config["strength"] == 1.0
    nothing = engine.picture(look.with_row(0, strength=0.0))
    assert (pixels(nothing) == pixels(look.subject.picture)).all()
    assert (pixels(engine.picture(look)) != pixels(nothing)).any()
    expected = engine.studio.render(look.subject.w_plus, edit, 3.0)
    assert (pixels(images.to_picture(expected)) == pixels(engine.picture(look))).all()


def test_a_direction_is_found_once_for_everybody(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(RED, target="a face with blue hair")
    first = engine.found(look_of(engine, row)).rows[0].edit
    monkeypatch.setattr(engine.studio, "direction", None)
    assert engine.found(look_of(engine, row, seed=9)).rows[0].edit is first


def test_what_is_remembered_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MOST_DIRECTIONS", 3)
    for threshold in (0.0, 0.001, 0.002, 0.003, 0.004):
        engine.direction(replace(RED, threshold=threshold), ())
    assert len(engine._directions) == 3


def test_what_a_direction_depends_on_makes_another(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("styleclip.editing.directions.LEAST_LEFT", 0.0)  # CLIP is random
    plain = engine.direction(RED, ())
    others = [
        engine.direction(replace(RED, threshold=0.0), ()),
        engine.direction(replace(RED, neutral="an old face"), ()),
        engine.direction(RED, ("glasses",)),
    ]
    for other in others:
        assert other is not plain
    assert str(others[1].prompt) == "an old face -> a face with red hair"


def test_the_fitted_strength_is_the_command_lines(engine: Engine) -> None:
    from styleclip import DirectionConfig

    look = look_of(engine, RED)
    edit = engine.studio.edit(look.subject.w_plus, RED.target, DirectionConfig())
    assert engine.fitted(look, 0) == round(edit.config["strengths"][0], 1)


def test_a_sentence_that_says_nothing_new_is_refused(engine: Engine) -> None:
    with pytest.raises(PromptError, match="nothing would change"):
        engine.found(look_of(engine, Row("a face")))
    assert engine.found(look_of(engine, Row("  "))).edits == []


def test_a_mapper_that_is_not_there_is_named(engine: Engine) -> None:
    with pytest.raises(ArgumentError, match="brings no mapper: train one"):
        engine.found(look_of(engine, replace(RED, method="mapper")))


def test_unknown_words_are_notes_and_no_warnings(engine: Engine) -> None:
    look = look_of(engine, Row("a frobnicated face with red hair", strength=1.0))
    (note,) = engine.notes(engine.found(look))
    assert "'frobnicated'" in note
    assert engine.notes(look_of(engine)) == []


@pytest.mark.parametrize(
    ("methods", "heeded"), [(["optimisation"] * 2, False), (["optimisation", "direction"], True)]
)
def test_what_must_stay_is_said_to_be_for_directions(
    engine: Engine, methods: list[Any], heeded: bool
) -> None:
    look = look_of(engine, *(replace(RED, method=each) for each in methods))
    notes = engine.notes(replace(look, keep=("glasses",)))
    assert any("only directions leave alone" in note for note in notes) is not heeded
    assert not any("only directions" in note for note in engine.notes(look))


def test_optimising_shows_every_step_and_can_be_stopped(engine: Engine) -> None:
    look = look_of(engine, replace(RED, method="optimisation"))
    assert engine.found(look).edits == []  # not by itself
    job = engine.optimise(look, 0, threading.Event())
    news = list(job)
    assert news[-1].step >= 1 and str(news[-1].picture).startswith("data:image/jpeg;base64,")
    assert job.result.method == "optimization"
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        list(engine.optimise(look, 0, stop))
    with engine.turns:  # given back
        pass


def test_a_trained_mapper_edits_any_picture(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from styleclip.editing.mapper_training import TrainingConfig

    quick = TrainingConfig(steps=2, batch=2, check_every=1, held_out=2)
    monkeypatch.setattr(TrainingConfig, "of", classmethod(lambda *_: quick))
    monkeypatch.setattr(engines, "TRAINING_LATENTS", 8)
    monkeypatch.setattr(engines, "PREVIEW_EVERY", 1)
    look = look_of(engine, RED)
    job = engine.train(look, 0, threading.Event())
    news = list(job)
    assert news[-1].step == 2 and news[-1].picture is not None
    trained = replace(RED, method="mapper", mapper=job.result)
    (edit, _), = engine.found(look_of(engine, trained, seed=4)).edits  # fmt: skip
    assert edit.method == "mapper"


def test_a_training_lets_others_in_and_stops_before_its_first_step(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large generator the pictures to learn from take minutes, and a step seconds."""
    stop, pass_on = threading.Event(), engine.turns.pass_on

    def passing() -> None:
        pass_on()
        stop.set()

    monkeypatch.setattr(engines, "TRAINING_LATENTS", 8)
    monkeypatch.setattr(engine.turns, "pass_on", passing)
    job, steps = engine.train(look_of(engine, RED), 0, stop), list[int]()

    def watch() -> None:
        for news in job:
            steps.append(news.step)

    with pytest.raises(StoppedError):
        watch()
    assert stop.is_set() and set(steps) <= {0}


# Files


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_picture_is_opened_as_the_look_it_was(
    engine: Engine, tmp_path: Path, method: str
) -> None:
    row = replace(RED, strength=1.5, method="direction")
    look = engine.found(look_of(engine, row))
    (edit, _), = look.edits  # fmt: skip
    name = {"optimisation": "optimization"}.get(method, method)
    look = replace(look, rows=(replace(row, method=method, edit=replace(edit, method=name)),))
    path = tmp_path / "saved.png"
    path.write_bytes(png(engine, look))
    opened, note = result_of(engine.opened(path, threading.Event()))
    assert "recipe" in note
    (back,) = opened.rows
    assert (back.target, back.method, back.strength) == (RED.target, method, 1.5)
    assert np.abs(pixels(engine.picture(opened)) - pixels(engine.picture(look))).max() <= 1
    assert opened.subject.source.seed == 1


def test_a_picture_without_a_recipe_is_inverted(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "me.jpg"
    Image.linear_gradient("L").resize((80, 60)).convert("RGB").save(path)
    job = engine.opened(path, threading.Event())
    steps = [news.step for news in job]
    look, note = job.result
    assert max(steps) > 1 and "centre square" in note
    assert look.subject.source.w_plus.shape == look.subject.w_plus.shape
    assert look.subject.original is not None and look.edits == []


def test_a_recipe_that_lies_is_not_used(engine: Engine, tmp_path: Path) -> None:
    look = look_of(engine)
    recipe = engine.studio.recipe(look.subject.source).to_json()
    path = tmp_path / "lie.png"
    path.write_bytes(images.png_bytes(Image.new("RGB", (32, 32), "red"), recipe))
    opened, note = result_of(engine.opened(path, threading.Event()))
    assert "Its recipe was not used: it was changed after it was made" in note
    assert opened.subject.source.w_plus is not None


def test_files_are_refused_in_a_sentence_that_names_no_folder(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, large = tmp_path / "bad.png", tmp_path / "large.png"
    bad.write_text("words")
    Image.new("RGB", (60, 60)).save(large)
    monkeypatch.setattr(engines, "UPLOAD_PIXELS", 3599)
    for path, words in ((bad, "not a picture"), (large, "60 x 60")):
        with pytest.raises(ImageError, match=words) as caught:
            list(engine.opened(path, threading.Event()))
        assert str(tmp_path) not in str(caught.value)


def test_what_is_saved_is_what_is_shown(engine: Engine) -> None:
    look = engine.found(look_of(engine, RED))
    picture = Image.open(io.BytesIO(png(engine, look)))
    assert (pixels(picture) == pixels(engine.picture(look))).all()
    assert np.load(io.BytesIO(latent(look))).shape == tuple(look.subject.w_plus.shape)
    assert Image.open(io.BytesIO(gif(engine, look))).n_frames > 10  # type: ignore[attr-defined]
    name, data = save_file(engine, look, "png")
    assert name == "seed-1-a-face-with-red-hair.png"
    assert data.startswith("data:image/png;base64,")


def test_a_recipe_replays_elsewhere(engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    look = engine.found(look_of(engine, RED))
    path = tmp_path / "saved.png"
    path.write_bytes(png(engine, look))
    recipe = Recipe.from_json(images.read_recipe(path))
    again = images.to_picture(Studio.load(tiny_model).replay(recipe))
    assert np.abs(pixels(again) - pixels(engine.picture(look))).max() <= 1


def test_many_threads_get_their_own_pictures(engine: Engine) -> None:
    """The load on the engine alone: nothing is lost, nothing is mixed up."""
    seeds = list(range(12))
    expected = {seed: pixels(engine.person(seed, 0.7).picture) for seed in seeds}
    wrong, failures = list[int](), list[StyleclipError]()

    def ask(seed: int) -> None:
        try:
            for _ in range(3):
                found = engine.found(look_of(engine, replace(RED, strength=0.0), seed=seed))
                if (pixels(engine.picture(found)) != expected[seed]).any():
                    wrong.append(seed)
        except StyleclipError as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not failures
    assert torch.is_grad_enabled()
