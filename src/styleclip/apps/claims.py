"""Two runs into one folder: each picture is made by one of them.

  claim(outputs, run) -> True (nobody else makes them until this is over) | False (somebody does)
  claimed_by(outputs) -> the run that does
The system's lock of a hidden file beside the outputs, which it lets go when a run is killed; the
run stands in the file.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from styleclip.apps.outputs import Outputs

LENGTH = 64  # characters of the file: of a SHA-256
TRIES = 10  # of a claim, while others take theirs away

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # far behind the text: what is locked cannot be read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
        finally:
            os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def claim(outputs: Outputs, run: str = "") -> Iterator[bool]:
    """Whether they are ours to make; nobody else's while this lasts, where the disk has locks.

    ``run`` is what others are told of us.
    """
    path = _place(outputs)
    try:
        file = _locked(path)
    except BlockingIOError:
        yield False
        return
    except OSError:  # a disk without locks, or without room for a file: as if we were alone
        yield True
        return
    try:
        with suppress(OSError):  # of a full disk
            os.write(file, run.ljust(LENGTH).encode())  # over what a killed run said
        yield True
    finally:
        _remove(path)
        os.close(file)
        if sys.platform == "win32":  # where no open file goes
            _remove(path)


def claimed_by(outputs: Outputs) -> str | None:
    """The run that makes them just now, "" if it does not say; None if nobody does.

    What a killed run left of its claim goes.
    """
    path = _place(outputs)
    if not os.path.exists(path):
        return None
    with claim(outputs) as ours:
        if ours:
            return None
    with suppress(OSError, UnicodeError):
        return path.read_text("utf-8").strip()
    return ""


def _place(outputs: Outputs) -> Path:
    first = outputs.pictures[0]
    return first.with_name(
        f".styleclip-{hashlib.sha256(first.name.encode()).hexdigest()[:16]}.lock"
    )


def _locked(path: Path) -> int:
    """The file, open and locked by us.

    Raises ``BlockingIOError`` if it is another's, ``OSError`` where there are no locks.
    """
    for _ in range(TRIES):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(file)
            if _is_at(file, path):
                return file
        except BaseException as error:
            os.close(file)
            if isinstance(error, OSError) and not isinstance(error, BlockingIOError):
                _remove(path)
            raise
        os.close(file)  # whoever had it took it away meanwhile: the next try makes another
    _remove(path)
    raise OSError(f"{path} is never the file that was opened")  # some disks number it otherwise


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _is_at(file: int, path: Path) -> bool:
    """Whether the open file still lies there, and not another or none."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False
