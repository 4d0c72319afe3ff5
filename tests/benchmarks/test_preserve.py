"""The benchmark of what is preserved asks every case by both banks, with and without."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import preserve


@pytest.mark.slow
def test_every_case_is_judged_with_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads, path = torch.get_num_threads(), tmp_path / "found.json"
    monkeypatch.setattr(preserve, "CASES", preserve.CASES[:1])
    monkeypatch.setattr(
        sys, "argv", ["preserve", "--pictures", "4", "--threads", "1", "--json", str(path)]
    )
    try:
        preserve.main()
    finally:
        torch.set_num_threads(threads)
    rows = json.loads(path.read_text())["rows"]
    knobs = [(alpha, beta) for alpha in preserve.STRENGTHS for beta in preserve.THRESHOLDS]
    each: list[object] = [[], ["age"], *knobs]
    found = [
        (row["bank"], row.get("preserve", (row.get("strength"), row.get("threshold"))))
        for row in rows
    ]
    assert found == [(bank, how) for bank in ("samples", "exact") for how in each]
    assert all(0 <= row["kept"] <= 1 and 0 <= row["success"] <= 1 for row in rows)
    assert "a face with grey hair" in capsys.readouterr().out


def test_the_committed_figures_show_that_preserving_keeps() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "preserve.json"
    rows = json.loads(path.read_text())["rows"]
    kept = {(row["bank"], row["prompt"], bool(row["preserve"])): row["kept"]
            for row in rows if "preserve" in row}  # fmt: skip
    pairs = [(kept[bank, prompt, True], was) for (bank, prompt, held), was in kept.items()
             if not held]  # fmt: skip
    assert len(pairs) == 2 * len(preserve.CASES)
    assert sum(now for now, _ in pairs) > sum(was for _, was in pairs)


def test_the_committed_figures_show_that_the_threshold_keeps_faces_young() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "preserve.json"
    rows = [row for row in json.loads(path.read_text())["rows"] if row["bank"] == "samples"]
    judged = {(row["strength"], row["threshold"]): row for row in rows if "threshold" in row}
    low, high = judged[6, 0], judged[6, 0.15]
    assert high["kept"] > low["kept"] + 0.5 and high["success"] > 0.8
    assert judged[4, 0.15]["kept"] > judged[4, 0]["kept"]
