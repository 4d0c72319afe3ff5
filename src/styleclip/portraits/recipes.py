"""All recipes in their order, and the model folder they make.

  generator  reconstruction, then the mapping    (about 60 min on one core)
  encoder    offsets per row, on the finished generator
  clip       captions; late in the run it sees portraits that the generator redrew
  reader     the judge
Each is one command, `styleclip portraits train STAGE`; each resumes where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.native import save_network
from styleclip.checkpoints.registry import (
    CLIP,
    DESCRIPTION,
    ENCODER,
    GENERATOR,
    LATENT_MAP,
    READER,
)
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing.latent_map import LatentMap, measure_latent_map
from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.inversion.encoder import Encoder
from styleclip.portraits.evaluate import EVALUATION_SEED as EVALUATION_SEED
from styleclip.portraits.reader import Reader
from styleclip.portraits.train_clip import ClipRecipe, train_clip
from styleclip.portraits.train_encoder import EncoderRecipe, train_encoder
from styleclip.portraits.train_generator import (
    GeneratorRecipe,
    MappingRecipe,
    train_mapping,
    train_reconstruction,
)
from styleclip.portraits.train_reader import ReaderRecipe, train_reader
from styleclip.portraits.training import OnStep, Renders, stored_renders

STAGES = ("generator", "encoder", "clip", "reader")
TRAINING_SEEDS = (0, 40_000)  # first, count
SIZE = 64
NEUTRAL = "a face"


def train(stage: str, folder: Path, on_step: Callable[[str], OnStep]) -> None:
    """Run one stage, or "all", with its work in ``folder``; ``on_step(name)`` reports progress."""
    if stage == "all":
        for each in STAGES:
            train(each, folder, on_step)
        return
    if stage not in STAGES:
        raise ArgumentError(f"no stage is called {stage!r}: choose {', '.join(STAGES)} or all")
    renders = stored_renders(folder, *TRAINING_SEEDS, SIZE, on_step("renders"))
    if stage == "generator":
        trained_generator(folder, renders, on_step)
    elif stage == "encoder":
        trained_encoder(folder, renders, on_step)
    elif stage == "clip":
        trained_clip(folder, renders, on_step)
    else:
        trained_reader(folder, renders, on_step)


def trained_reconstruction(
    folder: Path, renders: Renders, on_step: Callable[[str], OnStep]
) -> tuple[StyleGAN2, Encoder]:
    return train_reconstruction(
        renders, GeneratorRecipe(), folder / "generator.pt", on_step("generator")
    )


def trained_generator(
    folder: Path, renders: Renders, on_step: Callable[[str], OnStep]
) -> tuple[StyleGAN2, Encoder]:
    """The generator with its mapping, and the encoder that grew up with it."""
    generator, encoder = trained_reconstruction(folder, renders, on_step)
    path = folder / "w.pt"
    if path.exists():
        w = torch.load(path, weights_only=True)
    else:
        w = encode_all(encoder, renders)
        torch.save(w, path)
    generator = train_mapping(
        generator, w, MappingRecipe(), folder / "mapping.pt", on_step("mapping")
    )
    return generator.eval().requires_grad_(False), encoder


def trained_encoder(
    folder: Path, renders: Renders, on_step: Callable[[str], OnStep]
) -> tuple[StyleGAN2, Encoder]:
    generator, encoder = trained_generator(folder, renders, on_step)
    encoder = train_encoder(
        generator, encoder, renders, EncoderRecipe(), folder / "encoder.pt", on_step("encoder")
    )
    return generator, encoder.eval().requires_grad_(False)


def trained_clip(folder: Path, renders: Renders, on_step: Callable[[str], OnStep]) -> ClipEmbedder:
    generator, encoder = trained_reconstruction(folder, renders, on_step)
    generator, encoder = generator.eval(), encoder.eval()

    @torch.no_grad()
    def redraw(images: Tensor, random: torch.Generator) -> Tensor:
        w_plus = encoder.single_w(images)[:, None].repeat(1, generator.rows, 1)
        noise = torch.randn(w_plus.shape, generator=random)
        return generator.synthesis(generator.affine(w_plus + 0.1 * noise)).clamp(-1, 1)

    return train_clip(renders, ClipRecipe(), folder / "clip.pt", on_step("clip"), redraw)


def trained_reader(folder: Path, renders: Renders, on_step: Callable[[str], OnStep]) -> Reader:
    return train_reader(renders, ReaderRecipe(), folder / "reader.pt", on_step("reader"))


@torch.no_grad()
def encode_all(encoder: Encoder, renders: Renders) -> Tensor:
    """The shared w of every stored render: [N,D]."""
    parts = torch.arange(len(renders.portraits)).split(256)
    return torch.cat([encoder.single_w(renders.batch(part)) for part in parts])


def export(folder: Path, target: Path, on_step: Callable[[str], OnStep]) -> None:
    """Write the finished networks of ``folder`` as the model folder ``target``."""
    renders = stored_renders(folder, *TRAINING_SEEDS, SIZE, on_step("renders"))
    generator, encoder = trained_encoder(folder, renders, on_step)
    embedder = trained_clip(folder, renders, on_step)
    reader = trained_reader(folder, renders, on_step)
    latent_map = measure_latent_map(generator, embedder, on_step=on_step("latent map"))
    write_model(target, generator, encoder, embedder, reader, latent_map)


def write_model(
    target: Path,
    generator: StyleGAN2,
    encoder: Encoder,
    embedder: ClipEmbedder,
    reader: Reader,
    latent_map: LatentMap,
) -> None:
    """The model folder; float16, which costs nothing that the evaluation can measure."""
    target.mkdir(parents=True, exist_ok=True)
    half = torch.float16
    save_network(
        target / GENERATOR, "stylegan2", generator.config.to_dict(), generator.state_dict(),
        dtype=half,
    )  # fmt: skip
    save_network(
        target / ENCODER, "encoder", encoder.config.to_dict(), encoder.state_dict(), dtype=half
    )
    save_network(target / READER, "portraits-reader", {}, reader.state_dict(), dtype=half)
    save_network(
        target / LATENT_MAP,
        "latent-map",
        {},
        {"matrix": latent_map.matrix, "mean": latent_map.mean, "covariance": latent_map.covariance},
    )
    embedder.model.half().save_pretrained(target / CLIP)
    embedder.model.float()
    tokenizer: Any = embedder.tokenizer
    tokenizer.save_pretrained(target / CLIP)
    description = {
        "name": "portraits",
        "description": "procedurally drawn portraits of 64 pixels, with known attributes",
        "neutral": NEUTRAL,
        "licence": "MIT",
    }
    (target / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
