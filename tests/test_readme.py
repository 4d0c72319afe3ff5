"""The README does what it says: its pictures exist, its commands and its Python run as written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests import pages
from tests.apps.running import files

ROOT = Path(__file__).parents[1]
README = "README.md"
RUNS = "tests/test_readme.py::test_it_runs_as_written"


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.slow
def test_it_runs_as_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skia")
    shutil.copytree(ROOT / "examples", "examples")
    blocks = pages.blocks_for(README, RUNS)
    assert [each.language for each in blocks].count("python") == 2
    assert "make demo" in blocks[0].content
    pages.run_blocks(blocks, capsys)
    demo = files("out/demo")
    assert len(demo) == 7 and "portrait-strip.png" in demo  # six edits, as it says
    assert {"red.png", "red-strip.png", "drawn.png", "mapper.png", "prints.png"} <= files()
