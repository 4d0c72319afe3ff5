"""The fenced blocks of a page of documentation, and tests that run them as written.

``bash`` and ``python`` blocks run in the order of the page, in one folder. In a ``console`` block
lines after ``$ `` are commands and the others what they print, ``...`` standing for anything; one
that prints an error ends with exit code 2. A block that nothing here can run says why, in the line
before it: ``<!-- not run: it installs -->``. Blocks of ``sh`` belong to a test of their own.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from styleclip.apps.cli import main

RUN = ("bash", "console", "python")
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^ *```(?P<language>[\w{}:-]+)[^\n]*\n(?P<content>.*?)^ *```$",
    flags=re.DOTALL | re.MULTILINE,
)
ASSIGNMENT = re.compile(r"([A-Z_]+)=(.*)")  # in front of a command: an environment variable


@dataclass(frozen=True)
class Block:
    """A fenced block; ``reason`` says why it is not run, if it is not."""

    language: str
    content: str
    line: int
    reason: str = ""


def fenced(page: str) -> list[Block]:
    """Every fenced block, in their order."""
    return [
        Block(
            found["language"],
            found["content"],
            page.count("\n", 0, found.start("language")) + 1,
            found["reason"] or "",
        )
        for found in FENCE.finditer(page)
    ]


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block of a language, in their order."""
    return [(each.language, each.content) for each in fenced(page)]


def commands(block: str) -> list[list[str]]:
    """The words after ``styleclip`` of every line that runs it."""
    lines = [line.split("#")[0] for line in block.splitlines()]
    words = [shlex.split(line) for line in lines if "styleclip " in line]
    return [each[1:] for each in words if Path(each[0]).name == "styleclip"]


def run_page(page: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run what a page says in the working directory, as written; the number of its blocks.

    Commands of ``styleclip`` run in this process, everything else in one of its own.
    """
    ran = [each for each in fenced(page) if each.language in RUN and not each.reason]
    for block in ran:
        where = f"the block in line {block.line}"
        if block.language == "python":
            _run([sys.executable, "-c", block.content], where)
        for line, expected in _steps(block):
            code, printed = _run_line(line, capsys)
            wanted = 2 if "styleclip: error:" in expected else 0
            assert code == wanted, f"{where}: {line} ended with {code}: {printed}"
            if expected:
                assert _shows(printed, expected), f"{where}: {line} printed\n{printed}"
    return len(ran)


def _steps(block: Block) -> list[tuple[str, str]]:
    """(command, what it prints) of a block; "" where the page does not say."""
    content = block.content.replace("\\\n", " ")
    if block.language == "bash":
        lines = [line.strip() for line in content.splitlines()]
        return [(line, "") for line in lines if line and not line.startswith("#")]
    if block.language != "console":
        return []
    parts = re.split(r"^\$ ", content, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with a command"
    pairs = [part.partition("\n") for part in parts[1:]]
    return [(command, expected.strip()) for command, _, expected in pairs]


def _run_line(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code, and what stands on the screen."""
    words = shlex.split(line, comments=True)
    with pytest.MonkeyPatch.context() as environment:
        while found := ASSIGNMENT.fullmatch(words[0]):
            environment.setenv(found[1], found[2])
            words.pop(0)
        capsys.readouterr()
        if words[0] == "styleclip" and not {"|", ">", "&&"} & set(words):
            try:
                code = main(words[1:])
            finally:
                torch.set_flush_denormal(False)
            results, complaints = capsys.readouterr()
            return code, complaints + results  # what goes wrong is said before what came of it
        return 0, _run(["bash", "-e", "-o", "pipefail", "-c", line], line)


def _run(command: list[str], where: str) -> str:
    """Run it with the programs of this environment first. What it prints."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{where}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def _shows(printed: str, expected: str) -> bool:
    """Whether it is there, wherever lines are broken; ``...`` is anything."""
    wanted = re.escape(" ".join(expected.split())).replace(r"\.\.\.", ".*?")
    return re.search(wanted, " ".join(printed.split())) is not None
