"""The fenced blocks of a page of documentation, for tests that run them as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block, in their order."""
    return re.findall(r"```(\w+)\n(.*?)```", page, flags=re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """The words after ``styleclip`` of every line that runs it."""
    lines = [line.split("#")[0] for line in block.splitlines()]
    words = [shlex.split(line) for line in lines if "styleclip " in line]
    return [each[1:] for each in words if Path(each[0]).name == "styleclip"]
