"""docs/your-own-generator.md does what it says, with the generator and the CLIP of examples/houses.

Every command and every line of Python runs as written, from the checkpoint file on, and what the
page asks for can be seen in its pictures.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from styleclip import images
from styleclip.checkpoints.cache import Cache
from tests import pages
from tests.reference.networks import save_dino

ROOT = Path(__file__).parents[1]
BLOCKS = pages.blocks_for("docs/your-own-generator.md", pages.OWN_GENERATOR)


@pytest.mark.slow
def test_the_page_runs_as_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "examples" / "houses", place, dirs_exist_ok=True)
    save_dino(place / "dino")
    pages.run_blocks(BLOCKS, capsys)
    assert (Cache.here().model("houses") / "latent_map.safetensors").is_file()
    assert "tuning" in images.read_recipe("mine-red.png")["hashes"]
    assert images.read_recipe("both.png")["edits"][1]["target"] == "a photo of a house in winter"
    assert {"winter-by-hand.png", "a-big-garden.png", "careful-too.png"} <= {
        path.name for path in place.iterdir()
    }


def test_every_kind_of_block_is_run() -> None:
    languages = [each.language for each in BLOCKS]
    assert set(languages) == {"python", "bash"} and languages.count("python") == 2
    assert sum(len(pages.commands(each)) for each in BLOCKS if each.language == "bash") >= 16
