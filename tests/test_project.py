"""The project around the code: what is installed, what loads when, what the documents promise."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests import pages

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")  # in front of a command: an environment variable


def run_python(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# What is installed


def test_torchvision_is_absent() -> None:
    """A build that does not match torch makes transformers fail to import its CLIP."""
    assert importlib.util.find_spec("torchvision") is None
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("torchvision")


def test_ci_can_draw() -> None:
    """Tests that draw may be skipped where the extra is missing; in CI that would hide them."""
    if os.environ.get("CI"):
        import skia

        assert skia.Surface(2, 2)


def test_the_package_is_typed() -> None:
    assert files("styleclip").joinpath("py.typed").is_file()


# What loads when


def loaded_after(code: str, *arguments: str) -> set[str]:
    """The top-level modules of a fresh interpreter after ``code``, whatever it printed."""
    report = f"""
import sys
try:
    {code}
except SystemExit as stop:
    assert not stop.code, stop.code
import json
print()
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    return set(json.loads(run_python(report, *arguments).splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_after("import styleclip")
    assert "styleclip" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "PIL", "rich", "typer", "safetensors"}


def test_help_loads_no_network_library() -> None:
    loaded = loaded_after(
        "import sys; from styleclip.apps.cli import main; sys.exit(main())", "--help"
    )
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "tokenizers", "safetensors", "skia"}


# Which way the arrows point


def test_import_contracts_hold() -> None:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


# What the documents say


def test_one_version_everywhere() -> None:
    shown = run_python(
        "import sys; from styleclip.apps.cli import main; sys.exit(main())", "--version"
    )
    assert VERSION in shown.split()
    assert importlib.metadata.version("styleclip") == VERSION
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest and newest[1] == VERSION


def documented_commands(text: str) -> Iterator[list[str]]:
    """The words of each `styleclip ...` and `make ...` in the code blocks of a Markdown text."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if is_command(line) else []
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command, words = words[:end], words[end + 1 :]
                while command and ASSIGNMENT.fullmatch(command[0]):
                    command.pop(0)
                if command and Path(command[0]).name in {"styleclip", "make"}:
                    yield [Path(command[0]).name, *command[1:]]


def is_command(line: str) -> bool:
    """Whether a line runs one of the two programs (code blocks also hold output and Python)."""
    return re.match(r"(\$ )?(.* && )?([A-Z_]+=\S* )*\S*\b(styleclip|make) ", line + " ") is not None


def problem_with(words: list[str]) -> str | None:
    """Why a documented command line would be refused, or None."""
    if words[0] == "make":
        targets = re.findall(
            r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
        )
        asked = [word for word in words[1:] if not ASSIGNMENT.fullmatch(word)]
        missing = [word for word in asked if word not in targets]
        return f"no target {missing}" if missing else None
    from typer.main import get_command

    from styleclip.apps.cli import app

    return problem_with_arguments(get_command(app), words[1:])


def problem_with_arguments(command: Any, arguments: list[str]) -> str | None:
    """Parse as the program would, down to the last subcommand, but run and read nothing."""
    context = command.context_class(command, info_name=command.name)
    try:
        values, rest, _ = command.make_parser(context).parse_args(list(arguments))
    except Exception as error:  # typer's own copy of click has no public name for its errors
        return f"{command.name}: {error}"
    if hasattr(command, "commands"):
        if not rest:
            return None
        if rest[0] not in command.commands:
            return f"no command {rest[0]!r}"
        return problem_with_arguments(command.commands[rest[0]], rest[1:])
    wanted = [p.name for p in command.params if p.required and not values.get(p.name)]
    if rest or (wanted and "--help" not in arguments):
        return f"{command.name}: unused {rest}, missing {wanted}"
    return None


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", "docs/photographs.md", "docs/many.md", "docs/page.md"],
)
def test_documented_commands_exist(name: str) -> None:
    commands = list(documented_commands((ROOT / name).read_text("utf-8")))
    assert commands
    problems = {shlex.join(words): problem_with(words) for words in commands}
    assert not {line: problem for line, problem in problems.items() if problem}


def test_every_target_of_the_makefile_is_described_in_its_head() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert re.findall(r"^#   make ([a-z-]+) ", makefile, re.MULTILINE) == targets.split()


def test_check_ends_with_every_test() -> None:
    assert pages.recipe("test-all") == ["$(TEST)"]
    assert pages.recipe("check")[-1] == "$(MAKE) test-all"
    assert pages.recipe("test") == ['$(TEST) -m "not slow"']


def test_a_wrong_command_would_be_noticed() -> None:
    lines = (
        "$ make nonsense",
        "$ A=1 styleclip edit --nonsense x && .venv/bin/styleclip nonsense",
    )
    text = "\n".join(("```console", *lines, "```"))
    commands = list(documented_commands(text))
    assert commands == [
        ["make", "nonsense"],
        ["styleclip", "edit", "--nonsense", "x"],
        ["styleclip", "nonsense"],
    ]
    assert all(problem_with(words) for words in commands)
