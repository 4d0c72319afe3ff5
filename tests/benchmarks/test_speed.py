"""The slow yardstick computes the same pictures, and the benchmark measures and reports."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import speed
from benchmarks.literal import LiteralStyleGAN2, clip_pixels
from styleclip.editing.asking import paper_pixels
from styleclip.generators.stylegan2 import StyleGAN2Config
from tests.reference.networks import random_generator

TINY = speed.Settings(
    resolution=32, early_resolution=8, clip_size=32, clip_layers=1, clip_width=64, clip_patch=16,
    threads=1, repeats=1,
)  # fmt: skip


@pytest.fixture
def settings_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("clamp", [None, 0.7])
def test_the_literal_version_renders_the_same(clamp: float | None) -> None:
    config = StyleGAN2Config(32, (6, 7, 5, 4), w_dim=8, z_dim=8, mapping_layers=2, clamp=clamp)
    ours = random_generator(config).double()
    literal = LiteralStyleGAN2(copy.deepcopy(ours))
    w_plus = torch.linspace(-2, 2, 16 * ours.rows, dtype=torch.float64).reshape(2, ours.rows, 8)
    style = literal.affine(w_plus)
    # float64 on both sides: only the order of operations differs
    torch.testing.assert_close(
        literal.synthesis(style), ours.synthesis(ours.affine(w_plus)), rtol=1e-9, atol=1e-9
    )


def test_the_literal_clip_input_is_the_papers() -> None:
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    # float32, sums of 7 x 7 pixels
    torch.testing.assert_close(
        clip_pixels(images, 224), paper_pixels(images, 224), rtol=1e-5, atol=1e-5
    )


@pytest.mark.usefixtures("settings_of_torch")
@pytest.mark.parametrize("side", ["literal", "ours"])
@pytest.mark.parametrize("task", ["synthesis", "step"])
def test_every_task_can_be_measured(side: str, task: str) -> None:
    measured = speed.measure(side, task, TINY)
    assert measured["seconds"] > 0
    assert 0.01 < measured["peak_gb"] < 100


def test_the_report_compares_and_checks_the_bars(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(side: str, task: str, _: Any) -> dict[str, float]:
        if side == "literal":
            return {"seconds": 8.0 if task == "synthesis" else 21.0, "peak_gb": 5.0}
        return {"seconds": {"synthesis": 4.0, "early": 2.0, "step": 3.0}[task], "peak_gb": 2.0}

    monkeypatch.setattr(speed, "in_a_process", measured)
    file = tmp_path / "speed.json"
    monkeypatch.setattr(sys, "argv", ["speed.py", "--json", str(file), "--check"])
    assert speed.main() == 1  # 8 / 2 is below 5.5
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in printed[1:]] == ["x", "missed", "x", "45%"]
    result = json.loads(file.read_text())
    assert [row["ratio"] for row in result["rows"]] == [2.0, 4.0, 7.0, 0.4]
    assert result["machine"]["torch"] == torch.__version__
    monkeypatch.setattr(sys, "argv", ["speed.py"])
    assert speed.main() == 0


@pytest.mark.slow
def test_the_command_runs() -> None:
    measured = speed.in_a_process("ours", "synthesis", TINY)
    assert set(measured) == {"seconds", "peak_gb"}
