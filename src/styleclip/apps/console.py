"""What the commands share: where text goes, progress with time left, the device, the time taken.

Results go to stdout and everything else to stderr, so that ``--json`` leaves one object on stdout.
Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

from styleclip.errors import CheckpointWarning

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress, TaskID

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, figures

LOG_EVERY = 60.0  # seconds

_about: ContextVar[str] = ContextVar("about", default="")  # the file of many that is at hand


def complain(sentence: str, kind: str = "error") -> None:
    """One line on stderr, whatever line breaks the sentence had."""
    sentence = about(_about.get(), sentence)
    print(f"styleclip: {kind}: {' '.join(sentence.split())}", file=sys.stderr)


def about(name: str, sentence: str) -> str:
    """The sentence, with the file that it is about in front unless it names it."""
    return sentence if name in sentence else f"{name}: {sentence}"


@contextmanager
def naming(name: str) -> Iterator[None]:
    """What is complained about meanwhile is about this file, one of many."""
    token = _about.set(name)
    try:
        yield
    finally:
        _about.reset(token)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """What files leave open (``CheckpointWarning``) is said like any complaint."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        usual = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if issubclass(category, CheckpointWarning):
                complain(str(message), kind="warning")
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def answer(result: Mapping[str, Any], lines: list[str], as_json: bool) -> None:
    """The result of a command on stdout: one JSON object, or lines for people."""
    print(json.dumps(result) if as_json else "\n".join(lines))


@contextmanager
def progress() -> Iterator[Callable[[str], OnStep]]:
    """Yields ``bar(name) -> on_step``: bars on stderr, or a line a minute where it is a log."""
    with _display() as display:
        log = _Log(display)

        def bar(name: str) -> OnStep:
            task = display.add_task(name, total=None, figures="")

            def on_step(step: int, steps: int, figures: Mapping[str, float]) -> None:
                shown = "  ".join(f"{key} {value:.3g}" for key, value in figures.items())
                display.update(task, completed=step, total=steps, figures=shown)
                log(task)

            return on_step

        yield bar


@contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """One bar for many things: yields ``tell(done, what is at hand)``."""
    with _display() as display:
        log = _Log(display)
        task = display.add_task(title, total=total, figures="")

        def tell(done: int, text: str) -> None:
            display.update(task, completed=done, figures=text)
            log(task)

        yield tell


def _display() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    # what is at hand gets the room that is left, however long it is
    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False, table_column=rest),
    )  # fmt: skip
    console = Console(stderr=True)
    return Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, expand=True,
        speed_estimate_period=600,
    )  # fmt: skip


class _Log:
    """Where no bar can be drawn, a line a minute: hours of training are watched in a file."""

    def __init__(self, display: Progress) -> None:
        self.display = display
        self.said = time.monotonic()

    def __call__(self, number: TaskID) -> None:
        now = time.monotonic()
        if not self.display.disable or now - self.said < LOG_EVERY:
            return
        self.said = now
        task = next(task for task in self.display.tasks if task.id == number)
        seconds = task.time_remaining
        left = "" if seconds is None else f", {max(1, round(seconds / 60))} min left"
        of = "" if task.total is None else f" of {task.total:g}"
        figures = f"  {task.fields['figures']}".rstrip()
        complain(f"{task.completed:g}{of}{left}{figures}", kind=task.description)


class Stopwatch:
    """Seconds by the name of what took them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """The time since the last lap, or since the start, belongs to ``name``."""
        now = time.perf_counter()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._last, 3)
        self._last = now

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())


def pick_device(name: str) -> torch.device:
    """ "auto" takes cuda, else mps, else cpu. Raises ``ArgumentError`` for one that is not here."""
    import torch

    from styleclip.devices import find_device

    torch.set_flush_denormal(True)  # denormals slow small networks down several times
    return find_device(name)
