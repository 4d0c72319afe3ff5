"""What the methods need of the finished networks, measured on the files that people will load.

  latent_map.safetensors    e -> w: one minute
  mapper.safetensors        one mapper for the prompts of prompts/training.txt: ten minutes
  directions.safetensors    what every style channel does, exactly: ten minutes
The last two go on where they were stopped. Durations on one core.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from styleclip.checkpoints import (
    load_clip,
    load_generator,
    load_latent_map,
    load_scan,
    load_training,
    save_bank,
    save_mapper,
    save_network,
    save_training,
    tensors_hash,
)
from styleclip.checkpoints.banks import scan_keeper
from styleclip.checkpoints.registry import DIRECTIONS, LATENT_MAP, MAPPER
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing.latent_map import measure_latent_map
from styleclip.editing.mapper_training import (
    TrainingConfig,
    TrainingState,
    train_mapper,
)
from styleclip.editing.relevance import RelevanceConfig, measure_relevance
from styleclip.evaluation.prompts import read_prompt_list
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.portraits.training import OnStep
from styleclip.prompts import PromptPair

PROMPTS = Path(__file__).parent / "prompts" / "training.txt"
LATENTS = 2_000  # samples that the mapper learns from
MAPPER_TRAINING = TrainingConfig.of("text", prompts=2)  # or more
BANK = RelevanceConfig()
SAVE_EVERY = 50  # steps of the mapper's training


def add_methods(
    model: Path,
    work: Path,
    on_step: Callable[[str], OnStep],
    neutral: str,
    device: torch.device | str = "cpu",
) -> None:
    """Add the three files to the folder ``model``; ``work`` keeps what is under way."""
    add_latent_map(model, on_step, device)
    add_mapper(model, work, on_step, neutral, device)
    add_bank(model, work, on_step, device)


def add_latent_map(
    model: Path, on_step: Callable[[str], OnStep], device: torch.device | str = "cpu"
) -> None:
    """Where w goes when a picture's embedding moves."""
    generator, embedder, _ = _networks(model, device)
    measured = measure_latent_map(generator, embedder, on_step=on_step("latent map"))
    save_network(model / LATENT_MAP, "latent-map", {}, vars(measured))


def add_mapper(
    model: Path,
    work: Path,
    on_step: Callable[[str], OnStep],
    neutral: str,
    device: torch.device | str = "cpu",
) -> None:
    """One mapper for many prompts."""
    generator, embedder, hashes = _networks(model, device)
    prompts = [PromptPair(target=text, neutral=neutral) for text in read_prompt_list(PROMPTS)]
    w = generator.sample_w(LATENTS, torch.Generator().manual_seed(MAPPER_TRAINING.seed + 1))
    latent_map = load_latent_map(model / LATENT_MAP).to(device)
    settings = {
        **hashes, **asdict(MAPPER_TRAINING), "latent map": tensors_hash(vars(latent_map)),
        "latents": LATENTS, "prompts": [str(each) for each in prompts],
    }  # fmt: skip
    path = work / f"text-mapper-{_digest(settings)}.pt"

    def keep(state: TrainingState) -> None:
        if state.step % SAVE_EVERY == 0:
            save_training(path, state, settings)

    mapper = train_mapper(
        generator, embedder, generator.truncate(w), prompts, MAPPER_TRAINING,
        latent_map, None, on_step("mapper"),
        load_training(path, settings), keep,
    )  # fmt: skip
    save_mapper(model / MAPPER, mapper, prompts, hashes, asdict(MAPPER_TRAINING))


def add_bank(
    model: Path,
    work: Path,
    on_step: Callable[[str], OnStep],
    device: torch.device | str = "cpu",
) -> None:
    """What every style channel does, moved by itself."""
    generator, embedder, hashes = _networks(model, device)
    settings = {**hashes, **asdict(BANK)}
    path = work / f"directions-{_digest(settings)}.scan"

    bank = measure_relevance(
        generator, embedder, BANK, on_step("directions"), load_scan(path, settings),
        scan_keeper(path, settings),
    )  # fmt: skip
    save_bank(model / DIRECTIONS, bank, hashes["generator"], hashes["clip"])


def _digest(settings: Mapping[str, Any]) -> str:
    """A short name of settings: work under way for other networks is left alone."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _networks(
    model: Path, device: torch.device | str
) -> tuple[StyleGAN2, ClipEmbedder, dict[str, str]]:
    """Generator and CLIP of the folder, and their hashes."""
    generator, embedder = load_generator(model).to(device), load_clip(model).to(device)
    return generator, embedder, {
        "generator": tensors_hash(generator.state_dict()),
        "clip": tensors_hash(embedder.model.state_dict()),
    }  # fmt: skip
