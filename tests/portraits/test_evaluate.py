"""The evaluation command, whole, on tiny networks; and what the package carries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from styleclip.checkpoints import (
    file_hash,
    load_clip,
    load_encoder,
    load_generator,
    load_identity,
    load_reader,
    save_network,
    tensors_hash,
)
from styleclip.checkpoints.registry import (
    BUILT_IN,
    DESCRIPTION,
    DIRECTIONS,
    ENCODER,
    IDENTITY,
    LATENT_MAP,
    MAPPER,
    READER,
)
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.evaluation.prompts import read_prompt_file
from styleclip.evaluation.report import schema
from styleclip.faces.identity import IdentityConfig, IdentityNetwork
from styleclip.faces.reader import Reader, ReaderConfig
from styleclip.portraits import evaluate as evaluation
from styleclip.portraits import methods as rows
from styleclip.portraits import networks, recipes
from styleclip.portraits.attributes import WORLD_VERSION
from styleclip.portraits.evaluate import PROMPTS, Question, evaluate
from styleclip.portraits.train_reader import reader_config
from styleclip.portraits.training import EVALUATION_SEED, portrait_of_seed

WEIGHTS = BUILT_IN["portraits"]
ROOT = Path(__file__).parents[2]
SHEEP = ReaderConfig((("wool", ("white", "black")), ("hat", ("none", "cap"))), (), 16, (4, 4), 2)


def silent(name: str):
    return lambda step, steps, figures: None


def written(folder: Path) -> Any:
    """``result.json``, if it is as its schema says."""
    result = json.loads((folder / "result.json").read_text())
    jsonschema.validate(result, schema())
    return result


def with_judges(tiny_model: Path, folder: Path, config: ReaderConfig, **extra: Any) -> Path:
    """The tiny model with a reader and an identity network of random weights."""
    shutil.copytree(tiny_model, folder)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        reader, identity = Reader(config), IdentityNetwork(IdentityConfig(16, (8, 8), 4))
    save_network(folder / READER, "reader", config.to_dict(), reader.state_dict())
    save_network(folder / IDENTITY, "identity", identity.config.to_dict(), identity.state_dict())
    description = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps({**description, **extra}))
    return folder


@pytest.fixture
def sheep(tiny_model: Path, tmp_path: Path) -> Path:
    """A model of another world."""
    return with_judges(tiny_model, tmp_path / "sheep", SHEEP)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    rows = [{"text": "black hair", "targets": {"wool": "black"}},
            {"text": "a face with a cap", "targets": {"hat": "cap"}}]  # fmt: skip
    path.write_text(json.dumps({"prompts": rows}))
    return path


# --- what the package carries -------------------------------------------------


def test_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 30e6


def test_a_model_never_lands_on_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="not empty"):
        recipes.export(tmp_path / "work", tmp_path, lambda name: lambda s, n, f: None)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_stage_that_never_ran_cannot_be_taken_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no generator\.pt .* train it first"):
        recipes.steps_done(tmp_path / "generator.pt")


# --- a model of another world -------------------------------------------------


def test_a_model_of_another_world_is_judged_by_its_own_reader(
    sheep: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("nothing", "ceiling", "optimization", "direction", "direction-paper")
    question = Question(model=str(sheep), count=3, methods=methods, prompts=(prompts,))
    told: list[str] = []

    def bar(name: str):
        return lambda step, steps, figures: told.append(f"{name} {step} of {steps}")

    run = tmp_path / "run"
    run.mkdir()
    result = evaluate(question, run, bar)
    assert told == ["inversions 3 of 3", "nothing, mine 1 of 2", "nothing, mine 2 of 2",
                    "optimization, mine 1 of 2", "optimization, mine 2 of 2",
                    "direction, mine 1 of 2", "direction, mine 2 of 2"]  # fmt: skip
    # what needs the truth (the ceiling) or a bank of directions is left out
    assert result["networks"] is None and result["settings"]["world"] is None
    still, moved, directed = result["edits"]
    assert [row["row"] for row in result["edits"]] == ["nothing", "optimization", "direction"]
    assert still["edits"] == moved["edits"] == directed["edits"] == 6
    assert still["kept"]["mean"]["mean"] == 1 and still["order"]["mean"] == 0
    assert still["identity"]["edited"]["mean"] == pytest.approx(1)
    for row in (still, moved):
        assert not {"kept_truth", "kid", "dragged", "outside"} & row.keys()
    assert written(run) == result
    assert "| optimization | 6 |" in (run / "result.md").read_text()
    assert len(list((run / "pictures").glob("*.png"))) == 3

    # the same again: nothing is computed twice
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("this was done before")

    monkeypatch.setattr(evaluation, "project", never)
    monkeypatch.setattr(rows, "optimize", never)
    monkeypatch.setattr(rows, "find_direction", never)
    again = evaluate(question, run, bar)["edits"]
    for row in (*again, still, moved, directed):
        row["seconds"].pop("preparation")  # of this run
    assert again == [still, moved, directed]


def test_a_prompt_that_hides_what_it_asks_for_is_refused(tmp_path: Path) -> None:
    """No portrait shows red hair on a bald head, so none could be drawn to compare with."""
    path = tmp_path / "hidden.json"
    row = {"text": "a bald face with red hair",
           "targets": {"hair_style": "bald", "hair_colour": "red"}}  # fmt: skip
    path.write_text(json.dumps({"about": "x", "neutral": "a face", "prompts": [row]}))
    with pytest.raises(ArgumentError, match="hides the hair_colour that it asks for"):
        evaluate(Question(count=2, prompts=(path,)), tmp_path / "run", silent)


def test_the_committed_figures_are_of_the_shipped_weights() -> None:
    result = json.loads((ROOT / "benchmarks/results/portraits.json").read_text())
    settings = result["settings"]
    assert settings["model"] == tensors_hash(load_generator("portraits").state_dict())
    assert settings["encoder"] == tensors_hash(load_encoder("portraits").state_dict())
    assert settings["reader"] == tensors_hash(load_reader("portraits").state_dict())
    assert settings["clip"] == tensors_hash(load_clip("portraits").model.state_dict())
    assert settings["identity"] == tensors_hash(load_identity("portraits").state_dict())
    for part, file in (
        ("latent map", LATENT_MAP), ("directions", DIRECTIONS), ("mapper", MAPPER),
    ):  # fmt: skip
        assert settings[part] == file_hash(WEIGHTS / file), part
    assert settings["world"] == WORLD_VERSION
    for name, asked in settings["prompts"].items():
        found = read_prompt_file(PROMPTS / f"{name}.json").prompts
        assert asked == [[p.prompt.neutral, p.prompt.target, dict(p.targets)] for p in found], name
    jsonschema.validate(result, schema())


def test_the_committed_figures_are_of_the_settings_that_the_package_has() -> None:
    """A changed default is another method: its row has to be measured again."""
    settings = json.loads((ROOT / "benchmarks/results/portraits.json").read_text())["settings"]
    ours = rows.presets()
    assert settings["presets"].keys() == ours.keys()
    for name, values in ours.items():
        assert settings["presets"][name] == values, name


def test_stopped_inversions_go_on(
    sheep: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Question(model=str(sheep), count=12, methods=("nothing",), prompts=(prompts,))
    real, sizes = evaluation.project, []

    def project(generator: Any, images: torch.Tensor, *arguments: Any) -> torch.Tensor:
        sizes.append(len(images))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return real(generator, images, *arguments)

    monkeypatch.setattr(evaluation, "project", project)
    (tmp_path / "run").mkdir()
    with pytest.raises(KeyboardInterrupt):
        evaluate(question, tmp_path / "run", silent)
    first = torch.load(tmp_path / "run" / "inversions.pt", weights_only=True)
    evaluate(question, tmp_path / "run", silent)
    assert sizes == [10, 2, 2]
    whole = torch.load(tmp_path / "run" / "inversions.pt", weights_only=True)
    assert len(whole) == 12 and torch.equal(whole[:10], first)


def test_force_starts_over_with_other_pictures(sheep: Path, prompts: Path, tmp_path: Path) -> None:
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    questions = [
        Question(model=str(sheep), count=2, methods=("nothing",), prompts=(prompts,), seed=seed)
        for seed in (0, 1)
    ]
    run.mkdir()
    fresh.mkdir()
    evaluate(questions[0], run, silent)
    with pytest.raises(ArgumentError, match="--force"):
        evaluate(questions[1], run, silent)
    evaluate(questions[1], run, silent, force=True)
    evaluate(questions[1], fresh, silent)
    for name in ("pictures/0000.png", "pictures/0001.png"):
        assert (run / name).read_bytes() == (fresh / name).read_bytes(), name
    found, expected = (
        torch.load(each / "inversions.pt", weights_only=True) for each in (run, fresh)
    )
    assert torch.equal(found, expected)


def test_another_encoder_is_another_question(sheep: Path, prompts: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    question = Question(model=str(sheep), count=2, methods=("nothing",), prompts=(prompts,))
    evaluate(question, run, silent)
    encoder = load_encoder(sheep / ENCODER)
    encoder.to_w.bias += 1
    save_network(sheep / ENCODER, "encoder", encoder.config.to_dict(), encoder.state_dict())
    with pytest.raises(ArgumentError, match="other settings"):  # not the inversions of the old one
        evaluate(question, run, silent)


def test_two_files_of_one_name_are_not_mixed(sheep: Path, prompts: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "run").mkdir()
    rows = [{"text": "a face without a hat", "targets": {"hat": "none"}}]
    (tmp_path / "other" / "mine.json").write_text(json.dumps({"prompts": rows}))
    both = (prompts, tmp_path / "other" / "mine.json")
    question = Question(model=str(sheep), count=2, methods=("nothing",), prompts=both)
    with pytest.raises(ArgumentError, match="mine"):
        evaluate(question, tmp_path / "run", silent)


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match=r"no method 'best': choose from nothing, .*-paper"):
        Question(methods=("nothing", "best"))


def test_a_target_that_the_reader_cannot_see_is_refused_at_once(
    sheep: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    question = Question(model=str(sheep), count=2, prompts=(PROMPTS / "plain.json",))
    with pytest.raises(ArgumentError, match="no attribute 'hair_colour': it reads wool, hat"):
        evaluate(question, tmp_path / "run", silent)
    assert not list((tmp_path / "run").iterdir())


def test_a_model_without_a_reader_cannot_be_judged(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'tiny' has no reader\.safetensors"):
        evaluate(Question(model=str(tiny_model), count=2), tmp_path, silent)


# --- the portraits ------------------------------------------------------------


def few(monkeypatch: pytest.MonkeyPatch, renders: int, samples: int) -> None:
    """Fewer pictures wherever networks are judged."""
    identity, held_out = networks.identity_figures, evaluation.held_out
    monkeypatch.setattr(evaluation, "RENDERS", renders)
    monkeypatch.setattr(evaluation, "SAMPLES", samples)
    monkeypatch.setattr(
        networks, "identity_figures", lambda network, _, size: identity(network, 3, size)
    )
    monkeypatch.setattr(
        evaluation,
        "held_out",
        lambda count, first=EVALUATION_SEED: held_out(min(count, 300), first),
    )


def test_the_whole_evaluation_on_tiny_portraits(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import render

    few(monkeypatch, renders=40, samples=40)
    model = with_judges(tiny_model, tmp_path / "model", reader_config(), world=WORLD_VERSION)
    prompts = tmp_path / "mine.json"
    rows = [{"text": "an old face", "targets": {"age": "old"}},
            {"text": "a face with a beanie", "targets": {"hat": "beanie"}}]  # fmt: skip
    prompts.write_text(json.dumps({"prompts": rows}))
    run = tmp_path / "run"
    run.mkdir()
    question = Question(
        model=str(model), count=3, methods=("nothing", "ceiling"), prompts=(prompts,)
    )
    result = evaluate(question, run, silent)

    assert written(run) == result
    assert result["settings"]["world"] == WORLD_VERSION
    assert set(result["networks"]) == {"reader", "generator", "clip", "encoder", "identity"}
    assert result["unknown_words"]["a hipster face"] == ["hipster"]
    still, ceiling = result["edits"]
    assert still["kept"]["mean"]["mean"] == 1 and still["outside"]["outside"]["mean"] == 0
    assert ceiling["row"] == "ceiling" and ceiling["edits"] == 6
    for row in (still, ceiling):
        assert {"kept_truth", "kid", "dragged", "outside", "identity"} <= row.keys()
        assert set(row["identity"]) == {"edited", "another person", "same person, drawn so"}
    # the pictures are the portraits that no training saw, as files
    for i in range(3):
        with Image.open(run / "pictures" / f"{i:04d}.png") as picture:
            expected = render(portrait_of_seed(EVALUATION_SEED + i), 32)
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), expected)
    text = (run / "result.md").read_text()
    for table in (block for block in text.split("\n\n") if block.startswith("|")):
        assert len({line.count("|") for line in table.strip().split("\n")}) == 1, table

    # another row: the networks are not judged again
    def never(*arguments: object) -> None:
        raise AssertionError("this was done before")

    monkeypatch.setattr(evaluation, "network_figures", never)
    more = evaluate(replace(question, methods=("nothing",)), run, silent)
    assert more["networks"] == result["networks"]


def test_without_networks_only_edits_are_judged(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skia")

    def never(*arguments: object) -> None:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(evaluation, "network_figures", never)
    model = with_judges(tiny_model, tmp_path / "model", reader_config(), world=WORLD_VERSION)
    (tmp_path / "run").mkdir()
    files = (PROMPTS / "double.json",)
    question = Question(
        model=str(model), count=2, methods=("nothing",), prompts=files, networks=False
    )
    result = evaluate(question, tmp_path / "run", silent)
    assert result["networks"] is None and result["edits"][0]["edits"] == 4


@pytest.mark.slow
def test_the_whole_evaluation_of_the_built_in_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skia")
    monkeypatch.setattr(evaluation, "RENDERS", 60)
    monkeypatch.setattr(evaluation, "SAMPLES", 80)
    told: list[str] = []

    def bar(name: str):
        def on_step(step: int, steps: int, figures: Mapping[str, float]) -> None:
            if step == steps:
                told.append(name)

        return on_step

    question = Question(count=4, methods=("nothing", "optimization"))
    result = evaluate(question, tmp_path, bar)
    rows = [f"{method}, {file}" for method in question.methods
            for file in ("plain", "novel", "double")]  # fmt: skip
    assert told == ["inversions", "networks", *rows]
    assert written(tmp_path) == result
    assert {"result.md", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    for text, words in result["unknown_words"].items():
        assert words, text

    # figures far below the ones in the card mean that something broke
    found = result["networks"]
    assert found["reader"]["on renders"]["mean"] > 0.97
    assert found["clip"]["zero-shot on renders"]["mean"] > 0.85
    assert found["generator"]["inversion PSNR (median dB)"] > 22
    assert found["generator"]["confidence"]["ratio"] > 0.9
    assert found["encoder"]["after refinement"]["unchanged"]["mean"] > 0.9
    assert found["identity"]["AUC"] > 0.9

    named = {(row["row"], row["file"]): row for row in result["edits"]}
    assert list(named) == [tuple(row.split(", ")) for row in rows]
    for file in ("plain", "novel", "double"):
        still, edited = named["nothing", file], named["optimization", file]
        assert still["edits"] == edited["edits"] == 8  # four pictures, two prompts each
        assert still["success"]["mean"] == 0 and still["kept"]["mean"]["mean"] == 1
        assert edited["kept"]["mean"]["mean"] > 0.8
        assert edited["identity"]["edited"]["mean"] > 0.5
    assert named["optimization", "plain"]["success"]["mean"] > 0.4
    assert named["optimization", "plain"]["order"]["mean"] > 0.5
