"""Writes commands.md, the page of the command line, from the program itself.

python docs/commands.py            write it
python docs/commands.py --check    exit with 1 if it is not what the program says
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from styleclip.apps.cli import app

PAGE = Path(__file__).parent / "commands.md"
HEAD = """# The command line

Written by `python docs/commands.py` from the program: what `--help` says of every command. Results
go to standard output, progress and complaints to standard error, so that `--json` leaves one object
to read. Exit codes: 0 done; 1 done, but not all is as it should be (a picture that does not replay,
a file that `models verify` finds changed); 2 a mistake, in one sentence that says what to do; 130
stopped by Ctrl-C.
"""
KINDS = {
    "str": "TEXT",
    "path": "PATH",
    "int": "N",
    "float": "NUMBER",
    "float range": "NUMBER",
    "int range": "N",
}


def page() -> str:
    """The whole page."""
    root = get_command(app)
    root.name = "styleclip"
    return "\n".join([HEAD, *_command(root, None, 1)]) + "\n"


def _command(command: Any, parent: Any, depth: int) -> Iterator[str]:
    """The section of a command, then those of its subcommands."""
    context = command.context_class(command, parent=parent, info_name=command.name)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    if depth > 1:
        yield f"{'#' * depth} {context.command_path}\n"
        yield f"{' '.join((command.help or '').split())}\n"
    yield f"```text\n{usage}\n```\n"
    records = [each.get_help_record(context) for each in command.get_params(context)]
    rows = [(_names(names), text) for names, text in filter(None, records)]
    rows = [row for row in rows if depth == 1 or row[0] != "--help"]
    if rows:
        yield "| | what it says |\n|---|---|"
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows)
        yield ""
    for child in getattr(command, "commands", {}).values():
        yield from _command(child, context, depth + 1)


def _names(text: str) -> str:
    """The names of an option, and what it takes: a kind of typer's in plain words."""
    text = re.sub(r" <list\[\w+\]>", "", text).strip(" /")
    return re.sub(r"<([a-z ]+)>", lambda kind: KINDS.get(kind[1], kind[0]), text)


def _cell(text: str) -> str:
    """As a table takes it."""
    text = text.replace("0<=x<=9223372036854775807", "x>=0").replace("[default: True]", "")
    for sign, shown in (("|", "\\|"), ("<=", " ≤ "), (">=", " ≥ ")):
        text = text.replace(sign, shown)
    return text.strip()


def main(arguments: list[str]) -> int:
    wanted = page()
    if arguments != ["--check"]:
        PAGE.write_text(wanted, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == wanted:
        return 0
    print(f"{PAGE} is not what the program says: run python docs/commands.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
