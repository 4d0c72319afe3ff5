"""`styleclip portraits evaluate`: what the networks of the portraits world can do, on held-out portraits.

Edits: 100 renders that no training saw, inverted by the encoder, ten prompts; judged by the reader.
Networks: the reader on renders, the CLIP's zero-shot answers, the encoder's pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from styleclip.checkpoints.native import read_network
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing.optimization import OptimizationConfig, optimize
from styleclip.evaluation.benchmark import Outcome, Task, run_task
from styleclip.generators import Generator
from styleclip.inversion.encoder import Encoder
from styleclip.portraits.attributes import ATTRIBUTES, HIDES, visible
from styleclip.portraits.captions import attribute_phrase
from styleclip.portraits.reader import Reader
from styleclip.portraits.training import Renders, portrait_of_seed
from styleclip.prompts import PromptPair

EVALUATION_SEED = 1_000_000  # held-out portraits start here; training uses seeds from 0
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


def reading_accuracy(read: Callable[[Tensor], Tensor], renders: Renders) -> dict[str, float]:
    """Share of visible attributes read correctly, per attribute."""
    count = len(renders.portraits)
    values = torch.cat([read(renders.batch(part)) for part in torch.arange(count).split(100)])
    truth = torch.tensor([portrait.values for portrait in renders.portraits])
    seen = torch.tensor([visible(portrait) for portrait in renders.portraits])
    right = (values == truth).float()
    return {name: float(right[seen[:, i], i].mean()) for i, name in enumerate(NAMES)}


def zero_shot(embedder: ClipEmbedder) -> Callable[[Tensor], Tensor]:
    """A reader made of texts: each attribute's value is the phrase nearest to the picture."""
    blocks = [
        embedder.embed_texts(
            ["a person with " + attribute_phrase(a.name, value) if False else
             attribute_phrase(a.name, value) for value in a.values]
        )
        for a in ATTRIBUTES
    ]  # fmt: skip

    @torch.no_grad()
    def read(images: Tensor) -> Tensor:
        pictures = embedder.embed_images(images)
        return torch.stack([(pictures @ block.t()).argmax(dim=1) for block in blocks], dim=1)

    return read


@torch.no_grad()
def inversion_psnr(generator: Generator, w_plus: Tensor, images: Tensor) -> Tensor:
    """dB of each picture [N]."""
    redrawn = torch.cat([generator.synthesis(s) for s in generator.affine(w_plus).split(50)])
    error = (redrawn.clamp(-1, 1) - images).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)


@dataclass(frozen=True)
class Row:
    """One preset of the table."""

    name: str
    config: OptimizationConfig
    pictures: int


def edit_outcomes(
    generator: Generator,
    embedder: ClipEmbedder,
    reader: Reader,
    w_plus: Tensor,
    config: OptimizationConfig,
    on_task: Callable[[int, int], None],
) -> list[Outcome]:
    found = []
    todo = tasks()
    for i, task in enumerate(todo):
        found.append(
            run_task(
                generator,
                w_plus,
                task,
                lambda w, prompt: optimize(generator, embedder, w, prompt, config),
                reader.read,
                hidden,
            )
        )
        on_task(i + 1, len(todo))
    return found


@torch.no_grad()
def invert(encoder: Encoder, renders: Renders) -> Tensor:
    return torch.cat([encoder(renders.batch(p)) for p in
                      torch.arange(len(renders.portraits)).split(100)])  # fmt: skip
