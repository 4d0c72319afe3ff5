"""Who computes when: short things at once, long ones between them, and anything can be stopped.

Turns   a lock that is given in the order of asking; long work passes it on after every step
Job     work in a thread of its own:  for news in job: ...;  job.result
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from styleclip.errors import StyleclipError

if TYPE_CHECKING:
    from torch import Tensor

    from styleclip.clip.embedder import Embedder

Result = TypeVar("Result")


class StoppedError(StyleclipError):
    """Somebody pressed Stop, or left."""


class Turns:
    """One thread at a time, first come, first served."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False

    def __enter__(self) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                mine = None
            else:
                mine = threading.Lock()
                mine.acquire()
                self._waiting.append(mine)
        if mine is not None:
            mine.acquire()  # whoever leaves opens it, and the turn is ours
        _quick_small_numbers()

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False

    def pass_on(self) -> None:
        """Let everybody who waits now go first."""
        self.__exit__()
        self.__enter__()


class PoliteEmbedder:
    """An embedder that lets others in (``let_in``) before it looks at pictures.

    What computes for long looks at them between the halves of a step, and while it gets ready.
    """

    def __init__(self, embedder: Embedder, let_in: Callable[[], None]) -> None:
        self.embedder = embedder
        self.image_size = embedder.image_size
        self.let_in = let_in

    def embed_images(self, images: Tensor) -> Tensor:
        """Images [B,3,H,W] -> unit vectors [B,E]."""
        self.let_in()
        return self.embedder.embed_images(images)

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """The same of pixels that are prepared."""
        self.let_in()
        return self.embedder.embed_pixels(pixels)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors [N,E]."""
        return self.embedder.embed_texts(texts)


def _quick_small_numbers() -> None:
    """Denormals slow small networks down several times; the setting belongs to a thread."""
    import torch

    torch.set_flush_denormal(True)


@dataclass(frozen=True)
class News:
    """How far a job is, and what it has to show (a picture, as a page shows it)."""

    step: int
    steps: int
    title: str = ""
    picture: str | None = None


class Job(Generic[Result]):
    """``work(job)`` in a thread; it calls ``tell`` now and then, where it may be stopped.

    Iterating yields the newest ``News`` (older ones are dropped), and raises what the work raised,
    ``StoppedError`` too. Leaving the loop early stops the work.
    """

    def __init__(self, work: Callable[[Job[Result]], Result], stop: threading.Event) -> None:
        self.stop = stop
        self._news: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self._result: list[Result] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def tell(self, news: News) -> None:
        """For the work: say how far it is. Raises ``StoppedError`` if it is not wanted any more."""
        self._news.put(news)
        self.go_on()

    def go_on(self) -> None:
        """For the work: raise ``StoppedError`` if it is not wanted any more."""
        if self.stop.is_set():
            raise StoppedError("stopped")

    @property
    def result(self) -> Result:
        """What the work returned, after the last news."""
        return self._result[0]

    def __iter__(self) -> Iterator[News]:
        try:
            over = False
            while not over:
                newest = self._news.get()
                over = newest is None
                while not self._news.empty():
                    later = self._news.get()
                    over = over or later is None
                    newest = later or newest
                if newest is not None:
                    yield newest
            if self._failure is not None:
                raise self._failure
        finally:
            if not self._result and self._failure is None:  # left early
                self.stop.set()

    def _run(self, work: Callable[[Job[Result]], Result]) -> None:
        try:
            self._result.append(work(self))
        except BaseException as error:  # told to whoever iterates
            traceback.clear_frames(error.__traceback__)  # networks and gradients go now
            self._failure = error
        finally:
            self._news.put(None)
