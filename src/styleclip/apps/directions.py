"""``styleclip directions measure | find``: banks, and directions by them; what is to look at is in
`channels`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from styleclip.apps.banks import BankFile, directions_of, extent
from styleclip.apps.channels import sweep, top
from styleclip.apps.console import Stopwatch, answer, progress
from styleclip.apps.options import (
    Device,
    Force,
    Json,
    ModelName,
    Preserve,
    Rgb,
    Seed,
    Truncation,
    bytes_of,
    open_studio,
)
from styleclip.apps.outputs import check_edit_file
from styleclip.errors import ArgumentError
from styleclip.prompts import names_of

if TYPE_CHECKING:
    from styleclip.editing.scan import Scan

app = typer.Typer(
    help="Global directions: measure what style channels do, find directions, look at them.",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Method = Literal["exact", "gradient", "samples"]


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
            "--full",
            help="exact, gradient: render at full size, and measure the layers beyond what CLIP "
            "needs too.",
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
        int | None,
        typer.Option(min=1, max=100_000, show_default="64", help="Pictures rendered at once."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Instead: as many as fit into so much memory, about, beside the networks; 2GB.",
        ),
    ] = None,
    seed: Seed = 5,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure what every style channel of a model does; stopped, the same command goes on.

    Left out are toRGB layers, and layers of more pixels than CLIP needs: --rgb and --full measure
    them too. By samples all channels are measured.
    """
    from styleclip.checkpoints import load_scan
    from styleclip.editing.relevance import (
        RelevanceConfig,
        batch_within,
        measure_relevance,
        measured_channels,
    )
    from styleclip.portraits.training import finish_the_step

    watch = Stopwatch()
    check_edit_file(out, force)
    _check_measure(
        method,
        {"--sigma": sigma, "--cosine": cosine},
        {"--images": images, "--full": full or None, "--rgb": rgb or None},
    )
    if batch is not None and memory is not None:
        raise ArgumentError("--batch and --memory are two bounds of the same: give one of them")
    budget = None if memory is None else bytes_of(memory, "--memory")
    config = RelevanceConfig(method=method, seed=seed, truncation=truncation, cutoff=cutoff,
                             resolution="full" if full else "enough", rgb=rgb)  # fmt: skip
    if images is not None:
        config = replace(config, images=images, group=max(2, min(config.group, images // 10)))
    if sigma is not None:
        config = replace(config, sigma=sigma)
    if cosine is not None:
        config = replace(config, cosine=None if cosine == 1 else cosine)
    if batch is not None:
        config = replace(config, batch=batch)
    studio = open_studio(model, device)
    generator, embedder = studio.generator, studio.embedder
    if budget is not None:
        config = replace(config, batch=batch_within(budget, generator, embedder, config))
    settings = {**studio.hashes("generator", "clip"), **vars(config)}
    settings.pop("batch")  # changes no number that matters
    partial = out.with_name(out.name + ".partial")
    watch.lap("load")

    with progress() as bar, finish_the_step() as stopped:
        found = measure_relevance(
            generator, embedder, config, bar("measuring"), load_scan(partial, settings),
            _keeper(partial, settings, stopped),
        )  # fmt: skip
    measured_with = {name: value for name, value in found.config.items() if name != "batch"}
    studio.save_bank(out, replace(found, config=measured_with))
    partial.unlink(missing_ok=True)
    watch.lap("measure")
    measured = measured_channels(found)
    taken = found.images[found.images > 0].double()
    average = float(taken.mean()) if len(taken) else 0.0
    lines = [f"measured {extent(generator.layout, measured)}"]
    if average:
        lines.append(f"{average:.1f} pictures a channel")
    result = {"out": str(out), "channels": int(measured.sum()), "of": len(measured),
              "images": average, "batch": config.batch, "seconds": watch.seconds}  # fmt: skip
    answer(result, [*lines, f"wrote {out}", f"seconds: {watch}"], as_json)


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


app.command()(sweep)
app.command()(top)


def _keeper(
    partial: Path, settings: Mapping[str, Any], stopped: threading.Event
) -> Callable[[Scan], None]:
    """Keeps a scan now and then, and at once when it is asked to stop: then it raises."""
    from styleclip.checkpoints import save_scan
    from styleclip.checkpoints.banks import scan_keeper

    now_and_then = scan_keeper(partial, settings)

    def keep(scan: Scan) -> None:
        if stopped.is_set():
            save_scan(partial, scan, settings)
            raise KeyboardInterrupt
        now_and_then(scan)

    return keep


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
