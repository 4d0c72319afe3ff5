"""``styleclip edit`` and ``styleclip apply``: edits by a sentence, and edits from files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from styleclip.apps.banks import OWN, BankFile, check_names, ways_of
from styleclip.apps.console import Stopwatch
from styleclip.apps.many import edit_many, edits_settings, how_settings, plan_many
from styleclip.apps.options import (
    AutoStrength,
    Blend,
    Device,
    Face,
    Force,
    Gif,
    Heat,
    IdentityBy,
    IdentityFloor,
    Json,
    Landmarks,
    ModelName,
    Mp4,
    NoRecipe,
    OutOrFolder,
    Photo,
    Preserve,
    Refine,
    Reinvert,
    Rgb,
    SaveEdit,
    SaveTuning,
    SeedInsteadOfFile,
    Stack,
    Strength,
    StripFlag,
    Truncation,
    Tune,
    TuningFile,
    open_studio,
    strength_config,
    with_tuning,
)
from styleclip.apps.outputs import Extras
from styleclip.apps.photos import photo_wish
from styleclip.apps.pipeline import carry_out, edits_by, edits_of_files, plan
from styleclip.apps.starts import Request, is_many, read_picture, split_words
from styleclip.errors import ArgumentError
from styleclip.prompts import names_of

if TYPE_CHECKING:
    from styleclip.editing.directions import DirectionConfig
    from styleclip.editing.optimization import OptimizationConfig
    from styleclip.methods import How
    from styleclip.studio import Studio

EDIT_USAGE = (
    "give a picture and a quoted prompt, as in "
    "styleclip edit me.png 'a face -> a face with red hair'"
)
APPLY_USAGE = "give a picture and a file of an edit, as in styleclip apply me.png edit.safetensors"

Method = Literal["optimize", "mapper", "direction"]
Preset = Literal["default", "paper"]
Space = Literal["w_plus", "style"]


def edit(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] PROMPT [PROMPT ...]",
            show_default=False,
            help="A picture file (none with --seed), or a folder of pictures, or a .txt file with "
            "the path of one in each line; and sentences such as 'a face -> a face with red hair', "
            "or only what the picture should show. Each is an edit of its own.",
        ),
    ] = None,
    strength: Strength = None,
    seed: SeedInsteadOfFile = None,
    truncation: Truncation = 0.7,
    out: OutOrFolder = None,
    stack: Stack = False,
    method: Annotated[
        Method,
        typer.Option(
            help="Optimise this picture, ask a trained mapper, or take one direction for all."
        ),
    ] = "optimize",
    preset: Annotated[Preset, typer.Option(help="Ours, or the official run.")] = "default",
    space: Annotated[
        Space | None,
        typer.Option(help="optimize: move straight in W+ or S, not by the model's latent map."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, metavar="N", help="optimize: how many steps."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="BETA", help="direction: leave out channels with |R| below it."),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="direction: keep the K strongest channels."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=-100,
            max=100,
            help="direction: deviations that the strongest channel moves; each picture's own, as "
            "many as it takes, if absent.",
        ),
    ] = None,
    rgb: Rgb = True,
    bank: BankFile = None,
    mapper: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="mapper: one of 'mapper train'; the model's own if absent."
        ),
    ] = None,
    preserve: Preserve = "",
    auto_strength: AutoStrength = False,
    identity_floor: IdentityFloor = None,
    identity: IdentityBy = None,
    refine: Refine = None,
    reinvert: Reinvert = False,
    photo: Photo = False,
    landmarks: Landmarks = None,
    face: Face = None,
    blend: Blend = True,
    tune: Tune = False,
    save_tuning: SaveTuning = None,
    tuning: TuningFile = None,
    strip: StripFlag = False,
    gif: Gif = False,
    mp4: Mp4 = False,
    heat: Heat = False,
    save_edit: SaveEdit = None,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    no_recipe: NoRecipe = False,
    as_json: Json = False,
) -> None:
    """Edit a picture with a sentence, or with several, one picture each; or many pictures."""
    from styleclip.editing.strength import fits_by_itself

    # everything that can be wrong is found before the work starts
    watch = Stopwatch()
    file, texts = split_words(words or [], seed, EDIT_USAGE)
    picture = None if is_many(file) else read_picture(file)
    request = Request(
        file, picture, seed, truncation, refine, reinvert, strength, stack, no_recipe,
        as_json, photo_wish(photo, landmarks, face, blend), tune, save_tuning,
    )  # fmt: skip
    stay = names_of(preserve)
    _check_method(
        method,
        optimize={"--space": space, "--steps": steps},
        mapper={"--mapper": mapper},
        direction={"--threshold": threshold, "--channels": channels, "--alpha": alpha,
                   "--bank": bank, "--preserve": preserve or None,
                   "--no-rgb": None if rgb else True},
    )  # fmt: skip
    if alpha is not None and auto_strength:
        raise ArgumentError(
            "--alpha names the strength and --auto-strength finds it: leave one of them out"
        )
    if method == "mapper" and preset == "paper":
        raise ArgumentError(
            "a mapper was trained with one preset or the other: leave --preset out, and give "
            "--mapper a file of 'mapper train --preset paper'"
        )
    if identity is not None and identity_floor is None:
        raise ArgumentError(
            "--identity says what --identity-floor is measured by: add that, or leave it out"
        )
    studio = open_studio(model, device, identity)
    if identity_floor is not None:
        studio.identity  # noqa: B018  # raises if there is none
    studio = with_tuning(studio, seed, tune, save_tuning, tuning, force)
    request = request.opened(studio)
    how = _how(studio, method, preset, mapper, bank, stay)
    if method == "direction":
        how = replace(how, config=_direction_config(preset, threshold, channels, alpha, rgb))
    elif method == "optimize":
        how = replace(how, config=_config(preset, space, steps))
    fit = strength_config(auto_strength, identity_floor, fits_by_itself(how.config))
    prompts = [studio.prompt(text) for text in texts]
    extras = Extras(strip, gif, mp4, heat, save_edit)
    how = replace(how, fit=fit)
    wanted = partial(edits_by, studio, prompts, how, watch)
    if is_many(file):
        series = plan_many(request, prompts, out, force, extras, tuning)
        edit_many(studio, request, series, how_settings(studio, how), wanted, watch)
    else:
        outputs = plan(request, prompts, out, force, extras)
        carry_out(studio, request, wanted(), outputs, watch)


def apply(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] EDIT [EDIT ...]",
            show_default=False,
            help="A picture file (none with --seed), or many as for 'edit'; and files that "
            "'edit --save-edit' wrote.",
        ),
    ] = None,
    strength: Strength = None,
    seed: SeedInsteadOfFile = None,
    truncation: Truncation = 0.7,
    out: OutOrFolder = None,
    stack: Stack = False,
    refine: Refine = None,
    reinvert: Reinvert = False,
    photo: Photo = False,
    landmarks: Landmarks = None,
    face: Face = None,
    blend: Blend = True,
    tune: Tune = False,
    save_tuning: SaveTuning = None,
    tuning: TuningFile = None,
    strip: StripFlag = False,
    gif: Gif = False,
    mp4: Mp4 = False,
    heat: Heat = False,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    no_recipe: NoRecipe = False,
    as_json: Json = False,
) -> None:
    """Apply a saved edit to a picture, the one it was found on or another; or to many.

    An optimisation finds its step on one picture. On another the same step is taken: mostly it
    shows the same change, weaker or stronger, but nobody looked; try --strength, or edit anew.
    """
    watch = Stopwatch()
    file, files = split_words(words or [], seed, APPLY_USAGE)
    picture = None if is_many(file) else read_picture(file)
    request = Request(
        file, picture, seed, truncation, refine, reinvert, strength, stack, no_recipe,
        as_json, photo_wish(photo, landmarks, face, blend), tune, save_tuning,
    )  # fmt: skip
    studio = open_studio(model, device)
    studio = with_tuning(studio, seed, tune, save_tuning, tuning, force)
    request = request.opened(studio)
    edits = [studio.load_edit(file) for file in files]
    prompts = [each.prompt for each in edits]
    extras = Extras(strip, gif, mp4, heat)
    wanted = partial(edits_of_files, studio, edits, watch)
    if is_many(file):
        series = plan_many(request, prompts, out, force, extras, tuning)
        edit_many(studio, request, series, edits_settings(edits), wanted, watch)
    else:
        outputs = plan(request, prompts, out, force, extras)
        carry_out(studio, request, wanted(), outputs, watch)


def _how(
    studio: Studio,
    method: Method,
    preset: Preset,
    mapper: Path | None,
    bank: Path | None,
    preserve: tuple[str, ...],
) -> How:
    """What a method needs of the model or of files; its config comes from the options."""
    from styleclip.methods import How

    check_names(studio, preserve)
    if method == "mapper":
        return How(studio.mapper if mapper is None else studio.load_mapper(mapper))
    if method == "direction" and preset == "paper" and bank is None:
        bank = Path(OWN)
    if method == "direction":
        return How(relevance=ways_of(studio, bank), preserve=preserve)
    return How(preserve=preserve)


def _config(preset: Preset, space: Space | None, steps: int | None) -> OptimizationConfig:
    from styleclip.editing.optimization import OptimizationConfig

    config = OptimizationConfig()
    if preset == "paper":
        config = OptimizationConfig.paper(space or "w_plus")
    elif space is not None:
        config = OptimizationConfig.plain(space)
    return config if steps is None else replace(config, steps=steps)


def _direction_config(
    preset: Preset,
    threshold: float | None,
    channels: int | None,
    alpha: float | None,
    rgb: bool,
) -> DirectionConfig:
    from styleclip.editing.directions import DirectionConfig

    if preset == "default":
        return DirectionConfig(threshold, channels, alpha, rgb)
    config = DirectionConfig.paper()  # without toRGB
    if channels is not None:
        config = replace(config, threshold=threshold, channels=channels)
    elif threshold is not None:
        config = replace(config, threshold=threshold)
    return config if alpha is None else replace(config, strength=alpha)


def _check_method(method: Method, **options: dict[str, object]) -> None:
    """Raise ``ArgumentError`` for an option that belongs to another method."""
    for owner, given in options.items():
        for name, value in given.items():
            if value is not None and owner != method:
                raise ArgumentError(f"{name} belongs to --method {owner}; leave it out or add that")
