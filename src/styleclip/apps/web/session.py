"""What one person has in front of them: a picture, a stack of sentences, and the way back.

  Subject (seed or latent) + Row ... (sentence, method, strength) + preserved names = Look
  Session: looks in the order of making, where in them we are;  Look <-> Recipe
A look is a value and holds all that its picture depends on, so undo is an index. Strengths of
directions are in deviations (alpha), of other edits in times the edit as it was found.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from styleclip.editing.edit import TRAINED, Edit
from styleclip.errors import ArgumentError, StyleclipError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.apps.web.uploads import Upload
    from styleclip.checkpoints import SavedMapper
    from styleclip.recipe import Recipe, Source

Method = Literal["direction", "mapper", "optimisation"]
METHODS: tuple[Method, ...] = get_args(Method)
METHOD_OF_EDIT: dict[str, Method] = {
    "direction": "direction",
    "mapper": "mapper",
    "optimization": "optimisation",
}
MOST_ROWS = 5
MOST_LOOKS = 60  # one can go back; a look is some kilobytes
MOST_PIXELS = 12_000_000  # of the people among them: 36 MB, eleven of 1024 x 1024
MOST_TRUNCATION, MOST_THRESHOLD = 2.0, 0.99  # of links, calls and numbers that are typed
STEEPEST = 20.0  # of those too: a strength, either way
USUAL_TRUNCATION, USUAL_THRESHOLD = 1.5, 0.3  # of sliders, unless one of those is more
MOST_STRENGTH = {"direction": 12.0, "mapper": 3.0, "optimisation": 3.0}  # either way, of sliders
ECHO = 2.0  # seconds in which a text box may still tell what stood in it before
MOST_LETTERS = 400  # of a sentence: more than any CLIP reads
MOST_TRAINED = 3  # mappers that are remembered for sentences that went; one has some MB
MOST_KEPT = 30  # names, whoever gives them
FURTHEST = 1e6  # deviations of a direction, or that part of one: beyond it float32 knows no picture
UNREADABLE = "its settings cannot be read"


@dataclass(frozen=True, eq=False)
class Subject:
    """Who is edited: ``source`` of the recipe, its w_plus [1,L,D], and how it looks unedited.

    ``original`` is the square that was dropped, before the model drew it again.
    """

    source: Source
    w_plus: Tensor
    picture: Image.Image
    original: Image.Image | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One sentence of the stack. ``edit`` is what was found for it, None if it has to be found.

    ``threshold`` None is the automatic one; ``mapper`` one that was trained here. ``fits``: the
    strength is still to be found, the one that shows the sentence in this picture. ``carried``:
    another picture came under it, for which an optimisation did not search (``home`` is the one
    that it searched in), or to which a mapper that was trained elsewhere did not come along.
    """

    target: str = ""
    neutral: str = ""
    method: Method = "direction"
    strength: float = 0.0
    threshold: float | None = None
    edit: Edit | None = None
    mapper: SavedMapper | None = None
    fits: bool = False
    carried: bool = False
    home: Source | None = None

    @property
    def trained(self) -> bool:
        """Whether it asks a mapper of this one sentence, here or where its recipe was made."""
        if self.method != "mapper" or self.edit is None:
            return self.method == "mapper" and self.mapper is not None
        config = self.edit.config  # of mappers that read no text it is empty
        return self.mapper is not None or not config or TRAINED in config

    @property
    def asks(self) -> bool:
        """Whether it says anything."""
        return bool(self.target.strip())

    @property
    def limit(self) -> float:
        """How far its slider goes, either way."""
        return max(MOST_STRENGTH[self.method], abs(self.strength))


@dataclass(frozen=True, eq=False)
class Look:
    """All that a picture depends on."""

    subject: Subject
    rows: tuple[Row, ...] = (Row(),)
    keep: tuple[str, ...] = ()

    @property
    def edits(self) -> list[tuple[Edit, float]]:
        """What is found already, with its strengths."""
        return [(row.edit, row.strength) for row in self.rows if row.edit is not None]

    @property
    def last_asked(self) -> int | None:
        """The place of the last sentence that asks something; None if none does."""
        return max((i for i, row in enumerate(self.rows) if row.asks), default=None)

    @property
    def waiting(self) -> list[str]:
        """Sentences whose edit is found when somebody asks for it, and nobody did."""
        rows = [row for row in self.rows if row.asks and row.edit is None]
        return [row.target for row in rows if row.method == "optimisation"]

    def with_row(self, index: int, **changes: Any) -> Look:
        """Row ``index`` changed; what was found for it is kept where it is still true."""
        rows = list(self.rows)
        if not 0 <= index < len(rows):
            raise ArgumentError(f"there is no sentence {index + 1}: the stack has {len(rows)}")
        if not changes.keys() <= {"strength", "fits"}:
            changes = {"edit": None, "carried": False, "home": None, **changes}
        if "strength" in changes:
            changes = {"fits": False, **changes}
        if changes.keys() & {"target", "neutral"}:
            changes = {"mapper": None, **changes}
        rows[index] = replace(rows[index], **changes)
        return replace(self, rows=tuple(rows))

    def with_another_row(self, row: Row = Row()) -> Look:
        """A row more. Raises ``ArgumentError`` beyond MOST_ROWS."""
        if len(self.rows) >= MOST_ROWS:
            raise ArgumentError(f"the stack holds {MOST_ROWS} sentences: remove one first")
        return replace(self, rows=(*self.rows, row))

    def without_row(self, index: int) -> Look:
        """A row less; the last one becomes empty."""
        rows = tuple(row for i, row in enumerate(self.rows) if i != index)
        return replace(self, rows=rows or (Row(),))

    def with_keep(self, names: Sequence[str]) -> Look:
        """Other names to preserve: directions are found again."""
        rows = tuple(
            replace(row, edit=None) if row.method == "direction" else row for row in self.rows
        )
        return replace(self, keep=tuple(names), rows=rows)

    def with_subject(self, subject: Subject) -> Look:
        """Another picture under the same sentences: what a mapper said of the last one goes."""
        was, now = self.subject.source, subject.source
        rows = tuple(_under_another(row, was, now) for row in self.rows)
        return replace(self, subject=subject, rows=rows)

    def place_of(self, row: Row) -> int | None:
        """Where a row of the same sentence is, of the same method if one is; None if nowhere."""
        asked = (row.target, row.neutral)
        places = [i for i, it in enumerate(self.rows) if (it.target, it.neutral) == asked]
        places.sort(key=lambda i: self.rows[i].method != row.method)
        return places[0] if places else None

    @property
    def title(self) -> str:
        """A few words for the history."""
        said = [f"{row.target} {row.strength:g}" for row in self.rows if row.edit and row.strength]
        return ", ".join(said) or "unedited"


@dataclass
class Moment:
    """A look in the history, its small picture, and the control that it was made with."""

    look: Look
    thumb: str = ""
    control: str = ""


class Session:
    """The looks of one person. Changes by one control in a row are one step of undo."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.at = -1
        self.version = 0  # of what is shown: later answers have larger ones
        self.stop = threading.Event()  # of the long work under way
        self.lock = threading.RLock()
        self.upload: Upload | None = None  # that was dropped and waits
        self.drawn: tuple[Look, Image.Image] | None = None  # the last picture, and what of
        self.trained: dict[tuple[str, str], SavedMapper] = {}  # by sentence
        self.heard: dict[int, tuple[str, str]] = {}  # what was last in the text boxes of a row
        self.changed = -ECHO  # when, by the monotonic clock

    def __deepcopy__(self, memo: object) -> Session:
        return Session()  # a new person begins with nothing

    @property
    def begun(self) -> bool:
        """Whether there is a picture."""
        return self.at >= 0

    @property
    def look(self) -> Look:
        """What is in front. Raises ``ArgumentError`` before the first picture."""
        if not self.begun:
            raise ArgumentError("there is no picture yet: reload the page")
        return self.moments[self.at].look

    @property
    def can_undo(self) -> bool:
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        return self.at < len(self.moments) - 1

    def change(self, look: Look, control: str = "") -> None:
        """A new look, made with ``control``; further ones of the same control replace it."""
        with self.lock:
            self.version += 1
            self.changed = time.monotonic()
            del self.moments[self.at + 1 :]
            if control and self.begun and self.moments[-1].control == control:
                self.moments[-1] = Moment(look, control=control)
            else:
                self.moments.append(Moment(look, control=control))
            del self.moments[:-MOST_LOOKS]
            while len(self.moments) > 1 and self._pixels() > MOST_PIXELS:
                del self.moments[0]
            self.at = len(self.moments) - 1

    def _pixels(self) -> int:
        """Of the pictures that the history holds, each counted once."""
        subjects = {id(each.look.subject): each.look.subject for each in self.moments}.values()
        pictures = [p for each in subjects for p in (each.picture, each.original) if p is not None]
        return sum(picture.width * picture.height for picture in pictures)

    def hears(self, index: int, target: str, neutral: str) -> bool:
        """Whether the text boxes of a row say something new.

        A box that loses the focus tells its text, and that may arrive after the suggestion or undo
        that took the focus away has put another one there.
        """
        texts, row = (target, neutral), self.look.rows[index]
        echo = self.heard.get(index) == texts and time.monotonic() - self.changed < ECHO
        self.heard[index] = texts
        return not echo and texts != (row.target, row.neutral)

    def complete(self, found: Callable[[Look], Look]) -> None:
        """Have what every look lacks ``found``: no step of its own.

        A look for which ``found`` raises stays; for the one in front that is raised, at the end.
        """
        with self.lock:
            failure: StyleclipError | None = None
            for i, moment in enumerate(self.moments):
                try:
                    self.moments[i] = Moment(found(moment.look), control=moment.control)
                except StyleclipError as error:
                    failure = error if i == self.at else failure
            self.version += 1
            if failure is not None:
                raise failure

    def remember(self, row: Row, mapper: SavedMapper) -> None:
        """A mapper that was trained for the sentence of ``row``, for whenever it is asked again."""
        self.trained.pop((row.target, row.neutral), None)
        self.trained[row.target, row.neutral] = mapper
        while len(self.trained) > MOST_TRAINED:
            del self.trained[next(iter(self.trained))]

    def recalled(self, look: Look) -> Look:
        """With the mappers that were trained for its sentences, where it asks for mappers."""
        rows = tuple(
            replace(row, mapper=self._trained_for(row))
            if row.mapper is None and (row.edit is None or row.trained) else row
            for row in look.rows
        )  # fmt: skip
        return replace(look, rows=rows)

    def _trained_for(self, row: Row) -> SavedMapper | None:
        if row.method != "mapper":
            return None
        mapper = self.trained.get((row.target, row.neutral))
        if mapper is None and row.edit is not None:  # of a recipe, whose texts are both said
            prompt = row.edit.prompt
            mapper = next((it for it in self.trained.values() if prompt in it.prompts), None)
        return mapper

    @contextmanager
    def trying(self) -> Iterator[None]:
        """With the lock; if anything inside fails, the history is as it was."""
        with self.lock:
            moments, at = list(self.moments), self.at
            try:
                yield
            except BaseException:
                self.moments, self.at = moments, at
                raise

    def settle(self) -> None:
        """The control was let go: what comes next is another step."""
        with self.lock:
            if self.begun:
                self.moments[self.at].control = ""

    def undo(self) -> Look:
        return self.go(self.at - 1)

    def redo(self) -> Look:
        return self.go(self.at + 1)

    def go(self, index: int) -> Look:
        """To a place in the history; its ends hold."""
        with self.lock:
            self.settle()
            self.version += 1
            self.changed = time.monotonic()
            self.at = max(0, min(index, len(self.moments) - 1)) if self.moments else -1
            return self.look


def _under_another(row: Row, was: Source, now: Source) -> Row:
    """A row when the picture ``now`` comes under it in the place of ``was``."""
    if row.method == "mapper":
        lost = row.trained and row.mapper is None
        return replace(row, edit=None, carried=row.carried or lost)
    if row.method != "optimisation" or row.edit is None:
        return row
    home = row.home or was
    return replace(row, carried=not _same(home, now), home=home)


def _same(a: Source, b: Source) -> bool:
    """Whether both are one picture."""
    return a is b or (a.seed is not None and (a.seed, a.truncation) == (b.seed, b.truncation))


def rows_of(recipe: Recipe) -> tuple[Row, ...]:
    """The edits of a recipe as rows that draw the same. Raises ``ArgumentError`` for too many."""
    if len(recipe.edits) > MOST_ROWS:
        raise ArgumentError(
            f"this picture has {len(recipe.edits)} edits and the page shows {MOST_ROWS} at most: "
            "use the command line (styleclip show, styleclip apply)"
        )
    return tuple(_row_of(*each) for each in recipe.edits) or (Row(),)


def kept(names: Iterable[str]) -> tuple[str, ...]:
    """Names to preserve, each once. Raises ``ArgumentError`` for more than MOST_KEPT."""
    found = tuple(dict.fromkeys(names))
    if len(found) > MOST_KEPT:
        raise ArgumentError(f"at most {MOST_KEPT} names can stay, got {len(found)}")
    return found


def kept_by(recipe: Recipe) -> tuple[str, ...]:
    """The names that directions leave alone."""
    lists: list[Any] = [list(recipe.preserve)]
    lists += [edit.config.get("preserve") for edit, _ in recipe.edits if edit.method == "direction"]
    names = [name for each in lists if isinstance(each, list) for name in each]
    said = [name for name in names if isinstance(name, str) and len(name) <= MOST_LETTERS]
    return tuple(dict.fromkeys(said))[:MOST_KEPT]


def _row_of(edit: Edit, strength: float) -> Row:
    from styleclip.editing.strength import scaled

    method = METHOD_OF_EDIT.get(edit.method)
    if method is None:
        raise ArgumentError(f"the page knows no method {edit.method!r}: use styleclip apply")
    threshold = None
    if method == "direction":  # as long as one deviation, which the slider counts in
        alpha, threshold = _settings(edit)
        edit = scaled(edit, edit_tensor(1 / alpha))
        edit = replace(edit, config={**edit.config, "strength": 1.0, "strengths": None})
        strength *= alpha
    if not math.isfinite(strength):
        raise ArgumentError(UNREADABLE)
    return Row(edit.prompt.target, edit.prompt.neutral, method, strength, threshold, edit)


def _settings(edit: Edit) -> tuple[float, float | None]:
    """The deviations and the threshold of a direction that a stranger describes.

    Raises ``ArgumentError`` for what no direction has.
    """
    try:
        alpha, threshold = deviations(edit), edit.config.get("threshold")
        beta = None if threshold is None else float(threshold)
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise ArgumentError(UNREADABLE) from error
    if not 1 / FURTHEST <= abs(alpha) <= FURTHEST or not 0 <= (beta or 0.0) < 1:  # NaN too
        raise ArgumentError(UNREADABLE)
    return alpha, beta


def deviations(edit: Edit) -> float:
    """How many deviations a direction moves at strength 1, by what its config says."""
    asked = edit.config.get("strength")
    fitted = edit.config.get("strengths")
    alpha = 1.0 if asked is None else float(asked)
    alpha *= float(fitted[0]) if fitted else 1.0
    return alpha or 1.0


def edit_tensor(number: float) -> Tensor:
    """One number as the strength [1] of ``scaled``."""
    import torch

    return torch.tensor([number])


def within(number: float, most: float) -> float:
    """A slider's number, whoever sent it: finite, and not beyond ``most`` either way."""
    return min(max(float(number), -most), most) if math.isfinite(number) else 0.0
