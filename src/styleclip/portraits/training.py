"""What all recipes share: stored renders, and a loop that survives a kill.

A recipe is a function of (seed, step): every step draws its randomness from that pair, so a run
that is killed and resumed is the run that was not. A checkpoint holds modules, optimiser and step,
and is replaced atomically every ``SAVE_SECONDS`` and when the run is stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError
from styleclip.portraits.attributes import WORLD_VERSION, Portrait, sample_portrait

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
    device: torch.device = torch.device("cpu")

    def batch(self, index: Tensor, size: int | None = None) -> Tensor:
        """[B] indices -> [B,3,size,size] in [-1,1], channels-last; smaller sizes are averages."""
        pixels = self.images[index].to(self.device).float().div_(127.5).sub_(1.0)
        if size is not None and size < pixels.shape[-1]:
            pixels = F.avg_pool2d(pixels, pixels.shape[-1] // size)
        return pixels.contiguous(memory_format=torch.channels_last)


CHUNK = 500  # portraits that one process draws at a time


def stored_renders(
    folder: Path,
    first: int,
    count: int,
    size: int,
    on_step: OnStep,
    portrait_of: Callable[[int], Portrait] = portrait_of_seed,
    name: str = "renders",
) -> Renders:
    """Renders of seeds first .. first + count - 1, drawn once and kept in ``folder``.

    Drawn on all cores; a kill loses what was being drawn, and the next call goes on from there.
    """
    path = folder / f"{name}-{WORLD_VERSION}-{first}-{count}-{size}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        shape = (count, 3, size, size)
        pixels = np.lib.format.open_memmap(
            partial, mode="r+" if partial.exists() else "w+", dtype=np.uint8, shape=shape
        )
        # a chunk is written from its first picture to its last, and no picture is black
        chunks = [range(i, min(i + CHUNK, count)) for i in range(0, count, CHUNK)]
        todo = [chunk for chunk in chunks if not pixels[chunk[-1]].any()]
        done = count - sum(len(chunk) for chunk in todo)
        for chunk, drawn in zip(todo, _draw_all(todo, first, size, portrait_of), strict=True):
            pixels[chunk[0] : chunk[-1] + 1] = drawn
            done += len(chunk)
            on_step(done, count, {})
        pixels.flush()
        del pixels
        os.replace(partial, path)
    portraits = [portrait_of(seed) for seed in range(first, first + count)]
    return Renders(torch.from_numpy(np.load(path, mmap_mode="c")), portraits)


Job = tuple[range, int, Callable[[int], Portrait]]


def _draw_all(
    chunks: list[range], first: int, size: int, portrait_of: Callable[[int], Portrait]
) -> Iterator[np.ndarray]:
    jobs = [(range(first + c[0], first + c[-1] + 1), size, portrait_of) for c in chunks]
    workers = min(len(jobs), os.cpu_count() or 1)
    if workers < 2:
        yield from map(_draw, jobs)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_draw, jobs)


def _draw(job: Job) -> np.ndarray:
    from styleclip.portraits.renderer import render

    seeds, size, portrait_of = job
    return np.stack([render(portrait_of(seed), size).transpose(2, 0, 1) for seed in seeds])


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
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        if set(state["modules"]) != set(self.modules) or set(state["optimizers"]) != set(
            self.optimizers
        ):
            raise ArgumentError(
                f"{self.path} was written by another version of this recipe "
                f"({', '.join(state['modules'])} instead of {', '.join(self.modules)}): move it "
                "away, and what was trained after it"
            )
        self.step = state["step"]
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def train(
        self, steps: int, one_step: Callable[[int], dict[str, float]], on_step: OnStep
    ) -> None:
        """Run ``one_step(step)`` up to ``steps``; Ctrl-C or SIGTERM saves and stops.

        A hard kill loses at most ``SAVE_SECONDS``. Raises KeyboardInterrupt when stopped.
        """
        self.restore()
        saved = time.monotonic()
        with finish_the_step() as stopped:
            while self.step < steps:
                figures = one_step(self.step)
                self.step += 1
                on_step(self.step, steps, figures)
                late = time.monotonic() - saved > SAVE_SECONDS
                stop = stopped.is_set()  # asked once: what is saved is what was stopped
                if late or self.step == steps or stop:
                    self.save()
                    saved = time.monotonic()
                if stop:
                    break
        if stopped.is_set():
            raise KeyboardInterrupt


@contextmanager
def finish_the_step(told: str = "") -> Iterator[threading.Event]:
    """Ctrl-C and a polite kill set the event instead of breaking a step in the middle.

    A second one breaks it. ``told``: a line for stderr at the first.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # signals are not ours there
        return

    def stop(*_: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        if told:
            os.write(2, f"{told}\n".encode())  # print is not allowed to be interrupted by itself

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, stop) for each in signals]
    try:
        yield stopped
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def steps_done(path: Path) -> int:
    """How far the run behind a checkpoint is. Raises ``ArgumentError`` if it was never saved."""
    if not path.exists():
        raise ArgumentError(
            f"there is no {path.name} in {path.parent}: that stage was never run, train it first"
        )
    return int(torch.load(path, weights_only=True, map_location="cpu")["step"])


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
