"""docs/many.md does what it says: its commands and its Python run as written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import pages
from tests.apps.running import files

ROOT = Path(__file__).parents[1]
RUNS = "tests/test_docs_many.py::test_the_page_runs_as_written"


@pytest.mark.slow
def test_the_page_runs_as_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "examples", "examples")
    Path("faces.txt").write_text("# a list\nfaces/bob.png\n")
    blocks = pages.blocks_for("docs/many.md", RUNS)
    assert [each.language for each in blocks] == ["bash"] * 4 + ["python"]
    pages.run_blocks(blocks, capsys)
    edits = ("face-with-red-hair", "smiling-face")
    stems = [f"{name}-a-{edit}" for name in ("ann", "bob") for edit in edits]
    assert files("edited") == {f"{stem}.png" for stem in stems}
    assert files("faces-edited") == {"bob-a-face-with-glasses.png"}
    assert files("prints") == {"photo-a-face-with-red-hair.png"}
    made = {"glasses.png", "glasses-heat.png", "glasses.mp4", "ann-beard.png", "bob-where.png"}
    assert made <= files()
