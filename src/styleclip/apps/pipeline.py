"""What ``edit`` and ``apply`` share: a picture, edits of it, and the files that come of them.

  IMAGE or --seed -> Start (source, edits it has already) -> edits, found or read
                  -> a picture for each, or one of them all -> PNG with recipe, strip, GIF
Every edit is found from, and added to, the unedited latent of the source. Where edits start is in
`starts`, what is written in `writing`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleclip.apps.console import OnStep, Stopwatch, answer, complain, progress
from styleclip.apps.outputs import Extras, Outputs, plan_outputs
from styleclip.apps.starts import Request, Square, find_starts, square_of, titled
from styleclip.apps.writing import described, strip, write_picture
from styleclip.checkpoints.registry import LATENT_MAP
from styleclip.errors import ArgumentError, CheckpointError, NonFiniteError, StyleclipError
from styleclip.prompts import PromptPair

if TYPE_CHECKING:
    from torch import Tensor

    from styleclip.editing.edit import Edit
    from styleclip.methods import How
    from styleclip.studio import Studio

# which edit, w_plus [1,L,D], progress; by the studio that draws the picture
Find = Callable[["Studio", int, "Tensor", OnStep], "Edit"]


@dataclass(frozen=True)
class WantedEdits:
    """What is done to a picture, whichever it is: who finds its edits, and what was said of them.

    ``found_here``: whether this model's CLIP finds them.
    """

    prompts: Sequence[PromptPair]
    find: Find
    notes: Sequence[str] = ()
    found_here: bool = True


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
    carry_out(studio, request, edits_by(studio, prompts, how, watch), outputs, watch)


def edits_by(
    studio: Studio, prompts: Sequence[PromptPair], how: How, watch: Stopwatch
) -> WantedEdits:
    """The edits of prompts, found on each picture; says what the model will not understand."""
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

    return WantedEdits(prompts, find, notes)


def edits_of_files(studio: Studio, edits: Sequence[Edit], watch: Stopwatch) -> WantedEdits:
    """Edits that were found before, the same for every picture."""
    studio.generator  # noqa: B018  # loads it
    watch.lap("load")
    prompts = [each.prompt for each in edits]
    return WantedEdits(prompts, lambda _, i, *__: edits[i], found_here=False)


def measure_map(
    studio: Studio,
    watch: Stopwatch | None = None,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Measure the latent map of a model that brings none, once: it stays in the model's folder.

    ``between`` is called after every few pictures.
    """
    if studio.has_latent_map:
        return
    watch = Stopwatch() if watch is None else watch
    name = studio.model.name
    folder = studio.model.folder
    unfinished = folder / f"{LATENT_MAP}.partial" if os.access(folder, os.W_OK) else None
    with progress() as bar:
        title = f"measuring what CLIP sees in pictures of {name}"
        shown = bar(title)

        def on_step(*step: Any) -> None:
            shown(*step)
            between()

        studio.measure_latent_map(on_step, unfinished)
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
    studio: Studio, request: Request, wanted: WantedEdits, outputs: Outputs, watch: Stopwatch
) -> None:
    """Find the start, then every edit, write the pictures and answer."""
    with progress() as bar:
        made = make(studio, request, wanted, outputs, watch, bar)
    result = {
        "model": studio.model.name,
        "seed": request.seed,
        **made,
        "warnings": list(wanted.notes),
        "seconds": watch.seconds,
    }
    answer(result, [*(f"wrote {path}" for path in outputs), f"seconds: {watch}"], request.as_json)


def make(
    studio: Studio,
    request: Request,
    wanted: WantedEdits,
    outputs: Outputs,
    watch: Stopwatch,
    bar: Callable[[str], OnStep],
) -> dict[str, Any]:
    """One picture's start, its edits and its files; what came of it, for --json."""
    from styleclip import images

    results: list[dict[str, Any]] = []
    count = len(wanted.prompts)
    strengths = request.strengths_of(count)
    squares = [square_of(start) for start in find_starts(studio, request, bar, watch)]
    after: list[list[Tensor]] = []  # by picture, then by square
    for picture, group in enumerate(request.groups(count)):
        edits, failure = _found(wanted.find, squares, group, count, bar)
        watch.lap("edit")
        if failure is not None and request.run:
            raise failure  # of many, what is there is finished
        chosen = [strengths[i] for i in group]
        after.append(
            write_picture(request, squares, edits, chosen, outputs, picture, wanted.found_here)
        )
        if failure is not None:
            path = outputs.pictures[picture]
            raise StyleclipError(f"{failure}; the best edit so far is in {path}") from failure
        for number, of_square in enumerate(edits):
            results += [
                described(*each, request, outputs, picture, number)
                for each in zip(of_square, chosen, strict=True)
            ]
        watch.lap("write")
    made: dict[str, Any] = {"edits": results}
    if request.photo is not None:
        made["photo"] = request.photo.described()
    if outputs.strip is not None:
        page = strip(request, squares, after, captions_of(request, wanted.prompts))
        images.save_image(outputs.strip, page, overwrite=outputs.force)
        watch.lap("write")
        made["strip"] = str(outputs.strip)
    return made


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
                on_step = bar(titled(title, i, count))
                edits.append(find(square.start.studio, i, square.w_plus, on_step))
            except NonFiniteError as error:
                if error.best is None:
                    raise
                edits.append(error.best)  # type: ignore[arg-type]  # optimize says it is one
                return found, error
    return found, None
