"""All recipes in their order, and the model folder they make.

  reconstruction, sharpening, mapping     the generator, with the encoder that names its w
  encoder    offsets per row, on the finished generator
  clip       captions; late in the run it sees portraits that the generator redrew
  identity   whose face it is
  reader     the judge
and, on the files that come of them, what the methods need (`train_methods`): latent map, mapper,
directions. Each is one command, `styleclip portraits train STAGE`; each goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.checkpoints.native import save_network
from styleclip.checkpoints.registry import (
    CLIP,
    DESCRIPTION,
    ENCODER,
    GENERATOR,
    IDENTITY,
    READER,
)
from styleclip.clip.embedder import ClipEmbedder
from styleclip.errors import ArgumentError
from styleclip.faces.identity import IdentityNetwork
from styleclip.faces.reader import Reader
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.inversion.encoder import Encoder
from styleclip.portraits.attributes import WORLD_VERSION
from styleclip.portraits.renderer import FRAME
from styleclip.portraits.train_clip import ClipRecipe, train_clip
from styleclip.portraits.train_encoder import EncoderRecipe, train_encoder
from styleclip.portraits.train_generator import (
    GeneratorRecipe,
    MappingRecipe,
    train_mapping,
    train_reconstruction,
)
from styleclip.portraits.train_identity import IdentityRecipe, person_of_seed, train_identity
from styleclip.portraits.train_methods import add_methods
from styleclip.portraits.train_reader import ReaderRecipe, train_reader
from styleclip.portraits.train_sharpen import SharpenRecipe, train_sharpen
from styleclip.portraits.training import OnStep, Renders, steps_done, stored_renders
from styleclip.portraits.vocabulary import vocabulary

STAGES = (
    "reconstruction", "sharpening", "mapping", "encoder", "clip", "identity", "reader",
)  # fmt: skip
TRAINING_SEEDS = (0, 40_000)  # first, count
SIZE = 128
IDENTITY_SIZE = 64
NEUTRAL = "a face"

Recipe = TypeVar(
    "Recipe",
    GeneratorRecipe,
    MappingRecipe,
    SharpenRecipe,
    EncoderRecipe,
    ClipRecipe,
    IdentityRecipe,
    ReaderRecipe,
)


@dataclass(frozen=True)
class Work:
    """A folder of checkpoints, the stored renders, and whether stages run to their ends."""

    folder: Path
    renders: Renders
    on_step: Callable[[str], OnStep]  # from a stage's name
    finish: bool = True

    def recipe(self, recipe: Recipe, **files: str) -> Recipe:
        """The recipe; or, of stages that are taken as they are, with the steps done so far.

        ``files`` name the checkpoint of each field that counts steps.
        """
        if self.finish:
            return recipe
        done: dict[str, Any] = {f: steps_done(self.folder / name) for f, name in files.items()}
        return replace(recipe, **done)


def open_work(
    folder: Path,
    on_step: Callable[[str], OnStep],
    finish: bool = True,
    device: torch.device | str = "cpu",
) -> Work:
    renders = stored_renders(folder, *TRAINING_SEEDS, SIZE, on_step("renders"))
    return Work(folder, replace(renders, device=torch.device(device)), on_step, finish)


def train(
    stage: str,
    folder: Path,
    on_step: Callable[[str], OnStep],
    device: torch.device | str = "cpu",
) -> None:
    """Run one stage, or "all", with its work in ``folder``; ``on_step(name)`` reports progress.

    Mixed precision (bfloat16) on every device.
    """
    trained: dict[str, Callable[[Work], object]] = {
        "reconstruction": trained_reconstruction,
        "sharpening": trained_sharpening,
        "mapping": trained_generator,
        "encoder": trained_encoder,
        "clip": trained_clip,
        "identity": trained_identity,
        "reader": trained_reader,
    }
    if stage not in (*STAGES, "all"):
        raise ArgumentError(f"no stage is called {stage!r}: choose {', '.join(STAGES)} or all")
    work = open_work(folder, on_step, device=device)
    for each in STAGES if stage == "all" else (stage,):
        trained[each](work)


def trained_reconstruction(work: Work) -> tuple[StyleGAN2, Encoder]:
    recipe = work.recipe(GeneratorRecipe(), steps="generator.pt")
    path = work.folder / "generator.pt"
    return train_reconstruction(work.renders, recipe, path, work.on_step("generator"))


def trained_sharpening(work: Work) -> tuple[StyleGAN2, Encoder]:
    generator, encoder = trained_reconstruction(work)
    for cycle in range(SharpenRecipe().cycles):
        name = sharpening_file(cycle)
        recipe = SharpenRecipe()
        recipe = work.recipe(replace(recipe, seed=recipe.seed + cycle), steps=name)
        generator, encoder = train_sharpen(
            generator, encoder, work.renders, recipe, work.folder / name,
            work.on_step(f"sharpening {cycle + 1}"),
        )  # fmt: skip
    return generator, encoder


def sharpening_file(cycle: int) -> str:
    """The checkpoint of a cycle."""
    return f"sharpen-{cycle + 1}.pt"


def trained_generator(work: Work) -> tuple[StyleGAN2, Encoder]:
    """The generator with its mapping, and the encoder that grew up with it."""
    generator, encoder = trained_sharpening(work)
    cycles = range(SharpenRecipe().cycles)
    steps = sum(steps_done(work.folder / sharpening_file(cycle)) for cycle in cycles)
    path = work.folder / f"w-{steps}.pt"
    if path.exists():
        w = torch.load(path, weights_only=True, map_location=work.renders.device)
    else:
        w = encode_all(encoder, work.renders)
        torch.save(w, path.with_suffix(".partial"))
        os.replace(path.with_suffix(".partial"), path)
    recipe = work.recipe(MappingRecipe(), flow_steps="flow.pt", mapping_steps="mapping.pt")
    path = work.folder / "mapping.pt"
    return train_mapping(generator, w, recipe, path, work.on_step("mapping")), encoder


def trained_encoder(work: Work) -> tuple[StyleGAN2, Encoder]:
    generator, encoder = trained_generator(work)
    recipe = work.recipe(EncoderRecipe(), steps="encoder.pt")
    path = work.folder / "encoder.pt"
    encoder = train_encoder(generator, encoder, work.renders, recipe, path, work.on_step("encoder"))
    return generator, encoder.eval().requires_grad_(False)


def trained_clip(work: Work) -> ClipEmbedder:
    generator, encoder = trained_reconstruction(work)
    generator, encoder = generator.eval(), encoder.eval()

    @torch.no_grad()
    def redraw(images: Tensor, random: torch.Generator) -> Tensor:
        w_plus = encoder.single_w(images)[:, None].repeat(1, generator.rows, 1)
        noise = torch.randn(w_plus.shape, generator=random).to(w_plus)
        drawn = generator.synthesis(generator.affine(w_plus + 0.1 * noise)).clamp(-1, 1)
        return F.avg_pool2d(drawn, drawn.shape[-1] // images.shape[-1])

    recipe = work.recipe(ClipRecipe(), steps="clip.pt")
    return train_clip(work.renders, recipe, work.folder / "clip.pt", work.on_step("clip"), redraw)


def trained_identity(work: Work) -> IdentityNetwork:
    recipe = work.recipe(IdentityRecipe(), steps="identity.pt")
    looks = stored_renders(
        work.folder, *TRAINING_SEEDS, IDENTITY_SIZE, work.on_step("persons"), person_of_seed,
        "persons",
    )  # fmt: skip
    looks = replace(looks, device=work.renders.device)
    return train_identity(looks, recipe, work.folder / "identity.pt", work.on_step("identity"))


def trained_reader(work: Work) -> Reader:
    recipe = work.recipe(ReaderRecipe(), steps="reader.pt")
    return train_reader(work.renders, recipe, work.folder / "reader.pt", work.on_step("reader"))


@torch.no_grad()
def encode_all(encoder: Encoder, renders: Renders) -> Tensor:
    """The shared w of every stored render: [N,D]."""
    parts = torch.arange(len(renders.portraits)).split(256)
    return torch.cat([encoder.single_w(renders.batch(part)) for part in parts])


def check_target(target: Path, force: bool) -> None:
    """Raise ``ArgumentError`` if a model cannot be written to ``target``."""
    if target.exists() and not target.is_dir():
        raise ArgumentError(f"{target} is a file: name a folder for the model")
    if target.exists() and any(target.iterdir()) and not force:
        raise ArgumentError(f"{target} is not empty: name a new folder, or add --force")


def export(
    folder: Path,
    target: Path,
    on_step: Callable[[str], OnStep],
    finish: bool = True,
    force: bool = False,
    device: torch.device | str = "cpu",
) -> None:
    """Write the networks of ``folder`` as the model folder ``target``, at once or not at all.

    Stages are run to their ends first, unless ``finish`` is False: then they are taken as they are.
    """
    check_target(target, force)
    work = open_work(folder, on_step, finish, device)
    generator, encoder = trained_encoder(work)
    embedder, identity, reader = trained_clip(work), trained_identity(work), trained_reader(work)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_model(partial, generator, encoder, embedder, identity, reader)
    add_methods(partial, folder, on_step, NEUTRAL, device)
    for path in target.glob("*.md") if target.exists() else ():
        shutil.copy(path, partial)  # the card is written by hand
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)


def write_model(
    target: Path,
    generator: StyleGAN2,
    encoder: Encoder,
    embedder: ClipEmbedder,
    identity: IdentityNetwork,
    reader: Reader,
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
    save_network(
        target / IDENTITY, "identity", identity.config.to_dict(), identity.state_dict(), dtype=half
    )
    save_network(
        target / READER, "reader", reader.config.to_dict(), reader.state_dict(), dtype=half
    )
    embedder.model.half().save_pretrained(target / CLIP)
    embedder.model.float()
    tokenizer: Any = embedder.tokenizer
    tokenizer.save_pretrained(target / CLIP)
    description = {
        "name": "portraits",
        "description": f"procedurally drawn portraits of {SIZE} pixels, with known attributes",
        "neutral": NEUTRAL,
        "world": WORLD_VERSION,
        "alignment": {"kind": "points", **FRAME.to_json()},
        "vocabulary": vocabulary(),
        "licence": "MIT",
    }
    (target / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
