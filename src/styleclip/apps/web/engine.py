"""One model for everybody: looks become pictures, sentences become edits.

  Look -> found(look): every direction and mapper step it lacks -> picture(look) [1,3,R,R]
The generator is there at once and CLIP a few seconds later: `start` loads it in a thread, and what
needs words waits for it. The networks have one user at a time (`Turns`). Directions are known for
everybody, by what they depend on; pictures and latents are nobody's here.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from styleclip.apps.web.faces import square_of
from styleclip.apps.web.jobs import Job, News, PoliteEmbedder, Turns
from styleclip.apps.web.session import Look, Row, Subject, deviations, kept_by, rows_of
from styleclip.apps.web.show import encode
from styleclip.apps.web.telling import brief, capital
from styleclip.errors import ArgumentError, ImageError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.checkpoints import SavedMapper
    from styleclip.editing.edit import Edit, MovedChannel
    from styleclip.editing.mapper_training import TrainingState
    from styleclip.prompts import PromptPair
    from styleclip.recipe import Source
    from styleclip.studio import Studio

Result = TypeVar("Result")
MOST_DIRECTIONS = 1024  # that are remembered; one of the portraits takes 9 kB
UPLOAD_PIXELS = 50_000_000  # a picture of a telephone; decoded it takes 150 MB
STRANGE = 25.0  # of 255, root mean square: beyond it the model drew something else
CHANNELS = 10  # that moved most, in a list
TRAINING_LATENTS = 1000
PREVIEW_EVERY = 10  # steps of a training
UNHEEDED = "no sentence is a direction, and only directions leave alone what is to be kept as it is"


class Engine:
    """A studio that many threads use."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.turns = Turns()
        self._decoding = threading.Lock()  # large uploads one at a time
        self._directions: OrderedDict[tuple[object, ...], Edit] = OrderedDict()
        self._text = threading.Event()
        self._failure: Exception | None = None

    def start(self) -> None:
        """Load what words need, in the background."""
        threading.Thread(target=self._learn_text, name="styleclip-text", daemon=True).start()

    @property
    def knows_text(self) -> bool:
        """Whether words are understood already."""
        return self._text.is_set()

    def wait_for_text(self) -> None:
        """Until they are. Raises what went wrong."""
        self._text.wait()
        if self._failure is not None:
            raise self._failure

    def _learn_text(self) -> None:
        from styleclip.apps.pipeline import measure_map

        try:
            self.studio.embedder  # noqa: B018  # loads it
            with self.turns:  # seconds, but for a large model that brings no map
                measure_map(self.studio, between=self.turns.pass_on)
                self.studio.relevance  # noqa: B018
            if self.has_mapper:
                self.studio.mapper  # noqa: B018
            self.studio.hashes("generator", "clip")
        except Exception as error:  # told to whoever asks for an edit
            self._failure = error
        finally:
            self._text.set()

    @property
    def has_mapper(self) -> bool:
        """Whether the model brings a mapper that reads any sentence."""
        from styleclip.checkpoints.registry import MAPPER

        return self.studio.model.find(MAPPER) is not None

    # pictures

    def person(self, seed: int, truncation: float) -> Subject:
        """The picture of a seed."""
        from styleclip.recipe import Source

        return self._subject(Source(seed=seed, truncation=truncation))

    def people(self, seeds: Sequence[int], truncation: float) -> list[Image.Image]:
        """Pictures of some seeds, to choose from."""
        return [self.person(seed, truncation).picture for seed in seeds]

    def _subject(self, source: Source, original: Image.Image | None = None) -> Subject:
        from styleclip import images

        with self.turns:
            w_plus = self.studio.latents(source)
            picture = self.studio.render(w_plus)
        return Subject(source, w_plus, images.to_picture(picture), original)

    def picture(self, look: Look) -> Image.Image:
        """What a look shows; what was not found for it yet does not show."""
        return self.pictures(look, [look.edits])[0]

    def pictures(
        self, look: Look, stacks: Sequence[Sequence[tuple[Edit, float]]]
    ) -> list[Image.Image]:
        """The subject of a look under several stacks of edits."""
        from styleclip import images

        found = []
        for stack in stacks:
            with self.turns:
                found.append(self.studio.render(look.subject.w_plus, stack))
        return [images.to_picture(each) for each in found]

    # edits

    def found(self, look: Look) -> Look:
        """With everything that is found at once. Raises ``PromptError``, ``ArgumentError``."""
        for index, row in enumerate(look.rows):
            if row.asks and row.fits:
                look = look.with_row(index, strength=self.fitted(look, index))
        rows = tuple(
            replace(row, edit=self._edit(look, row)) if row.asks and row.edit is None else row
            for row in look.rows
        )
        return replace(look, rows=rows)

    def _edit(self, look: Look, row: Row) -> Edit | None:
        if row.method == "optimisation":
            return None
        self.wait_for_text()
        if row.method == "direction":
            return self.direction(row, look.keep)
        mapper = row.mapper or self._own_mapper()
        with self.turns:
            return _quietly(lambda: self.studio.edit(look.subject.w_plus, self.pair(row), mapper))

    def _own_mapper(self) -> SavedMapper:
        if not self.has_mapper:
            raise ArgumentError(
                f"the model {self.studio.model.name!r} brings no mapper: train one for this "
                "sentence, or take another method"
            )
        return self.studio.mapper

    def direction(self, row: Row, keep: Sequence[str]) -> Edit:
        """The direction of a sentence, one deviation long, found once for everybody."""
        from styleclip.editing.directions import DirectionConfig

        pair = self.pair(row)
        key = (pair, row.threshold, tuple(keep))
        found = self._directions.get(key)
        if found is None:
            config = DirectionConfig(threshold=row.threshold, strength=1.0)
            with self.turns:
                found = _quietly(lambda: self.studio.direction(pair, config, preserve=keep))
            self._directions[key] = found
            while len(self._directions) > MOST_DIRECTIONS:
                self._directions.popitem(last=False)
        return found

    def pair(self, row: Row) -> PromptPair:
        """The two texts of a row. Raises ``PromptError``."""
        neutral = row.neutral.strip()
        text = row.target.strip()
        return self.studio.prompt(f"{neutral} -> {text}" if neutral and "->" not in text else text)

    def fitted(self, look: Look, index: int) -> float:
        """The strength of row ``index`` that shows what it asks for in this picture."""
        from styleclip.editing.directions import DirectionConfig

        row = look.rows[index]
        if row.method != "direction":
            return 1.0
        self.wait_for_text()
        config = DirectionConfig(threshold=row.threshold)
        pair = self.pair(row)
        with self.turns:
            edit = _quietly(
                lambda: self.studio.edit(look.subject.w_plus, pair, config, preserve=look.keep)
            )
        return round(deviations(edit), 1) if edit.config["strengths"][0] else 0.0

    def changes(self, look: Look) -> tuple[Image.Image, list[MovedChannel]]:
        """Where the picture changed, as a map over it, and the channels that moved most."""
        from styleclip import images
        from styleclip.editing.edit import moved_channels

        w_plus, studio = look.subject.w_plus, self.studio
        with self.turns:
            before, after = studio.render(w_plus), studio.render(w_plus, look.edits)
            _, std = studio.style_statistics
            moved = moved_channels(studio.generator, w_plus, look.edits, count=CHANNELS, std=std)
        return images.heat_overlay(before, after), moved

    def notes(self, look: Look) -> list[str]:
        """What the model will not understand or heed, in sentences; mostly none."""
        asking = [row for row in look.rows if row.asks]
        if not asking:
            return []
        self.wait_for_text()
        with self.turns:
            found = [n for row in asking for n in self.studio.prompt_warnings(self.pair(row))]
            found += self.studio.preserve_warnings(look.keep)
        if look.keep and all(row.method != "direction" for row in asking):
            found.append(UNHEEDED)
        return [f"{capital(brief(note))}." for note in dict.fromkeys(found)]

    # long work

    def optimise(self, look: Look, index: int, stop: threading.Event) -> Job[Edit]:
        """Optimise row ``index`` for this picture; every step is news with its picture."""
        row, others = look.rows[index], look.without_row(index).edits
        w_plus = look.subject.w_plus

        def work(job: Job[Edit]) -> Edit:
            self.wait_for_text()
            pair = self.pair(row)
            steps = [0, 1]

            def on_step(step: int, count: int, _: object) -> None:
                steps[:] = step, count

            def on_edit(edit: Edit) -> None:
                picture = self.studio.render(w_plus, [*others, (edit, 1.0)])
                job.tell(News(steps[0], steps[1], "optimising", encode(picture)))
                self.turns.pass_on()

            with self.turns:
                return _quietly(
                    lambda: self.studio.edit(w_plus, pair, on_step=on_step, on_edit=on_edit)
                )

        return Job(work, stop)

    def train(self, look: Look, index: int, stop: threading.Event) -> Job[SavedMapper]:
        """Train a mapper for row ``index``; now and then a picture shows what it learned."""
        row, w_plus = look.rows[index], look.subject.w_plus

        def work(job: Job[SavedMapper]) -> SavedMapper:
            from styleclip.checkpoints import SavedMapper
            from styleclip.editing.mapper_training import (
                TrainingConfig,
                new_mapper,
                train_mapper,
            )

            self.wait_for_text()
            studio, pair, config = self.studio, self.pair(row), TrainingConfig.of("text")

            def on_state(state: TrainingState) -> None:
                shown = None
                if state.step % PREVIEW_EVERY == 0:
                    mapper = new_mapper(
                        studio.generator, latents, studio.embedder, config, studio.latent_map
                    )
                    mapper.load_state_dict(state.average)
                    so_far = SavedMapper(mapper.eval(), (pair,))
                    edit = so_far.edit(studio.generator, studio.embedder, w_plus, pair)
                    shown = encode(studio.render(w_plus, edit))
                job.tell(News(state.step, config.steps, "training a mapper", shown))
                self.turns.pass_on()

            def let_in() -> None:
                job.go_on()
                self.turns.pass_on()

            job.tell(News(0, config.steps, "looking at what it learns from"))
            with self.turns:
                latents = studio.samples(TRAINING_LATENTS)
                mapper = train_mapper(
                    studio.generator, PoliteEmbedder(studio.embedder, let_in), latents, [pair],
                    config, studio.latent_map, on_state=on_state,
                )  # fmt: skip
            return SavedMapper(mapper.eval().requires_grad_(False), (pair,))

        return Job(work, stop)

    def opened(self, path: str | Path, stop: threading.Event) -> Job[tuple[Look, str]]:
        """A file that somebody dropped, and what was done with it.

        A PNG of ours with its recipe becomes the look that it was saved from.
        """

        def work(job: Job[tuple[Look, str]]) -> tuple[Look, str]:
            job.tell(News(0, 1, "reading the picture"))
            try:
                picture, look, note = self._read(Path(path))
            except ImageError as error:
                raise ImageError(_named(error, Path(path))) from error
            if look is not None:
                return look, note
            from styleclip.recipe import Source

            def on_step(step: int, steps: int, _: object) -> None:
                job.tell(News(step, steps, "finding the picture in the model"))
                self.turns.pass_on()

            with self.turns:
                square, how = square_of(self.studio, picture)
                w_plus = self.studio.open(square, on_step=on_step)
            from styleclip import images

            subject = self._subject(Source(w_plus=w_plus), images.to_picture(square))
            notes = [note, how, self._likeness_note(square, subject)]
            return Look(subject), " ".join(each for each in notes if each)

        return Job(work, stop)

    def _likeness_note(self, square: Tensor, subject: Subject) -> str:
        """Whether the model could draw what was dropped."""
        from styleclip import images

        drawn = images.to_tensor(subject.picture).to(square)
        off = float((drawn - square).square().mean().sqrt()) * 127.5
        if off < STRANGE:
            return ""
        return (
            f"The model {self.studio.model.name!r} cannot draw this picture well: it knows "
            "pictures like those to begin with."
        )

    def _read(self, path: Path) -> tuple[Image.Image, Look | None, str]:
        """The picture; the look of its recipe if it has a true one; why not, if it has a false."""
        from PIL import Image

        from styleclip import images
        from styleclip.recipe import Recipe

        with self._decoding:
            try:
                with Image.open(path, formats=images.FORMATS) as header:
                    width, height = header.size
            except Exception:  # open_picture says what is wrong
                width = height = 0
            if width * height > UPLOAD_PIXELS:
                raise ImageError(
                    f"the picture is too large ({width} x {height} pixels, at most "
                    f"{UPLOAD_PIXELS // 1_000_000} million can be dropped here): make it smaller"
                )
            picture = images.open_picture(path)
            try:
                values = images.read_recipe(path)
            except ImageError:  # a photograph
                return picture, None, ""
        try:
            recipe = Recipe.from_json(values)
            with self.turns:
                doubt = self.studio.recalls(recipe, picture)
            if not doubt:
                look = Look(self._subject(recipe.source), rows_of(recipe), kept_by(recipe))
                return picture, look, "The picture brought its recipe, which is used."
        except (ImageError, ArgumentError) as error:  # a recipe is a stranger's text
            doubt = str(error)
        return picture, None, f"Its recipe was not used: {doubt}."


def _named(error: Exception, path: Path) -> str:
    """What was said about a file, without where it lies here."""
    return str(error).replace(str(path), path.name)


def _quietly(work: Callable[[], Result]) -> Result:
    """Without ``PromptWarning``s: `notes` says them. Whoever has the turn may change filters."""
    from styleclip.studio import PromptWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptWarning)
        return work()
