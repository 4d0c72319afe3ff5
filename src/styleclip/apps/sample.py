"""``styleclip sample`` and ``styleclip invert``: pictures without an edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from styleclip.apps.console import Stopwatch, answer, progress
from styleclip.apps.options import (
    Device,
    Force,
    Json,
    ModelName,
    NoRecipe,
    Out,
    Refine,
    SaveTuning,
    Seed,
    StripFlag,
    Truncation,
    Tune,
    TuningFile,
    open_studio,
    with_tuning,
)
from styleclip.apps.outputs import Outputs, check_outputs, save_picture

if TYPE_CHECKING:
    from torch import Tensor


def sample(
    seed: Seed = 0,
    truncation: Truncation = 0.7,
    out: Out = None,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    no_recipe: NoRecipe = False,
    as_json: Json = False,
) -> None:
    """Draw the picture of a seed."""
    watch = Stopwatch()
    from styleclip.recipe import Source

    path = out or Path(f"seed-{seed}.png")
    check_outputs(Outputs([path], force=force))
    studio = open_studio(model, device)
    studio.generator  # noqa: B018  # loads it
    watch.lap("load")
    source = Source(seed=seed, truncation=truncation)
    image = studio.render(studio.latents(source))
    watch.lap("sample")
    save_picture(path, image, studio, source, no_recipe=no_recipe, force=force)
    result = {"out": str(path), "model": studio.model.name, "seed": seed, "truncation": truncation}
    answer({**result, "seconds": watch.seconds}, [f"wrote {path}", f"seconds: {watch}"], as_json)


def invert(
    image: Annotated[Path, typer.Argument(help="A picture file.")],
    out: Out = None,
    refine: Refine = None,
    tune: Tune = False,
    save_tuning: SaveTuning = None,
    tuning: TuningFile = None,
    strip: StripFlag = False,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    no_recipe: NoRecipe = False,
    as_json: Json = False,
) -> None:
    """Find the latent of a picture, and write the picture as the model sees it.

    With --tune a copy of the generator is tuned to it, a minute or two on the portraits.
    """
    watch = Stopwatch()
    from styleclip import images
    from styleclip.apps.starts import invert_square

    path = out or Path(f"{image.stem}-inverted.png")
    strip_path = path.with_name(f"{path.stem}-strip.png") if strip else None
    outputs = Outputs([path], strip_path, force=force)
    check_outputs(outputs)
    picture = images.open_picture(image)
    studio = open_studio(model, device)
    studio = with_tuning(studio, None, tune, save_tuning, tuning, force)
    original = studio.square(picture)
    with progress() as bar:
        source, studio = invert_square(studio, original, refine, tune, save_tuning, bar, watch)
    found = studio.render(studio.latents(source))
    error = _distance(found, original)
    save_picture(path, found, studio, source, no_recipe=no_recipe, force=force)
    result = {"out": str(path), "model": studio.model.name, "error": error}
    if studio.tuning is not None:
        result["psnr"] = dict(studio.tuning.figures)
    if strip_path is not None:
        page = images.strip([original, found], ["the picture", "as the model sees it"])
        images.save_image(strip_path, page, overwrite=force)
        result["strip"] = str(strip_path)
    accuracy = f"off by {error:.1f} of 255 a pixel (root mean square)"
    files = [*outputs, *([] if save_tuning is None else [save_tuning])]
    if save_tuning is not None:
        result["tuning"] = str(save_tuning)
    lines = [*(f"wrote {each}" for each in files), accuracy, f"seconds: {watch}"]
    answer({**result, "seconds": watch.seconds}, lines, as_json)


def _distance(a: Tensor, b: Tensor) -> float:
    """Root mean square difference of two pictures, of 255."""
    return round(float((a.clamp(-1, 1) - b).square().mean().sqrt()) * 127.5, 2)
