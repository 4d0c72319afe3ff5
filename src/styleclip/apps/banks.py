"""Which bank a command's directions come from: the option, and the directions by it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from styleclip.apps.console import complain
from styleclip.apps.pipeline import measure_map

if TYPE_CHECKING:
    from torch import Tensor

    from styleclip.editing.directions import DirectionConfig
    from styleclip.editing.edit import Edit
    from styleclip.latents import StyleLayout
    from styleclip.methods import Ways
    from styleclip.prompts import PromptPair
    from styleclip.studio import Studio

OWN = "own"  # in place of a bank's file, as are the two ways of `ways_of`
BankFile = Annotated[
    Path | None,
    typer.Option(
        "--bank",
        metavar="FILE|own|instant|prompt-gradient",
        help="A bank that 'measure' wrote, or an official fs3.npy; 'own' for the model's; "
        "'instant' for the quickest look, 'prompt-gradient' for this prompt's alone; by samples if "
        "absent.",
    ),
]


def directions_of(
    studio: Studio,
    prompt: PromptPair,
    configs: Sequence[DirectionConfig],
    bank: Path | None,
    preserve: Sequence[str],
) -> list[Edit]:
    """The directions of one prompt, said once what the model will not understand of it."""
    from styleclip.studio import PromptWarning

    check_names(studio, preserve)
    for note in [*studio.prompt_warnings(prompt), *studio.preserve_warnings(preserve)]:
        complain(note, kind="warning")
    ways = ways_of(studio, bank)
    if ways is None:
        measure_map(studio)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        return [studio.direction(prompt, config, ways, preserve) for config in configs]


def check_names(studio: Studio, preserve: Sequence[str]) -> None:
    """Raise ``PromptError`` for a name that cannot be preserved; warnings are said elsewhere."""
    from styleclip.studio import PromptWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        for name in preserve:
            studio.concept(name)


def ways_of(studio: Studio, bank: Path | None) -> Ways | None:
    """The bank of a file, "own" the model's, or a way by its name; None, by samples."""
    if bank is None:
        return None
    match str(bank):
        case "instant":
            return "instant"
        case "prompt-gradient":
            return "prompt-gradient"
        case "own":
            return studio.bank
    return studio.load_bank(bank)


def extent(layout: StyleLayout, measured: Tensor) -> str:
    """ "912 of 984 style channels; left out: ...", of boolean [S]."""
    if bool(measured.all()):
        return f"all {layout.size} style channels"
    layers = [
        layer
        for layer, part in zip(layout, layout.split(measured), strict=True)
        if bool(part.any())
    ]
    largest = max((layer.resolution for layer in layers), default=0)
    left = []
    if largest < max(layer.resolution for layer in layout):
        left.append(f"layers of more than {largest} pixels (--full measures them)")
    if all(layer.kind == "conv" for layer in layers):
        left.append("toRGB layers (--rgb measures them)")
    told = f"{int(measured.sum())} of {layout.size} style channels"
    return f"{told}; left out: {' and '.join(left)}" if left else told
