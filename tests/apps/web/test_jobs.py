"""Turns are taken in order, long work lets others in, and jobs can be watched and stopped."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator, Sequence

import pytest
import torch

from styleclip.apps.web.jobs import Job, News, PoliteEmbedder, StoppedError, Turns


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)  # turns set it


def waits_for(condition: object, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.001)


def test_turns_are_taken_in_the_order_of_asking() -> None:
    turns, order = Turns(), list[int]()

    def ask(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    with turns:
        for i, thread in enumerate(threads):
            thread.start()
            waits_for(lambda i=i: len(turns._waiting) == i + 1)
    for thread in threads:
        thread.join(10)
    assert order == list(range(8))


def test_nobody_has_the_turn_beside_another() -> None:
    turns, inside, most = Turns(), [0], [0]

    def work() -> None:
        for _ in range(50):
            with turns:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                turns_off = inside[0]
                time.sleep(0)
                assert turns_off == inside[0]
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1] and not turns._taken


def test_an_error_gives_the_turn_back() -> None:
    turns = Turns()
    with pytest.raises(KeyError), turns:
        raise KeyError
    with turns:
        pass


def test_long_work_lets_those_in_who_wait() -> None:
    turns, order = Turns(), list[str]()

    def quick() -> None:
        with turns:
            order.append("quick")

    with turns:
        order.append("long 1")
        thread = threading.Thread(target=quick)
        thread.start()
        waits_for(lambda: len(turns._waiting) == 1)
        turns.pass_on()
        order.append("long 2")
        turns.pass_on()  # nobody waits: it goes on
    thread.join(10)
    assert order == ["long 1", "quick", "long 2"]


def test_a_job_tells_its_news_and_returns_its_result() -> None:
    def work(job: Job[str]) -> str:
        for step in range(3):
            job.tell(News(step + 1, 3))
            time.sleep(0.01)
        return "done"

    job = Job(work, threading.Event())
    steps = [news.step for news in job]
    assert steps[-1] == 3 and steps == sorted(set(steps))
    assert job.result == "done"


def test_old_news_are_dropped() -> None:
    told = threading.Event()

    def work(job: Job[None]) -> None:
        for step in range(100):
            job.tell(News(step, 100))
        told.set()

    job = Job(work, threading.Event())
    told.wait(10)
    time.sleep(0.05)
    assert [news.step for news in job] == [99]


def test_a_job_raises_what_its_work_raised() -> None:
    def work(job: Job[None]) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(Job(work, threading.Event()))


def endless(job: Job[None]) -> None:
    while True:
        job.tell(News(1, 1))
        time.sleep(0.001)


def test_stop_ends_a_job() -> None:
    stop = threading.Event()
    news = iter(Job(endless, stop))
    next(news)
    stop.set()
    with pytest.raises(StoppedError):
        list(news)


def test_what_a_stopped_job_computed_with_is_freed_at_once() -> None:
    """Its error and its frames hold each other: a training would stay until some collection."""
    held: list[weakref.ref[torch.Tensor]] = []

    def work(job: Job[None]) -> None:
        large = torch.zeros(10)
        held.append(weakref.ref(large))
        endless(job)
        large.add_(1)

    gc.disable()
    try:
        stop = threading.Event()
        job = Job(work, stop)
        stop.set()
        with pytest.raises(StoppedError):
            list(job)
        assert held[0]() is None
    finally:
        gc.enable()


def test_a_job_that_nobody_watches_any_more_stops() -> None:
    stop = threading.Event()
    job = Job(endless, stop)
    watching = iter(job)
    next(watching)
    watching.close()  # type: ignore[attr-defined]  # a generator
    assert stop.is_set()
    job._thread.join(10)
    assert not job._thread.is_alive()


class Eyes:
    image_size = 8

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        return images + 1

    def embed_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels + 2

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.zeros(len(texts))


def test_a_polite_embedder_lets_others_in_before_every_look() -> None:
    let_in = list[int]()
    polite = PoliteEmbedder(Eyes(), lambda: let_in.append(1))
    assert polite.image_size == 8 and len(polite.embed_texts(["a", "b"])) == 2 and not let_in
    assert float(polite.embed_images(torch.ones(()))) == 2 and len(let_in) == 1
    assert float(polite.embed_pixels(torch.ones(()))) == 3 and len(let_in) == 2
