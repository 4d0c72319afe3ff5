"""Every page of the documentation does what it says: its commands and its Python run as written."""

from __future__ import annotations

import json
import re
import shlex
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
FOLDERS = ("", "docs", "src/**", "notebooks", "examples/**")
PAGES = sorted(
    {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in ROOT.glob(f"{folder}/*.md".lstrip("/"))
    }
)
# Languages of blocks that are no commands; {literalinclude} and the like are directives.
SHOWN = {"text", "json"}


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
@pytest.mark.parametrize("page", [page for page in PAGES if pages.blocks_for(page)])
def test_the_page_runs_as_written(
    page: str, place: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skia")
    shutil.copytree(ROOT / "examples", "examples")
    STAGES.get(Path(page).stem, lambda _: None)(tiny_model)
    pages.run_blocks(pages.blocks_for(page), capsys)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    blocks = pages.runners(page)
    assert len(blocks) == len(re.findall(r"^ *```\S", text, re.MULTILINE))
    for block, test in blocks:
        shown = block.language in SHOWN or block.language.startswith("{")
        ran = test is not None
        assert ran or shown or block.reason, f"nothing runs line {block.line} of {page}"
        assert not (shown and block.reason), f"line {block.line} of {page} is no command"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_could_be(page: str) -> None:
    """Commands with a reason are at least there, with the options that are written."""
    whole = (ROOT / page).read_text("utf-8")
    left = [block for block in pages.fenced(whole) if block.reason]
    text = "".join(f"```{block.language}\n{block.content}```\n" for block in left)
    problems = {" ".join(words): problem_with(words) for words in documented_commands(text)}
    assert not {line: problem for line, problem in problems.items() if problem}
    extras = re.findall(r"\.\[([\w,]+)\]", whole)
    assert {each for some in extras for each in some.split(",")} <= EXTRAS


@pytest.mark.parametrize("each", pages.ELSEWHERE, ids=lambda each: f"{each.page}-{each.language}")
def test_what_runs_elsewhere_is_asked_for_there(each: pages.Elsewhere) -> None:
    """The test that is named is there, and its module takes just these blocks."""
    assert pages.blocks_for(each.page, each.test), "no block of the page is like that"
    module, _, name = each.test.partition("::")
    source = (ROOT / module).read_text("utf-8")
    assert f"\ndef {name}(" in source and "blocks_for(" in source and each.page in source


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_is_another_stays_with_its_test(page: str) -> None:
    """Whatever a block says, the same test gets it: none is chosen by what it says."""
    text = (ROOT / page).read_text("utf-8")
    owners = [(block.line, test) for block, test in pages.runners(page)]
    changed = re.sub(r"^( *```\w+\n)(.*?)(?=^ *```$)", _to_false, text, flags=re.M | re.S)
    assert len(changed.splitlines()) == len(text.splitlines())
    again = pages.runners(page, changed)
    assert [(block.line, test) for block, test in again] == owners
    assert all(set(block.content.split()) <= {"false"} for block, test in again if test is not None)


def _to_false(block: re.Match[str]) -> str:
    """The same number of lines, every one of them ``false``."""
    return block[1] + "false\n" * block[2].count("\n")


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


def test_nothing_in_a_block_is_passed_over(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever runs a block: its commands, its installing lines, and none beside them."""
    for line in ("false", "false && styleclip --version", "pip install styleclip", "make test"):
        block = pages.Block("bash", f"styleclip --version\n{line}\n", 1)
        with pytest.raises(AssertionError):
            pages.commands(block)
        with pytest.raises(AssertionError):
            pages.run_blocks([block], capsys)
    install = "pip install -c constraints.txt torch '.[ui]'  # here"
    block = pages.Block("sh", f"{install}\n.venv/bin/styleclip \\\n --version  # which\n", 1)
    assert pages.commands(block) == [["--version"]]
    pages.run_blocks([block], capsys)


def test_make_in_a_block_does_what_the_makefile_says(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = pages.recipe("demo")
    assert command.startswith("styleclip edit examples/portrait.png ") and "\\" not in command
    asked: list[list[str]] = []
    monkeypatch.setattr(pages, "main", lambda words: asked.append(words) or len(asked) - 1)
    pages.run_page("```bash\nmake demo  # here\n```\n", capsys)
    assert asked == [shlex.split(command)[1:]]
    with pytest.raises(AssertionError, match="ended with 1"):
        pages.run_page("```bash\nmake demo\n```\n", capsys)


@pytest.mark.slow
def test_a_server_that_does_not_come_is_noticed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="no model"):
        pages.run_page("```bash\nstyleclip serve --model nowhere\n```\n", capsys)
