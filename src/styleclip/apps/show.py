"""``styleclip show FILE [--replay]``: how a picture was made, and the same picture made again.

The recipe is in the PNG; a replay needs the generator that made it and compares pixel by pixel, and
so does the list of the channels that its edits move.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from styleclip.apps.console import answer, pick_device
from styleclip.errors import ArgumentError

if TYPE_CHECKING:
    from styleclip.editing.edit import MovedChannel
    from styleclip.recipe import Recipe
    from styleclip.studio import Studio


def show(
    file: Annotated[Path, typer.Argument(help="A PNG that styleclip wrote.")],
    replay: Annotated[
        bool, typer.Option("--replay", help="Make the picture again and compare it.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="With --replay: the PNG to write the new picture to.")
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, metavar="N", help="Also list the N channels that its edits move most."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="With --replay or --channels: the model, if it is not a built-in one."),
    ] = None,
    tuning: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With them: the tuning of a tuned picture."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.")
    ] = False,
) -> None:
    """Print how a picture was made; make it again with --replay."""
    from styleclip import images
    from styleclip.recipe import ALIKE, Recipe

    if out is not None and not replay:
        raise ArgumentError("--out is what --replay writes: add --replay")
    if out is not None:
        images.check_output(out, force)
    values = images.read_recipe(file)
    recipe = Recipe.from_json(values)
    result: dict[str, Any] = {"file": str(file), "recipe": values}
    lines = _described(recipe)
    difference: int | None = 0
    if channels is not None:
        moved = _moved(_studio_of(recipe, model, tuning, device), recipe, channels)
        result["channels"] = [vars(each) for each in moved]
        lines += [_moved_line(each) for each in moved]
    if replay:
        studio = _studio_of(recipe, model, tuning, device)
        again = images.to_picture(studio.replay(recipe))
        if recipe.corners is None:
            difference = images.largest_difference(images.open_picture(file), again)
            result["largest_difference"] = difference
            lines.append(f"replay    {_verdict(difference)}")
        else:
            lines.append("replay    the square was made again; the photo around it is not kept")
            values = replace(recipe, corners=None).to_json()
        if out is not None:
            images.save_image(out, again, values, overwrite=force)
            result["out"] = str(out)
            lines.append(f"wrote {out}")
    answer(result, lines, as_json)
    if difference is None or difference > ALIKE:
        raise typer.Exit(1)


def _studio_of(recipe: Recipe, model: str | None, tuning: Path | None, device: str) -> Studio:
    from styleclip.studio import Studio

    studio = Studio.load(_model_of(recipe.model, model), pick_device(device))
    return studio if tuning is None else studio.tuned(studio.load_tuning(tuning))


def _moved(studio: Studio, recipe: Recipe, count: int) -> list[MovedChannel]:
    from styleclip.editing.edit import moved_channels

    studio.check_recipe(recipe)
    if not recipe.edits:
        raise ArgumentError("the picture has no edit, so no channel moved: leave --channels out")
    w_plus, (_, std) = studio.latents(recipe.source), studio.style_statistics
    return moved_channels(studio.generator, w_plus, recipe.edits, count=count, std=std)


def _moved_line(channel: MovedChannel) -> str:
    by = f"{channel.change:+.3f}, {channel.deviations:+.2f} standard deviations"
    return f"channel   {channel!s:<14} by {by}"


def _model_of(recorded: str, given: str | None) -> str:
    """A recipe names its model; only a known one is found by that name."""
    from styleclip.checkpoints.registry import is_name

    if given is None and not is_name(recorded):
        raise ArgumentError(
            f"the picture was made with a model named {recorded!r}, which is not known here: "
            "give its folder with --model"
        )
    return given or recorded


def _verdict(difference: int | None) -> str:
    from styleclip.recipe import ALIKE

    if difference is None:
        return "another size: the file was resized after it was made"
    if difference == 0:
        return "the same pixels"
    if difference <= ALIKE:
        return f"the same picture within {difference}/255"
    return f"differs by up to {difference}/255: the file was changed after it was made"


def _described(recipe: Recipe) -> list[str]:
    source = recipe.source
    origin = f"seed {source.seed}, truncation {source.truncation:g}"
    if source.w_plus is not None:
        origin = f"an inverted picture, {source.w_plus.shape[1]} rows of W+"
    lines = [f"made with {recipe.made_with}, model {recipe.model}", f"source    {origin}"]
    for each, strength in recipe.edits:
        lines.append(f"edit      {each.prompt}  (strength {strength:g}, by {each.method})")
        lines.append(f"config    {', '.join(f'{k}={v}' for k, v in each.config.items())}")
    if recipe.corners is not None:
        corners = ", ".join(f"({x:.0f}, {y:.0f})" for x, y in recipe.corners)
        lines.append(f"photo     the square with the corners {corners}")
    lines.append(f"weights   {', '.join(f'{k} {v[:12]}' for k, v in recipe.hashes.items())}")
    return lines
