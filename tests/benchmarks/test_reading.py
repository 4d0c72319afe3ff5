"""The benchmark of reading writes files that are read, measures them and reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import reading
from styleclip.checkpoints import load_generator, read_weights

TINY = reading.Settings(resolution=8, repeats=1)


@pytest.mark.parametrize("layout", reading.LAYOUTS)
def test_the_files_are_whole_checkpoints_of_the_same_network(layout: str, tmp_path: Path) -> None:
    for each in reading.LAYOUTS:
        reading.write(each, tmp_path / each, TINY)
    names = {"rosinality": {"g", "d", "g_ema", "g_optim", "d_optim"}, "nvidia": {"G", "D", "G_ema"}}
    assert names[layout] < set(read_weights(tmp_path / layout).contents)
    network = load_generator(tmp_path / layout).state_dict()
    other = load_generator(tmp_path / "nvidia").state_dict()
    for key, tensor in network.items():  # one multiplication apart
        torch.testing.assert_close(tensor, other[key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layout", reading.LAYOUTS)
def test_every_task_can_be_measured(layout: str, tmp_path: Path) -> None:
    assert reading.measure("write", layout, tmp_path / "x", TINY) == {}
    assert reading.measure("bytes", layout, tmp_path / "x", TINY)["seconds"] > 0
    measured = reading.measure("load", layout, tmp_path / "x", TINY)
    assert measured["seconds"] > 0
    assert measured["grown_mb"] >= 0
    # config F at 8 pixels: 8 mapping layers and 5 convolutions of 512 channels dominate
    assert 40 < measured["network_mb"] < 50


def test_the_report_compares_and_checks_the_bars(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(task: str, layout: str, file: Path, _: Any) -> dict[str, float]:
        if task == "write":
            file.write_bytes(bytes(1000))
        if task == "bytes":
            return {"seconds": 0.5}
        seconds = 2.5 if layout == "rosinality" else 3.5  # 2 x 0.5 + 2 is the most
        return {"seconds": seconds, "grown_mb": 110.0, "network_mb": 100.0}

    monkeypatch.setattr(reading, "in_a_process", measured)
    file = tmp_path / "reading.json"
    monkeypatch.setattr(sys, "argv", ["reading.py", "--json", str(file), "--check"])
    assert reading.main() == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.endswith("missed") for line in printed[1:]] == [False, False, True, False]
    result = json.loads(file.read_text())
    assert [row["ratio"] for row in result["rows"]] == [5.0, 1.1, 7.0, 1.1]
    monkeypatch.setattr(sys, "argv", ["reading.py"])
    assert reading.main() == 0


@pytest.mark.slow
def test_the_command_runs(tmp_path: Path) -> None:
    result = reading.run(TINY, tmp_path)
    assert [row["name"] for row in result["rows"]] == [
        "rosinality, seconds", "rosinality, megabytes", "nvidia, seconds", "nvidia, megabytes",
    ]  # fmt: skip
    assert not list(tmp_path.iterdir())
