"""Where edits start: a picture file, a photograph or a seed, and its place in the model's latents.

  IMAGE or --seed -> Request -> Start (source, edits it has already) -> Square (w_plus, picture)
A PNG of ours that tells the truth starts from its own recipe, anything else is inverted. A
photograph has a start for each face that is edited.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from styleclip.apps.console import OnStep, Stopwatch, complain
from styleclip.apps.photos import Photo, PhotoWish, open_photo
from styleclip.errors import ArgumentError, ImageError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.editing.edit import Edit
    from styleclip.recipe import Recipe, Source
    from styleclip.studio import Studio

LIST = ".txt"
PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".ppm",
            ".avif")  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What is edited (a ``file`` or a ``seed``), and what is made of it.

    ``strengths``: one of all edits, or one of each; None is 1. ``run`` marks what is written as of
    one run over many files.
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
    run: str = ""

    def __post_init__(self) -> None:
        for strength in self.strengths or ():
            if not math.isfinite(strength):
                raise ArgumentError(f"--strength must be a number, got {strength}")
        if self.wish is not None and self.file is None:
            raise ArgumentError("a photograph is a file: give a picture in place of --seed")

    def opened(self, studio: Studio) -> Request:
        """With the faces of the photograph, if it is one, found and aligned."""
        if self.wish is None or self.picture is None or self.file is None:
            return self
        wish = self.wish.of(self.file)
        return replace(self, photo=open_photo(studio, self.picture, wish))

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
    if seed is not None and words and words[0].lower().endswith((*PICTURES, LIST)):
        raise ArgumentError(
            f"give a picture or --seed, not both; got {words[0]!r} and --seed {seed}"
        )
    if len(words) < (2 if seed is None else 1):
        raise ArgumentError(f"{usage}; or --seed N in place of the picture; got {len(words)} words")
    return (Path(words[0]), list(words[1:])) if seed is None else (None, list(words))


def is_many(file: Path | None) -> bool:
    """Whether a word of the command line means many pictures: a folder, or a list of files."""
    return file is not None and (os.path.isdir(file) or file.suffix.lower() == LIST)


def read_picture(file: Path | None) -> Image.Image | None:
    """The picture, if a file is edited. Raises ``ImageError``."""
    from styleclip import images

    return None if file is None else images.open_picture(file)


def find_starts(
    studio: Studio, request: Request, bar: Callable[[str], OnStep], watch: Stopwatch
) -> list[Start]:
    """The start of the picture, or of each face of a photograph."""
    if request.photo is None:
        return [find_start(studio, request, bar, watch)]
    squares = request.photo.squares
    return [
        _inverted(
            studio, square.image, request, bar, watch, titled(" face", i, len(squares), alone="")
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


def square_of(start: Start) -> Square:
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


def titled(title: str, i: int, count: int, alone: str | None = None) -> str:
    """A title with its number, where there are several; ``alone`` for one, or the title."""
    if count == 1:
        return title if alone is None else alone
    return f"{title} {i + 1} of {count}"
