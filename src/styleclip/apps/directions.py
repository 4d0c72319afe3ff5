"""``styleclip directions measure | find | sweep | top``: banks, directions, what is in them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from styleclip.apps.console import Stopwatch, answer, complain, progress
from styleclip.apps.options import (
    Device,
    Force,
    Json,
    ModelName,
    Preserve,
    Refine,
    Reinvert,
    Rgb,
    Seed,
    SeedInsteadOfFile,
    Truncation,
    names_of,
    open_studio,
)
from styleclip.apps.outputs import check_edit_file
from styleclip.apps.pipeline import measure_map
from styleclip.apps.starts import Request, find_start, read_picture, split_words
from styleclip.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

    from styleclip.editing.directions import DirectionConfig
    from styleclip.editing.edit import Edit
    from styleclip.editing.relevance import Relevance
    from styleclip.prompts import PromptPair
    from styleclip.studio import Studio, Ways

app = typer.Typer(
    help="Global directions: measure what style channels do, find directions, look at them.",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

OWN = "own"  # in place of a bank's file, as are the two ways of `ways_of`
SWEEP_USAGE = "give a picture and a prompt, as in styleclip directions sweep me.png 'grey hair'"
Method = Literal["exact", "gradient", "samples"]
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


@app.command()
def measure(
    out: Annotated[Path, typer.Argument(metavar="BANK", help="The .safetensors file to write.")],
    method: Annotated[
        Method,
        typer.Option(help="Every channel moved; or backward passes; or a regression on samples."),
    ] = "exact",
    images: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=100_000,
            show_default="100",
            help="exact, gradient: pictures that channels are moved in, at most.",
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=100, show_default="5", help="exact: how far, in standard deviations."
        ),
    ] = None,
    cosine: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            show_default="0.98",
            help="exact: a channel is done when its mean is known so well; 1 takes all pictures.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="exact, gradient: render at full size, not only what CLIP needs."
        ),
    ] = False,
    rgb: Annotated[
        bool,
        typer.Option("--rgb", help="exact, gradient: the toRGB layers too (by samples always)."),
    ] = False,
    truncation: Truncation = 0.7,
    cutoff: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, metavar="ROWS", help="Truncate only the first rows of w; all if absent."
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=100_000, help="Pictures at once: the bound of the memory.")
    ] = 64,
    seed: Seed = 5,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure what every style channel of a model does; stopped, the same command goes on."""
    from styleclip.checkpoints import load_scan
    from styleclip.checkpoints.banks import scan_keeper
    from styleclip.editing.relevance import RelevanceConfig, measure_relevance

    watch = Stopwatch()
    check_edit_file(out, force)
    _check_measure(
        method,
        {"--sigma": sigma, "--cosine": cosine},
        {"--images": images, "--full": full or None, "--rgb": rgb or None},
    )
    config = RelevanceConfig(method=method, seed=seed, batch=batch, truncation=truncation,
                             cutoff=cutoff, resolution="full" if full else "enough",
                             rgb=rgb)  # fmt: skip
    if images is not None:
        config = replace(config, images=images, group=max(2, min(config.group, images // 10)))
    if sigma is not None:
        config = replace(config, sigma=sigma)
    if cosine is not None:
        config = replace(config, cosine=None if cosine == 1 else cosine)
    studio = open_studio(model, device)
    settings = {**studio.hashes("generator", "clip"), **vars(config)}
    settings.pop("batch")  # changes no number that matters
    partial = out.with_name(out.name + ".partial")
    watch.lap("load")

    with progress() as bar:
        found = measure_relevance(
            studio.generator, studio.embedder, config, bar("measuring"),
            load_scan(partial, settings), scan_keeper(partial, settings),
        )  # fmt: skip
    studio.save_bank(out, found)
    partial.unlink(missing_ok=True)
    watch.lap("measure")
    measured = int((found.matrix.norm(dim=1) > 0).sum())
    taken = found.images[found.images > 0].double()
    average = float(taken.mean()) if len(taken) else 0.0
    lines = [f"measured {measured} channels, {average:.1f} pictures each", f"wrote {out}"]
    result = {"out": str(out), "channels": measured, "images": average, "seconds": watch.seconds}
    answer(result, [*lines, f"seconds: {watch}"], as_json)


@app.command()
def find(
    prompt: Annotated[str, typer.Argument(help="'neutral -> target', or the target alone.")],
    out: Annotated[Path, typer.Argument(metavar="EDIT", help="The .safetensors file to write.")],
    threshold: Annotated[
        float | None, typer.Option(metavar="BETA", help="Leave out channels with |R| below it.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Keep the K strongest channels.")
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=-100, max=100, help="Deviations that the strongest channel moves.")
    ] = 4.1,
    rgb: Rgb = True,
    bank: BankFile = None,
    preserve: Preserve = "",
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the direction of a prompt as an edit, for 'styleclip apply'."""
    from styleclip.editing.directions import DirectionConfig

    check_edit_file(out, force)
    config = DirectionConfig(threshold, channels, alpha, rgb)
    studio = open_studio(model, device)
    pair = studio.prompt(prompt)
    (edit,) = directions_of(studio, pair, [config], bank, names_of(preserve))
    studio.save_edit(out, edit)
    assert edit.style_step is not None
    moved = int((edit.style_step != 0).sum())
    result = {"out": str(out), "target": pair.target, "neutral": pair.neutral, "channels": moved}
    answer(result, [f"{pair}: {moved} channels", f"wrote {out}"], as_json)


@app.command()
def sweep(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] PROMPT", show_default=False, help="A picture file (none with --seed)."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("sweep.png"),
    alphas: Annotated[
        str, typer.Option("--alpha", metavar="A,B,...", help="Strengths, side by side.")
    ] = "-6,-3,0,3,6,9",
    betas: Annotated[
        str,
        typer.Option("--beta", metavar="A,B,...", help="Thresholds, below each other."),
    ] = "0.05,0.1,0.2",
    seed: SeedInsteadOfFile = None,
    truncation: Truncation = 0.7,
    refine: Refine = None,
    reinvert: Reinvert = False,
    rgb: Rgb = True,
    bank: BankFile = None,
    preserve: Preserve = "",
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show one prompt over strengths and thresholds, to choose them by eye."""
    from styleclip import images
    from styleclip.editing.directions import DirectionConfig

    watch = Stopwatch()
    file, texts = split_words(words or [], seed, SWEEP_USAGE)
    if len(texts) > 1:
        raise ArgumentError(f"a sweep shows one prompt, got {len(texts)}")
    columns, rows = numbers(alphas, "--alpha"), numbers(betas, "--beta")
    configs = [DirectionConfig(threshold=beta, strength=1.0, rgb=rgb) for beta in rows]
    images.check_output(out, force)
    request = Request(
        file, read_picture(file), seed, truncation, refine, reinvert, None, False, True, as_json
    )
    studio = open_studio(model, device)
    prompt = studio.prompt(texts[0])
    edits = directions_of(studio, prompt, configs, bank, names_of(preserve))
    watch.lap("load")
    with progress() as bar:
        start = find_start(studio, request, bar, watch)
    w_plus = studio.latents(start.source)
    pages, moved = [], []
    for beta, edit in zip(rows, edits, strict=True):
        assert edit.style_step is not None
        moved.append(int((edit.style_step != 0).sum()))
        pictures = [studio.render(w_plus, [*start.edits, (edit, alpha)]) for alpha in columns]
        captions = [f"alpha {alpha:g}, beta {beta:g}" for alpha in columns]
        pages.append(images.strip(pictures, captions))
    images.save_image(out, images.stacked(pages), overwrite=force)
    watch.lap("render")
    lines = [f"beta {beta:g}: {count} channels" for beta, count in zip(rows, moved, strict=True)]
    result = {"out": str(out), "alpha": columns, "beta": rows, "channels": moved}
    answer(result, [*lines, f"wrote {out}", f"seconds: {watch}"], as_json)


@app.command()
def top(
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt whose channels are listed.")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(metavar="LAYER:N", help="Describe one channel instead, such as 32.conv:17."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 8,
    strip: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write each one's effect on a picture, as a PNG."),
    ] = None,
    seed: Seed = 0,
    bank: BankFile = None,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """List the channels that a prompt moves, or the words that describe a channel."""
    from styleclip import images
    from styleclip.checkpoints.registry import DIRECTIONS
    from styleclip.editing.directions import prompt_direction

    if (prompt is None) == (channel is None):
        raise ArgumentError("give a prompt, as in 'a face with red hair', or --channel LAYER:N")
    if strip is not None:
        images.check_output(strip, force)
    studio = open_studio(model, device)
    if bank is None and studio.model.find(DIRECTIONS) is not None:
        bank = Path(OWN)  # here the question is what each channel does by itself
    ways = ways_of(studio, bank)
    if isinstance(ways, str):
        raise ArgumentError(f"'top' reads a bank, not {ways!r}: give its file, or 'own'")
    if ways is None:
        measure_map(studio)
    relevance = studio.relevance if ways is None else ways
    if prompt is not None:
        pair = studio.prompt(prompt)
        for note in studio.prompt_warnings(pair):
            complain(note, kind="warning")
        wanted = prompt_direction(studio.embedder, pair)
        response = relevance.matrix @ wanted.to(relevance.matrix)
        columns = response.abs().topk(min(count, int((response != 0).sum()))).indices.tolist()
        rows = [
            {"channel": channel_name(studio, c), "R": float(response[c]),
             "effect": float(relevance.effect[c]) or None}
            for c in columns
        ]  # fmt: skip
        lines = [f"{row['channel']:>14}  {row['R']:+.4f}" for row in rows]
        if bool(relevance.effect.any()):  # by samples, and of an fs3, nobody knows it
            lines = [
                f"{line}  {relevance.effect[c]:.4f}" for line, c in zip(lines, columns, strict=True)
            ]
            lines.insert(0, f"{'channel':>14}  {'R':>7}  effect")
    else:
        assert channel is not None
        columns = [studio.generator.layout.column(channel)]
        rows = words_of(studio, relevance, columns[0])[:count]
        lines = [f"{row['R']:+.4f}  {row['text']}" for row in rows]
    result: dict[str, Any] = {"rows": rows}
    if strip is not None:
        images.save_image(strip, channel_strip(studio, relevance, columns, seed), overwrite=force)
        result["strip"] = str(strip)
        lines.append(f"wrote {strip}")
    answer(result, lines, as_json)


def _check_measure(
    method: Method, exact: Mapping[str, object], moved: Mapping[str, object]
) -> None:
    """Raise ``ArgumentError`` for an option that means nothing to the method."""
    if method != "exact":
        for name, value in exact.items():
            if value is not None:
                raise ArgumentError(f"{name} belongs to --method exact; leave it out or add that")
    if method == "samples":
        for name, value in moved.items():
            if value is not None:
                raise ArgumentError(
                    f"{name} belongs to --method exact or gradient: by samples all channels are "
                    "seen together, in 2,000 pictures of the size that CLIP needs"
                )


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


def numbers(text: str, option: str) -> list[float]:
    """ "1,2.5" -> [1.0, 2.5]. Raises ``ArgumentError``."""
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ArgumentError(f"{option} takes numbers between commas, got {text!r}") from error
    if not found or len(found) > 20 or not all(math.isfinite(each) for each in found):
        raise ArgumentError(f"{option} takes 1 to 20 finite numbers, got {text!r}")
    return found


def channel_name(studio: Studio, column: int) -> str:
    """Column of the style -> "layer:channel"."""
    layer, channel = studio.generator.layout.channel(column)
    return f"{layer.name}:{channel}"


def words_of(studio: Studio, relevance: Relevance, column: int) -> list[dict[str, Any]]:
    """The texts of the model's vocabulary by how much the channel moves pictures to them."""
    import torch

    groups = studio.vocabulary
    if not groups:
        raise ArgumentError(
            f'the model {studio.model.name!r} has no vocabulary: list texts under "vocabulary" '
            "in its model.json, or ask with a prompt"
        )
    found = []
    for texts in groups.values():
        embedded = studio.embedder.embed_texts(texts)
        apart = torch.nn.functional.normalize(embedded - embedded.mean(dim=0), dim=1)
        for text, value in zip(texts, apart @ relevance.matrix[column].to(apart), strict=True):
            found.append({"text": text, "R": float(value)})
    return sorted(found, key=lambda row: -abs(float(str(row["R"]))))


def channel_strip(studio: Studio, relevance: Relevance, columns: list[int], seed: int) -> Any:
    """For each channel a row: the picture with it 5 deviations down, as it is, and 5 up."""
    import torch

    from styleclip import images

    w_plus = studio.sample(seed)
    pictures: list[Tensor] = []
    captions = []
    with torch.no_grad():
        style = studio.generator.affine(w_plus)
        for column in columns:
            for sign, mark in ((-1, "-5 sd"), (1, "+5 sd")):
                moved = style.clone()
                moved[:, column] = relevance.mean[column] + sign * 5 * relevance.std[column]
                pictures.append(studio.generator.synthesis(moved))
                captions.append(f"{channel_name(studio, column)} {mark}")
    return images.strip([studio.render(w_plus), *pictures], [f"seed {seed}", *captions])
