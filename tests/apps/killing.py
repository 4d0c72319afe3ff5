"""Kill a command of the command line at random moments, as a power cut would."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

KILLS, ATTEMPTS, LONGEST = 2, 16, 300


def kill_at_random(words: Sequence[str | Path], out: Path, seconds: float) -> list[str]:
    """Start it twice, and kill it both times; the command, to be run once more.

    It dies a random share of the rest of its work after the first state that it writes beside
    ``out``, or into it if that is a folder; undisturbed, all of the work takes ``seconds``. The
    seed is printed.
    """
    seed = time.time_ns()
    print(f"moments of the kills: Random({seed})")
    random = Random(seed)
    command = [sys.executable, "-m", "styleclip", *map(str, words)]
    rest, kills = seconds, 0
    for _ in range(ATTEMPTS):
        before, share = state_of(out), random.random()
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + LONGEST
        while state_of(out) in (None, before) and process.poll() is None:
            assert time.monotonic() < deadline, f"no state in {LONGEST} s"
            time.sleep(0.002)
        try:
            process.wait(share * rest)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills, rest = kills + 1, rest * (1 - share)
            print(f"killed after {share:.3f} of the rest")
        else:
            assert process.returncode == 0
            seconds /= 2  # it was faster than that: all of it once more, from nothing
            rest, kills = seconds, 0
            shutil.rmtree(out, ignore_errors=True)
        if out.is_file():
            out.unlink()  # killed between the result and the end
        if kills == KILLS:
            return command
    raise AssertionError(f"killed {kills} times in {ATTEMPTS} runs")


def state_of(out: Path) -> int | None:
    """Differs when a new state was written; None while there is none."""
    if out.is_dir():
        return sum(path.suffix == ".png" for path in out.iterdir()) or None
    try:
        return out.with_name(out.name + ".partial").stat().st_mtime_ns
    except FileNotFoundError:
        return None
