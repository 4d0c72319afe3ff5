"""The benchmark of photographs measures every row, reports it and checks the bar."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import photos
from styleclip.faces.alignment import square_of

TINY = photos.Settings(width=200, height=150, size=32, sides=(60, 130), threads=1, repeats=1)


@pytest.fixture(autouse=True)
def threads_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_every_row_is_measured() -> None:
    result = photos.run(TINY)
    names = [row["name"] for row in result["rows"]]
    assert names == [
        f"{task}, {side} pixels" for side in (60, 130) for task in ("align", "set back")
    ]
    assert all(row["seconds"] > 0 for row in result["rows"])
    assert result["machine"]["torch"] == torch.__version__


@pytest.mark.parametrize("side", photos.Settings().sides)
def test_the_faces_are_as_large_as_they_say(side: int) -> None:
    square = square_of(photos.face_of(side, photos.Settings()))
    assert square.scale == pytest.approx(side)
    assert square.degrees == pytest.approx(15)
    assert square(0.5 + 0.5j) == pytest.approx(2000.5 + 1500.5j)


def test_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(settings: photos.Settings) -> dict[str, object]:
        rows = [{"name": name, "unit": "s", "seconds": seconds, "wanted": 1.0}
                for name, seconds in (("align", 0.4), ("set back", 1.5))]  # fmt: skip
        return {"threads": settings.threads, "rows": rows}

    monkeypatch.setattr(photos, "run", run)
    file = tmp_path / "photos.json"
    monkeypatch.setattr(
        sys, "argv", ["photos.py", "--threads", "3", "--json", str(file), "--check"]
    )
    assert photos.main() == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.endswith("missed") for line in printed] == [False, True]
    assert json.loads(file.read_text())["threads"] == 3
    monkeypatch.setattr(sys, "argv", ["photos.py"])
    assert photos.main() == 0
