"""Recipe of the judge: cross-entropy on augmented renders, nothing else.

`styleclip portraits train reader`: about 9 minutes on one core; at least 99.8 % right on
every attribute of held-out renders.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from styleclip.faces.reader import Reader, ReaderConfig
from styleclip.portraits.attributes import ATTRIBUTES, HIDES
from styleclip.portraits.train_clip import augment, head_loss
from styleclip.portraits.training import OnStep, Renders, Run, ramped_rate, set_rate, step_generator


def reader_config() -> ReaderConfig:
    """What the portraits' reader reads."""
    return ReaderConfig(
        attributes=tuple((attribute.name, attribute.values) for attribute in ATTRIBUTES),
        hides=tuple((name, value, hidden) for (name, value), hidden in HIDES.items()),
    )


@dataclass(frozen=True)
class ReaderRecipe:
    seed: int = 4
    steps: int = 1_200
    batch: int = 64
    rate: float = 2e-3
    weight_decay: float = 0.02


def train_reader(
    renders: Renders, recipe: ReaderRecipe, checkpoint: Path, on_step: OnStep
) -> Reader:
    device = renders.device
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        reader = Reader(reader_config()).train().to(device)
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=recipe.weight_decay)

    def one_step(step: int) -> dict[str, float]:
        random = step_generator(recipe.seed, step)
        index = torch.randint(len(renders.portraits), (recipe.batch,), generator=random)
        images = augment(renders.batch(index, reader.config.resolution), random)
        with torch.autocast(device.type, torch.bfloat16):
            logits = reader(images).float()
        loss, right = head_loss(logits, [renders.portraits[i] for i in index.tolist()])
        set_rate(optimizer, ramped_rate(recipe.rate, step, recipe.steps, tail=0.8))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"loss": loss.item(), "right": right}

    Run(checkpoint, {"reader": reader}, {"adam": optimizer}).train(recipe.steps, one_step, on_step)
    return reader.eval()
