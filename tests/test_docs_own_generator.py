"""docs/your-own-generator.md does what it says, with the generator and the CLIP of examples/houses.

Every command and every line of Python runs as written, from the checkpoint file on, and what the
page asks for can be seen in its pictures.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from styleclip import images
from styleclip.apps.cli import main
from styleclip.checkpoints.cache import Cache
from tests import pages
from tests.reference.networks import save_dino

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "your-own-generator.md").read_text()


@pytest.mark.slow
def test_the_page_runs_as_written(place: Path) -> None:
    shutil.copytree(ROOT / "examples" / "houses", place, dirs_exist_ok=True)
    save_dino(place / "dino")
    try:
        for language, block in pages.blocks(PAGE):
            if language == "python":
                exec(compile(block, "a block of the page", "exec"), {"__name__": "__main__"})
            for command in pages.commands(block) if language == "bash" else ():
                assert main(command) == 0, command
    finally:
        torch.set_flush_denormal(False)
    assert (Cache.here().model("houses") / "latent_map.safetensors").is_file()
    assert "tuning" in images.read_recipe("mine-red.png")["hashes"]
    assert images.read_recipe("both.png")["edits"][1]["target"] == "a photo of a house in winter"
    assert {"winter-by-hand.png", "a-big-garden.png", "careful-too.png"} <= {
        path.name for path in place.iterdir()
    }


def test_every_kind_of_block_is_run() -> None:
    languages = [language for language, _ in pages.blocks(PAGE)]
    assert set(languages) == {"python", "bash"} and languages.count("python") == 2
    assert sum(len(pages.commands(block)) for _, block in pages.blocks(PAGE)) >= 16
