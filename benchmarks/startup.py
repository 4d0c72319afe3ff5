"""Seconds until the package is imported, and until `styleclip --help` has answered.

Each is the median of several fresh processes, the interpreter's own start included.
Wanted: import under 0.3 s, help under 0.7 s.    python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

COMMANDS = {
    "python -c pass": ("pass",),
    "import styleclip": ("import styleclip",),
    "styleclip --help": (
        "import sys; from styleclip.apps.cli import main; sys.exit(main())",
        "--help",
    ),
}


def seconds(arguments: tuple[str, ...]) -> float:
    """One fresh process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def run(runs: int = 5) -> dict[str, float]:
    """The median of ``runs`` processes each, after one that warms the disk's cache."""
    for arguments in COMMANDS.values():
        seconds(arguments)
    return {
        name: median(seconds(arguments) for _ in range(runs))
        for name, arguments in COMMANDS.items()
    }


if __name__ == "__main__":
    for name, taken in run(*map(int, sys.argv[1:2])).items():
        print(f"{name:18}{taken:6.2f} s")
