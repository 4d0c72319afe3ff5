"""A fuzzer of the readers of weights: any bytes give ``CheckpointError`` or a value.

  python -m tests.fuzz.readers [--seconds 60] [--seed 0] [--engine auto|atheris|mutations]
With atheris (the extra ``fuzz``) it is guided by coverage of the checkpoints' code; without, the
good and the hostile samples are changed at random. Any other exception, an input that takes over
ten seconds, or a start of a program, an import or a written file is a failure: the input is saved
beside the call (``fuzz-failure``) and the exit code is not 0.
"""

from __future__ import annotations

import argparse
import codecs
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.checkpoints import hostile

SLOW = 10.0
LONGEST = 1 << 16  # larger samples are not mutated
WATCHED = {
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "pickle.find_class", "exec", "os.remove", "os.rename", "os.mkdir", "ctypes.dlopen",
}  # fmt: skip


class Failed(Exception):  # noqa: N818  # it is what the fuzzer finds, not an error of it
    """What an input must not do."""


def check(content: bytes, file: Path) -> int:
    """Read ``content`` with every reader; returns how many could. Raises ``Failed``."""
    from styleclip.checkpoints import (
        load_encoder,
        load_generator,
        load_identity,
        load_latents,
        load_mapper,
        read_weights,
    )
    from styleclip.checkpoints.inspection import inspect
    from styleclip.checkpoints.pickles import read_plain
    from styleclip.errors import CheckpointError

    readers: tuple[Callable[[Path], Any], ...] = (
        read_weights, read_plain, load_generator, load_encoder, load_identity, load_mapper,
        load_latents, inspect,
    )  # fmt: skip
    file.write_bytes(content)
    found = 0
    for read in readers:
        started = time.process_time()
        EVENTS.clear()
        try:
            with watched():
                read(file)
            found += 1
        except CheckpointError as error:
            if not str(error).isprintable():
                raise Failed(f"{read.__name__}: more than one line: {error!r}") from error
        except Exception as error:
            raise Failed(f"{read.__name__}: {error!r}") from error
        if EVENTS:
            raise Failed(f"{read.__name__}: {EVENTS[0]}")
        if time.process_time() - started > SLOW:
            raise Failed(f"{read.__name__}: {time.process_time() - started:.0f} s")
    return found


# --- what Python reports ------------------------------------------------------

EVENTS: list[str] = []
STATE = {"installed": False, "on": False}


class watched:  # noqa: N801  # a context manager
    """While it lasts, events that reading must not cause are noted in ``EVENTS``."""

    def __enter__(self) -> None:
        if not STATE["installed"]:
            sys.addaudithook(_note)
            STATE["installed"] = True
        STATE["on"] = True

    def __exit__(self, *_: object) -> None:
        STATE["on"] = False


def _note(event: str, args: tuple[Any, ...]) -> None:
    if not STATE["on"]:
        return
    wanted = os.O_WRONLY | os.O_RDWR
    written = event == "open" and isinstance(args[2], int) and bool(args[2] & wanted)
    if event in WATCHED or written:
        EVENTS.append(f"{event} {str(args)[:200]}")


# --- inputs -------------------------------------------------------------------


def seeds() -> list[bytes]:
    """The good samples, and the hostile ones that are small."""
    good = list(hostile.samples().values())
    bad = hostile.corpus(Path("canary")) | hostile.inert(Path("canary"))
    return good * 5 + [each for each in bad.values() if len(each) < LONGEST]


def mutated(draw: random.Random, inputs: list[bytes]) -> bytes:
    """A sample with a few changes: bits, bytes, runs taken out, doubled or from another sample."""
    content = bytearray(draw.choice(inputs))
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice((1, 1, 2, 4, 8, 64)))
        kind = draw.randrange(6)
        if kind == 0 and start < len(content):
            content[start] ^= 1 << draw.randrange(8)
        elif kind == 1 and start < len(content):
            content[start] = draw.choice(b".()]}0N\x80\x81\x85\x8a\x8c\x93\x94RbceqstuQh\xff\x00")
        elif kind == 2:
            del content[start:end]
        elif kind == 3:
            content[start:start] = content[start:end]
        elif kind == 4:
            other = draw.choice(inputs)
            place = draw.randrange(len(other) + 1)
            content[start:end] = other[place : place + (end - start)]
        else:
            content[start : start + 4] = draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF)).to_bytes(
                4, "little"
            )
    return bytes(content)


def by_mutations(seconds: float, seed: int, file: Path) -> tuple[int, int]:
    """How many inputs were read, and how many of their readings gave a value."""
    draw, inputs = random.Random(seed), seeds()
    warm_up(file)
    end, tried, found = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        content = mutated(draw, inputs)
        tried += 1
        try:
            found += check(content, file)
        except Failed:
            Path("fuzz-failure").write_bytes(content)
            raise
    return tried, found


def warm_up(file: Path) -> None:
    """What is imported when it is first needed, is imported now."""
    for codec in ("cp437", "raw_unicode_escape", "unicode_escape"):
        codecs.lookup(codec)
    for each in hostile.samples().values():
        try:
            check(each, file)
        except Failed:
            if not EVENTS:
                raise


def by_atheris(seconds: float, seed: int, file: Path, corpus: Path) -> None:
    """Guided by coverage; does not return."""
    import atheris

    with atheris.instrument_imports(include=["styleclip.checkpoints"]):
        import styleclip.checkpoints  # noqa: F401
    for i, each in enumerate(seeds()):
        (corpus / f"{i:04}").write_bytes(each)
    warm_up(file)
    limits = [f"-max_total_time={int(seconds)}", f"-seed={seed}", f"-max_len={LONGEST}"]
    limits += ["-timeout=30", "-rss_limit_mb=4096", "-artifact_prefix=fuzz-failure-"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], lambda content: check(content, file))
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("auto", "atheris", "mutations"), default="auto")
    arguments = parser.parse_args()
    engine = arguments.engine
    if engine == "auto":
        from importlib.util import find_spec

        engine = "atheris" if find_spec("atheris") else "mutations"
    with tempfile.TemporaryDirectory() as folder:
        file, corpus = Path(folder) / "file", Path(folder) / "corpus"
        corpus.mkdir()
        if engine == "atheris":
            by_atheris(arguments.seconds, arguments.seed, file, corpus)
        try:
            tried, found = by_mutations(arguments.seconds, arguments.seed, file)
        except Failed as failure:
            print(f"{failure}; the input is in fuzz-failure")
            return 1
    print(f"{tried} inputs, {found} readings gave a value, the others CheckpointError")
    return 0


if __name__ == "__main__":
    sys.exit(main())
