"""The rows of the table: how each method edits the pictures of an evaluation.

nothing      the inversion as it is                ceiling   the truth redrawn, inverted
optimization, mapper, direction    ours, with one setting for all prompts and pictures
mapper-single                      a mapper trained for each prompt
direction-exact                    by the measured bank, channel by channel
direction-instant, -gradient       nothing measured before: by few samples; by the gradient
...-paper                          the official settings, on the same networks
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from styleclip.checkpoints import (
    Model,
    SavedMapper,
    check_bank,
    check_mapper,
    load_bank,
    load_clip,
    load_encoder,
    load_generator,
    load_identity,
    load_latent_map,
    load_mapper,
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
    MAPPER,
    READER,
)
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing.directions import DirectionConfig, find_direction, prompt_direction
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap, LatentMapConfig, measure_latent_map
from styleclip.editing.mapper_training import TrainingConfig, train_mapper
from styleclip.editing.optimization import OptimizationConfig, optimize
from styleclip.editing.relevance import (
    PromptRelevanceConfig,
    Relevance,
    RelevanceConfig,
    prompt_relevance,
    relevance_of_map,
    style_statistics,
)
from styleclip.editing.strength import StrengthConfig, fit_strength, fits_by_itself
from styleclip.evaluation.prompts import JudgedPrompt
from styleclip.evaluation.protocol import Pictures, Row
from styleclip.faces.arcface import ArcFace
from styleclip.faces.identity import IdentityNetwork
from styleclip.faces.reader import Reader
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.inversion.e4e import PyramidEncoder
from styleclip.inversion.encoder import Encoder
from styleclip.inversion.projection import ProjectionConfig, project
from styleclip.portraits.world import PortraitsWorld

METHODS = (
    "nothing", "ceiling",
    "optimization", "mapper", "mapper-single", "direction", "direction-exact",
    "direction-instant", "direction-gradient",
    "optimization-paper", "mapper-paper", "direction-paper",
)  # fmt: skip
Find = Callable[[list[int], JudgedPrompt], Edit]
PAPER_EDITS = 100  # of the slow preset
PAPER_STEPS = 5_000  # of the official mapper's 50,000
LATENTS = 1_000  # samples that a mapper learns from


@dataclass(frozen=True)
class Parts:
    """A model's networks on one device."""

    model: Model
    generator: StyleGAN2
    embedder: ClipEmbedder
    encoder: Encoder | PyramidEncoder | None
    reader: Reader
    identity: IdentityNetwork | ArcFace | None
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

    if name == "optimization-paper":
        find = optimization_finder(parts, pictures, None, OptimizationConfig.paper())
        return Row(name, find, limit=None if full else PAPER_EDITS)
    if name == "mapper-paper":
        return trained_row(name, parts, pictures, None, paper_training())
    latent_map, preparation = prepared_map(parts)
    if name == "optimization":
        find = optimization_finder(parts, pictures, latent_map, OptimizationConfig())
        return Row(name, find, preparation)
    if name == "mapper-single":
        return trained_row(name, parts, pictures, latent_map, TrainingConfig())
    if name == "mapper":
        return text_mapper_row(name, parts, pictures)
    if name == "direction-gradient":
        return gradient_row(name, parts, pictures)
    if name == "direction-instant":
        latent_map, preparation = quick_map(parts)
    return direction_row(name, parts, pictures, latent_map, preparation)


def presets() -> dict[str, dict[str, Any]]:
    """Every setting that a row depends on, as JSON values."""
    configs: dict[str, Any] = {
        "inversion": ProjectionConfig(),
        "optimization": OptimizationConfig(),
        "optimization-paper": OptimizationConfig.paper(),
        "direction": DirectionConfig(),
        "direction-paper": DirectionConfig.paper(),
        "direction-instant": LatentMapConfig.quick(),
        "direction-gradient": PromptRelevanceConfig(),
        "mapper-single": TrainingConfig(),
        "mapper-paper": paper_training(),
        "strength": StrengthConfig(),
    }
    found: dict[str, dict[str, Any]] = json.loads(
        json.dumps({name: asdict(config) for name, config in configs.items()})
    )
    return found


def prepared_map(parts: Parts) -> tuple[LatentMap, float]:
    """The model's latent map, read or measured, and the seconds that took."""
    path, started = parts.model.folder / LATENT_MAP, time.perf_counter()
    if path.exists():
        found = load_latent_map(path).to(parts.device)
    else:
        found = measure_latent_map(parts.generator, parts.embedder)
    return found, time.perf_counter() - started


def quick_map(parts: Parts) -> tuple[LatentMap, float]:
    """A latent map of few samples, which any model has in seconds, and how many."""
    started = time.perf_counter()
    found = measure_latent_map(parts.generator, parts.embedder, LatentMapConfig.quick())
    return found, time.perf_counter() - started


def optimization_finder(
    parts: Parts, pictures: Pictures, latent_map: LatentMap | None, config: OptimizationConfig
) -> Find:
    def find(index: list[int], judged: JudgedPrompt) -> Edit:
        generator, embedder, w_plus = parts.generator, parts.embedder, pictures.w_plus[index]
        edit = optimize(generator, embedder, w_plus, judged.prompt, config, latent_map=latent_map)
        if latent_map is None or not fits_by_itself(config):
            return edit
        return fit_strength(generator, embedder, w_plus, edit, latent_map)

    return find


def paper_training() -> TrainingConfig:
    """The official training, for a tenth of its steps."""
    return replace(TrainingConfig.paper(), steps=PAPER_STEPS)


def text_mapper_row(name: str, parts: Parts, pictures: Pictures) -> Row | None:
    """The model's own mapper; None if it has none."""
    path = parts.model.folder / MAPPER
    if not path.exists():
        return None
    mapper = load_mapper(path)
    check_mapper(mapper, own_hashes(parts), parts.model.name)
    mapper.network.to(parts.device)

    def find(index: list[int], judged: JudgedPrompt) -> Edit:
        w_plus = pictures.w_plus[index]
        return mapper.edit(parts.generator, parts.embedder, w_plus, judged.prompt)

    return Row(name, find)


def trained_row(
    name: str,
    parts: Parts,
    pictures: Pictures,
    latent_map: LatentMap | None,
    config: TrainingConfig,
) -> Row | None:
    """A mapper for each prompt, trained on samples; None where it needs a part that is missing."""
    if config.identity_weight and parts.identity is None:
        return None
    generator, identity = parts.generator, parts.identity
    trained: dict[str, SavedMapper] = {}

    def prepare(judged: JudgedPrompt) -> None:
        w = generator.sample_w(LATENTS, torch.Generator().manual_seed(config.seed + 1))
        mapper = train_mapper(
            generator, parts.embedder, generator.truncate(w), judged.prompt, config, latent_map,
            identity if config.identity_weight else None,
        )  # fmt: skip
        trained[str(judged.prompt)] = SavedMapper(mapper, (judged.prompt,))

    def find(index: list[int], judged: JudgedPrompt) -> Edit:
        mapper = trained[str(judged.prompt)]
        return mapper.edit(generator, parts.embedder, pictures.w_plus[index], judged.prompt)

    return Row(name, find, prepare=prepare, own=True)


def direction_row(
    name: str, parts: Parts, pictures: Pictures, latent_map: LatentMap, preparation: float
) -> Row | None:
    """By the samples of ``latent_map``, or by the model's exact bank; None where that is missing.

    Each picture's own strength, but for the official settings, where beta and alpha are fixed.
    """
    generator, embedder = parts.generator, parts.embedder
    started = time.perf_counter()
    relevance: Relevance
    if name in ("direction", "direction-instant"):
        measured = RelevanceConfig()
        mean, std = style_statistics(
            generator, measured.samples, measured.seed, measured.truncation
        )
        relevance = relevance_of_map(generator, latent_map, mean, std, measured)
    else:
        path = parts.model.folder / DIRECTIONS
        if not path.exists():
            return None
        bank = load_bank(path)
        check_bank(bank, own_hashes(parts), parts.model.name)
        relevance = bank
    config = DirectionConfig.paper() if name.endswith("-paper") else DirectionConfig()
    preparation += time.perf_counter() - started

    def find(index: list[int], judged: JudgedPrompt) -> Edit:
        edit = find_direction(
            relevance, embedder, judged.prompt, config, layout=generator.layout
        )  # fmt: skip
        if not fits_by_itself(config):
            return edit
        return fit_strength(generator, embedder, pictures.w_plus[index], edit, latent_map)

    return Row(name, find, preparation)


def gradient_row(name: str, parts: Parts, pictures: Pictures) -> Row:
    """By gradients for the prompt alone, measured before its edits."""
    generator, embedder = parts.generator, parts.embedder
    latent_map, preparation = quick_map(parts)  # for the strength
    found: dict[str, Edit] = {}

    def prepare(judged: JudgedPrompt) -> None:
        direction = prompt_direction(embedder, judged.prompt)
        relevance = prompt_relevance(generator, embedder, direction)
        found[str(judged.prompt)] = find_direction(relevance, embedder, judged.prompt)

    def find(index: list[int], judged: JudgedPrompt) -> Edit:
        edit = found[str(judged.prompt)]
        return fit_strength(generator, embedder, pictures.w_plus[index], edit, latent_map)

    return Row(name, find, preparation, prepare=prepare)


def own_hashes(parts: Parts) -> dict[str, str]:
    """What banks and mappers must have been made with."""
    return {
        "generator": tensors_hash(parts.generator.state_dict()),
        "clip": tensors_hash(parts.embedder.model.state_dict()),
    }
