"""The benchmark of relevance compares the ways to measure it, and goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from benchmarks import relevance
from tests.benchmarks.test_speed import settings_of_torch

__all__ = ["settings_of_torch"]


@pytest.mark.usefixtures("settings_of_torch")
def test_it_compares_the_ways(tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    description = json.loads((model / "model.json").read_text())
    texts = ["a face with red hair", "an old face", "a smiling face"]
    description["vocabulary"] = {"all": texts}
    (model / "model.json").write_text(json.dumps(description))
    result = relevance.run(
        str(model), 1, tmp_path / "work", images=6, prompts=2, clock=time.process_time
    )
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == [
        "exact, all images",
        "exact, stopping",
        "gradient",
        "by samples",
        "instant",
        "gradient, a prompt",
    ]
    whole = rows["exact, all images"]
    assert whole["images"] == 6 and whole["mean row cosine"] == pytest.approx(1)
    assert whole["rank correlation of R"] == pytest.approx(1)
    assert 2 <= rows["exact, stopping"]["images"] <= 6
    assert rows["exact, stopping"]["mean row cosine"] > 0.9
    assert all(-1 <= row["rank correlation of R"] <= 1.0001 for row in rows.values())
    assert "exact, stopping" in relevance.table(result)
    # the second time the long scan is only read, and what it took is remembered
    again = relevance.run(
        str(model), 1, tmp_path / "work", images=6, prompts=2, clock=time.process_time
    )
    assert again["rows"][0]["seconds"] == pytest.approx(whole["seconds"], abs=5)
    assert result["prompts"] == 2
