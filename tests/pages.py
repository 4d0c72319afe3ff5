"""The fenced blocks of a page of documentation, and tests that run them as written.

``bash`` and ``python`` blocks run in the order of the page, in one folder. In a ``console`` block
lines after ``$ `` are commands and the others what they print, ``...`` standing for anything; one
that prints an error ends with exit code 2. A block that nothing here can run says why, in the line
before it: ``<!-- not run: it installs -->``. Blocks of ``sh``, and those that
``ELSEWHERE`` gives to another test, need a stage of their own.

Of what stands in a block nothing is passed over: ``styleclip serve`` is started and visited, and
``make`` does what the Makefile says. Only lines that install, in one of the forms ``INSTALLS``, are
read and not run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from benchmarks.page import serving
from styleclip.apps.cli import main

ROOT = Path(__file__).resolve().parents[1]
RUN = ("bash", "console", "python")
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^ *```(?P<language>[\w{}:-]+)[^\n]*\n(?P<content>.*?)^ *```$",
    flags=re.DOTALL | re.MULTILINE,
)
ASSIGNMENT = re.compile(r"([A-Z_]+)=(.*)")  # in front of a command: an environment variable
# What readers type to install: it takes a network and minutes, so only its form is looked at.
INSTALLS = re.compile(
    r"python3 -m venv \.venv"
    r"|(\.venv/bin/python -m )?pip install -c constraints\.txt torch (-e )?"
    r"""(\.|(['"])\.\[[a-z,]+\]\4)"""
)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``reason`` says why it is not run, if it is not."""

    language: str
    content: str
    line: int
    reason: str = ""


@dataclass(frozen=True)
class Elsewhere:
    """Blocks of a page, a path from the root, that a test with a stage of its own runs.

    All of them, or those under a heading, in a language.
    """

    page: str
    test: str
    heading: str = ""
    language: str = ""


WEIGHTS = "tests/apps/test_weights.py::test_the_documented_commands_run"
OWN_GENERATOR = "tests/test_docs_own_generator.py::test_the_page_runs_as_written"
PUBLIC_FILES = "tests/apps/test_models.py::test_the_documented_commands_run"
# The first that fits a block is where it runs; blocks that none fits are run by tests/docs.
ELSEWHERE = (
    Elsewhere("README.md", PUBLIC_FILES, "Use real weights", "sh"),
    Elsewhere("README.md", "tests/test_readme.py::test_it_runs_as_written"),
    Elsewhere("docs/many.md", "tests/test_docs_many.py::test_the_page_runs_as_written"),
    Elsewhere("docs/page.md", "tests/apps/web/test_api.py::test_the_python_example_runs",
              "Over HTTP", "python"),
    Elsewhere("docs/page.md", "tests/apps/web/test_api.py::test_the_curl_example_runs",
              "Over HTTP", "bash"),
    Elsewhere("docs/real-weights.md", PUBLIC_FILES, "Use real weights", "sh"),
    Elsewhere("docs/real-weights.md", WEIGHTS,
              "What a file is, and how to keep it", "bash"),
    Elsewhere("docs/your-own-generator.md", OWN_GENERATOR),
)  # fmt: skip


def blocks_for(page: str, test: str = "") -> list[Block]:
    """The blocks of a page that a test has to run, in their order; "" is tests/docs."""
    return [each for each, runner in runners(page) if runner == test]


def runners(page: str, text: str | None = None) -> list[tuple[Block, str | None]]:
    """Every block of a page and the test that runs it: "" is tests/docs, None is nobody.

    ``text``: read in place of the page.
    """
    text = (ROOT / page).read_text("utf-8") if text is None else text
    return [(each, None if each.reason else _runner(page, text, each)) for each in fenced(text)]


def _runner(page: str, text: str, block: Block) -> str | None:
    above = "\n".join(text.split("\n")[: block.line - 1])
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", above), re.MULTILINE)
    for each in ELSEWHERE:
        if each.page == page and each.heading in ("", *headings[-1:]):
            known = (each.language,) if each.language else RUN
            if block.language in known:
                return each.test
    return "" if block.language in RUN else None


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


def commands(block: Block) -> list[list[str]]:
    """The words after ``styleclip`` of every line; asserts that the others install."""
    found = []
    for line, _ in _steps(block):
        words = shlex.split(line, comments=True)
        if Path(words[0]).name == "styleclip":
            found.append(words[1:])
        else:
            assert installs(line), f"line {block.line}: nothing here runs {line!r}"
    return found


def installs(line: str) -> bool:
    """Whether a line puts the package into an environment, in one of the ways that pages name."""
    return INSTALLS.fullmatch(line.split(" #")[0].strip()) is not None


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile, with the programs of this environment."""
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found, f"the Makefile has no recipe for {target}"
    return [line.strip().removeprefix("$(BIN)/") for line in found[1].splitlines()]


def run_page(page: str, capsys: pytest.CaptureFixture[str]) -> int:
    """Run what a page says in the working directory, as written; the number of its blocks."""
    ran = [each for each in fenced(page) if each.language in RUN and not each.reason]
    run_blocks(ran, capsys)
    return len(ran)


def run_blocks(blocks: Sequence[Block], capsys: pytest.CaptureFixture[str]) -> None:
    """Run them in the working directory, as written.

    Commands of ``styleclip`` run in this process, everything else in one of its own.
    """
    for block in blocks:
        where = f"the block in line {block.line}"
        if block.language == "python":
            _run([sys.executable, "-c", block.content], where)
        for line, expected in _steps(block):
            wanted = 2 if "styleclip: error:" in expected else 0
            code, printed = _run_line(line, capsys, refused=bool(wanted))
            assert code == wanted, f"{where}: {line} ended with {code}: {printed}"
            if expected:
                assert _shows(printed, expected), f"{where}: {line} printed\n{printed}"


def _steps(block: Block) -> list[tuple[str, str]]:
    """(command, what it prints) of a block; "" where the page does not say."""
    content = block.content.replace("\\\n", " ")
    if block.language in ("bash", "sh"):
        lines = [line.strip() for line in content.splitlines()]
        return [(line, "") for line in lines if line and not line.startswith("#")]
    if block.language != "console":
        return []
    parts = re.split(r"^\$ ", content, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with a command"
    pairs = [part.partition("\n") for part in parts[1:]]
    return [(command, expected.strip()) for command, _, expected in pairs]


def _run_line(
    line: str, capsys: pytest.CaptureFixture[str], refused: bool = False
) -> tuple[int, str]:
    """Exit code, and what stands on the screen."""
    if installs(line):
        return 0, ""
    words = shlex.split(line, comments=True)
    with pytest.MonkeyPatch.context() as environment:
        while found := ASSIGNMENT.fullmatch(words[0]):
            environment.setenv(found[1], found[2])
            words.pop(0)
        capsys.readouterr()
        if words[0] == "make":
            return 0, "".join(_made(each, capsys) for each in recipe(*words[1:]))
        assert "pip" not in words, f"no test installs anything: {line}"
        if Path(words[0]).name != "styleclip" or {"|", ">", "&&"} & set(words):
            return 0, _run(["bash", "-e", "-o", "pipefail", "-c", line], line)
        if words[1] == "serve" and not refused:
            return 0, _visit(words[2:])
        try:
            code = main(words[1:])
        finally:
            torch.set_flush_denormal(False)
        results, complaints = capsys.readouterr()
        return code, complaints + results  # what goes wrong is said before what came of it


def _made(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """A line of a recipe; what it prints."""
    assert line.startswith("styleclip "), f"a page's `make` would run {line!r} here"
    code, printed = _run_line(line, capsys)
    assert code == 0, f"{line} ended with {code}: {printed}"
    return printed


def _visit(options: list[str]) -> str:
    """``styleclip serve`` with its options, but a free port: the page that it names answers."""
    browser = "sh -c 'echo %s >opened'"  # Python's webbrowser calls it in place of a real one
    with serving(*options, environment={"BROWSER": browser}) as (address, _):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=60) as answer:
            assert answer.status == 200
            assert ("StyleCLIP" in answer.read().decode()) == ("--auth" not in options)
        if "--open" in options:
            assert Path("opened").read_text().strip().rstrip("/") == address
    return f"the page is at {address}"


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
