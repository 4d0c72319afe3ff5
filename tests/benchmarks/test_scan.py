"""The benchmark of the scan measures, projects, and reports what it missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks import scan
from tests.benchmarks.test_speed import TINY, settings_of_torch

__all__ = ["settings_of_torch"]


@pytest.mark.usefixtures("settings_of_torch")
def test_it_measures_and_projects() -> None:
    question = scan.Question(images=20, channels=3, rounds=2, rows=2, cosine=0.5)
    result = scan.run(question, replace(TINY, clock="cpu"))
    seconds, hours = result["seconds a picture"], result["hours"]
    rate, time, cosine = (row["ratio"] for row in result["figures"])
    assert rate == pytest.approx(seconds["official loop"] / seconds["ours"])
    assert len(result["pictures a second of each round"]) == 2
    assert 10 <= result["images a channel"] <= 20
    # the same channels on both sides: only pictures and their price differ
    assert time == pytest.approx(hours["official loop"] / hours["ours"])
    assert hours["ours"] * 3600 == pytest.approx(
        2 * result["images a channel"] * result["channels"] * seconds["ours"]
        + 100 * result["seconds of a picture's slopes"]
    )
    assert hours["official loop"] * 3600 == pytest.approx(
        200 * result["channels"] * seconds["official loop"]
    )
    assert 0.5 < result["lowest row cosine"] <= cosine <= 1.0001
    low = {**result, "figures": [{"name": "x", "ratio": 1.0, "wanted": 2.0}]}
    assert "missed" in scan.table(low)


def test_ways_are_timed_in_turn() -> None:
    """Means over the columns for each round and way, after one call that warms up."""
    calls: list[tuple[str, int]] = []

    def way(name: str, factor: float) -> Callable[[int], float]:
        def seconds(column: int) -> float:
            calls.append((name, column))
            return factor * column

        return seconds

    found = scan.seconds_of_rounds((way("a", 1.0), way("b", 10.0)), [1, 3], 2)
    assert found == [[2.0, 20.0], [2.0, 20.0]]
    assert calls == [("a", 1), ("b", 1), *[("a", 1), ("b", 1), ("a", 3), ("b", 3)] * 2]


@pytest.mark.usefixtures("settings_of_torch")
def test_rows_of_all_pictures_are_those_of_the_whole_scan() -> None:
    """Only the size of the picture differs then, and that hardly, in a trained generator."""
    question = scan.Question(images=10, rows=3, cosine=0.9999999)
    images, cosines = scan.rows_of_a_trained_model(question)
    assert images == 10
    assert min(cosines) > 0.9
