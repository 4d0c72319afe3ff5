"""What all recipes share: stored renders, and a loop that survives a kill.

A recipe is a function of (seed, step): every step draws its randomness from that pair, so a run
that is killed and resumed is the run that was not. A checkpoint holds modules, optimiser and step,
and is replaced atomically every ``SAVE_SECONDS``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from styleclip.errors import ArgumentError
from styleclip.portraits.attributes import Portrait, sample_portrait

SAVE_SECONDS = 120.0
EVALUATION_SEED = 1_000_000  # held-out portraits start here; training uses seeds from 0

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, figures


def portrait_of_seed(seed: int) -> Portrait:
    """The portrait of one seed: the unit in which training and held-out sets are told apart."""
    return sample_portrait(np.random.default_rng([7021, seed]))


@dataclass(frozen=True)
class Renders:
    """Stored portraits: ``images`` [N,3,H,W] uint8 (memory-mapped) and who they show."""

    images: Tensor
    portraits: list[Portrait]

    def batch(self, index: Tensor) -> Tensor:
        """[B] indices -> [B,3,H,W] in [-1,1], channels-last."""
        pixels = self.images[index].float().div_(127.5).sub_(1.0)
        return pixels.contiguous(memory_format=torch.channels_last)


def stored_renders(folder: Path, first: int, count: int, size: int, on_step: OnStep) -> Renders:
    """Renders of seeds first .. first + count - 1, drawn once and kept in ``folder``."""
    from styleclip.portraits.renderer import render

    path = folder / f"renders-{first}-{count}-{size}.npy"
    portraits = [portrait_of_seed(seed) for seed in range(first, first + count)]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.empty((count, 3, size, size), np.uint8)
        for i, portrait in enumerate(portraits):
            pixels[i] = render(portrait, size).transpose(2, 0, 1)
            if (i + 1) % 500 == 0 or i + 1 == count:
                on_step(i + 1, count, {})
        partial = path.with_suffix(".partial.npy")
        np.save(partial, pixels)
        os.replace(partial, path)
    return Renders(torch.from_numpy(np.load(path, mmap_mode="c")), portraits)


@dataclass
class Run:
    """The state of one training: what is saved, and where."""

    path: Path
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    step: int = 0

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(
            {
                "step": self.step,
                "modules": {name: m.state_dict() for name, m in self.modules.items()},
                "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            },
            partial,
        )
        os.replace(partial, self.path)

    def restore(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        if not self.path.exists():
            return
        state = torch.load(self.path, weights_only=True)
        self.step = state["step"]
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def train(
        self, steps: int, one_step: Callable[[int], dict[str, float]], on_step: OnStep
    ) -> None:
        """Run ``one_step(step)`` up to ``steps``; a kill loses at most ``SAVE_SECONDS``."""
        self.restore()
        saved = time.monotonic()
        while self.step < steps:
            figures = one_step(self.step)
            self.step += 1
            on_step(self.step, steps, figures)
            if time.monotonic() - saved > SAVE_SECONDS or self.step == steps:
                self.save()
                saved = time.monotonic()


def steps_done(path: Path) -> int:
    """How far the run behind a checkpoint is. Raises ``ArgumentError`` if it was never saved."""
    if not path.exists():
        raise ArgumentError(
            f"there is no {path.name} in {path.parent}: that stage was never run, train it first"
        )
    return int(torch.load(path, weights_only=True)["step"])


def step_generator(seed: int, step: int) -> torch.Generator:
    """The randomness of one step."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def ramped_rate(base: float, step: int, steps: int, warm: int = 100, tail: float = 0.3) -> float:
    """Linear warm-up, flat, then a cosine to zero over the last ``tail`` of the run."""
    left = (steps - step) / max(1.0, tail * steps)
    decay = 1.0 if left >= 1 else 0.5 * (1 - float(np.cos(np.pi * left)))
    return base * min(1.0, (step + 1) / warm) * decay


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Exponential moving average of all parameters and buffers."""
    for mean, value in zip(
        average.state_dict().values(), module.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
