"""Every page of the documentation does what it says: its commands and its Python run as written."""

from __future__ import annotations

import json
import re
import shutil
import socket
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from styleclip.checkpoints.registry import BUILT_IN
from tests import pages
from tests.checkpoints.samples import ROSINALITY
from tests.test_project import documented_commands, problem_with

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *ROOT.glob("src/**/README.md")])
# Languages of blocks that are no commands; {literalinclude} and the like are directives.
SHOWN = {"text", "json"}
# Pages, or their blocks of one language, that a test with a stage of its own runs.
ELSEWHERE = {
    ("README.md", "bash"): "tests/test_readme.py",
    ("README.md", "python"): "tests/test_readme.py",
    ("README.md", "sh"): "tests/apps/test_models.py",
    ("real-weights.md", "sh"): "tests/apps/test_models.py",
    ("real-weights.md", "bash"): "tests/apps/test_weights.py",
    ("your-own-generator.md", "bash"): "tests/test_docs_own_generator.py",
    ("your-own-generator.md", "python"): "tests/test_docs_own_generator.py",
    ("page.md", "bash"): "tests/apps/web/test_api.py",
    ("page.md", "python"): "tests/apps/web/test_api.py",
    ("many.md", "bash"): "tests/test_docs_many.py",
    ("many.md", "python"): "tests/test_docs_many.py",
}


def troubles(tiny_model: Path) -> None:
    """The files of troubleshooting.md: damaged, foreign, and a model of other weights."""
    weights = BUILT_IN["portraits"]
    shutil.copytree(tiny_model, "other")
    Path("other/model.json").write_text(json.dumps({"name": "other", "neutral": "a face"}))
    shutil.copyfile(ROSINALITY, "mine.pt")
    Path("page.pt").write_text("<!DOCTYPE html><html>Virus scan warning</html>")
    Path("cut.safetensors").write_bytes((weights / "generator.safetensors").read_bytes()[:100_000])
    torch.save({"synthesis.input.freqs": torch.zeros(8, 2)}, "stylegan3.pt")
    contents = torch.load(ROSINALITY, weights_only=True)
    const = contents["g_ema"]["input.input"]
    contents["g_ema"]["input.input"] = torch.zeros(1, const.shape[1], 8, 4)
    torch.save(contents, "tall.pt")


# What a page takes for granted beside the examples.
STAGES: dict[str, Callable[[Path], None]] = {"troubleshooting": troubles}


EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
)


def here(page: Path) -> list[pages.Block]:
    """The blocks that this module runs."""
    return [
        block
        for block in pages.fenced(page.read_text("utf-8"))
        if block.language in pages.RUN
        and not block.reason
        and (page.name, block.language) not in ELSEWHERE
    ]


@pytest.fixture
def busy_port() -> Iterator[None]:
    """Somebody listens where troubleshooting.md says so."""
    with socket.socket() as listener:
        with suppress(OSError):  # somebody else does
            listener.bind(("127.0.0.1", 7861))
            listener.listen()
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("busy_port")
@pytest.mark.parametrize("page", [page for page in PAGES if here(page)], ids=lambda p: p.stem)
def test_the_page_runs_as_written(
    page: Path, place: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skia")
    shutil.copytree(ROOT / "examples", "examples")
    STAGES.get(page.stem, lambda _: None)(tiny_model)
    assert pages.run_page(page.read_text("utf-8"), capsys) == len(here(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    text = page.read_text("utf-8")
    blocks = pages.fenced(text)
    assert len(blocks) == len(re.findall(r"^ *```\S", text, re.MULTILINE))
    for block in blocks:
        run = block.language in pages.RUN or (page.name, block.language) in ELSEWHERE
        shown = block.language in SHOWN or block.language.startswith("{")
        assert run or shown or block.reason, f"nothing runs line {block.line} of {page.name}"
        assert not (shown and block.reason), f"line {block.line} of {page.name} is no command"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_could_be(page: Path) -> None:
    """Commands with a reason are at least there, with the options that are written."""
    left = [block for block in pages.fenced(page.read_text("utf-8")) if block.reason]
    text = "".join(f"```{block.language}\n{block.content}```\n" for block in left)
    problems = {" ".join(words): problem_with(words) for words in documented_commands(text)}
    assert not {line: problem for line, problem in problems.items() if problem}
    extras = re.findall(r"\.\[([\w,]+)\]", page.read_text("utf-8"))
    assert {each for some in extras for each in some.split(",")} <= EXTRAS


def test_what_runs_elsewhere_is_read_there() -> None:
    for (page, language), test in ELSEWHERE.items():
        assert any(p.name == page and here_or(p, language) for p in PAGES), (page, language)
        assert page in (ROOT / test).read_text("utf-8"), (page, test)


def here_or(page: Path, language: str) -> bool:
    return any(block.language == language for block in pages.fenced(page.read_text("utf-8")))


# The means by which pages are run


def test_console_blocks_are_commands_and_what_they_print(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = "$ styleclip show none.png\nstyleclip: error: ...none.png..."
    assert pages.run_page(f"```console\n$ echo one\none\n{refused}\n```", capsys) == 1
    for wrong in ("$ echo one\ntwo", "$ styleclip --version\nstyleclip: error: no", "$ false"):
        with pytest.raises(AssertionError):
            pages.run_page(f"```console\n{wrong}\n```", capsys)


def test_a_reason_keeps_a_block_from_running(capsys: pytest.CaptureFixture[str]) -> None:
    text = "<!-- not run: it would fail -->\n```bash\nfalse\n```\n"
    assert pages.run_page(text, capsys) == 0
    assert pages.fenced(text)[0] == pages.Block("bash", "false\n", 2, "it would fail")
