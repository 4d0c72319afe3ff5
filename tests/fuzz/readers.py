"""A fuzzer of all readers of files: any bytes give an error of ours, of one line, or a value.

  python -m tests.fuzz.readers [--seconds 60] [--seed 0] [--engine auto|atheris|mutations]
With atheris (the extra ``fuzz``) it is guided by coverage of the checkpoints' code; without, the
good and the hostile samples are changed at random. Any other exception, an input that takes over
ten seconds, or a start of a program, an import or a written file is a failure: the input is saved
beside the call (``fuzz-failure``) and the exit code is not 0.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import importlib
import io
import math
import os
import pkgutil
import random
import re
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.checkpoints import hostile  # nothing of the room: atheris has to see it imported

SLOW = 10.0
LONGEST = 1 << 16  # larger hostile samples are not mutated
WORDS = (b"0", b"-1", b"3.5", b"1e999", b"99999999999999999999", b"null", b"[]", b"{}", b'"x"',
         b"true", b"[" * 2000)  # fmt: skip
WATCHED = {
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "pickle.find_class", "exec", "os.remove", "os.rename", "os.mkdir", "ctypes.dlopen",
}  # fmt: skip


class Failed(Exception):  # noqa: N818  # it is what the fuzzer finds, not an error of it
    """What an input must not do."""


def check(content: bytes, file: Path) -> int:
    """Read ``content`` with every reader; returns how many could. Raises ``Failed``."""
    from styleclip.errors import StyleclipError

    file.write_bytes(content)
    found = 0
    for read in all_readers():
        started = time.process_time()
        EVENTS.clear()
        try:
            with watched(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a file leaves open
                read(file)
            found += 1
        except StyleclipError as error:
            if not str(error).isprintable():
                raise Failed(f"{read.__name__}: more than one line: {error!r}") from error
        except Exception as error:
            raise Failed(f"{read.__name__}: {error!r}") from error
        if EVENTS:
            raise Failed(f"{read.__name__}: {EVENTS[0]}")
        if time.process_time() - started > SLOW:
            raise Failed(f"{read.__name__}: {time.process_time() - started:.0f} s")
    return found


def all_readers() -> tuple[Callable[[Path], Any], ...]:
    """Every function that reads a file which a stranger may have written."""
    from styleclip import checkpoints
    from styleclip.checkpoints.inspection import inspect
    from styleclip.checkpoints.pickles import read_plain
    from styleclip.faces.landmarks import read_landmarks

    loaders = (
        checkpoints.load_generator, checkpoints.load_encoder, checkpoints.load_identity,
        checkpoints.load_mapper, checkpoints.load_latents, checkpoints.load_edit,
        checkpoints.load_tuning, checkpoints.load_bank, checkpoints.load_latent_map,
        checkpoints.load_reader,
    )  # fmt: skip
    # what loads a CLIP imports 2,000 modules, so it is asked last
    return (checkpoints.read_weights, read_plain, *loaders, inspect, read_landmarks,
            checkpoints.load_clip)  # fmt: skip


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
    """The good samples, often, and the hostile ones that are small."""
    bad = hostile.corpus(Path("canary")) | hostile.inert(Path("canary"))
    return good_samples() * 5 + [each for each in bad.values() if len(each) < LONGEST]


def good_samples() -> list[bytes]:
    """One of every layout, of our own, and some that have a bit of everything."""
    from styleclip.checkpoints import layouts
    from tests.checkpoints import samples

    good = list(hostile.samples().values())
    good.append(b'{"faces": [{"points": [[1, 2], [30, 2.5], [15, 20], [5, 40], [25, 41]]}]}')
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        writers: list[Callable[[], Path]] = [
            *(lambda write=write: write(folder) for write, *_ in samples.FOREIGN.values()),
            *(lambda kind=kind: samples.write_native(kind, folder) for kind in layouts.NATIVE),
        ]
        return good + [write().read_bytes() for write in writers]


def mutated(draw: random.Random, inputs: list[bytes]) -> bytes:
    """A sample with a few changes, often where a reader looks: its pickle, or its header.

    Of an archive the pickle is changed and its checksum is made right, of safetensors the header
    and its length: otherwise hardly a change would come further than those.
    """
    content = draw.choice(inputs)
    if draw.random() < 0.3:
        return changed(draw, content, inputs)
    if content.startswith(b"PK\x03\x04"):
        with contextlib.suppress(Exception):  # of a sample that is no archive to begin with
            return _with_pickle(content, lambda pickled: changed(draw, pickled, inputs))
    if content[8:9] == b"{":
        end = 8 + int.from_bytes(content[:8], "little")
        header = changed(draw, content[8:end], inputs)
        return len(header).to_bytes(8, "little") + header + content[end:]
    head = min(len(content), draw.choice((512, 8192)))
    return changed(draw, content[:head], inputs) + content[head:]


def _with_pickle(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as read, zipfile.ZipFile(buffer, "w") as written:
        for each in read.infolist():  # with its date: one seed, one sequence of bytes
            entry = read.read(each)
            written.writestr(each, change(entry) if each.filename.endswith("data.pkl") else entry)
    return buffer.getvalue()


def changed(draw: random.Random, sample: bytes, inputs: list[bytes]) -> bytes:
    """Bits, bytes, numbers, and runs taken out, doubled or from another sample."""
    content = bytearray(sample)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice((1, 1, 2, 4, 8, 64)))
        kind = draw.randrange(7)
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
        elif kind == 5:
            found = list(re.finditer(rb"\d+|null|true|\[|\"", content))  # of text, such as JSON
            if found:
                spot = draw.choice(found)
                content[spot.start() : spot.end()] = draw.choice(WORDS)
        else:
            content[start : start + 4] = draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF)).to_bytes(
                4, "little"
            )
    return bytes(content)


def by_mutations(seconds: float, seed: int, file: Path, most: float = math.inf) -> tuple[int, int]:
    """How many inputs were read, ``most`` at most, and how many of their readings gave a value."""
    draw, inputs = random.Random(seed), seeds()
    warm_up(file)
    end, tried, found = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end and tried < most:
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
    for each in good_samples():
        try:
            check(each, file)
        except Failed:
            if not EVENTS:
                raise


def by_atheris(seconds: float, seed: int, file: Path, corpus: Path) -> None:
    """Guided by coverage; does not return."""
    import atheris

    with atheris.instrument_imports(include=["styleclip.checkpoints"]):
        import styleclip.checkpoints as room

        # the room imports its modules when they are first asked for, which would be too late
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    for i, each in enumerate(seeds()):
        (corpus / f"{i:04}").write_bytes(each)
    warm_up(file)
    limits = [f"-max_total_time={int(seconds)}", f"-seed={seed}", f"-max_len={16 * LONGEST}"]
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
