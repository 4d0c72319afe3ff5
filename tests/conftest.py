"""What the tests share: a home of their own, and a tiny model of random weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

# tiny networks: a second thread only waits, and waits long on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

SIZE = 32  # pixels of the tiny model, the least that the paper's CLIP input takes


@pytest.fixture(autouse=True)
def isolated_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test reads or writes the settings and caches of whoever runs it."""
    home = str(tmp_path_factory.mktemp("home"))
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, home)
    for name in ("STYLECLIP_HOME", "STYLECLIP_OFFLINE", "STYLECLIP_MIRROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with every part, of random weights: right in form, it knows nothing."""
    import torch

    from styleclip.checkpoints import save_generator, save_network
    from styleclip.checkpoints.registry import CLIP, DESCRIPTION, ENCODER, GENERATOR
    from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
    from styleclip.inversion.encoder import Encoder, EncoderConfig
    from styleclip.portraits.train_clip import ClipRecipe, new_model, new_tokenizer
    from styleclip.studio import Studio

    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = StyleGAN2Config(SIZE, (8, 8, 8, 8), w_dim=16, z_dim=16, mapping_layers=2)
        generator = StyleGAN2(config)
        encoder = Encoder(EncoderConfig(SIZE, generator.rows, 16, widths=(8, 8, 8), hidden=16))
    save_generator(folder / GENERATOR, generator)
    save_network(folder / ENCODER, "encoder", encoder.config.to_dict(), encoder.state_dict())
    tokenizer = new_tokenizer()
    recipe = ClipRecipe(
        image_size=SIZE, embedding=32, vision_width=32, vision_layers=1, text_width=32,
        text_layers=1,
    )  # fmt: skip
    new_model(recipe, tokenizer).save_pretrained(folder / CLIP)
    tokenizer.save_pretrained(folder / CLIP)
    description = {"name": "tiny", "description": "random", "neutral": "a face", "licence": "MIT"}
    (folder / DESCRIPTION).write_text(json.dumps(description))
    studio = Studio.load(folder)
    studio.measure_latent_map()
    studio.keep_latent_map()
    return folder
