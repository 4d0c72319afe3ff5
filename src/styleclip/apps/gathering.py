"""Which pictures are meant by a folder, or by a list of files.

  FOLDER | LIST.txt -> [path of a picture]
What lies in a folder and only might be a picture is named, not edited.
"""

from __future__ import annotations

import os
from pathlib import Path

from styleclip.apps.console import complain
from styleclip.apps.starts import PICTURES
from styleclip.errors import ArgumentError

# Endings of what lies beside pictures and is none: landmarks, lists, films, edits, a system's own.
BESIDE = (".txt", ".json", ".md", ".csv", ".mp4", ".mov", ".npy", ".safetensors", ".ini", ".db")
NAMED = 3  # of the files that are passed over


def files_of(given: Path) -> list[Path]:
    """The pictures of a folder by their names, or those that a list names, in its order.

    A list has one path in a line, from where the list is; lines that start with # are comments.
    Raises ``ArgumentError`` for a folder or a list without any.
    """
    return _in_folder(given) if given.is_dir() else _in_list(given)


def say_what_is_passed_over(folder: Path) -> None:
    """A note of files that may be pictures, but do not end as one that is read."""
    known = (*PICTURES, *BESIDE)
    others = [
        path.name
        for path in sorted(folder.iterdir())
        if _shows(path) and path.suffix.lower() not in known
    ]
    if others:
        files = "1 file" if len(others) == 1 else f"{len(others)} files"
        names = ", ".join(others[:NAMED]) + (", ..." if len(others) > NAMED else "")
        complain(
            f"{files} in {folder} not edited, which end in nothing that is read as a picture: "
            f"{names}",
            kind="note",
        )


def _in_folder(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise ArgumentError(f"the folder {folder} cannot be read: {error.strerror}") from error
    found = [path for path in inside if _shows(path) and path.suffix.lower() in PICTURES]
    if not found:
        held = "is empty" if not inside else f"holds {len(inside)} other things"
        raise ArgumentError(
            f"there is no picture in the folder {folder}, which {held}: give one with files that "
            f"end in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}"
        )
    return found


def _in_list(file: Path) -> list[Path]:
    expected = "expected a text with the path of one picture in each line, from where the list is"
    try:
        text = file.read_text("utf-8-sig")
        if "\0" in text:
            raise UnicodeError
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ArgumentError(
            f"{file} cannot be read as a list ({reason.lower()}): {expected}"
        ) from error
    entries = [line.strip() for line in text.splitlines()]
    entries = [entry for entry in entries if entry and not entry.startswith("#")]
    if not entries:
        raise ArgumentError(f"the list {file} names no picture: {expected}")
    found = [file.parent / entry for entry in entries]
    if not any(os.path.isfile(path) for path in found):
        raise ArgumentError(
            f"nothing that {file} names is there (it begins with {entries[0][:60]!r}): {expected}"
        )
    return found


def _shows(path: Path) -> bool:
    """Whether it is a file that is not hidden."""
    return path.name[0] != "." and not path.is_dir()
