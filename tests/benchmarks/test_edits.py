"""The benchmark of known edits times every row, and says which bar is missed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import edits


@pytest.mark.slow
def test_every_row_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(edits, "LATENTS", 20)
    try:
        rows = edits.run(1, repeats=2, steps=2)["rows"]
    finally:
        torch.set_num_threads(threads)
    assert len({row["name"] for row in rows}) == 4
    assert all(row["seconds"] > 0 for row in rows)


def test_a_missed_bar_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, slow = tmp_path / "found.json", edits.row("slow", 0.05, 0.06)
    monkeypatch.setattr(edits, "run", lambda *_: {"rows": [edits.row("quick", 0.05, 0.04), slow]})
    monkeypatch.setattr(sys, "argv", ["edits", "--check", "--json", str(path)])
    assert edits.main() == 1
    assert "missed: slow" in capsys.readouterr().err
    assert json.loads(path.read_text())["rows"][1] == slow


def test_a_median_leaves_out_what_warms_up() -> None:
    counted: list[int] = []
    assert edits.timed(lambda: counted.append(0), 5) >= 0
    assert len(counted) == 6
    edits.timed(lambda: counted.append(0), 1)
    assert len(counted) == 7
