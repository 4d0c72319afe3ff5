"""What ``edit`` and ``apply`` share: a picture, edits of it, and the files that come of them.

  IMAGE or --seed -> Start (source, edits it has already) -> edits, found or read
                  -> a picture for each, or one of them all -> PNG with recipe, strip, GIF
Every edit is found from, and added to, the unedited latent of the source. A photograph has a start
for each face that is edited, and the whole of it is written.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleclip.apps.console import OnStep, Stopwatch, answer, complain, progress
from styleclip.apps.outputs import Extras, Outputs, make_folder, plan_outputs, save_picture
from styleclip.apps.photos import Photo, PhotoWish, open_photo
from styleclip.checkpoints.registry import LATENT_MAP
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
PREVIEW = 768  # pixels each way that a whole photo has at most in a strip or a GIF
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".avif")

# which edit, w_plus [1,L,D], progress; by the studio that draws the picture
Find = Callable[["Studio", int, "Tensor", OnStep], "Edit"]


@dataclass(frozen=True)
class Request:
    """What is edited (a ``file`` or a ``seed``), and what is made of it.

    ``strengths``: one of all edits, or one of each; None is 1.
    """

    file: Path | None
    picture: Image.Image | None
    seed: int | None
    truncation: float
    refine: int | None
    reinvert: bool
    strengths: Sequence[float] | None
    stack: bool
    no_recipe: bool
    as_json: bool
    wish: PhotoWish | None = None
    tune: bool = False
    save_tuning: Path | None = None
    photo: Photo | None = None

    def __post_init__(self) -> None:
        for strength in self.strengths or ():
            if not math.isfinite(strength):
                raise ArgumentError(f"--strength must be a number, got {strength}")
        if self.wish is not None and self.file is None:
            raise ArgumentError("a photograph is a file: give a picture in place of --seed")

    def opened(self, studio: Studio) -> Request:
        """With the faces of the photograph, if it is one, found and aligned."""
        if self.wish is None or self.picture is None:
            return self
        return replace(self, photo=open_photo(studio, self.picture, self.wish))

    @property
    def name(self) -> str:
        """What the names of its outputs begin with."""
        return f"seed-{self.seed}" if self.file is None else self.file.stem

    def strengths_of(self, count: int) -> list[float]:
        """Of ``count`` edits, one each. Raises ``ArgumentError`` for any other number of them."""
        given = list(self.strengths or (1.0,))
        if len(given) not in (1, count):
            edits = "1 edit" if count == 1 else f"{count} edits"
            raise ArgumentError(
                f"--strength is there {len(given)} times for {edits}: give it once for all, or "
                "once for each"
            )
        return given * count if len(given) == 1 else given

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


@dataclass(frozen=True)
class Square:
    """A picture that the model edits: the whole of it, or a face of a photo."""

    start: Start
    w_plus: Tensor  # [1,L,D]
    before: Tensor  # [1,3,R,R]

    def edited(
        self, edits: Sequence[Edit], strengths: Sequence[float], level: float = 1.0
    ) -> list[tuple[Edit, float]]:
        """All edits with their strengths, the new ones at a ``level`` of theirs.

        A search that failed left fewer edits than strengths.
        """
        new = zip(edits, strengths, strict=False)
        return [*self.start.edits, *((each, level * strength) for each, strength in new)]


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
    extras: Extras,
) -> Outputs:
    """The files of a request, checked; so are its strengths."""
    request.strengths_of(len(prompts))
    save_edit = extras.edit
    if save_edit is not None and len(prompts) > 1:
        raise ArgumentError(f"--save-edit writes one edit, so give one prompt; got {len(prompts)}")
    if save_edit is not None and request.photo is not None and len(request.photo.squares) > 1:
        raise ArgumentError("--save-edit writes the edit of one face: choose it with --face N")
    if request.save_tuning is not None and request.photo and len(request.photo.squares) > 1:
        raise ArgumentError("--save-tuning writes the tuning of one face: choose it with --face N")
    captions = captions_of(request, prompts)
    return plan_outputs(request.name, captions, out, force, extras)


def edit_with(
    studio: Studio,
    request: Request,
    prompts: Sequence[PromptPair],
    how: How,
    outputs: Outputs,
    watch: Stopwatch,
) -> None:
    """Say what the model will not understand, find every edit, write the pictures and answer."""
    found = [note for each in prompts for note in studio.prompt_warnings(each)]
    notes = list(dict.fromkeys([*found, *studio.preserve_warnings(how.preserve)]))
    for note in notes:
        complain(note, kind="warning")
    for each in prompts:
        studio.embedder.embed_texts([each.target, each.neutral])  # raises for one too long
    studio.generator  # noqa: B018  # loads it
    watch.lap("load")
    if how.needs_latent_map:
        measure_map(studio, watch)
    if how.needs_quick_map:
        with progress() as bar:
            studio.measure_quick_map(bar("a quick look at what CLIP sees"))
        watch.lap("measure")

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
    folder = studio.model.folder
    unfinished = folder / f"{LATENT_MAP}.partial" if os.access(folder, os.W_OK) else None
    with progress() as bar:
        title = f"measuring what CLIP sees in pictures of {name}"
        studio.measure_latent_map(bar(title), unfinished)
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
    strengths = request.strengths_of(len(prompts))
    with progress() as bar:
        starts = find_starts(studio, request, bar, watch)
        squares = [_square(start) for start in starts]
        after: list[list[Tensor]] = []  # by picture, then by square
        for picture, group in enumerate(request.groups(len(prompts))):
            edits, failure = _found(find, squares, group, len(prompts), bar)
            watch.lap("edit")
            chosen = [strengths[i] for i in group]
            after.append(
                _write_picture(request, squares, edits, chosen, outputs, picture, found_here)
            )
            if failure is not None:
                path = outputs.pictures[picture]
                raise StyleclipError(f"{failure}; the best edit so far is in {path}") from failure
            for number, of_square in enumerate(edits):
                results += [
                    _described(*each, request, outputs, picture, number)
                    for each in zip(of_square, chosen, strict=True)
                ]
            watch.lap("write")
    if outputs.strip is not None:
        page = _strip(request, squares, after, captions_of(request, prompts))
        images.save_image(outputs.strip, page, overwrite=outputs.force)
        watch.lap("write")
    result: dict[str, Any] = {
        "model": studio.model.name,
        "seed": request.seed,
        "edits": results,
        "warnings": list(notes),
        "seconds": watch.seconds,
    }
    if request.photo is not None:
        result["photo"] = request.photo.described()
    if outputs.strip is not None:
        result["strip"] = str(outputs.strip)
    answer(result, [*(f"wrote {path}" for path in outputs), f"seconds: {watch}"], request.as_json)


def find_starts(
    studio: Studio, request: Request, bar: Callable[[str], OnStep], watch: Stopwatch
) -> list[Start]:
    """The start of the picture, or of each face of a photograph."""
    if request.photo is None:
        return [find_start(studio, request, bar, watch)]
    squares = request.photo.squares
    return [
        _inverted(
            studio, square.image, request, bar, watch, _titled(" face", i, len(squares), alone="")
        )
        for i, square in enumerate(squares)
    ]


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
    return _inverted(studio, studio.square(request.picture), request, bar, watch)


def _square(start: Start) -> Square:
    w_plus = start.studio.latents(start.source)
    return Square(start, w_plus, start.studio.render(w_plus, start.edits))


def _inverted(
    studio: Studio,
    original: Tensor,
    request: Request,
    bar: Callable[[str], OnStep],
    watch: Stopwatch,
    which: str = "",
) -> Start:
    source, studio = invert_square(
        studio, original, request.refine, request.tune, request.save_tuning, bar, watch, which
    )
    return Start(source, studio, original=original)


def invert_square(
    studio: Studio,
    original: Tensor,
    refine: int | None,
    tune: bool,
    save_tuning: Path | None,
    bar: Callable[[str], OnStep],
    watch: Stopwatch,
    which: str = "",
) -> tuple[Source, Studio]:
    """Where the model finds a square picture [1,3,R,R], and the studio that draws it there.

    ``which`` is added to what progress says, as in " face 2".
    """
    from styleclip.recipe import Source

    if studio.tuning is not None and studio.pivot(original) is None:
        complain("the tuning was made for another picture: this one is inverted", kind="note")
    start = "the mean latent: no encoder" if studio.encoder is None else "the encoder's latent"
    watch.lap("load")
    w_plus = studio.open(original, refine, bar(f"inverting{which} from {start}"))
    watch.lap("invert")
    if tune:
        tuning = studio.tune(original, w_plus, on_step=bar(f"tuning{which}"))
        if save_tuning is not None:
            studio.save_tuning(save_tuning, tuning)
        else:
            complain("without --save-tuning FILE this picture cannot be replayed", kind="note")
        studio = studio.tuned(tuning)
        watch.lap("tune")
    return Source(w_plus=w_plus), studio


def _found(
    find: Find,
    squares: Sequence[Square],
    group: Sequence[int],
    count: int,
    bar: Callable[[str], OnStep],
) -> tuple[list[list[Edit]], NonFiniteError | None]:
    """The edits of every square, and what stopped them: then the last is the best so far."""
    found: list[list[Edit]] = [[] for _ in squares]
    for number, (square, edits) in enumerate(zip(squares, found, strict=True)):
        title = "editing" if len(squares) == 1 else f"editing face {number + 1}:"
        for i in group:
            try:
                on_step = bar(_titled(title, i, count))
                edits.append(find(square.start.studio, i, square.w_plus, on_step))
            except NonFiniteError as error:
                if error.best is None:
                    raise
                edits.append(error.best)  # type: ignore[arg-type]  # optimize says it is one
                return found, error
    return found, None


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
    request: Request,
    squares: Sequence[Square],
    edits: Sequence[Sequence[Edit]],
    strengths: Sequence[float],
    outputs: Outputs,
    picture: int,
    found_here: bool,
) -> list[Tensor]:
    """The squares with their edits; the picture, its sweeps and its edit are in their files."""
    from styleclip import images
    from styleclip.apps import films

    def at(level: float) -> list[Tensor]:
        return [
            square.start.studio.render(square.w_plus, square.edited(each, strengths, level))
            for square, each in zip(squares, edits, strict=True)
        ]

    path = outputs.pictures[picture]
    first = squares[0].start
    after = at(1.0)
    whole = _whole(request, squares, after)
    make_folder(path.parent)
    alone = len(squares) == 1  # a recipe is one square's
    save_picture(
        path,
        whole,
        first.studio,
        first.source,
        squares[0].edited(edits[0], strengths),
        request.no_recipe or not alone,
        outputs.force,
        found_here,
        _corners(request),
    )
    if outputs.gifs or outputs.films:
        levels = [i / (SWEEP - 1) for i in range(SWEEP)]
        frames = [_preview(_whole(request, squares, at(level))) for level in levels]
        if outputs.gifs:
            images.save_gif(outputs.gifs[picture], frames, overwrite=outputs.force)
        if outputs.films:
            film = films.sweep([images.tile(each) for each in frames])
            films.write_mp4(outputs.films[picture], *film, overwrite=outputs.force)
    if outputs.heats:
        heat = _heat(request, squares, whole)
        images.save_image(outputs.heats[picture], heat, overwrite=outputs.force)
    if outputs.edit is not None:
        first.studio.save_edit(outputs.edit, edits[0][0])
    return after


def _whole(
    request: Request, squares: Sequence[Square], after: Sequence[Tensor]
) -> Tensor | Image.Image:
    """What is written: the edited square, or the photo with the edited squares in it."""
    if request.photo is None or not request.photo.blend:
        return after[0]
    return request.photo.with_edits([square.before for square in squares], after)


def _heat(request: Request, squares: Sequence[Square], whole: Tensor | Image.Image) -> Image.Image:
    """Where ``whole``, which is written, differs from what it was before the edit."""
    from PIL import Image

    from styleclip import images

    if not isinstance(whole, Image.Image):
        return images.heat_overlay(squares[0].before, whole)
    assert request.photo is not None
    return images.heat_overlay(*map(images.to_tensor, (request.photo.picture, whole)))


def _corners(request: Request) -> list[tuple[float, float]] | None:
    """Where the square of a recipe lies in the photo, if that is what is written."""
    if request.photo is None or not request.photo.blend:
        return None
    return request.photo.squares[0].corners


def _preview(picture: Tensor | Image.Image) -> Tensor | Image.Image:
    """A whole photo in a size to look at; squares as they are."""
    from PIL import Image

    if not isinstance(picture, Image.Image):
        return picture
    small = picture.copy()
    small.thumbnail((PREVIEW, PREVIEW))
    return small


def _strip(
    request: Request,
    squares: Sequence[Square],
    after: Sequence[Sequence[Tensor]],
    captions: Sequence[str],
) -> Image.Image:
    """Before and after; of a photo the whole of it, and below it each square as the model sees."""
    from styleclip import images

    rows = []
    if request.photo is not None and request.photo.blend:
        wholes = [_preview(_whole(request, squares, each)) for each in after]
        pictures = [_preview(request.photo.picture), *wholes]
        rows.append(images.strip(pictures, ["the photo", *captions]))
    for number, square in enumerate(squares):
        pictures = [square.before, *(each[number] for each in after)]
        first = ["before"]
        if square.start.original is not None:
            pictures.insert(0, square.start.original)
            first = ["the picture", "as the model sees it"]
        rows.append(images.strip(pictures, [*first, *captions]))
    return rows[0] if len(rows) == 1 else images.stacked(rows)


def _described(
    edit: Edit, strength: float, request: Request, outputs: Outputs, picture: int, square: int
) -> dict[str, Any]:
    numbers = request.photo.numbers if request.photo is not None else []
    return {
        "target": edit.prompt.target,
        "neutral": edit.prompt.neutral,
        "strength": strength,
        "method": edit.method,
        "config": dict(edit.config),
        **({"face": numbers[square]} if numbers else {}),
        **{kind: str(path) for kind, path in outputs.of_picture(picture).items()},
    }


def _titled(title: str, i: int, count: int, alone: str | None = None) -> str:
    """A title with its number, where there are several; ``alone`` for one, or the title."""
    if count == 1:
        return title if alone is None else alone
    return f"{title} {i + 1} of {count}"
