"""``styleclip mapper train | apply``: mappers for one prompt or for many, and what they do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from styleclip.apps.console import OnStep, Stopwatch, answer, complain, progress
from styleclip.apps.options import (
    AutoStrength,
    Device,
    Force,
    Gif,
    Heat,
    IdentityBy,
    IdentityFloor,
    Json,
    ModelName,
    Mp4,
    NoRecipe,
    OutOrFolder,
    Refine,
    Reinvert,
    SaveEdit,
    Seed,
    SeedInsteadOfFile,
    Stack,
    Strength,
    StripFlag,
    Truncation,
    open_studio,
    strength_config,
)
from styleclip.apps.outputs import Extras, check_edit_file, make_folder
from styleclip.apps.pipeline import edit_with, measure_map, plan
from styleclip.apps.starts import PICTURES, Request, read_picture, split_words
from styleclip.errors import ArgumentError, MissingExtraError
from styleclip.evaluation.prompts import read_prompt_list

if TYPE_CHECKING:
    from threading import Event

    from torch import Tensor

    from styleclip.editing.mapper_training import TrainingConfig, TrainingState
    from styleclip.prompts import PromptPair
    from styleclip.studio import Studio

APPLY_USAGE = "give a picture and a mapper, as in styleclip mapper apply me.png mapper.safetensors"

app = typer.Typer(
    help="Latent mappers: train one for a prompt, or one that reads prompts; apply them.",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def train(
    out: Annotated[Path, typer.Argument(metavar="MAPPER", help="The .safetensors file to write.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT ...]",
            show_default=False,
            help="What it learns: 'neutral -> target', or targets alone.",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text file of prompts to learn, one in a line."),
    ] = None,
    preset: Annotated[
        Literal["default", "paper"], typer.Option(help="Ours, or the official training.")
    ] = "default",
    network: Annotated[
        Literal["text", "levels", "single", "style"] | None,
        typer.Option(
            help="text: one network for any prompts, ours. The paper's, for one prompt: levels "
            "(the paper preset's own), single, or style (in S).",
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Of a network of levels: coarse,medium,fine; leave fine out where colours should "
            "stay.",
        ),
    ] = None,
    loss: Annotated[
        Literal["reach", "directional", "target"] | None, typer.Option(help="What CLIP asks for.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=10_000_000, metavar="N")] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=4096, metavar="N")] = None,
    rate: Annotated[float | None, typer.Option(min=1e-9, max=100)] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Learn from these pictures, inverted, not samples."),
    ] = None,
    latents_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Learn from these latents in W+: an official latents.pt or w_plus.npy.",
        ),
    ] = None,
    latents: Annotated[
        int | None,
        typer.Option(min=2, max=1_000_000, metavar="N", help="Samples to learn from; 1000."),
    ] = None,
    truncation: Annotated[
        float | None, typer.Option(min=0, max=2, help="Variety of the samples (psi); 1.")
    ] = None,
    identity: IdentityBy = None,
    seed: Seed = 0,
    save_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How much a kill may lose.")
    ] = 30.0,
    sheets: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write before and after of four pictures now and then."
        ),
    ] = None,
    sheet_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps between sheets.")
    ] = 100,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Log for TensorBoard, if installed.")
    ] = None,
    model: ModelName = "portraits",
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a mapper; stopped or killed, the same command goes on and ends in the same file."""
    from styleclip.checkpoints import load_latents, load_training, tensors_hash
    from styleclip.editing.mapper_training import check_training, train_mapper
    from styleclip.portraits.training import finish_the_step

    watch = Stopwatch()
    check_edit_file(out, force)
    asked = [*(texts or []), *(() if prompts is None else read_prompt_list(prompts))]
    if not asked:
        raise ArgumentError("give a prompt to learn, as in 'a face with red hair', or --prompts")
    if pictures is not None and latents_file is not None:
        raise ArgumentError("give --pictures or --latents-file to learn from, not both")
    given = "--pictures" if pictures is not None else "--latents-file"
    if (pictures or latents_file) and (latents is not None or truncation is not None):
        raise ArgumentError(f"--latents and --truncation are of samples: leave them, or {given}")

    def configured(prompts: int) -> TrainingConfig:
        config = _config(preset, network, levels, prompts, loss=loss, steps=steps, batch=batch,
                         rate=rate, seed=seed)  # fmt: skip
        return replace(config, identity_weight=0.0) if identity == "none" else config

    configured(len(asked))  # raises for what cannot be wanted together
    files = None if pictures is None else files_of(pictures)
    ready = None if latents_file is None else load_latents(latents_file)
    studio = open_studio(model, device, identity)
    pairs = list(dict.fromkeys(studio.prompt(text) for text in asked))
    if len(pairs) < len(asked):
        distinct = "1 is" if len(pairs) == 1 else f"{len(pairs)} are"
        complain(f"of the {len(asked)} prompts some are the same: {distinct} learned", kind="note")
    config = configured(len(pairs))
    for note in dict.fromkeys(note for each in pairs for note in studio.prompt_warnings(each)):
        complain(note, kind="warning")
    judge = studio.identity if config.identity_weight else None
    check_training(studio.generator, pairs, config, judge)
    if ready is not None:
        ready = _fitting(studio, ready, latents_file)
    studio.embedder.embed_texts([text for each in pairs for text in (each.target, each.neutral)])
    latent_map = None
    if config.needs_latent_map:
        measure_map(studio)
        latent_map = studio.latent_map
    partial, inverted = (out.with_name(out.name + end) for end in (".partial", ".inversions"))
    watch.lap("load")

    with progress() as bar:
        source: dict[str, Any]
        if ready is not None:
            source, learned = {"given": len(ready)}, ready
        elif files is None:
            source = {"samples": latents or 1000, "psi": 1.0 if truncation is None else truncation}
            learned = studio.samples(source["samples"], seed, source["psi"])
        else:
            source = {"pictures": len(files)}
            learned = _inverted(studio, files, inverted, save_every, bar("inverting"))
        watch.lap("latents")
        settings = {
            **studio.hashes("generator", "clip"), **vars(config), **source,
            "prompts": [str(each) for each in pairs], "learned": tensors_hash({"": learned}),
            "latent map": latent_map and tensors_hash(vars(latent_map)),
            "identity": judge and tensors_hash(judge.state_dict()),
        }  # fmt: skip
        state = load_training(partial, settings)
        diary = _Diary(partial, settings, save_every, state)
        if sheets is not None:
            diary.sheets = _Sheets(sheets, sheet_every, studio, learned, pairs, config)
            diary.sheets.check(force or state is not None)
        with finish_the_step() as stopped, tensorboard_log(tensorboard, state) as log:
            diary.stopped, diary.log = stopped, log
            mapper = train_mapper(
                studio.generator, studio.embedder, learned, pairs, config, latent_map, judge,
                diary.shown(bar("training")), state, diary.keep,
            )  # fmt: skip
    trained = 0 if diary.state is None else diary.state.step
    studio.save_mapper(out, mapper, pairs, {**vars(config), **source, "trained": trained})
    for unfinished in (partial, inverted):
        unfinished.unlink(missing_ok=True)
    watch.lap("train")
    lines = [f"trained {trained} steps for {len(pairs)} prompts", f"wrote {out}"]
    result = {"out": str(out), "prompts": len(pairs), "steps": trained, "seconds": watch.seconds}
    answer(result, [*lines, f"seconds: {watch}"], as_json)


@app.command(name="apply")
def apply_mapper(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE] MAPPER [PROMPT ...]",
            show_default=False,
            help="A picture file (none with --seed), a mapper of 'train' or of the official code, "
            "and what to change, if the mapper knows more than one thing.",
        ),
    ] = None,
    strength: Strength = None,
    seed: SeedInsteadOfFile = None,
    truncation: Truncation = 0.7,
    out: OutOrFolder = None,
    stack: Stack = False,
    auto_strength: AutoStrength = False,
    identity_floor: IdentityFloor = None,
    identity: IdentityBy = None,
    refine: Refine = None,
    reinvert: Reinvert = False,
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
    """Edit a picture with a mapper, in one pass."""
    from styleclip.methods import How

    watch = Stopwatch()
    file, (mapper_file, *texts) = split_words(words or [], seed, APPLY_USAGE)
    request = Request(
        file, read_picture(file), seed, truncation, refine, reinvert, strength, stack, no_recipe,
        as_json,
    )  # fmt: skip
    fit = strength_config(auto_strength, identity_floor, already=False)
    studio = open_studio(model, device, identity)
    mapper = studio.load_mapper(mapper_file)
    prompts = [studio.prompt(text) for text in texts] or [mapper.own_prompt]
    extras = Extras(strip, gif, mp4, heat, save_edit)
    outputs = plan(request, prompts, out, force, extras)
    edit_with(studio, request, prompts, How(mapper, fit=fit), outputs, watch)


class _Diary:
    """What a training writes while it goes: its state every few seconds, sheets, a log."""

    def __init__(
        self, path: Path, settings: Mapping[str, Any], every: float, state: TrainingState | None
    ) -> None:
        self.path, self.settings, self.every, self.state = path, settings, every, state
        self.sheets: _Sheets | None = None
        self.stopped: Event | None = None
        self.log: Any = None
        self._saved = time.monotonic()

    def keep(self, state: TrainingState) -> None:
        """Called after every step. Raises KeyboardInterrupt, all saved, when asked to stop."""
        self.state = state
        stop = self.stopped is not None and self.stopped.is_set()
        if stop or time.monotonic() - self._saved >= self.every:
            from styleclip.checkpoints import save_training

            save_training(self.path, state, self.settings)
            self._saved = time.monotonic()
        if stop:
            raise KeyboardInterrupt
        if self.sheets is not None and state.step % self.sheets.every == 0:
            self.sheets.write(state)

    def shown(self, bar: OnStep) -> OnStep:
        """The bar, and the log if there is one."""

        def on_step(step: int, steps: int, figures: Mapping[str, float]) -> None:
            bar(step, steps, figures)
            if self.log is not None:
                for name, value in figures.items():
                    self.log.add_scalar(name, value, step)

        return on_step


class _Sheets:
    """Pictures of a training: four of its latents, before and after."""

    def __init__(
        self, folder: Path, every: int, studio: Studio, latents: Tensor,
        prompts: Sequence[PromptPair], config: TrainingConfig,
    ) -> None:  # fmt: skip
        self.folder, self.every = folder, every
        self.studio, self.latents, self.prompts, self.config = studio, latents, prompts, config

    def check(self, may_replace: bool) -> None:
        """Raise ``ArgumentError`` if a sheet of this training would replace a picture."""
        make_folder(self.folder)
        there = [path.name for path in self.folder.glob("[0-9]" * 6 + ".png")]
        if there and not may_replace:
            raise ArgumentError(
                f"{self.folder} has {there[0]} already: name another folder for the sheets, or add "
                "--force"
            )

    def write(self, state: TrainingState) -> None:
        from styleclip import images
        from styleclip.checkpoints import SavedMapper
        from styleclip.editing.mapper_training import new_mapper

        studio = self.studio
        mapper = new_mapper(
            studio.generator, self.latents, studio.embedder, self.config,
            studio.latent_map if self.config.needs_latent_map else None,
        )  # fmt: skip
        mapper.load_state_dict(state.average)
        four = self.latents[-4:]
        pictures, captions = [*studio.render(four)[:, None]], ["before"] * len(four)
        for prompt in self.prompts[:4]:
            saved = SavedMapper(mapper, (prompt,))
            edit = saved.edit(studio.generator, studio.embedder, four, prompt)
            pictures += [*studio.render(four, edit)[:, None]]
            captions += [prompt.target] * len(four)
        page = images.strip(pictures, captions)
        images.save_image(self.folder / f"{state.step:06d}.png", page, overwrite=True)


def files_of(folder: Path) -> list[Path]:
    """The pictures in a folder, by name. Raises ``ArgumentError`` if there are fewer than two."""
    if not folder.is_dir():
        raise ArgumentError(f"there is no folder {folder}: check the path")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if len(found) < 2:
        raise ArgumentError(f"{folder} has {len(found)} pictures: a mapper needs at least 2")
    return found


@contextmanager
def tensorboard_log(folder: Path | None, state: TrainingState | None) -> Iterator[Any]:
    """A writer of TensorBoard's files, that goes on after ``state``; None without a folder."""
    if folder is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "--tensorboard needs the package tensorboard: pip install 'styleclip[tensorboard]'"
        ) from error
    make_folder(folder)
    writer = SummaryWriter(str(folder), purge_step=None if state is None else state.step + 1)
    try:
        yield writer
    finally:
        writer.close()


def _fitting(studio: Studio, latents: Tensor, file: Path | None) -> Tensor:
    """The w_plus [N,L,D] of a file, on the device. Raises ``ArgumentError`` unless they fit."""
    generator = studio.generator
    if len(latents) < 2:
        raise ArgumentError(f"{file} has the latents of one picture: a mapper needs at least 2")
    if latents.shape[1:] != (generator.rows, generator.config.w_dim):
        raise ArgumentError(
            f"{file} has latents of shape {list(latents.shape[1:])}, this generator's are "
            f"[{generator.rows}, {generator.config.w_dim}]: they belong to another generator"
        )
    return latents.to(studio.device)


def _inverted(
    studio: Studio, files: Sequence[Path], kept: Path, save_every: float, bar: OnStep
) -> Tensor:
    """The w_plus [N,L,D] of pictures; all are read before the first is inverted.

    ``kept`` holds those of a command that was stopped, by what is in the files; new ones join them
    every so many seconds.
    """
    import torch

    from styleclip.checkpoints import file_hash, load_unfinished, save_unfinished

    squares = [studio.square(path) for path in files]
    names = [file_hash(path) for path in files]
    made_by = studio.hashes("generator", *(("encoder",) if studio.encoder else ()))
    found = load_unfinished(kept, "inversions", made_by)
    saved = time.monotonic()
    for done, (name, picture) in enumerate(zip(names, squares, strict=True), start=1):
        if name not in found:
            found[name] = studio.open(picture).cpu()
            if time.monotonic() - saved >= save_every:
                save_unfinished(kept, "inversions", found, made_by)
                saved = time.monotonic()
        bar(done, len(files), {})
    save_unfinished(kept, "inversions", found, made_by)
    return torch.cat([found[name] for name in names]).to(studio.device)


def _config(
    preset: Literal["default", "paper"],
    network: Literal["text", "levels", "single", "style"] | None,
    levels: str | None,
    prompts: int,
    **options: Any,
) -> TrainingConfig:
    from styleclip.editing.mapper_training import TrainingConfig

    if levels is not None and network not in (None, "levels"):
        raise ArgumentError(f"a mapper of kind {network} has no levels: leave --levels out")
    given = {name: value for name, value in options.items() if value is not None}
    if levels is not None:
        given["levels"] = tuple(name.strip() for name in levels.split(",") if name.strip())
    if preset == "paper":
        if network == "text":
            raise ArgumentError("the paper has no mapper of kind text: leave --network out")
        return replace(TrainingConfig.paper(network or "levels"), **given)
    network = network or ("text" if levels is None else "levels")
    return replace(TrainingConfig.of(network, prompts), **given)
