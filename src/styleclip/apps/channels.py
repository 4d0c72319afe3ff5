"""``styleclip directions sweep | top``: directions over strengths, and the channels in them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from styleclip.apps.banks import OWN, BankFile, directions_of, extent, ways_of
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
    open_studio,
)
from styleclip.apps.pipeline import measure_map
from styleclip.apps.starts import Request, find_start, read_picture, split_words
from styleclip.errors import ArgumentError
from styleclip.prompts import names_of

if TYPE_CHECKING:
    from PIL import Image

    from styleclip.editing.relevance import Relevance
    from styleclip.prompts import PromptPair
    from styleclip.studio import Studio

SWEEP_USAGE = "give a picture and a prompt, as in styleclip directions sweep me.png 'grey hair'"
ROWS = 50  # of a strip: some ten thousand pixels


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
        typer.Option(
            metavar="FILE", help="Also write each one's effect on a picture, a row each, as a PNG."
        ),
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

    if (prompt is None) == (channel is None):
        raise ArgumentError("give a prompt, as in 'a face with red hair', or --channel LAYER:N")
    if strip is not None:
        images.check_output(strip, force)
        if prompt is not None and count > ROWS:
            raise ArgumentError(f"a strip shows {ROWS} channels at most, got --count {count}")
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
        columns, rows, lines = _channels_of(studio, relevance, studio.prompt(prompt), count)
    else:
        assert channel is not None
        columns = [_measured_column(studio, relevance, channel)]
        rows = words_of(studio, relevance, columns[0])[:count]
        lines = [f"{row['R']:+.4f}  {row['text']}" for row in rows]
    result: dict[str, Any] = {"rows": rows}
    if strip is not None:
        images.save_image(strip, channel_strip(studio, relevance, columns, seed), overwrite=force)
        result["strip"] = str(strip)
        lines.append(f"wrote {strip}")
    answer(result, lines, as_json)


def _channels_of(
    studio: Studio, relevance: Relevance, prompt: PromptPair, count: int
) -> tuple[list[int], list[dict[str, Any]], list[str]]:
    """The columns that move most along a prompt; what is said of each, for --json and in lines."""
    from styleclip.editing.directions import prompt_direction

    for note in studio.prompt_warnings(prompt):
        complain(note, kind="warning")
    wanted = prompt_direction(studio.embedder, prompt)
    response = relevance.matrix @ wanted.to(relevance.matrix)
    columns = response.abs().topk(min(count, int((response != 0).sum()))).indices.tolist()
    rows: list[dict[str, Any]] = [
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
    return columns, rows, lines


def _measured_column(studio: Studio, relevance: Relevance, channel: str) -> int:
    """The column of "layer:channel". Raises ``ArgumentError`` if the bank has it not."""
    from styleclip.editing.relevance import measured_channels

    layout, measured = studio.generator.layout, measured_channels(relevance)
    column = layout.column(channel)
    if not bool(measured[column]):
        raise ArgumentError(
            f"{channel} was not measured: the bank has {extent(layout, measured)}; measure one "
            "that has it (styleclip directions measure)"
        )
    return column


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


def channel_strip(
    studio: Studio, relevance: Relevance, columns: list[int], seed: int
) -> Image.Image:
    """For each channel a row: the picture with it 5 deviations down, as it is, and 5 up."""
    import torch

    from styleclip import images

    rows = []
    with torch.no_grad():
        style = studio.generator.affine(studio.sample(seed))
        middle = studio.generator.synthesis(style)
        for column in columns:
            low, high = style.clone(), style.clone()
            low[:, column] = relevance.mean[column] - 5 * relevance.std[column]
            high[:, column] = relevance.mean[column] + 5 * relevance.std[column]
            down, up = (studio.generator.synthesis(each) for each in (low, high))
            name = channel_name(studio, column)
            captions = [f"{name} -5 sd", f"seed {seed}", f"{name} +5 sd"]
            rows.append(images.strip([down, middle, up], captions))
    return images.stacked(rows)
