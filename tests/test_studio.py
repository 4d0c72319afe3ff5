"""The facade: sample, open, edit, render, recipes that make the same pixels again."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from styleclip import images
from styleclip.checkpoints import (
    SavedMapper,
    load_clip,
    load_edit,
    load_tuning,
    save_edit,
    save_tuning,
)
from styleclip.editing import directions
from styleclip.editing.directions import DirectionConfig
from styleclip.editing.edit import Edit, moved_channels
from styleclip.editing.mapper_training import TrainingConfig, new_mapper
from styleclip.editing.optimization import OptimizationConfig
from styleclip.errors import (
    ArgumentError,
    CheckpointError,
    ImageError,
    PromptError,
    StyleclipError,
)
from styleclip.faces.landmarks import Landmarks
from styleclip.inversion.tuning import Tuning, TuningConfig
from styleclip.prompts import PromptPair, template_sentences
from styleclip.recipe import Recipe, Source
from styleclip.studio import PromptWarning, Studio

PROMPT = "a face -> a face with red hair"
QUICK = replace(OptimizationConfig(), steps=2)
EDIT = Edit("direction", PromptPair("a face with red hair", "a face"))


@pytest.fixture(scope="module")
def studio(tiny_model: Path) -> Studio:
    return Studio.load(tiny_model)


@pytest.fixture(scope="module")
def edit(studio: Studio) -> Edit:
    return studio.edit(studio.sample(3), PROMPT, QUICK)


def test_a_seed_is_a_picture(studio: Studio) -> None:
    assert torch.equal(studio.sample(3), studio.sample(3))
    assert not torch.equal(studio.sample(3), studio.sample(4))
    mean = studio.sample(3, truncation=0)
    assert torch.allclose(mean, studio.generator.w_average.expand_as(mean))


def test_open_takes_files_pil_and_tensors(studio: Studio, tmp_path: Path) -> None:
    size = studio.generator.resolution
    picture = images.to_picture(studio.render(studio.sample(1)))
    images.save_image(tmp_path / "a.png", picture)
    tensor = images.to_tensor(picture)
    opened = [studio.open(each, refine=0) for each in (tmp_path / "a.png", picture, tensor)]
    assert opened[0].shape == studio.sample(1).shape
    assert all(torch.equal(each, opened[0]) for each in opened)
    wide = torch.zeros(1, 3, size, 2 * size)
    assert studio.square(wide).shape == (1, 3, size, size)


def test_refinement_comes_nearer(studio: Studio) -> None:
    image = studio.render(studio.sample(5))

    def error(steps: int) -> float:
        return float((studio.render(studio.open(image, refine=steps)) - image).square().mean())

    assert error(5) < error(0)


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CLIP of random weights finds all texts alike, so little is left beside what must stay."""
    monkeypatch.setattr(directions, "LEAST_LEFT", 0.0)


def test_methods_by_the_words_of_the_command_line(studio: Studio, lenient: None) -> None:
    w_plus, text = studio.sample(3), "a face with red hair"
    settings = DirectionConfig(threshold=0.05, strength=2.0)
    expected = studio.edit(w_plus, text, settings, preserve=["glasses"])
    found = studio.edit(
        w_plus, text, method="direction", threshold=0.05, alpha=2.0, preserve="glasses"
    )
    assert found.config == expected.config and found.style_step is not None
    assert torch.equal(found.style_step, expected.style_step)  # type: ignore[arg-type]
    again = studio.edit(w_plus, text, replace(settings, threshold=0.2), threshold=0.05)
    assert again.config["threshold"] == 0.05
    for word in ("optimize", "optimise", "optimisation"):
        assert studio.edit(w_plus, text, QUICK, method=word).method == "optimization"
    assert studio.edit(w_plus, text, method="direction").config["strength"] is None


def test_the_models_own_mapper_by_its_word(tiny_model: Path) -> None:
    studio = Studio.load(tiny_model)
    network = new_mapper(
        studio.generator, studio.samples(4), studio.embedder,
        TrainingConfig.of("text"), studio.latent_map,
    )  # fmt: skip
    studio.mapper = SavedMapper(network.eval().requires_grad_(False))
    edit = studio.edit(studio.sample(3), "a face with red hair", method="mapper")
    assert edit.method == "mapper" and "trained" not in edit.config
    another = studio.edit(studio.sample(3), "a face with red hair", SavedMapper(network))
    assert another.config == {**edit.config, "trained": True}


def test_a_text_of_names_is_read_by_commas_not_by_letters(studio: Studio, lenient: None) -> None:
    by_list = studio.direction(PROMPT, preserve=["glasses", "a beard"])
    by_text = studio.direction(PROMPT, preserve="glasses, a beard")
    assert by_text.config == by_list.config
    assert by_text.config["preserve"] == ["glasses", "a beard"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"config": "mapper"}, "got 'mapper': give method='direction'"),
        ({"method": "magic"}, "no method 'magic': choose direction, mapper or optimize"),
        ({"method": 3}, "no method 3"),
        ({"method": "mapper", "config": QUICK}, "two methods"),
        ({"threshold": 0.1}, "threshold belongs to method='direction'"),
        ({"method": "mapper", "alpha": 3.0}, "alpha belongs to method='direction'"),
        ({"method": "direction", "threshold": 2.0}, "threshold must be"),
        ({"preserve": "glasses"}, "only directions can preserve"),
        ({"method": "direction", "preserve": [3]}, "named by texts"),
    ],
)
def test_options_that_do_not_go_together(
    studio: Studio, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        studio.edit(studio.sample(3), PROMPT, **options)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda it: it.sample(-1), "a seed is a whole number .* got -1"),
        (lambda it: it.sample(1.5), "a seed is a whole number .* got 1.5"),
        (lambda it: it.sample("x"), "a seed is a whole number .* got 'x'"),
        (lambda it: it.sample(1, truncation=math.nan), "truncation must be a finite number"),
        (lambda it: it.sample(1, "x"), "truncation must be a finite number, got 'x'"),
        (lambda it: it.samples(0), "count is a whole number, at least 1, got 0"),
        (lambda it: it.open(Image.new("RGB", (8, 8)), refine=-1), "refine .* at least 0, got -1"),
        (lambda it: it.open(7), "a picture is a file, PIL or a tensor"),
        (lambda it: it.open(torch.zeros(2, 3, 8, 8)), r"the shape \[1,3,H,W\], got \[2, 3, 8, 8"),
        (lambda it: it.edit("file.png", PROMPT), "latent is a tensor .* got 'file.png': give what"),
        (lambda it: it.edit(it.sample(1)[0], PROMPT), "latent has the shape"),
        (lambda it: it.edit(it.sample(1) * math.nan, PROMPT), "not finite"),
        (lambda it: it.edit(it.sample(1), 5), "a prompt is a sentence"),
        (lambda it: it.render("file.png"), "latent is a tensor"),
        (lambda it: it.render(it.sample(1)[:, :1]), "latent has the shape"),
        (lambda it: it.render(it.sample(1), [EDIT]), r"a list of \(edit, strength\).* a Edit in"),
        (lambda it: it.render(it.sample(1), "x"), r"a list of \(edit, strength\)"),
        (lambda it: it.render(it.sample(1), [(EDIT, "x")]), "a strength must be a finite number"),
        (lambda it: it.render(it.sample(1), EDIT, None), "strength must be a finite number"),
        (lambda it: it.tune(Image.new("RGB", (8, 8)), "x"), "latent is a tensor"),
        (lambda it: Studio(it.model, "cuda:99"), "no device 'cuda:99' on this machine"),
        (lambda it: Studio(it.model, "abacus"), "no device 'abacus' on this machine"),
        (lambda it: Studio(it.model, "cpu:x"), "no device 'cpu:x' on this machine"),
    ],
)
def test_nonsense_gets_one_sentence(
    studio: Studio, wrong: Callable[[Studio], Any], words: str
) -> None:
    with pytest.raises(StyleclipError, match=words) as error:
        wrong(studio)
    assert "\n" not in str(error.value)


def test_devices_by_their_words(studio: Studio) -> None:
    assert Studio(studio.model, "cpu:0").device == torch.device("cpu:0")
    assert Studio(studio.model, torch.device("cpu")).device == torch.device("cpu")
    assert Studio(studio.model, "auto").device.type in ("cpu", "cuda", "mps")


def test_without_an_encoder(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "encoder.safetensors").unlink()
    studio = Studio.load(tmp_path / "model")
    image = studio.render(studio.sample(5))
    assert studio.open(image, refine=1).shape == studio.sample(5).shape
    with pytest.raises(ArgumentError, match="has no encoder"):
        studio.open(image, refine=0)
    with pytest.raises(ArgumentError, match="has no encoder"):
        studio.hashes("encoder")


def test_strength(studio: Studio, edit: Edit) -> None:
    w_plus = studio.sample(3)
    plain = studio.render(w_plus)
    assert torch.equal(studio.render(w_plus, edit, strength=0), plain)
    assert not torch.equal(studio.render(w_plus, edit), plain)
    twice = studio.render(w_plus, edit, strength=2)
    assert torch.allclose(studio.render(w_plus, [(edit, 0.5), (edit, 1.5)]), twice, atol=1e-5)


def test_the_channels_that_an_edit_moves(studio: Studio, edit: Edit) -> None:
    mean, std = studio.style_statistics
    assert mean.shape == std.shape == (studio.generator.layout.size,)
    w_plus = studio.sample(3)
    found = moved_channels(studio.generator, w_plus, edit, 1.5, count=5, std=std)
    assert len(found) == 5
    column = studio.generator.layout.column(str(found[0]))
    style = edit.apply(studio.generator, w_plus, 1.5) - studio.generator.affine(w_plus)
    assert column == int((style[0] / std).abs().argmax())
    assert found[0].deviations == pytest.approx(float(style[0, column] / std[column]), rel=1e-4)


def test_prompts(studio: Studio) -> None:
    assert studio.prompt("a sad face") == PromptPair(target="a sad face", neutral="a face")
    assert studio.prompt(PROMPT) == PromptPair(target="a face with red hair", neutral="a face")
    for empty in ("", "  ", "->", "a face ->"):
        with pytest.raises(PromptError, match="empty"):
            studio.prompt(empty)
    nameless = Studio(replace(studio.model, neutral=""))
    with pytest.raises(PromptError, match="neutral -> target"):
        nameless.prompt("a sad face")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a face with red hair", None),
        ("a Face with RED hair.", None),
        ("a face with gargantuan red hair", "never learned the words 'gargantuan' and ignores"),
        ("a face with gargantuan wings", "knows nothing about 'a face with gargantuan wings'"),
    ],
)
def test_words_that_the_model_does_not_know(
    studio: Studio, target: str, expected: str | None
) -> None:
    found = studio.prompt_warnings(PromptPair(target=target, neutral="a face"))
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1 and expected in found[0]


def test_editing_warns(studio: Studio) -> None:
    with pytest.warns(PromptWarning, match="'wings'"):
        studio.edit(studio.sample(1), "a face with wings", QUICK)


def test_a_recipe_makes_the_same_pixels(studio: Studio, edit: Edit, tiny_model: Path) -> None:
    for source in (Source(seed=3, truncation=0.7), Source(w_plus=studio.sample(8))):
        image = studio.render(studio.latents(source), [(edit, 1.25)])
        text = json.dumps(studio.recipe(source, [(edit, 1.25)]).to_json())
        again = Studio.load(tiny_model).replay(Recipe.from_json(json.loads(text)))
        assert torch.equal(image, again)


def test_a_recipe_of_other_weights(studio: Studio) -> None:
    recipe = replace(studio.recipe(Source(seed=1)), hashes={"generator": "0" * 64})
    with pytest.raises(ArgumentError, match="other weights"):
        studio.replay(recipe)


def damaged(values: Any, *keys: str | int, to: Any) -> Any:
    """A copy of JSON values with one of them replaced."""
    copy = json.loads(json.dumps(values))
    place = copy
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return copy


def test_damaged_recipes(studio: Studio, edit: Edit) -> None:
    values = studio.recipe(Source(w_plus=studio.sample(8)), [(edit, 1.0)]).to_json()
    assert Recipe.from_json(values).to_json() == values
    with pytest.raises(ImageError, match="version 2"):
        Recipe.from_json(damaged(values, "version", to=2))
    latent = values["source"]["w_plus"]
    for wrong in (
        damaged(values, "edits", to=3),
        damaged(values, "hashes", to=[]),
        damaged(values, "source", to={"noise": "const", "seed": "x", "truncation": 1}),
        damaged(values, "source", to={"noise": "const", "seed": 2**63, "truncation": 1}),
        damaged(values, "source", "noise", to="random"),
        damaged(values, "edits", 0, "strength", to=float("nan")),
        damaged(values, "source", "w_plus", "shape", to=[1, 2, 3]),
        damaged(values, "source", "w_plus", "shape", to=[10**6, 10**6]),
        damaged(values, "source", "w_plus", "shape", to=[]),
        damaged(values, "source", "w_plus", "float32", to="%%%"),
        damaged(values, "source", "w_plus", "float32", to=latent["float32"][:-8]),
        damaged(values, "photo", to=3),
        damaged(values, "photo", to={"corners": [[0, 0]] * 3}),
        damaged(values, "photo", to={"corners": [[0, 0]] * 3 + [[1]]}),
        damaged(values, "photo", to={"corners": [[0, 0]] * 3 + [[0, "inf"]]}),
    ):
        with pytest.raises(ImageError, match="not complete"):
            Recipe.from_json(wrong)


def test_a_recipe_of_a_square_in_a_photo(studio: Studio) -> None:
    corners = [(0.5, 1.0), (20.0, 1.0), (20.0, 21.0), (0.5, 21.0)]
    recipe = replace(studio.recipe(Source(seed=3)), corners=corners)
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again.corners == corners
    assert "photo" not in studio.recipe(Source(seed=3)).to_json()
    picture = images.to_picture(studio.replay(recipe))
    assert "recipe of one square" in studio.recalls(again, picture)


def test_the_square_of_a_photo(studio: Studio, tmp_path: Path) -> None:
    """The tiny model is of no faces: the centre, as ``square`` takes it, and no landmarks."""
    path = tmp_path / "wide.png"
    Image.linear_gradient("L").resize((80, 60)).save(path)
    assert studio.template is None
    square = studio.align(path)
    assert torch.equal(square.image, studio.square(path))
    assert square.corners[0] == pytest.approx((9.5, -0.5))
    face = Landmarks((20, 20), (40, 20), (24, 40), (36, 40))
    with pytest.raises(ArgumentError, match="states no alignment"):
        studio.align(path, face)


def test_saved_edits(studio: Studio, edit: Edit, tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    studio.save_edit(path, edit)
    again = studio.load_edit(path)
    assert again.prompt == edit.prompt and again.config == edit.config
    w_plus = studio.sample(4)  # another picture than it was found on
    assert torch.equal(studio.render(w_plus, again), studio.render(w_plus, edit))


def test_an_edit_of_other_weights(studio: Studio, edit: Edit, tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    save_edit(path, edit, generator_hash="0123456789abcdef" * 4)
    ours = studio.hashes("generator")["generator"][:12]
    expected = f"expected generator 0123456789ab, but the model 'tiny' has {ours}"
    stranger = load_edit(path)
    for refused in (
        lambda: studio.load_edit(path),
        lambda: studio.render(studio.sample(1), stranger),
        lambda: studio.save_edit(path, stranger),
    ):
        with pytest.raises(CheckpointError, match=expected):
            refused()


def test_a_recipe_recalls_its_picture(studio: Studio) -> None:
    recipe = studio.recipe(Source(seed=2))
    picture = images.to_picture(studio.replay(recipe))
    assert studio.recalls(recipe, picture) == ""
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for other in (mirrored, picture.resize((8, 8))):
        assert "was changed" in studio.recalls(recipe, other)
    strange = replace(recipe, hashes={"generator": "0" * 64})
    assert "other weights" in studio.recalls(strange, picture)


@pytest.fixture(scope="module")
def strange(studio: Studio) -> tuple[torch.Tensor, torch.Tensor, Tuning]:
    """A picture that the model cannot draw, where it finds it, and what makes it draw it."""
    image = studio.render(studio.sample(5)).clamp(-1, 1)
    image[:, :, 8:16, 8:16] = 0.9
    w_plus = studio.open(image, refine=3)
    return image, w_plus, studio.tune(image, w_plus, TuningConfig(steps=15, rate=1e-4))


def error(studio: Studio, w_plus: torch.Tensor, image: torch.Tensor) -> float:
    return float((studio.render(w_plus) - image).square().mean())


def test_a_tuned_studio(
    studio: Studio, edit: Edit, strange: tuple[torch.Tensor, torch.Tensor, Tuning], tmp_path: Path
) -> None:
    image, w_plus, tuning = strange
    plain, weights = studio.render(w_plus), studio.hashes("generator")
    tuned = studio.tuned(tuning)
    assert error(tuned, w_plus, image) < 0.9 * error(studio, w_plus, image)
    # the model itself stays, networks are shared, and edits fit both
    assert torch.equal(studio.render(w_plus), plain) and tuned.hashes("generator") == weights
    assert tuned.embedder is studio.embedder and tuned.encoder is studio.encoder
    studio.save_edit(tmp_path / "e.safetensors", edit)
    assert tuned.render(w_plus, tuned.load_edit(tmp_path / "e.safetensors")).shape == image.shape
    # it knows the latent of its own picture
    assert torch.equal(tuned.open(image), w_plus)
    assert tuned.pivot(-image) is None and studio.pivot(image) is None
    for refused in (lambda: tuned.tuned(tuning), lambda: tuned.tune(image, w_plus)):
        with pytest.raises(ArgumentError, match="tuned already"):
            refused()


def test_saved_tunings(
    studio: Studio, strange: tuple[torch.Tensor, torch.Tensor, Tuning], tmp_path: Path
) -> None:
    _, w_plus, tuning = strange
    path = tmp_path / "t.safetensors"
    studio.save_tuning(path, tuning)
    again = studio.load_tuning(path)
    assert torch.equal(studio.tuned(again).render(w_plus), studio.tuned(tuning).render(w_plus))
    assert studio.tuned(again).hashes("tuning") == studio.tuned(tuning).hashes("tuning")
    save_tuning(path, tuning, "0123456789abcdef" * 4)
    for refused in (
        lambda: studio.load_tuning(path),
        lambda: studio.tuned(load_tuning(path)),
        lambda: studio.save_tuning(path, load_tuning(path)),
    ):
        with pytest.raises(CheckpointError, match="expected 0123456789ab, but the model 'tiny'"):
            refused()


def test_recipes_know_their_tuning(
    studio: Studio, strange: tuple[torch.Tensor, torch.Tensor, Tuning]
) -> None:
    _, w_plus, tuning = strange
    tuned = studio.tuned(tuning)
    recipe = Recipe.from_json(tuned.recipe(Source(w_plus=w_plus)).to_json())
    picture = images.to_picture(tuned.replay(recipe))
    assert tuned.recalls(recipe, picture) == ""
    assert "drawn by a tuned generator" in studio.recalls(recipe, picture)
    with pytest.raises(ArgumentError, match=r"drawn by a tuned generator .* with --tuning"):
        studio.replay(recipe)
    with pytest.raises(ArgumentError, match="made without a tuning"):
        tuned.replay(studio.recipe(Source(seed=1)))
    strange_one = replace(recipe, hashes={**recipe.hashes, "tuning": "0" * 64})
    with pytest.raises(ArgumentError, match=r"another tuning \(expected 000000000000, got"):
        tuned.replay(strange_one)


def test_loading_is_silent_and_local(
    tiny_model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    from transformers.utils import logging

    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_: print("asked for", words))
    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    embedder = Studio.load(tiny_model).embedder
    with pytest.raises(PromptError, match="too long"):
        embedder.embed_texts(["red " * 200])
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_unknown_model() -> None:
    with pytest.raises(CheckpointError, match="portraits"):
        Studio.load("nonsense")


@pytest.mark.parametrize("stated", ["imagenet", ["a photo of a {}.", "the {}"]])
def test_a_model_states_the_sentences_of_its_clip(
    tiny_model: Path, tmp_path: Path, stated: str | list[str]
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**description, "templates": stated}))
    wanted = template_sentences(stated)  # type: ignore[arg-type]
    embedder = Studio.load(folder).embedder
    assert embedder.templates == wanted == load_clip(folder).templates
    one = load_clip(folder, templates=["{}"])
    rows = one.embed_texts([each.replace("{}", "hat") for each in wanted])
    mean = torch.nn.functional.normalize(rows.mean(dim=0), dim=0)
    torch.testing.assert_close(embedder.embed_texts(["hat"])[0], mean)
    (folder / "model.json").write_text(json.dumps({**description, "templates": ["photo"]}))
    with pytest.raises(CheckpointError, match=r"model.json: .* exactly one \{\}"):
        Studio.load(folder).embedder  # noqa: B018
