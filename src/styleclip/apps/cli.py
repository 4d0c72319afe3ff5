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
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from styleclip.apps.show import show
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
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Which picture is sampled.")
]
Refine = Annotated[
    int | None,
    typer.Option(
        min=0, max=100_000, metavar="N", help="Steps of refinement after the encoder; 0 for none."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
NoRecipe = Annotated[
    bool, typer.Option("--no-recipe", help="Leave the recipe (and with it the latent) out.")
]
Preset = Literal["default", "paper"]
Space = Literal["w_plus", "style"]
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
    from styleclip.recipe import Source

    path = _outputs(out or Path(f"seed-{seed}.png"), force)["out"]
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

    outputs = _outputs(out or Path(f"{image.stem}-inverted.png"), force, strip)
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
    _save(outputs["out"], found, studio, source, [], no_recipe, force)
    if strip:
        page = images.strip([original, found], ["the picture", "as the model sees it"])
        images.save_image(outputs["strip"], page, overwrite=force)
    result = {"model": studio.model.name, "error": error, "seconds": watch.seconds}
    accuracy = f"off by {error:.1f} of 255 a pixel (root mean square)"
    lines = [*_written(outputs), accuracy, f"seconds: {watch}"]
    answer({**_named(outputs), **result}, lines, as_json)


@app.command()
def edit(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] PROMPT",
            show_default=False,
            help="A picture file (none with --seed), and a sentence such as "
            "'a face -> a face with red hair', or only what the picture should show.",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(min=-20, max=20, help="1 is the edit as found, 0 none, -1 its opposite."),
    ] = 1.0,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=LARGEST_SEED, metavar="N", help="Edit the picture of a seed, not a file."
        ),
    ] = None,
    truncation: Truncation = 0.7,
    out: Out = None,
    preset: Annotated[Preset, typer.Option(help="Ours, or the official run.")] = "default",
    space: Annotated[Space | None, typer.Option(help="What moves.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=100_000, metavar="N", help="Steps of the optimisation.")
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
    file, text = _image_and_prompt(words or [], seed)
    if not math.isfinite(strength):
        raise ArgumentError(f"--strength must be a number, got {strength}")
    config = _config(preset, space, steps)
    studio = _studio(model, device)
    prompt = studio.prompt(text)
    name = f"seed-{seed}" if file is None else file.stem
    outputs = _outputs(out or Path(f"{name}-{_slug(prompt.target)}.png"), force, strip, gif)
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

    _save(outputs["out"], image, studio, source, [(found, strength)], no_recipe, force)
    if strip:
        page = _before_and_after(studio, w_plus, original, image, prompt.target)
        images.save_image(outputs["strip"], page, overwrite=force)
    if gif:
        levels = [strength * i / (SWEEP - 1) for i in range(SWEEP)]
        frames = [studio.render(w_plus, found, level) for level in levels]
        images.save_gif(outputs["gif"], frames, overwrite=force)
    watch.lap("write")
    result = {
        "model": studio.model.name,
        "seed": seed,
        "target": prompt.target,
        "neutral": prompt.neutral,
        "strength": strength,
        "config": dict(found.config),
        "warnings": notes,
        "seconds": watch.seconds,
    }
    lines = [*_written(outputs), f"seconds: {watch}"]
    answer({**_named(outputs), **result}, lines, as_json)


app.command()(show)


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


def _config(preset: Preset, space: Space | None, steps: int | None) -> OptimizationConfig:
    from dataclasses import replace

    from styleclip.editing.optimization import OptimizationConfig

    config = OptimizationConfig.paper() if preset == "paper" else OptimizationConfig()
    if space is not None:
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


def _outputs(path: Path, force: bool, strip: bool = False, gif: bool = False) -> dict[str, Path]:
    """The files to write by what they are; raises ``ImageError`` if one of them cannot be."""
    from styleclip import images

    outputs = {"out": path}
    if strip:
        outputs["strip"] = path.with_name(f"{path.stem}-strip.png")
    if gif:
        outputs["gif"] = path.with_suffix(".gif")
    for kind, each in outputs.items():
        images.check_output(each, force, ".gif" if kind == "gif" else ".png")
    return outputs


def _written(outputs: dict[str, Path]) -> list[str]:
    return [f"wrote {path}" for path in outputs.values()]


def _named(outputs: dict[str, Path]) -> dict[str, str]:
    return {kind: str(path) for kind, path in outputs.items()}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].rstrip("-") or "edited"


def _distance(a: Tensor, b: Tensor) -> float:
    """Root mean square difference of two pictures, of 255."""
    return round(float((a.clamp(-1, 1) - b).square().mean().sqrt()) * 127.5, 2)


if __name__ == "__main__":
    sys.exit(main())
