"""The evaluation command, whole, on two portraits; and what the package carries."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from styleclip.checkpoints.registry import BUILT_IN
from styleclip.errors import ArgumentError
from styleclip.portraits import recipes
from styleclip.portraits.attributes import ATTRIBUTES
from styleclip.portraits.captions import VOCABULARY
from styleclip.portraits.evaluate import PROMPTS, as_text, evaluate

WEIGHTS = BUILT_IN["portraits"]


def test_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 15e6


def test_prompts_ask_for_ten_attributes_in_known_words() -> None:
    names = {attribute.name: attribute.values for attribute in ATTRIBUTES}
    assert len({name for _, name, _ in PROMPTS}) == 10
    for text, name, value in PROMPTS:
        assert value in names[name]
        assert set(text.split()) <= set(VOCABULARY)


@pytest.mark.slow
def test_the_whole_evaluation_on_two_portraits() -> None:
    pytest.importorskip("skia")
    told: list[tuple[str, int, int]] = []
    result = evaluate("portraits", 2, ["default"], lambda n: lambda s, t, f: told.append((n, s, t)))
    json.dumps(result)
    assert told[-1] == ("preset default", 10, 10)
    (row,) = result["edits"]
    assert row["pictures"] == 2 and 0 < row["edits"] <= 20
    # figures far below the ones in the card mean that something broke
    assert result["reader on renders"]["mean"] > 0.97
    assert result["clip zero-shot on renders"]["mean"] > 0.9
    assert row["success"]["mean"] > 0.5 and row["kept"]["mean"] > 0.8
    per_prompt = row["prompts"].values()
    pooled = sum(each["edits"] * each["success"] for each in per_prompt if each["edits"])
    assert math.isclose(pooled / row["edits"], row["success"]["mean"], rel_tol=1e-6)
    assert "| default | 2 |" in as_text(result)


def test_a_model_never_lands_on_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="not empty"):
        recipes.export(tmp_path / "work", tmp_path, lambda name: lambda s, n, f: None)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_stage_that_never_ran_cannot_be_taken_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no generator\.pt .* train it first"):
        recipes.steps_done(tmp_path / "generator.pt")
