"""``styleclip inspect FILE`` and ``styleclip convert SRC DST``: what weights are; make them ours.

Nothing in a file is run, and inspecting builds no network. A file that is damaged, or that nobody
here reads, is one sentence and exit code 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from styleclip.apps.console import answer
from styleclip.apps.options import Force, Json

if TYPE_CHECKING:
    from styleclip.checkpoints.inspection import Inspection


def inspect(
    file: Annotated[Path, typer.Argument(help="A file of weights, or the folder of a CLIP.")],
    as_json: Json = False,
) -> None:
    """Say what a file of weights is, whichever it is, and what it lacks."""
    from styleclip.checkpoints.inspection import inspect as look

    found = look(file)
    answer(_described(found), _lines(found), as_json)


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A file in any layout.")],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="The .safetensors file; of a CLIP the folder.")
    ],
    half: Annotated[
        bool, typer.Option("--half", help="Store float16: half the size, not quite the same.")
    ] = False,
    part: Annotated[
        Literal["generator"] | None,
        typer.Option(help="The generator inside a file of e4e, pSp or a mapper, in its place."),
    ] = None,
    clamp: Annotated[
        float | None,
        typer.Option(min=1e-6, help="NVIDIA's conv_clamp, where the file does not say it."),
    ] = None,
    method: Annotated[
        Literal["e4e", "psp"] | None,
        typer.Option(help="What an encoder is, where the file does not say it."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Of a CLIP: a folder, or OpenAI's vocabulary file."),
    ] = None,
    activation: Annotated[
        Literal["gelu", "quick_gelu"] | None,
        typer.Option(help="Of a CLIP, where its config does not say it."),
    ] = None,
    generator: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of an fs3.npy: the generator that it was measured on."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a file in this project's format; it computes the same."""
    from styleclip.checkpoints.conversion import ConvertConfig
    from styleclip.checkpoints.conversion import convert as write

    config = ConvertConfig(half, part, clamp, method, tokenizer, activation, generator)
    found = write(source, target, config, overwrite=force)
    result = {"source": str(source), **_described(found)}
    answer(result, [f"wrote {target}", *_lines(found)[1:]], as_json)


def _described(found: Inspection) -> dict[str, Any]:
    return {
        "file": str(found.path),
        "kind": found.layout.kind,
        "layout": found.layout.origin,
        "reader": found.layout.reader,
        "size": found.size,
        "sha256": found.sha256,
        "parameters": found.parameters,
        "precision": found.precision,
        "figures": found.figures,
        "missing": found.missing,
        "inside": found.inside,
    }


def _lines(found: Inspection) -> list[str]:
    figures = {key.replace("_", " "): _shown(value) for key, value in found.figures.items()}
    rows = {
        "kind": found.layout.kind,
        "layout": found.layout.origin,
        **figures,
        "precision": ", ".join(f"{name} {count:,}" for name, count in found.precision.items()),
        "parameters": f"{found.parameters:,}",
        "size": f"{found.size:,} bytes",
        "sha256": found.sha256 or "of several files",
    }
    lists = {"lacks": found.missing, "also holds": found.inside}
    width = max(map(len, (*rows, *lists)))
    lines = [f"{found.path} is {found.layout.hint}"]
    lines += [f"{name:{width}}  {value}" for name, value in rows.items()]
    lines += [f"{name:{width}}  {each}" for name, values in lists.items() for each in values]
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > 12:
        return f"{len(value)} entries"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())[:200] or "none"
    return "none" if value is None else str(value)[:200]
