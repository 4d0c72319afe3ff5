"""``styleclip edit`` and ``apply`` on a folder, or on a list of files: many pictures in one go.

  FOLDER | LIST.txt -> files -> outputs of each, in one folder -> finished ones are left alone
                    -> the others one after the other -> what failed, at the end
Every PNG carries a digest of the settings and of its input, so that the same command, stopped or
killed, goes on, and another never mixes with it. Networks are loaded once. Two runs at once share
the work (``claims``).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from styleclip.apps.claims import claim, claimed_by
from styleclip.apps.console import OnStep, Stopwatch, about, answer, complain, counting, naming
from styleclip.apps.films import check_extra
from styleclip.apps.gathering import files_of, say_what_is_passed_over
from styleclip.apps.outputs import Extras, Outputs, check_folder, make_folder, outputs_in
from styleclip.apps.photos import check_wish
from styleclip.apps.pipeline import WantedEdits, captions_of, make
from styleclip.apps.starts import Request
from styleclip.errors import ArgumentError, ImageError, StyleclipError

if TYPE_CHECKING:
    from styleclip.editing.edit import Edit
    from styleclip.methods import How
    from styleclip.prompts import PromptPair
    from styleclip.studio import Studio

STALE = 60  # seconds after which a half-written file is a killed run's: writing one takes less
STOPPING = "styleclip: note: stopping after this picture (once more: at once)"


@dataclass(frozen=True)
class Series:
    """The files that are edited, the outputs of each, and the folder that those go to.

    ``force``: outputs that are there and not of this series are made again.
    """

    files: list[Path]
    outputs: list[Outputs]
    folder: Path
    prompts: Sequence[PromptPair]
    force: bool


@dataclass(frozen=True)
class Task:
    """One file that is not finished: its outputs, and the settings that it is edited with."""

    file: Path
    outputs: Outputs
    settings: Mapping[str, Any]


def plan_many(
    request: Request,
    prompts: Sequence[PromptPair],
    out: Path | None,
    force: bool,
    extras: Extras,
    tuning: Path | None = None,
) -> Series:
    """The files and their outputs; raises for what cannot be wanted of many pictures at once."""
    request.strengths_of(len(prompts))
    of_one = {"--save-edit": extras.edit, "--save-tuning": request.save_tuning, "--tuning": tuning}
    for option, value in of_one.items():
        if value is not None:
            raise ArgumentError(f"{option} names a file of one picture: leave it out for many")
    _check_landmarks(None if request.wish is None else request.wish.landmarks)
    if extras.mp4:
        check_extra()
    given = request.file
    assert given is not None
    files = files_of(given)
    name = given.resolve().name if given.is_dir() else given.stem
    folder = Path(f"{name}-edited") if out is None else out
    if folder.suffix.lower() == ".png":
        raise ArgumentError(f"many pictures go into a folder, got --out {folder}: leave .png out")
    if given.is_dir() and os.path.realpath(folder) == os.path.realpath(given):
        raise ArgumentError(
            f"--out {folder} is the folder of the pictures, and what is written there would be "
            "edited the next time: choose another"
        )
    make_folder(folder) if folder.exists() else check_folder(folder)
    captions = captions_of(request, prompts)
    outputs = [outputs_in(folder, file.stem, captions, False, extras) for file in files]
    _check_apart(files, outputs)
    if given.is_dir():
        say_what_is_passed_over(given)
    return Series(files, outputs, folder, prompts, force)


def edit_many(
    studio: Studio,
    request: Request,
    series: Series,
    settings: Mapping[str, Any],
    wanted: Callable[[], WantedEdits],
    watch: Stopwatch,
) -> None:
    """Make every picture of a series that is not finished, say what failed, and answer.

    ``settings`` of the edits tell whether what is there is of this series. Raises ``typer.Exit``
    with code 1 if any picture failed, ``KeyboardInterrupt`` after Ctrl-C, once the picture at hand
    is finished.
    """
    from styleclip.portraits.training import finish_the_step

    if request.wish is not None:
        check_wish(studio, request.wish)
    settings = {**_settings(studio, request, series.prompts), **settings}
    tasks = _tasks(series, request, settings)
    edits = wanted() if tasks else None
    made: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    others: list[Task] = []  # made by another run
    finished = before = len(series.files) - len(tasks)
    _sweep_up(series)
    if edits is not None:
        make_folder(series.folder)
        with (
            counting(f"editing {_pictures(len(tasks))}", len(tasks)) as tell,
            finish_the_step(STOPPING) as stopped,
        ):
            for task in _and_once_more(tasks, others):
                if stopped.is_set():
                    break
                try:
                    with claim(task.outputs, _digest(settings, task.file, request)) as ours:
                        now = _task(series, request, task) if ours else None
                        if not ours:
                            _is_anothers(task, request)
                            others.append(task)
                        finished += ours and now is None  # by another run, since we began
                        if now is not None:
                            done = finished - before + len(made) + len(failures)
                            bar = partial(_told, tell, done, task.file.name)
                            made.append(_edited(studio, request, edits, now, watch, bar))
                except StyleclipError as error:
                    failures.append({"file": str(task.file), "error": str(error)})
    for each in failures:
        complain(about(each["file"], each["error"]))
    if others:
        complain(
            f"another run is making {_pictures(len(others))} of these just now, left to it",
            kind="note",
        )
    left = len(series.files) - finished - len(others) - len(made) - len(failures)
    if left:
        complain(f"{_pictures(left)} left: the same command goes on with them", kind="note")
        raise KeyboardInterrupt
    result = {
        "model": studio.model.name,
        "out": str(series.folder),
        "pictures": made,
        "finished_before": finished,
        "made_by_another_run": len(others),
        "failed": failures,
        "warnings": [] if edits is None else list(edits.notes),
        "seconds": watch.seconds,
    }
    told = f"edited {_pictures(len(made))} into {series.folder}"
    told += f", {finished} finished before" if finished else ""
    told += f", {len(failures)} failed" if failures else ""
    answer(result, [told, f"seconds: {watch}"], request.as_json)
    if failures:
        raise typer.Exit(1)


def _and_once_more(tasks: Sequence[Task], others: list[Task]) -> Iterator[Task]:
    """The tasks, and then those that were put by as others': theirs may be killed, or finished."""
    yield from tasks
    again = others.copy()
    others.clear()
    yield from again


def _edited(
    studio: Studio,
    request: Request,
    edits: WantedEdits,
    task: Task,
    watch: Stopwatch,
    bar: Callable[[str], OnStep],
) -> dict[str, Any]:
    """One picture of many, made; for --json."""
    from styleclip import images

    with naming(str(task.file)):
        own = replace(request, file=task.file, picture=images.open_picture(task.file))
        own = replace(own.opened(studio), run=_digest(task.settings, task.file, request))
        return {"file": str(task.file), **make(studio, own, edits, task.outputs, watch, bar)}


def _told(tell: Callable[[int, str], None], done: int, name: str, title: str) -> OnStep:
    """Progress within a picture, said by the bar of all."""
    tell(done, f"{name}: {title}")
    return lambda step, steps, _: tell(done, f"{name}: {step} of {steps}, {title}")


def _tasks(series: Series, request: Request, settings: Mapping[str, Any]) -> list[Task]:
    """What is left to do. Raises ``ArgumentError`` for outputs that are there and not of this run.

    With ``series.force`` those are made again, too; finished ones never are. What another run of
    other settings makes just now is an error all the same.
    """
    left = []
    for file, outputs in zip(series.files, series.outputs, strict=True):
        task = Task(file, outputs, settings)
        # what another run has half made is looked at in its turn
        now = task if _is_anothers(task, request) else _task(series, request, task)
        left += [] if now is None else [now]
    return left


def _is_anothers(task: Task, request: Request) -> bool:
    """Whether another run makes it just now. Raises ``ArgumentError`` if by other settings."""
    theirs = claimed_by(task.outputs)
    run = _digest(task.settings, task.file, request) if theirs else ""
    if run and theirs != run:
        raise ArgumentError(
            f"another run is making {task.outputs.pictures[0]} just now, with other settings, or "
            "of another picture: choose another folder with --out"
        )
    return theirs is not None


def _task(series: Series, request: Request, task: Task) -> Task | None:
    """A task as it stands now; None if it is finished. Raises as ``_tasks`` does."""
    there = [path for path in task.outputs if os.path.exists(path)]  # none, of too long a name
    run = _digest(task.settings, task.file, request) if there else ""
    runs = {path: _run_of(path) for path in task.outputs.pictures if path in there}
    ours = bool(runs) and set(runs.values()) == {run}  # finished, or killed on the way
    if ours and len(there) == len(list(task.outputs)):
        return None
    if run and not ours and not series.force:
        other = next((path for path, theirs in runs.items() if theirs != run), there[0])
        reason = _difference(other, task.settings, request, series.prompts)
        raise ArgumentError(
            f"{other} is there already, {reason}: --force makes it again, or choose another "
            "folder with --out"
        )
    return replace(task, outputs=replace(task.outputs, force=bool(there)))


def how_settings(studio: Studio, how: How) -> dict[str, Any]:
    """A method and what it uses, as values of JSON: files by what is in them."""
    from styleclip.checkpoints import SavedMapper, tensors_hash
    from styleclip.editing.relevance import Relevance

    config: Any = how.config
    if isinstance(config, SavedMapper):
        config = tensors_hash(config.network.state_dict())
    elif is_dataclass(config) and not isinstance(config, type):
        config = {"kind": type(config).__name__, **asdict(config)}
    relevance: Any = how.relevance
    if isinstance(relevance, Relevance):
        relevance = tensors_hash({"matrix": relevance.matrix, "std": relevance.std})
    fit = None if how.fit is None else asdict(how.fit)
    return {
        **studio.hashes("clip"),
        "config": config,
        "relevance": relevance,
        "preserve": list(how.preserve),
        "fit": fit,
        "identity": str(studio.identity_by),
    }


def edits_settings(edits: Sequence[Edit]) -> dict[str, Any]:
    """The same of edits from files."""
    from styleclip.checkpoints import tensors_hash

    steps = [{"w_plus": each.w_plus_step, "style": each.style_step} for each in edits]
    return {
        "edits": [
            tensors_hash({name: step for name, step in each.items() if step is not None})
            for each in steps
        ]
    }


def _check_landmarks(landmarks: str | None) -> None:
    if landmarks in (None, "auto"):
        return
    path = Path(str(landmarks))
    if not path.is_dir() and not (path.suffix == ".task" and path.is_file()):
        raise ArgumentError(
            f"of many pictures --landmarks is a folder with a JSON file for each, named as the "
            f"picture is (or 'auto', or mediapipe's .task file); got {landmarks}"
        )


def _check_apart(files: Sequence[Path], outputs: Sequence[Outputs]) -> None:
    """Raise ``ArgumentError`` if two pictures would write the same file, or one over another."""
    owners: dict[Path, Path] = {}
    for file, planned in zip(files, outputs, strict=True):
        for path in planned:
            other = owners.setdefault(path, file)
            if other is not file:
                both = (
                    f"{other} is there twice: it" if other == file else f"{other} and {file} both"
                )
                raise ArgumentError(
                    f"{both} would write {path}: rename one, or edit them into two folders"
                )
    inputs = {os.path.realpath(file) for file in files}
    for path in owners:
        if os.path.realpath(path) in inputs:
            raise ArgumentError(
                f"{path} would be written over a picture that is edited: choose another --out"
            )


def _settings(studio: Studio, request: Request, prompts: Sequence[PromptPair]) -> dict[str, Any]:
    """What all pictures of a run share, whoever finds the edits."""
    wish = request.wish
    return {
        **studio.hashes("generator", *(("encoder",) if studio.encoder is not None else ())),
        "prompts": [str(each) for each in prompts],
        "strengths": request.strengths_of(len(prompts)),
        "stack": request.stack,
        "refine": request.refine,
        "reinvert": request.reinvert,
        "tune": request.tune,
        "recipe": not request.no_recipe,
        "photo": None if wish is None else [wish.face, wish.blend],
    }


def _digest(settings: Mapping[str, Any], file: Path, request: Request) -> str:
    """What marks the outputs of a file; "" if it cannot be read, which is said in its turn."""
    from styleclip.checkpoints import file_hash

    inputs = [file]
    if request.wish is not None and request.wish.landmarks not in (None, "auto"):
        inputs.append(Path(str(request.wish.of(file).landmarks)))
    try:
        own = [file_hash(path) for path in inputs]
    except (OSError, ValueError, StyleclipError):
        return ""
    text = json.dumps([settings, own], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _run_of(path: Path) -> str:
    from styleclip import images

    try:
        return images.read_run(path)
    except ImageError:
        return ""


def _difference(
    path: Path, settings: Mapping[str, Any], request: Request, prompts: Sequence[PromptPair]
) -> str:
    """How what is there came about, as far as its recipe says; a part of a sentence."""
    from styleclip import images
    from styleclip.recipe import Recipe

    try:
        recipe = Recipe.from_json(images.read_recipe(path))
    except ImageError:
        return "and nothing in it says that this command made it"
    ours = {part: settings.get(part) for part in ("generator", "clip")}
    if any(recipe.hashes.get(part, value) != value for part, value in ours.items()):
        return "made with the weights of another model"
    new = recipe.edits[-len(prompts) :] if request.stack else recipe.edits[-1:]
    asked = {str(each) for each in prompts}
    if not {str(edit.prompt) for edit, _ in new} <= asked:
        return f"made for other prompts ({', '.join(str(edit.prompt) for edit, _ in new)})"
    strengths = set(request.strengths_of(len(prompts)))
    if not {strength for _, strength in new} <= strengths:
        return f"made with strength {', '.join(f'{strength:g}' for _, strength in new)}"
    return "made with other settings, or of another picture"


def _sweep_up(series: Series) -> None:
    """Remove what a killed run had half written, long enough ago that nobody writes it now.

    And its claim.
    """
    from styleclip.images import is_unfinished

    for outputs in series.outputs:
        claimed_by(outputs)
    planned = [path for outputs in series.outputs for path in outputs]
    for path in series.folder.glob(".*.part"):
        with suppress(OSError):  # another run renames its own just now
            old = time.time() - path.stat().st_mtime > STALE
            if old and any(is_unfinished(path.name, each) for each in planned):
                path.unlink()


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
