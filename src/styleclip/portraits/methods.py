"""The rows of the table: how each method edits the pictures of an evaluation.

nothing      the inversion as it is                ceiling   the truth redrawn, inverted
optimization, direction      ours, with one setting for all prompts and pictures
...-paper                    the official settings, on the same networks
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from styleclip.checkpoints import (
    Model,
    check_bank,
    load_bank,
    load_clip,
    load_encoder,
    load_generator,
    load_identity,
    load_latent_map,
    load_reader,
    read_model,
    tensors_hash,
)
from styleclip.checkpoints.registry import (
    CLIP,
    DIRECTIONS,
    ENCODER,
    GENERATOR,
    IDENTITY,
    LATENT_MAP,
    READER,
)
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing.directions import DirectionConfig, find_direction
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap, measure_latent_map
from styleclip.editing.optimization import OptimizationConfig, optimize
from styleclip.editing.relevance import (
    Relevance,
    RelevanceConfig,
    relevance_of_map,
    style_statistics,
)
from styleclip.editing.strength import StrengthConfig, fit_strength
from styleclip.evaluation.prompts import JudgedPrompt
from styleclip.evaluation.protocol import Pictures, Row
from styleclip.faces.identity import IdentityNetwork
from styleclip.faces.reader import Reader
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.inversion.encoder import Encoder
from styleclip.inversion.projection import ProjectionConfig, project
from styleclip.portraits.world import PortraitsWorld

METHODS = (
    "nothing", "ceiling", "optimization", "direction", "optimization-paper", "direction-paper",
)  # fmt: skip
Find = Callable[[list[int], JudgedPrompt], Edit]
PAPER_EDITS = 100  # of the slow preset


@dataclass(frozen=True)
class Parts:
    """A model's networks on one device."""

    model: Model
    generator: StyleGAN2
    embedder: ClipEmbedder
    encoder: Encoder | None
    reader: Reader
    identity: IdentityNetwork | None
    device: torch.device


def load_parts(model: str, device: torch.device) -> Parts:
    """All networks of a model. Raises ``CheckpointError`` if it has no reader."""
    folder = read_model(model)

    def has(name: str) -> bool:
        return (folder.folder / name).exists()

    return Parts(
        model=folder,
        generator=load_generator(folder.file(GENERATOR)).to(device),
        embedder=load_clip(folder.file(CLIP)).to(device),
        encoder=load_encoder(folder.file(ENCODER)).to(device) if has(ENCODER) else None,
        reader=load_reader(folder.file(READER)).to(device),
        identity=load_identity(folder.file(IDENTITY)).to(device) if has(IDENTITY) else None,
        device=device,
    )


def method_row(
    name: str, parts: Parts, pictures: Pictures, world: PortraitsWorld | None, full: bool
) -> Row | None:
    """How one method edits; None where it cannot be asked (no truth, no encoder)."""
    generator = parts.generator
    if name == "nothing":
        still = torch.zeros_like(pictures.w_plus[:1])
        return Row(name, lambda _, judged: Edit(name, judged.prompt, w_plus_step=still))
    if name == "ceiling":
        encoder = parts.encoder
        if world is None or encoder is None:
            return None

        def redraw(index: list[int], judged: JudgedPrompt) -> Edit:
            truth = torch.stack([world.redrawn(i, judged.targets) for i in index])
            with torch.no_grad():
                start = encoder(truth.to(pictures.w_plus))
            found = project(generator, truth.to(start), ProjectionConfig(), start)
            return Edit(name, judged.prompt, w_plus_step=found - pictures.w_plus[index])

        return Row(name, redraw, limit=None if full else PAPER_EDITS)

    paper = name.endswith("-paper")
    latent_map, preparation = None, 0.0
    if name != "optimization-paper":
        latent_map, preparation = prepared_map(parts)
    started = time.perf_counter()
    find = (
        direction_finder(parts, pictures, latent_map, paper)
        if name.startswith("direction")
        else optimization_finder(parts, pictures, latent_map, paper)
    )
    if find is None:
        return None
    preparation += time.perf_counter() - started
    slow = name == "optimization-paper"
    return Row(name, find, preparation, PAPER_EDITS if slow and not full else None)


def presets() -> dict[str, dict[str, Any]]:
    """Every setting that a row depends on, as JSON values."""
    configs: dict[str, Any] = {
        "inversion": ProjectionConfig(),
        "optimization": OptimizationConfig(),
        "optimization-paper": OptimizationConfig.paper(),
        "direction": DirectionConfig(),
        "direction-paper": DirectionConfig.paper(),
        "strength": StrengthConfig(),
    }
    return {name: asdict(config) for name, config in configs.items()}


def prepared_map(parts: Parts) -> tuple[LatentMap, float]:
    """The model's latent map, read or measured, and the seconds that took."""
    path, started = parts.model.folder / LATENT_MAP, time.perf_counter()
    if path.exists():
        found = load_latent_map(path).to(parts.device)
    else:
        found = measure_latent_map(parts.generator, parts.embedder)
    return found, time.perf_counter() - started


def optimization_finder(
    parts: Parts, pictures: Pictures, latent_map: LatentMap | None, paper: bool
) -> Find:
    config = OptimizationConfig.paper() if paper else OptimizationConfig()

    def find(index: list[int], judged: JudgedPrompt) -> Edit:
        return optimize(
            parts.generator, parts.embedder, pictures.w_plus[index],
            judged.prompt, config, latent_map=latent_map,
        )  # fmt: skip

    return find


def direction_finder(
    parts: Parts, pictures: Pictures, latent_map: LatentMap | None, paper: bool
) -> Find | None:
    """By samples, each picture's own strength; or the model's exact bank, beta and alpha fixed."""
    generator, embedder = parts.generator, parts.embedder
    path = parts.model.folder / DIRECTIONS
    if latent_map is None or (paper and not path.exists()):
        return None
    measured = RelevanceConfig()
    mean, std = style_statistics(generator, measured.samples, measured.seed, measured.truncation)
    relevance: Relevance = relevance_of_map(generator, latent_map, mean, std, measured)
    config = DirectionConfig()
    if paper:
        bank = load_bank(path)
        hashes = {
            "generator": tensors_hash(generator.state_dict()),
            "clip": tensors_hash(embedder.model.state_dict()),
        }
        check_bank(bank, hashes, parts.model.name)
        relevance, config = bank, DirectionConfig.paper()

    def find(index: list[int], judged: JudgedPrompt) -> Edit:
        edit = find_direction(relevance, embedder, judged.prompt, config)
        if paper:
            return edit
        return fit_strength(generator, embedder, pictures.w_plus[index], edit, latent_map)

    return find
