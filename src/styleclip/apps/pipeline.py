"""What ``edit`` and ``apply`` share: a picture, edits of it, and the files that come of them.

  IMAGE or --seed -> Start (source, edits it has already) -> edits, found or read
                  -> a picture for each, or one of them all -> PNG with recipe, strip, GIF
Every edit is found from, and added to, the unedited latent of the source.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleclip.apps.console import OnStep, Stopwatch, answer, complain, progress
from styleclip.apps.outputs import Outputs, make_folder, plan_outputs, save_picture
from styleclip.errors import (
    ArgumentError,
    CheckpointError,
    ImageError,
    NonFiniteError,
    StyleclipError,
)
from styleclip.prompts import PromptPair

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.editing.edit import Edit
    from styleclip.recipe import Recipe, Source
    from styleclip.studio import How, Studio

SWEEP = 13  # pictures of a strength sweep, 0 included
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".avif")

# which edit, w_plus [1,L,D], progress; by the studio that draws the picture
Find = Callable[["Studio", int, "Tensor", OnStep], "Edit"]


@dataclass(frozen=True)
class Request:
    """What is edited (a ``file`` or a ``seed``), and what is made of it."""

    file: Path | None
    picture: Image.Image | None
    seed: int | None
    truncation: float
    refine: int | None
    reinvert: bool
    strength: float
    stack: bool
    no_recipe: bool
    as_json: bool
    tune: bool = False
    save_tuning: Path | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength):
            raise ArgumentError(f"--strength must be a number, got {self.strength}")

    @property
    def name(self) -> str:
        """What the names of its outputs begin with."""
        return f"seed-{self.seed}" if self.file is None else self.file.stem

    def groups(self, count: int) -> list[list[int]]:
        """Which of ``count`` edits make a picture together."""
        return [list(range(count))] if self.stack else [[i] for i in range(count)]


@dataclass(frozen=True)
class Start:
    """A source, the edits that its picture has already, and the picture if it was inverted.

    ``studio`` draws it: a tuned one, if that was asked for.
    """

    source: Source
    studio: Studio
    edits: tuple[tuple[Edit, float], ...] = ()
    original: Tensor | None = None


def split_words(
    words: Sequence[str], seed: int | None, usage: str
) -> tuple[Path | None, list[str]]:
    """The picture file (None with a seed), and the words that say what edits."""
    if seed is not None and words and words[0].lower().endswith(PICTURES):
        raise ArgumentError(
            f"give a picture or --seed, not both; got {words[0]!r} and --seed {seed}"
        )
    if len(words) < (2 if seed is None else 1):
        raise ArgumentError(f"{usage}; or --seed N in place of the picture; got {len(words)} words")
    return (Path(words[0]), list(words[1:])) if seed is None else (None, list(words))


def read_picture(file: Path | None) -> Image.Image | None:
    """The picture, if a file is edited. Raises ``ImageError``."""
    from styleclip import images

    return None if file is None else images.open_picture(file)


def plan(
    request: Request,
    prompts: Sequence[PromptPair],
    out: Path | None,
    force: bool,
    strip: bool,
    gif: bool,
    save_edit: Path | None = None,
) -> Outputs:
    """The files of a request, checked."""
    if save_edit is not None and len(prompts) > 1:
        raise ArgumentError(f"--save-edit writes one edit, so give one prompt; got {len(prompts)}")
    captions = captions_of(request, prompts)
    return plan_outputs(request.name, captions, out, force, strip, gif, save_edit)


def edit_with(
    studio: Studio,
    request: Request,
    prompts: Sequence[PromptPair],
    how: How,
    outputs: Outputs,
    watch: Stopwatch,
) -> None:
    """Say what the model will not understand, find every edit, write the pictures and answer."""
    notes = list(dict.fromkeys(note for each in prompts for note in studio.prompt_warnings(each)))
    for note in notes:
        complain(note, kind="warning")
    for each in prompts:
        studio.embedder.embed_texts([each.target, each.neutral])  # raises for one too long
    studio.generator  # noqa: B018  # loads it
    watch.lap("load")
    if how.needs_latent_map:
        measure_map(studio, watch)

    def find(studio: Studio, i: int, w_plus: Tensor, on_step: OnStep) -> Edit:
        from styleclip.studio import PromptWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PromptWarning)  # said above
            return studio.edit(w_plus, prompts[i], on_step=on_step, **vars(how))

    carry_out(studio, request, prompts, find, outputs, watch, notes)


def measure_map(studio: Studio, watch: Stopwatch | None = None) -> None:
    """Measure the latent map of a model that brings none, once: it stays in the model's folder."""
    if studio.has_latent_map:
        return
    watch = Stopwatch() if watch is None else watch
    name = studio.model.name
    with progress() as bar:
        studio.measure_latent_map(bar(f"measuring what CLIP sees in pictures of {name}"))
    watch.lap("measure")
    try:
        kept = f"it is kept in {studio.keep_latent_map()}"
    except CheckpointError as error:
        kept = f"it is measured every time, for {error}"
    complain(
        f"the model {name!r} brings no map from CLIP to its latents, so one was measured on its "
        f"own pictures ({watch.seconds['measure']:.0f} s); {kept}",
        kind="note",
    )


def captions_of(request: Request, prompts: Sequence[PromptPair]) -> list[str]:
    """What is written under each picture."""
    groups = request.groups(len(prompts))
    return [", ".join(prompts[i].target for i in group) for group in groups]


def carry_out(
    studio: Studio,
    request: Request,
    prompts: Sequence[PromptPair],
    find: Find,
    outputs: Outputs,
    watch: Stopwatch,
    notes: Sequence[str] = (),
    found_here: bool = True,
) -> None:
    """Find the start, then every edit, write the pictures and answer."""
    from styleclip import images

    results: list[dict[str, Any]] = []
    with progress() as bar:
        start = find_start(studio, request, bar, watch)
        studio = start.studio
        w_plus = studio.latents(start.source)
        before = studio.render(w_plus, start.edits)
        after = []
        for picture, group in enumerate(request.groups(len(prompts))):
            edits: list[Edit] = []
            failure: NonFiniteError | None = None
            try:
                for i in group:
                    on_step = bar(_titled("editing", i, len(prompts)))
                    edits.append(find(studio, i, w_plus, on_step))
            except NonFiniteError as error:
                if error.best is None:
                    raise
                failure = error
                edits.append(error.best)  # type: ignore[arg-type]  # optimize says it is one
            watch.lap("edit")
            after.append(
                _write_picture(studio, request, start, w_plus, edits, outputs, picture, found_here)
            )
            if failure is not None:
                path = outputs.pictures[picture]
                raise StyleclipError(f"{failure}; the best edit so far is in {path}") from failure
            results += [_described(each, request, outputs, picture) for each in edits]
            watch.lap("write")
    if outputs.strip is not None:
        page = _strip(start, before, after, captions_of(request, prompts))
        images.save_image(outputs.strip, page, overwrite=outputs.force)
        watch.lap("write")
    result: dict[str, Any] = {
        "model": studio.model.name,
        "seed": request.seed,
        "edits": results,
        "warnings": list(notes),
        "seconds": watch.seconds,
    }
    if outputs.strip is not None:
        result["strip"] = str(outputs.strip)
    answer(result, [*(f"wrote {path}" for path in outputs), f"seconds: {watch}"], request.as_json)


def find_start(
    studio: Studio, request: Request, bar: Callable[[str], OnStep], watch: Stopwatch
) -> Start:
    """A seed, the recipe that the file carries if it tells the truth, or the inverted picture."""
    from styleclip.recipe import Source

    if request.file is None or request.picture is None:
        return Start(Source(seed=request.seed, truncation=request.truncation), studio)
    if not request.reinvert:
        recipe = _recipe_of(studio, request.file, request.picture)
        if recipe is not None:
            if request.save_tuning is not None:
                raise ArgumentError(
                    f"the model draws {request.file} exactly, so there is nothing to save: leave "
                    "--save-tuning out, or add --reinvert"
                )
            if request.tune:
                complain("the model draws this picture exactly: nothing is tuned", kind="note")
            return Start(recipe.source, studio, recipe.edits)
    source, original, studio = invert_picture(
        studio, request.picture, request.refine, request.tune, request.save_tuning, bar, watch
    )
    return Start(source, studio, original=original)


def invert_picture(
    studio: Studio,
    picture: Image.Image,
    refine: int | None,
    tune: bool,
    save_tuning: Path | None,
    bar: Callable[[str], OnStep],
    watch: Stopwatch,
) -> tuple[Source, Tensor, Studio]:
    """Where the model finds a picture, its square, and the studio that draws it there."""
    from styleclip.recipe import Source

    original = studio.square(picture)
    if studio.tuning is not None and studio.pivot(original) is None:
        complain("the tuning was made for another picture: this one is inverted", kind="note")
    start = "the mean latent: no encoder" if studio.encoder is None else "the encoder's latent"
    watch.lap("load")
    w_plus = studio.open(original, refine, bar(f"inverting from {start}"))
    watch.lap("invert")
    if tune:
        tuning = studio.tune(original, w_plus, on_step=bar("tuning"))
        if save_tuning is not None:
            studio.save_tuning(save_tuning, tuning)
        else:
            complain("without --save-tuning FILE this picture cannot be replayed", kind="note")
        studio = studio.tuned(tuning)
        watch.lap("tune")
    return Source(w_plus=w_plus), original, studio


def _recipe_of(studio: Studio, file: Path, picture: Image.Image) -> Recipe | None:
    """The recipe in ``file``, if it makes ``picture`` here; says on stderr what it did with it."""
    from styleclip import images
    from styleclip.recipe import Recipe

    try:
        values = images.read_recipe(file)
    except ImageError:  # a photograph
        return None
    try:
        recipe = Recipe.from_json(values)
        doubt = studio.recalls(recipe, picture)
    except (ImageError, ArgumentError) as error:  # a recipe is a stranger's text
        doubt = str(error)
    if doubt:
        complain(f"{file} is inverted although it carries a recipe: {doubt}", kind="note")
        return None
    kept = f" and its {len(recipe.edits)} edits stay" if len(recipe.edits) > 1 else ""
    kept = " and its edit stays" if len(recipe.edits) == 1 else kept
    complain(
        f"{file} carries its recipe: its own latent is used{kept} (--reinvert inverts the picture)",
        kind="note",
    )
    return recipe


def _write_picture(
    studio: Studio,
    request: Request,
    start: Start,
    w_plus: Tensor,
    edits: Sequence[Edit],
    outputs: Outputs,
    picture: int,
    found_here: bool,
) -> Tensor:
    """The picture of ``edits`` on top of the start's, its sweep and its edit in their files."""
    from styleclip import images

    def at(strength: float) -> list[tuple[Edit, float]]:
        return [*start.edits, *((each, strength) for each in edits)]

    path = outputs.pictures[picture]
    image = studio.render(w_plus, at(request.strength))
    make_folder(path.parent)
    save_picture(
        path, image, studio, start.source, at(request.strength), request.no_recipe,
        outputs.force, found_here,
    )  # fmt: skip
    if outputs.gifs:
        levels = [request.strength * i / (SWEEP - 1) for i in range(SWEEP)]
        frames = [studio.render(w_plus, at(level)) for level in levels]
        images.save_gif(outputs.gifs[picture], frames, overwrite=outputs.force)
    if outputs.edit is not None:
        studio.save_edit(outputs.edit, edits[0])
    return image


def _strip(
    start: Start, before: Tensor, after: Sequence[Tensor], captions: Sequence[str]
) -> Image.Image:
    from styleclip import images

    if start.original is None:
        return images.strip([before, *after], ["before", *captions])
    first = ["the picture", "as the model sees it"]
    return images.strip([start.original, before, *after], [*first, *captions])


def _described(edit: Edit, request: Request, outputs: Outputs, picture: int) -> dict[str, Any]:
    files = {"out": outputs.pictures[picture]}
    if outputs.gifs:
        files["gif"] = outputs.gifs[picture]
    if outputs.edit is not None:
        files["saved"] = outputs.edit
    return {
        "target": edit.prompt.target,
        "neutral": edit.prompt.neutral,
        "strength": request.strength,
        "method": edit.method,
        "config": dict(edit.config),
        **{kind: str(path) for kind, path in files.items()},
    }


def _titled(title: str, i: int, count: int) -> str:
    return title if count == 1 else f"{title} {i + 1} of {count}"
