"""Seconds to align a face of a 12-megapixel photo, and to set its edited square back.

  python benchmarks/photos.py [--threads 2] [--repeats 3] [--clock wall] [--json FILE] [--check]
A photo of 4000 x 3000 random pixels, faces turned by 15 degrees whose squares are 1000, 2000, 2600
and 3600 pixels wide (the third reaches out of the frame, the last on all sides), a network of 1024
pixels. ``--clock cpu`` counts this work's seconds alone, on one thread. ``--check`` fails if a row
takes 1 s or more.
"""

from __future__ import annotations

import argparse
import cmath
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WANTED = 1.0  # seconds, each


@dataclass(frozen=True)
class Settings:
    """The full size; tests take a smaller one."""

    width: int = 4000
    height: int = 3000
    size: int = 1024
    sides: tuple[int, ...] = (1000, 2000, 2600, 3600)
    degrees: float = 15.0
    threads: int = 2
    repeats: int = 3
    clock: str = "wall"  # or "cpu": seconds of work, waiting for a core not counted


def run(settings: Settings) -> dict[str, Any]:
    """Measure every row; returns what ``--json`` writes."""
    import numpy as np
    import torch
    from PIL import Image

    from styleclip.faces.alignment import align
    from styleclip.faces.blending import set_back

    try:
        from benchmarks.speed import machine
    except ImportError:  # run as a script
        from speed import machine  # type: ignore[no-redef]

    torch.set_num_threads(settings.threads)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (settings.height, settings.width, 3), np.uint8)
    photo = Image.fromarray(pixels)
    rows = []
    for side in settings.sides:
        face = face_of(side, settings)
        square = align(photo, face, settings.size)
        noise = torch.rand(square.image.shape, generator=torch.Generator().manual_seed(0))
        after = 0.6 * square.image + 0.3 * noise  # a change everywhere, the dearest case
        tasks: dict[str, Callable[[], object]] = {
            "align": lambda face=face: align(photo, face, settings.size),  # type: ignore[misc]
            "set back": lambda square=square, after=after: set_back(  # type: ignore[misc]
                photo, square.image, after, square.to_photo
            ),
        }
        for name, work in tasks.items():
            seconds = best(work, settings)
            rows.append({"name": f"{name}, {side} pixels", "unit": "s", "seconds": seconds,
                         "wanted": WANTED})  # fmt: skip
    return {"settings": asdict(settings), "machine": machine(), "rows": rows}


def face_of(side: int, settings: Settings) -> Any:
    """A face in the middle whose FFHQ square is ``side`` pixels wide."""
    from styleclip.faces.landmarks import Landmarks

    middle = complex(settings.width, settings.height) / 2
    turn = cmath.rect(side, math.radians(settings.degrees))
    # eyes a quarter of the square apart: half a side is twice that; the mouth 0.26 below
    upright = (-0.125 - 0.026j, 0.125 - 0.026j, -0.08 + 0.234j, 0.08 + 0.234j)
    places = [middle + turn * z for z in upright]
    return Landmarks(*((z.real, z.imag) for z in places))


def best(work: Callable[[], object], settings: Settings) -> float:
    """The best of the repeats after one that warms up."""
    clock = time.process_time if settings.clock == "cpu" else time.perf_counter
    seconds = []
    for _ in range(settings.repeats + 1):
        started = clock()
        work()
        seconds.append(clock() - started)
    return min(seconds[1:])


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    lines = []
    for row in result["rows"]:
        missed = "" if row["seconds"] < row["wanted"] else "   missed"
        lines.append(
            f"{row['name']:24}{row['seconds']:8.2f} s   wanted {row['wanted']:.0f} s{missed}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="fail if a row takes too long")
    arguments = parser.parse_args()
    result = run(
        Settings(threads=arguments.threads, repeats=arguments.repeats, clock=arguments.clock)
    )
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(arguments.check and any(row["seconds"] >= row["wanted"] for row in result["rows"]))


if __name__ == "__main__":
    sys.exit(main())
