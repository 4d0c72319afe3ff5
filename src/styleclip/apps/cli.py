"""The command line: ``styleclip sample | invert | edit | show | portraits``.

Results on stdout, progress and complaints on stderr. Exit code 0 done, 1 a replay that differs, 2
a mistake of the user's with one sentence that says what to do, 130 Ctrl-C. An unexpected exception
is a bug and keeps its traceback. torch and its friends are imported inside the commands.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from styleclip import __version__
from styleclip.apps import portraits
from styleclip.apps.console import (
    Stopwatch,
    answer,
    complain,
    pick_device,
    prepare_libraries,
    progress,
)
from styleclip.errors import ArgumentError, StyleclipError

if TYPE_CHECKING:
    from torch import Tensor

    from styleclip.editing.edit import Edit
    from styleclip.editing.optimization import OptimizationConfig
    from styleclip.recipe import Source
    from styleclip.studio import Studio

SWEEP = 13  # pictures of a strength sweep, 0 included
LARGEST_SEED = 2**63 - 1
EXAMPLE = "styleclip edit me.png 'a face -> a face with red hair'"

app = typer.Typer(
    help="Edit a portrait with a sentence.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(portraits.app, name="portraits")

Out = Annotated[
    Path | None, typer.Option(help="The PNG to write; named after the input if absent.")
]
ModelName = Annotated[str, typer.Option("--model", help="A built-in model, or a model folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Truncation = Annotated[
    float, typer.Option(min=0, max=2, help="Variety of sampled pictures; 0 is the mean picture.")
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Which picture is sampled.")]
Refine = Annotated[
    int | None,
    typer.Option(min=0, max=100_000, help="Steps of refinement after the encoder; 0 for none."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
NoRecipe = Annotated[
    bool, typer.Option("--no-recipe", help="Leave the recipe (and with it the latent) out.")
]
StripFlag = Annotated[
    bool, typer.Option("--strip", help="Also write before and after side by side.")
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    prepare_libraries()
    try:
        code = app(
            args=None if arguments is None else list(arguments),
            prog_name="styleclip",
            standalone_mode=False,
        )
    except (StyleclipError, typer.TyperException) as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        complain(message)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        complain("stopped; nothing half-written is left", kind="interrupted")
        return 130
    if code == 130:  # typer turns Ctrl-C into this
        complain("stopped; nothing half-written is left", kind="interrupted")
    return code if isinstance(code, int) else 0


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


@app.command()
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
    from styleclip import images
    from styleclip.recipe import Source

    path = out or Path(f"seed-{seed}.png")
    images.check_output(path, force)
    studio = _studio(model, device)
    studio.generator  # noqa: B018  # loads it
    watch.lap("load")
    source = Source(seed=seed, truncation=truncation)
    image = studio.render(studio.latents(source))
    watch.lap("sample")
    _save(path, image, studio, source, [], no_recipe, force)
    result = {"out": str(path), "model": studio.model.name, "seed": seed, "truncation": truncation}
    answer({**result, "seconds": watch.seconds}, [f"wrote {path}", f"seconds: {watch}"], as_json)


@app.command()
def invert(
    image: Annotated[Path, typer.Argument(help="A picture file.")],
    out: Out = None,
    refine: Refine = None,
    strip: StripFlag = False,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    no_recipe: NoRecipe = False,
    as_json: Json = False,
) -> None:
    """Find the latent of a picture, and write the picture as the model sees it."""
    watch = Stopwatch()
    from styleclip import images
    from styleclip.recipe import Source

    path = out or Path(f"{image.stem}-inverted.png")
    strip_path = _strip_path(path)
    images.check_output(path, force)
    if strip:
        images.check_output(strip_path, force)
    picture = images.open_picture(image)
    studio = _studio(model, device)
    original = studio.square(picture)
    studio.encoder  # noqa: B018  # loads it
    watch.lap("load")
    with progress() as bar:
        source = Source(w_plus=studio.open(original, refine, bar("inverting")))
    watch.lap("invert")
    found = studio.render(studio.latents(source))
    error = _distance(found, original)
    _save(path, found, studio, source, [], no_recipe, force)
    result: dict[str, Any] = {"out": str(path), "model": studio.model.name, "error": error}
    lines = [f"wrote {path}"]
    if strip:
        page = images.strip([original, found], ["the picture", "as the model sees it"])
        images.save_image(strip_path, page, overwrite=force)
        result["strip"] = str(strip_path)
        lines.append(f"wrote {strip_path}")
    lines += [f"off by {error:.1f} of 255 a pixel (root mean square)", f"seconds: {watch}"]
    answer({**result, "seconds": watch.seconds}, lines, as_json)


@app.command()
def edit(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE PROMPT",
            help="A picture file and a sentence such as 'a face -> a face with red hair', or what "
            "the picture should show alone; with --seed the sentence only.",
        ),
    ],
    strength: Annotated[
        float,
        typer.Option(min=-20, max=20, help="1 is the edit as found, 0 none, -1 its opposite."),
    ] = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=LARGEST_SEED, help="Edit the picture of a seed, not a file."),
    ] = None,
    truncation: Truncation = 0.7,
    out: Out = None,
    preset: Annotated[str, typer.Option(help="default, or paper: the official run.")] = "default",
    space: Annotated[str | None, typer.Option(help="w_plus or style: what moves.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Steps of the optimisation.")
    ] = None,
    refine: Refine = None,
    strip: StripFlag = False,
    gif: Annotated[
        bool, typer.Option("--gif", help="Also write the sweep from no strength to this one.")
    ] = False,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    no_recipe: NoRecipe = False,
    as_json: Json = False,
) -> None:
    """Edit a picture with a sentence."""
    watch = Stopwatch()
    from styleclip import images
    from styleclip.recipe import Source
    from styleclip.studio import PromptWarning

    # everything that can be wrong is found before the work starts
    file, text = _image_and_prompt(words, seed)
    if not math.isfinite(strength):
        raise ArgumentError(f"--strength must be a number, got {strength}")
    config = _config(preset, space, steps)
    studio = _studio(model, device)
    prompt = studio.prompt(text)
    name = f"seed-{seed}" if file is None else file.stem
    path = out or Path(f"{name}-{_slug(prompt.target)}.png")
    strip_path, gif_path = _strip_path(path), path.with_suffix(".gif")
    images.check_output(path, force)
    if strip:
        images.check_output(strip_path, force)
    if gif:
        images.check_output(gif_path, force, ".gif")
    picture = None if file is None else images.open_picture(file)
    notes = studio.prompt_warnings(prompt)  # loads the CLIP
    for note in notes:
        complain(note, kind="warning")
    original = None if picture is None else studio.square(picture)
    if original is not None:
        studio.encoder  # noqa: B018  # loads it
    studio.embedder.embed_texts([prompt.target, prompt.neutral])  # raises for one too long
    studio.generator  # noqa: B018
    watch.lap("load")

    with progress() as bar:
        if original is None:
            source = Source(seed=seed, truncation=truncation)
        else:
            source = Source(w_plus=studio.open(original, refine, bar("inverting")))
            watch.lap("invert")
        w_plus = studio.latents(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PromptWarning)  # said above
            found = studio.edit(w_plus, prompt, config, bar("editing"))
    image = studio.render(w_plus, found, strength)
    watch.lap("edit")

    written = [path]
    _save(path, image, studio, source, [(found, strength)], no_recipe, force)
    if strip:
        images.save_image(
            strip_path, _before_and_after(studio, w_plus, original, image, prompt.target),
            overwrite=force,
        )  # fmt: skip
        written.append(strip_path)
    if gif:
        levels = [strength * i / (SWEEP - 1) for i in range(SWEEP)]
        frames = [studio.render(w_plus, found, level) for level in levels]
        images.save_gif(gif_path, frames, overwrite=force)
        written.append(gif_path)
    watch.lap("write")
    result = {
        "out": str(path),
        "strip": str(strip_path) if strip else None,
        "gif": str(gif_path) if gif else None,
        "model": studio.model.name,
        "seed": seed,
        "target": prompt.target,
        "neutral": prompt.neutral,
        "strength": strength,
        "config": dict(found.config),
        "warnings": notes,
        "seconds": watch.seconds,
    }
    answer(result, [*(f"wrote {each}" for each in written), f"seconds: {watch}"], as_json)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A PNG that styleclip wrote.")],
    replay: Annotated[
        bool, typer.Option("--replay", help="Make the picture again and compare it.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="With --replay: the PNG to write the new picture to.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="With --replay: the model, if it is not a built-in one.")
    ] = None,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Print how a picture was made; make it again with --replay."""
    from styleclip import images
    from styleclip.recipe import Recipe

    if out is not None and not replay:
        raise ArgumentError("--out is what --replay writes: add --replay")
    if out is not None:
        images.check_output(out, force)
    values = images.read_recipe(file)
    recipe = Recipe.from_json(values)
    result: dict[str, Any] = {"file": str(file), "recipe": values}
    lines = _described(recipe)
    difference: int | None = 0
    if replay:
        studio = _studio(_model_of(recipe.model, model), device)
        again = images.to_picture(studio.replay(recipe))
        difference = _largest_difference(images.open_picture(file), again)
        result["largest_difference"] = difference
        lines.append(f"replay    {_verdict(difference)}")
        if out is not None:
            images.save_image(out, again, values, overwrite=force)
            result["out"] = str(out)
            lines.append(f"wrote {out}")
    answer(result, lines, as_json)
    if difference is None or difference > 2:
        raise typer.Exit(1)


def _studio(model: str, device: str) -> Studio:
    from styleclip.studio import Studio

    return Studio.load(model, pick_device(device))


def _image_and_prompt(words: list[str], seed: int | None) -> tuple[Path | None, str]:
    if seed is not None and len(words) == 2:
        raise ArgumentError(
            f"give a picture or --seed, not both; got {words[0]!r} and --seed {seed}"
        )
    if seed is not None and len(words) == 1:
        return None, words[0]
    if len(words) != 2:
        raise ArgumentError(
            f"give a picture and one quoted prompt, as in {EXAMPLE}; or --seed N in place of the "
            f"picture; got {len(words)} words"
        )
    return Path(words[0]), words[1]


def _config(preset: str, space: str | None, steps: int | None) -> OptimizationConfig:
    from dataclasses import replace

    from styleclip.editing.optimization import OptimizationConfig

    if preset not in ("default", "paper"):
        raise ArgumentError(f"there is no preset {preset!r}: choose default or paper")
    if space not in (None, "w_plus", "style"):
        raise ArgumentError(f"there is no space {space!r}: choose w_plus or style")
    config = OptimizationConfig.paper() if preset == "paper" else OptimizationConfig()
    if space == "w_plus" or space == "style":
        config = replace(config, space=space)
    return config if steps is None else replace(config, steps=steps)


def _save(
    path: Path,
    image: Tensor,
    studio: Studio,
    source: Source,
    edits: list[tuple[Edit, float]],
    no_recipe: bool,
    force: bool,
) -> None:
    from styleclip import images

    recipe = None if no_recipe else studio.recipe(source, edits).to_json()
    images.save_image(path, image, recipe, overwrite=force)


def _before_and_after(
    studio: Studio, w_plus: Tensor, original: Tensor | None, image: Tensor, target: str
) -> Any:
    from styleclip import images

    before, captions = [studio.render(w_plus)], ["before"]
    if original is not None:
        before, captions = [original, *before], ["the picture", "as the model sees it"]
    return images.strip([*before, image], [*captions, target])


def _strip_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-strip.png")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].rstrip("-") or "edited"


def _distance(a: Tensor, b: Tensor) -> float:
    """Root mean square difference of two pictures, of 255."""
    return round(float((a.clamp(-1, 1) - b).square().mean().sqrt()) * 127.5, 2)


def _model_of(recorded: str, given: str | None) -> str:
    """A recipe names its model; only a built-in one is found by that name."""
    from styleclip.checkpoints.registry import BUILT_IN

    if given is None and recorded not in BUILT_IN:
        raise ArgumentError(
            f"the picture was made with a model named {recorded!r}, which is not a built-in one: "
            "give its folder with --model"
        )
    return given or recorded


def _largest_difference(a: Any, b: Any) -> int | None:
    """Of two PIL pictures, in 0..255; None if their sizes differ."""
    from PIL import ImageChops

    if a.size != b.size:
        return None
    return max(int(high) for _, high in ImageChops.difference(a, b).getextrema())


def _verdict(difference: int | None) -> str:
    if difference is None:
        return "another size: the file was resized after it was made"
    if difference == 0:
        return "the same pixels"
    if difference <= 2:
        return f"the same picture within {difference}/255"
    return f"differs by up to {difference}/255: the file was changed after it was made"


def _described(recipe: Any) -> list[str]:
    source = recipe.source
    origin = f"seed {source.seed}, truncation {source.truncation:g}"
    if source.w_plus is not None:
        origin = f"an inverted picture, {source.w_plus.shape[1]} rows of W+"
    lines = [f"made with {recipe.made_with}, model {recipe.model}", f"source    {origin}"]
    for each, strength in recipe.edits:
        lines.append(f"edit      {each.prompt}  (strength {strength:g}, by {each.method})")
        lines.append(f"config    {', '.join(f'{k}={v}' for k, v in each.config.items())}")
    lines.append(f"weights   {', '.join(f'{k} {v[:12]}' for k, v in recipe.hashes.items())}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
