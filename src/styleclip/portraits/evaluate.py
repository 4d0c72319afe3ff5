"""`styleclip portraits evaluate`: what the networks of the portraits world can do.

Edits: 100 renders that no training saw, inverted by the encoder, ten prompts; the reader judges.
Networks: the reader on renders, the CLIP's zero-shot answers, the encoder's pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints import (
    load_clip,
    load_encoder,
    load_generator,
    load_latent_map,
    read_model,
)
from styleclip.checkpoints.native import read_network
from styleclip.checkpoints.registry import CLIP, ENCODER, GENERATOR, LATENT_MAP, READER
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap
from styleclip.editing.optimization import OptimizationConfig, optimize
from styleclip.evaluation.benchmark import Task, run_task, summarize
from styleclip.generators import Generator
from styleclip.portraits.attributes import ATTRIBUTES, HIDES, Portrait, visible
from styleclip.portraits.captions import attribute_phrase
from styleclip.portraits.reader import Reader
from styleclip.portraits.training import EVALUATION_SEED, Renders, portrait_of_seed
from styleclip.prompts import PromptPair

PAPER_PICTURES = 20  # of the slow preset; the table says how many edits that gave
NAMES = [attribute.name for attribute in ATTRIBUTES]

# committed before the first result; one prompt for each of ten attributes
PROMPTS: tuple[tuple[str, str, str], ...] = (
    ("a face with red hair", "hair_colour", "red"),
    ("a face with curly hair", "hair_style", "curly"),
    ("a smiling face", "expression", "smiling"),
    ("a face with glasses", "eyewear", "glasses"),
    ("a face with a beard", "facial_hair", "beard"),
    ("a face wearing a beanie", "hat", "beanie"),
    ("an old face", "age", "old"),
    ("a face with lipstick", "lipstick", "lipstick"),
    ("a face wearing earrings", "earrings", "earrings"),
    ("a face with blue eyes", "eye_colour", "blue"),
)


def tasks(neutral: str = "a face") -> list[Task]:
    found = []
    for text, name, value in PROMPTS:
        index = NAMES.index(name)
        prompt = PromptPair(target=text, neutral=neutral)
        found.append(Task(prompt, index, ATTRIBUTES[index].values.index(value)))
    return found


def hidden(values: Tensor) -> Tensor:
    """Value indices [B,A] -> bool [B,A], True where another value hides the attribute."""
    mask = torch.zeros_like(values, dtype=torch.bool)
    for (name, value), others in HIDES.items():
        i = NAMES.index(name)
        hides = values[:, i] == ATTRIBUTES[i].values.index(value)
        for other in others:
            mask[:, NAMES.index(other)] |= hides
    return mask


def load_reader(path: Path) -> Reader:
    reader = Reader()
    reader.load_state_dict(read_network(path, "portraits-reader").state_dict)
    return reader.eval().requires_grad_(False)


def held_out(count: int, size: int, first: int = EVALUATION_SEED) -> Renders:
    """Renders of seeds that no training uses."""
    import numpy as np

    from styleclip.portraits.renderer import render

    portraits = [portrait_of_seed(first + i) for i in range(count)]
    pixels = np.stack([render(portrait, size) for portrait in portraits]).transpose(0, 3, 1, 2)
    return Renders(torch.from_numpy(pixels.copy()), portraits)


def truth_table(portraits: Sequence[Portrait]) -> tuple[Tensor, Tensor]:
    """Value indices [B,A] and whether each can be seen [B,A]."""
    truth = torch.tensor([portrait.values for portrait in portraits])
    return truth, torch.tensor([visible(portrait) for portrait in portraits])


def accuracy(values: Tensor, truth: Tensor, seen: Tensor) -> dict[str, Any]:
    """Share of visible attributes read correctly: each, their mean, and which is the worst."""
    right = (values.cpu() == truth).float()
    shares: dict[str, Any] = {n: float(right[seen[:, i], i].mean()) for i, n in enumerate(NAMES)}
    worst = min(NAMES, key=lambda name: shares[name])
    return {**shares, "mean": sum(shares.values()) / len(NAMES), "worst": worst}


def zero_shot(embedder: ClipEmbedder) -> Callable[[Tensor], Tensor]:
    """A reader made of texts: each attribute's value is the phrase nearest to the picture."""
    blocks = [
        embedder.embed_texts(
            [attribute_phrase(attribute.name, value) for value in attribute.values]
        )
        for attribute in ATTRIBUTES
    ]

    @torch.no_grad()
    def read(images: Tensor) -> Tensor:
        pictures = embedder.embed_images(images)
        return torch.stack([(pictures @ block.t()).argmax(dim=1) for block in blocks], dim=1)

    return read


@torch.no_grad()
def inverted_images(generator: Generator, w_plus: Tensor) -> Tensor:
    """w_plus [N,L,D] -> [N,3,H,W] in [-1,1]."""
    parts = [generator.synthesis(style) for style in generator.affine(w_plus).split(50)]
    return torch.cat(parts).clamp(-1, 1)


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """dB of each picture [N]; the range is 2."""
    error = (images - others).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)


Bar = Callable[[str], Callable[[int, int, Mapping[str, float]], None]]


def evaluate(
    model: str,
    count: int,
    presets: Sequence[str],
    bar: Bar,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """All figures as JSON values. ``bar(name)`` reports progress."""
    folder = read_model(model)
    generator = load_generator(folder.file(GENERATOR)).to(device)
    embedder = load_clip(folder.file(CLIP)).to(device)
    encoder = load_encoder(folder.file(ENCODER)).to(device)
    latent_map = load_latent_map(folder.file(LATENT_MAP)).to(device)
    reader = load_reader(folder.file(READER)).to(device)

    # the networks, each on portraits that no training saw
    renders = held_out(max(count, 500), generator.resolution)
    images = renders.batch(torch.arange(len(renders.portraits))).to(device)
    w_plus = torch.cat([encoder(part) for part in images.split(100)])
    redrawn = inverted_images(generator, w_plus)
    truth, seen = truth_table(renders.portraits)
    result: dict[str, Any] = {
        "model": folder.name,
        "portraits": len(renders.portraits),
        "reader on renders": accuracy(reader.read(images), truth, seen),
        "reader on inversions": accuracy(reader.read(redrawn), truth, seen),
        "clip zero-shot on renders": accuracy(zero_shot(embedder)(images), truth, seen),
        "clip zero-shot on inversions": accuracy(zero_shot(embedder)(redrawn), truth, seen),
        "inversion PSNR (median dB)": float(psnr(redrawn, images).median()),
        "machine": machine(),
        "edits": [],
    }

    # the edits: each preset, ten prompts
    for preset in presets:
        config = OptimizationConfig.paper() if preset == "paper" else OptimizationConfig()
        make_edit = editor(generator, embedder, config, latent_map)
        pictures = min(count, PAPER_PICTURES) if preset == "paper" else count
        on_step, outcomes, todo = bar(f"preset {preset}"), [], tasks(folder.neutral)
        for done, task in enumerate(todo, start=1):
            outcomes.append(
                run_task(generator, w_plus[:pictures], task, make_edit, reader.read, hidden)
            )
            on_step(done, len(todo), {})
        summary = asdict(summarize(outcomes))
        summary["kept_per_attribute"] = dict(zip(NAMES, summary["kept_per_attribute"], strict=True))
        per_prompt = {
            outcome.task.prompt.target: {
                "edits": len(outcome.success),
                "success": float(outcome.success.float().mean()),
                "kept": float(outcome.kept.nanmean()),
            }
            for outcome in outcomes
        }
        result["edits"].append(
            {"preset": preset, "pictures": pictures, **summary, "prompts": per_prompt}
        )
    return result


def editor(
    generator: Generator,
    embedder: ClipEmbedder,
    config: OptimizationConfig,
    latent_map: LatentMap,
) -> Callable[[Tensor, PromptPair], Edit]:
    """How one preset edits."""
    return lambda w_plus, prompt: optimize(
        generator, embedder, w_plus, prompt, config, latent_map=latent_map
    )


def as_text(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"Model {result['model']}, {result['portraits']} held-out portraits; {result['machine']}",
        "",
        "| figure | mean | worst attribute |",
        "|---|---|---|",
    ]
    for name, value in result.items():
        if isinstance(value, dict) and "mean" in value:
            worst = value["worst"]
            lines.append(f"| {name} | {value['mean']:.1%} | {worst} {value[worst]:.1%} |")
    lines.append(f"| inversion PSNR | {result['inversion PSNR (median dB)']:.1f} dB | |")
    lines += ["", "| preset | pictures | edits | success | others kept | worst kept | s an edit |",
              "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in result["edits"]:
        kept = {k: v for k, v in row["kept_per_attribute"].items() if v == v}
        worst = min(kept, key=lambda name: kept[name])
        lines.append(
            f"| {row['preset']} | {row['pictures']} | {row['edits']} | {_share(row['success'])} | "
            f"{_share(row['kept'])} | {worst} {kept[worst]:.1%} | {row['seconds']:.2f} |"
        )
    for row in result["edits"]:
        lines += ["", f"| {row['preset']}: prompt | edits | success | others kept |",
                  "|---|---|---|---|"]  # fmt: skip
        for prompt, figures in row["prompts"].items():
            lines.append(f"| {prompt} | {figures['edits']} | {figures['success']:.1%} | "
                         f"{figures['kept']:.1%} |")  # fmt: skip
    return "\n".join(lines)


def _share(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})"


def machine() -> str:
    import os
    import platform

    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )
