"""``styleclip portraits render | train | evaluate``: the embedded world and its recipes.

render draws portraits whose attributes are known; train runs the recipes behind the weights;
evaluate scores edits by a reader of attributes that editing never sees.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from styleclip.apps.console import Stopwatch, answer, pick_device, progress
from styleclip.apps.outputs import make_folder
from styleclip.errors import ArgumentError

app = typer.Typer(
    help="The drawn portraits: pictures with known attributes, and the networks trained on them.",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command()
def render(
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            metavar="N",
            help="The first; one the networks never saw if absent.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many, seed by seed.")] = 1,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Pixels each way.")] = 128,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write; with --count a folder.")
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write where eyes and mouth are, as JSON; for one portrait."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: Json = False,
) -> None:
    """Draw portraits, and say what they show."""
    from PIL import Image

    from styleclip import images
    from styleclip.portraits.attributes import ATTRIBUTES
    from styleclip.portraits.renderer import landmarks as landmarks_of
    from styleclip.portraits.renderer import render as draw
    from styleclip.portraits.training import EVALUATION_SEED, portrait_of_seed

    first = EVALUATION_SEED if seed is None else seed
    names = {each: Path(f"portrait-{each}.png") for each in range(first, first + count)}
    if out is not None:
        names = {first: out} if count == 1 else {s: out / n.name for s, n in names.items()}
    if landmarks is not None and count > 1:
        raise ArgumentError("--landmarks writes the points of one portrait: leave --count out")
    if out is not None and count > 1:
        make_folder(out)
    for path in names.values():
        images.check_output(path, force)
    if landmarks is not None:
        images.check_output(landmarks, force, ".json")
    truths: list[dict[str, Any]] = []
    lines: list[str] = []
    with progress() as bar:
        on_step = bar("drawing")
        for done, (each, path) in enumerate(names.items(), start=1):
            portrait = portrait_of_seed(each)
            images.save_image(path, Image.fromarray(draw(portrait, size)), overwrite=force)
            truth = {a.name: portrait.value(a.name) for a in ATTRIBUTES}
            truths.append({"out": str(path), "seed": each, "attributes": truth})
            shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in truth.items())
            lines.append(f"wrote {path}: {shown}")
            on_step(done, count, {})
            if landmarks is not None:
                faces = {"faces": [landmarks_of(portrait, size).to_json()]}
                content = (json.dumps(faces, indent=1) + "\n").encode("utf-8")
                images.save_bytes(landmarks, content, overwrite=force)
                truths[-1]["landmarks"] = str(landmarks)
                lines.append(f"wrote {landmarks}")
    answer({"portraits": truths}, lines, as_json)


@app.command()
def train(
    stage: Annotated[
        str,
        typer.Argument(
            help="reconstruction, sharpening, mapping, encoder, clip, identity, reader, or all."
        ),
    ],
    folder: Annotated[
        Path, typer.Option(help="Where the work is kept; a stopped stage goes on from there.")
    ] = Path("runs/portraits"),
    out: Annotated[
        Path | None, typer.Option(help="Write the model folder here when everything is trained.")
    ] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="With --out: train no more, take what there is.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a model folder.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Json = False,
) -> None:
    """Train the networks of the portraits world; Ctrl-C stops, the same command goes on."""
    watch = Stopwatch()
    where = pick_device(device)
    recipes = _recipes()
    known = (*recipes.STAGES, "all")
    if stage not in known:
        raise ArgumentError(f"there is no stage {stage!r}: choose one of {', '.join(known)}")
    if as_is and out is None:
        raise ArgumentError("--as-is says what to write to --out: name a folder there")
    if out is not None:
        recipes.check_target(out, force)
    make_folder(folder)
    with progress() as bar:
        if not as_is:
            recipes.train(stage, folder, bar, where)
        if out is not None:
            recipes.export(folder, out, bar, finish=not as_is, force=force, device=where)
    watch.lap("train")
    result = {"stage": stage, "folder": str(folder), "out": None if out is None else str(out)}
    lines = [f"trained {stage} in {folder}", *([] if out is None else [f"wrote {out}"])]
    answer({**result, "seconds": watch.seconds}, [*lines, f"seconds: {watch}"], as_json)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="A built-in model, or a model folder.")] = "portraits",
    count: Annotated[int, typer.Option(min=2, max=100_000, help="Pictures.")] = 200,
    methods: Annotated[
        str, typer.Option(help="Which rows, separated by commas; all if absent.")
    ] = "",
    prompts: Annotated[
        list[Path] | None,
        typer.Option(help="A file of prompts instead of the committed ones; repeatable."),
    ] = None,
    networks: Annotated[
        bool, typer.Option("--networks/--no-networks", help="Judge the networks as well.")
    ] = True,
    full: Annotated[bool, typer.Option("--full", help="Shorten no row; takes hours.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Which picture gets which prompt.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Keeps what is done, the tables and the HTML report.")
    ] = Path("runs/evaluation"),
    force: Annotated[
        bool, typer.Option("--force", help="Forget another evaluation in that folder.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Json = False,
) -> None:
    """Judge edits: does the wanted attribute appear, and do the others stay?"""
    where = pick_device(device)
    evaluation = _evaluation()
    chosen: dict[str, Any] = {}
    if methods:
        chosen["methods"] = tuple(each.strip() for each in methods.split(","))
    if prompts:
        chosen["prompts"] = tuple(prompts)
    question = evaluation.Question(
        model=model, count=count, networks=networks, full=full, seed=seed, **chosen
    )
    make_folder(out)
    with progress() as bar:
        result = evaluation.evaluate(question, out, bar, where, force)
    lines = [*(out / "result.md").read_text(encoding="utf-8").splitlines(),
             f"wrote {out / 'report.html'}"]  # fmt: skip
    answer(result, lines, as_json)


def _recipes() -> Any:
    """``STAGES``, ``train(stage, folder, bar, device)``, ``export(folder, target, bar, ...)``."""
    return import_module("styleclip.portraits.recipes")


def _evaluation() -> Any:
    """``Question``, ``evaluate(question, folder, bar, device, force) -> JSON``."""
    return import_module("styleclip.portraits.evaluate")
