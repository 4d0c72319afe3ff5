"""Seconds of an edit once its prompt is known, and of training a mapper for a prompt.

  python benchmarks/edits.py [--threads 2] [--repeats 50] [--json FILE]
Medians of one picture at a time, from the latent to the edited picture. Wanted, on the portraits
world and two cores: a picture by a known direction and one by a mapper in 50 ms each, a mapper for
one prompt in 5 minutes. Two minutes on two free cores. ``--check`` fails if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

if __package__:
    from benchmarks.speed import machine
else:  # run as a script
    from speed import machine  # type: ignore[no-redef]

PROMPT = "a face with red hair"
LATENTS = 1_000  # samples that a mapper learns from, as on the command line
STRENGTHS = (0.6, 0.8, 1.0, 1.2)  # as a slider goes


def run(threads: int, repeats: int, steps: int | None = None) -> dict[str, Any]:
    """Everything; returns what ``--json`` writes. ``steps`` shortens the training."""
    import torch

    from styleclip.checkpoints import SavedMapper
    from styleclip.editing.directions import DirectionConfig
    from styleclip.editing.mapper_training import TrainingConfig, train_mapper
    from styleclip.studio import Studio

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    studio = Studio.load("portraits")
    w_plus, prompt = studio.sample(seed=15), studio.prompt(PROMPT)
    config = TrainingConfig() if steps is None else TrainingConfig(steps=steps)
    found: list[SavedMapper] = []

    def train() -> None:
        latents = studio.samples(LATENTS, config.seed + 1)
        mapper = train_mapper(
            studio.generator, studio.embedder, latents, prompt, config, studio.latent_map
        )
        found.append(SavedMapper(mapper, (prompt,)))

    direction = studio.edit(w_plus, prompt, DirectionConfig())  # loads what all rows use
    rows = [row("mapper for a prompt, trained", 300.0, timed(train, 1))]
    mapper = found[0]
    numbers = iter(range(10**9))

    def drag() -> None:
        studio.render(w_plus, direction, strength=STRENGTHS[next(numbers) % len(STRENGTHS)])

    rows += [
        row("known direction, a picture", 0.05, timed(drag, repeats)),
        row("mapper for a prompt, a picture", 0.05, timed(
            lambda: studio.render(w_plus, studio.edit(w_plus, prompt, mapper)), repeats,
        )),
        row("mapper that reads the text, a picture", 0.05, timed(
            lambda: studio.render(w_plus, studio.edit(w_plus, prompt, studio.mapper)), repeats,
        )),
    ]  # fmt: skip
    return {
        "prompt": PROMPT, "threads": threads, "repeats": repeats,
        "training_steps": config.steps, "machine": machine(), "rows": rows,
    }  # fmt: skip


def timed(work: Callable[[], object], repeats: int) -> float:
    """The median of ``repeats`` runs; after one that warms up, if there are several."""
    if repeats > 1:
        work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def row(name: str, wanted: float, seconds: float) -> dict[str, Any]:
    return {"name": name, "seconds": seconds, "wanted": wanted}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    arguments = parser.parse_args()
    found = run(arguments.threads, arguments.repeats)
    for each in found["rows"]:
        print(f"{each['name']:40}{each['seconds']:9.3f} s   (wanted {each['wanted']:g})")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    missed = [each["name"] for each in found["rows"] if each["seconds"] > each["wanted"]]
    if arguments.check and missed:
        print("missed: " + ", ".join(missed), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
