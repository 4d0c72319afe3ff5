"""The benchmark of the scan measures, projects, and reports what it missed."""

from __future__ import annotations

import pytest
import torch

from benchmarks import scan
from tests.benchmarks.test_speed import TINY, settings_of_torch

__all__ = ["settings_of_torch"]


@pytest.mark.usefixtures("settings_of_torch")
def test_it_measures_and_projects() -> None:
    question = scan.Question(images=6, channels=3, literal_pictures=1, group=2, cosine=0.5)
    result = scan.run(question, TINY)
    assert len(result["cosines"]) == len(result["images a channel"]) == 3
    assert all(2 <= count <= 6 for count in result["images a channel"])
    assert all(-1 <= each <= 1.0001 for each in result["cosines"])
    seconds, hours = result["seconds a picture"], result["hours"]
    rate, time, cosine = (row["ratio"] for row in result["figures"])
    assert rate == pytest.approx(seconds["official loop"] / seconds["ours"])
    assert time == pytest.approx(hours["official loop"] / hours["ours"])
    assert cosine == pytest.approx(sum(result["cosines"]) / 3)
    low = {**result, "figures": [{"name": "x", "ratio": 1.0, "wanted": 2.0}]}
    assert "missed" in scan.table(low)


def test_at_full_size_and_to_the_end_the_rows_are_the_same() -> None:
    from dataclasses import replace

    question = scan.Question(images=4, channels=2, literal_pictures=1, group=2, cosine=0.9999999)
    same = replace(TINY, early_resolution=TINY.resolution)
    result = scan.run(question, same)
    assert min(result["cosines"]) == pytest.approx(1, abs=1e-5)
    torch.set_flush_denormal(False)
