"""Files that people drop: in a folder of this process alone, at names nobody guesses, read once.

  upload -> folder/<32 random digits>/<name> -> Upload(name, content), and the file is gone
The folder goes when the page stops. Two people may drop the same file at the same time.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from styleclip.errors import ImageError

UNREAD = 600.0  # seconds after which a file that nobody read is deleted
LONGEST_NAME = 80
MOST_WAITING = 500_000_000  # bytes of files that wait to be read


@dataclass(frozen=True)
class Upload:
    """What somebody dropped."""

    name: str
    content: bytes

    @contextmanager
    def file(self) -> Iterator[Path]:
        """As a file, for as long as it is needed."""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / self.name
            path.write_bytes(self.content)
            yield path


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that only this user can read, for uploads; gone at the end.

    It has to be open before gradio is imported, which notes the place in several of its modules.
    """
    parent = os.environ.get("GRADIO_TEMP_DIR")
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="styleclip-page-", dir=parent or None)).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if parent is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = parent


def folder() -> Path:
    """Where uploads are."""
    usual = Path(tempfile.gettempdir()) / "gradio"
    return Path(os.environ.get("GRADIO_TEMP_DIR") or usual).resolve()


def place_for(name: str) -> Path:
    """Where a file of that name may lie: in a folder of its own that nobody else can name."""
    own = folder() / secrets.token_hex(16)
    own.mkdir(parents=True)
    plain = re.sub(r"[^\w .()+,=-]", "_", re.split(r"[/\\]", name)[-1]).strip(" .")
    return own / (plain[-LONGEST_NAME:] or "picture")


def is_upload(path: object) -> bool:
    """Whether a path is one that ``place_for`` gave."""
    if not isinstance(path, str) or "\0" in path or len(path) > 4096:
        return False
    given, real = Path(path), Path(os.path.realpath(path))
    return given == real and real.parent.parent == folder() and len(real.parent.name) == 32


def taken(path: str) -> Upload:
    """The content of an upload, which is deleted. Raises ``ImageError``."""
    if not is_upload(path):
        raise ImageError("only a file that was dropped on this page is read: drop it again")
    place = Path(path)
    try:
        return Upload(place.name, place.read_bytes())
    except OSError as error:
        raise ImageError(f"{place.name} is not here any more: drop it again") from error
    finally:
        shutil.rmtree(place.parent, ignore_errors=True)


def waiting() -> int:
    """Bytes of uploads that were not read yet."""
    return sum(each.stat().st_size for each in folder().glob("*/*") if each.is_file())


def sweep(age: float = UNREAD) -> None:
    """Delete what nobody read for so many seconds."""
    for each in folder().glob("*"):
        try:
            old = time.time() - each.stat().st_mtime > age
        except OSError:
            continue
        if old and each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        elif old:
            each.unlink(missing_ok=True)
