"""docs/many.md does what it says: its commands and its Python run as written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from styleclip.apps.cli import main
from tests import pages
from tests.apps.running import files

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "many.md").read_text()


@pytest.mark.slow
def test_the_page_runs_as_written(place: Path) -> None:
    shutil.copytree(ROOT / "examples", "examples")
    for folder in ("faces", "photos", "points"):  # mkdir and cp
        Path(folder).mkdir()
    shutil.copy("examples/photo.jpg", "photos")
    shutil.copy("examples/photo.json", "points")
    Path("faces.txt").write_text("# a list\nfaces/bob.png\n")
    ran = 0
    try:
        for language, block in pages.blocks(PAGE):
            if language == "python":
                exec(compile(block, "a block of the page", "exec"), {"__name__": "__main__"})
            for command in pages.commands(block) if language == "bash" else ():
                assert main(command) == 0, command
                ran += 1
    finally:
        torch.set_flush_denormal(False)
    assert ran == 6
    edits = ("face-with-red-hair", "smiling-face")
    stems = [f"{name}-a-{edit}" for name in ("ann", "bob") for edit in edits]
    assert files("edited") == {f"{stem}.png" for stem in stems}
    assert files("faces-edited") == {"bob-a-face-with-glasses.png"}
    assert files("prints") == {"photo-a-face-with-red-hair.png"}
    made = {"glasses.png", "glasses-heat.png", "glasses.mp4", "ann-beard.png", "bob-where.png"}
    assert made <= files()
