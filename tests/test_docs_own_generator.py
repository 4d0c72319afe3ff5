"""docs/your-own-generator.md does what it says, on a small generator of houses and a small CLIP.

The generator is random and the CLIP knows nothing, so the pictures mean nothing: what is tested is
that every command and every line of Python runs as written, from the checkpoint file on.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from styleclip import images
from styleclip.apps.cli import main
from styleclip.checkpoints import keymap, stylegan2_rosinality
from styleclip.generators.stylegan2 import StyleGAN2Config
from tests import pages
from tests.reference.networks import random_generator, save_dino

PAGE = (Path(__file__).parents[1] / "docs" / "your-own-generator.md").read_text()


def write_checkpoint(path: Path) -> None:
    """A generator in rosinality's layout, as training leaves it."""
    config = StyleGAN2Config(32, (8, 8, 8, 8), w_dim=16, z_dim=16, mapping_layers=2)
    state = keymap.invert(
        stylegan2_rosinality.rules(config), random_generator(config, seed=4).state_dict()
    )
    average = state.pop("latent_avg")
    torch.save({"g_ema": state, "latent_avg": average}, path)


def draw_house(path: Path) -> None:
    picture = Image.new("RGB", (32, 32), (150, 190, 230))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((6, 14, 26, 31), fill=(220, 210, 190))
    pen.polygon(((4, 14), (16, 4), (28, 14)), fill=(120, 60, 40))
    picture.save(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::styleclip.studio.PromptWarning")  # a CLIP without houses
def test_the_page_runs_as_written(place: Path, tiny_model: Path) -> None:
    write_checkpoint(place / "houses.pt")
    draw_house(place / "mine.png")
    shutil.copytree(tiny_model / "clip", place / "my-clip")
    save_dino(place / "dino")
    try:
        for language, block in pages.blocks(PAGE):
            if language == "python":
                exec(compile(block, "a block of the page", "exec"), {"__name__": "__main__"})
            for command in pages.commands(block) if language == "bash" else ():
                assert main(command) == 0, command
    finally:
        torch.set_flush_denormal(False)
    assert (place / "houses" / "latent_map.safetensors").is_file()
    assert "tuning" in images.read_recipe("mine-red.png")["hashes"]
    assert images.read_recipe("both.png")["edits"][1]["target"] == "a photo of a house in winter"
    assert {"winter-by-hand.png", "a-big-garden.png", "careful-too.png"} <= {
        path.name for path in place.iterdir()
    }


def test_every_kind_of_block_is_run() -> None:
    languages = [language for language, _ in pages.blocks(PAGE)]
    assert set(languages) == {"python", "bash"} and languages.count("python") == 3
    assert sum(len(pages.commands(block)) for _, block in pages.blocks(PAGE)) >= 15
