"""The command line: ``styleclip sample | invert | edit | apply | faces | align | models | …``.

Results on stdout, progress and complaints on stderr. Exit code 0 done, 1 a replay that differs, 2
a mistake of the user's with one sentence that says what to do, 130 Ctrl-C. An unexpected exception
is a bug and keeps its traceback. torch and its friends are imported inside the commands.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from styleclip import __version__
from styleclip.apps import directions, mapper, models, portraits
from styleclip.apps.console import complain, plain_warnings
from styleclip.apps.edit import apply, edit
from styleclip.apps.photos import align, faces
from styleclip.apps.sample import invert, sample
from styleclip.apps.show import show
from styleclip.apps.web.serve import serve
from styleclip.apps.weights import convert, inspect
from styleclip.errors import StyleclipError

app = typer.Typer(
    help="Edit a portrait with a sentence.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (sample, invert, edit, apply, serve, faces, align, show, inspect, convert):
    app.command()(command)
app.add_typer(directions.app, name="directions")
app.add_typer(mapper.app, name="mapper")
app.add_typer(models.app, name="models")
app.add_typer(portraits.app, name="portraits")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        with plain_warnings():
            code = app(
                args=None if arguments is None else list(arguments),
                prog_name="styleclip",
                standalone_mode=False,
            )
    except (StyleclipError, typer.TyperException) as error:
        complain(_usage(error) if isinstance(error, typer.TyperException) else str(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        complain("stopped; nothing half-written is left", kind="interrupted")
        return 130
    if code == 130:  # typer turns Ctrl-C into this
        complain("stopped; nothing half-written is left", kind="interrupted")
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException) -> str:
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message}; see '{context.command_path} --help'"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"styleclip {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


if __name__ == "__main__":
    sys.exit(main())
