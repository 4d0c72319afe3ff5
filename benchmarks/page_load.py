"""The page with ten people at once: sliders, new sentences, optimising, a training that is stopped.

  people x (open, slide, ask, slide ...) while one trains, one optimises, one drops a picture
Each answer is compared with the one that somebody alone gets. A round is ten new people who come,
work and leave; the server's memory is read after each. Fair: how often any one other was served
while somebody waited for one answer, and whether long works of several people are done in the order
in which they were asked for.                    python benchmarks/page_load.py [ROUNDS] [PEOPLE]
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.page import serving
from benchmarks.person import Person

RESULT = Path(__file__).parent / "results" / "page_load.json"
SENTENCES = ("a face with glasses", "an old face", "a smiling face", "a face with a beard",
             "a face with blond hair")  # fmt: skip
LINE = (2, 0, 1)  # seeds of those who optimise at the same time, in the order of asking
FIRST_PREVIEW = 1  # answer of an optimisation: the one before says that it waits
SLIDES = 6  # a person and sentence
Key = tuple[int, int, float]  # seed, sentence, strength


@dataclass
class Round:
    """What happened: milliseconds of each kind, pictures by what they show, who was served when."""

    times: dict[str, list[float]] = field(default_factory=dict)
    pictures: dict[Key, str] = field(default_factory=dict)
    served: list[int] = field(default_factory=list)
    slides: dict[int, list[int]] = field(default_factory=dict)  # of whom, where in ``served``
    lost: list[str] = field(default_factory=list)
    previews: dict[str, int] = field(default_factory=dict)

    def timed(self, kind: str, act: Callable[[], None]) -> None:
        started = time.perf_counter()
        act()
        self.times.setdefault(kind, []).append(1000 * (time.perf_counter() - started))

    @property
    def overtaken(self) -> int:
        """The most turns of any one other between two slides of somebody."""
        most = 0
        for who, places in self.slides.items():
            for a, b in pairwise(places):
                between = Counter(self.served[a + 1 : b])
                between.pop(who, None)
                most = max([most, *between.values()])
        return most


def shift(address: str, number: int, round_: Round, begin: threading.Barrier) -> None:
    """One person's visit. The first trains and stops, the second optimises, the third drops."""
    try:
        with Person(address) as person:
            round_.timed("open", lambda: person.open(f"?seed={number}&to=a+face+with+red+hair"))
            begin.wait(300)
            if number == 0:
                trained(person, round_)
            elif number == 1:
                optimised(person, round_)
            elif number == 2:
                dropped(person, round_)
            else:
                slid(person, number, round_)
    except Exception as error:  # it counts
        round_.lost.append(f"person {number}: {type(error).__name__}: {error}")


def slid(person: Person, number: int, round_: Round) -> None:
    """Two sentences, and the slider of each moved to and fro."""
    for sentence in (number % len(SENTENCES), (number + 2) % len(SENTENCES)):
        round_.timed("sentence", lambda sentence=sentence: person.say(SENTENCES[sentence]))
        for step in range(SLIDES):
            strength = round(-4 + 1.5 * step, 1)
            round_.timed("slide", lambda strength=strength: person.slide(strength))
            round_.slides.setdefault(number, []).append(len(round_.served))
            round_.served.append(number)
            assert person.stage["title"] == f"{SENTENCES[sentence]} {strength:g}", person.stage
            round_.pictures[number, sentence, strength] = person.stage["after"]


def trained(person: Person, round_: Round) -> None:
    """A training that is stopped after its second news; all is as it was."""
    before = person.stage["after"]
    for count, _ in enumerate(person.watch("train-1", "click")):
        round_.previews["train"] = count
        if count == 2:
            person.do("stage", "stop")
    assert "Stopped" in person.stage["note"] and person.stage["after"] == before


def optimised(person: Person, round_: Round) -> None:
    """Every step shows a picture."""
    person.do("method-1", "input", "optimisation")
    seen = {person.stage["after"] for _ in person.watch("run-1", "click")}
    round_.previews["optimise"] = len(seen)
    assert person.stage["title"] == "a face with red hair 1"
    round_.pictures[1, -1, 1.0] = person.stage["after"]


def in_line(address: str, order: Sequence[int]) -> dict[str, list[int]]:
    """Somebody of each number of ``order`` asks for an optimisation, one just after the other.

    Who had the first preview when, and who was done when. The first asks again when it is done,
    while the others wait.
    """
    seen: dict[str, list[int]] = {"begun": [], "done": []}

    def optimise(person: Person, number: int) -> None:
        for count, _ in enumerate(person.watch("run-1", "click")):
            if count == FIRST_PREVIEW:
                seen["begun"].append(number)
        seen["done"].append(number)

    def visit(person: Person, number: int) -> None:
        optimise(person, number)
        if number == order[0]:
            optimise(person, number)

    with ExitStack() as open_yet:
        threads = []
        people = {n: open_yet.enter_context(Person(address)) for n in order}
        for number, person in people.items():
            person.open(f"?seed={number}&to=a+face+with+red+hair")
            person.do("method-1", "input", "optimisation")
        for number, person in people.items():
            person.joined.clear()
            threads.append(threading.Thread(target=visit, args=(person, number)))
            threads[-1].start()
            assert person.joined.wait(60)
        for thread in threads:
            thread.join(300)
    return seen


def dropped(person: Person, round_: Round) -> None:
    """A saved picture, dropped again: its recipe brings it back."""
    import base64

    person.slide(3.0)
    wanted = person.stage["after"]
    (saved,) = person.do("save-png", "click")
    person.do("dice", "click", 0.7)
    round_.timed(
        "drop", lambda: person.drop(base64.b64decode(saved["data"].partition(",")[2]), "me.png")
    )
    assert "recipe" in person.stage["note"] and person.stage["title"] == "a face with red hair 3"
    round_.pictures[2, -1, 3.0] = wanted if same(wanted, person.stage["after"]) else ""


def same(one: str, other: str) -> bool:
    """Whether two pictures differ by rounding at most."""
    import base64

    import numpy as np
    from PIL import Image

    arrays = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2]))), np.int16)
        for each in (one, other)
    ]
    return bool(np.abs(arrays[0] - arrays[1]).max() <= 2)


def one_round(address: str, people: int) -> Round:
    """So many people at once."""
    round_, begin = Round(), threading.Barrier(people)
    threads = [
        threading.Thread(target=shift, args=(address, number, round_, begin))
        for number in range(people)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round_


def alone(address: str, keys: list[Key]) -> dict[Key, str]:
    """The same pictures, asked for by one after the other."""
    found = {}
    for number, sentence, strength in keys:
        if sentence < 0:
            continue
        with Person(address) as person:
            person.do("0", "load", f"?seed={number}&to=a+face+with+red+hair")
            person.say(SENTENCES[sentence])
            person.slide(strength)
            found[number, sentence, strength] = person.stage["after"]
    return found


def resident(pid: int) -> float:
    """The memory of a process, in MB."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True)
    return int(told.stdout) / 1024


def run(rounds: int = 5, people: int = 10) -> dict[str, Any]:
    """The figures of some rounds."""
    with serving() as (address, process):
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        one_round(address, people)  # what is loaded once
        memory, all_ = [resident(process.pid)], list[Round]()
        for _ in range(rounds):
            all_.append(one_round(address, people))
            memory.append(resident(process.pid))
        keys = sorted(all_[-1].pictures)[:: max(1, len(all_[-1].pictures) // 20)]
        by_one = alone(address, keys)
        line = in_line(address, LINE)
    slides = sorted(each for round_ in all_ for each in round_.times.get("slide", []))
    return {
        "people": people,
        "rounds": rounds,
        "lost": [each for round_ in all_ for each in round_.lost],
        "slides": len(slides),
        "slide_median_ms": round(median(slides), 1),
        "slide_most_ms": round(slides[-1], 1),
        "overtaken_at_most": max(round_.overtaken for round_ in all_),
        "long_works_in_order": line["done"] == [*LINE, LINE[0]],
        "compared_with_alone": len(by_one),
        "different_from_alone": sum(all_[-1].pictures[key] != by_one[key] for key in by_one),
        "memory_mb": [round(each) for each in memory],
        "memory_mb_a_person": round((memory[-1] - memory[1]) / (rounds - 1) / people, 2),
    }


def kept(figures: dict[str, Any]) -> dict[str, Any]:
    """Written to results/page_load.json."""
    result = {"command": "python benchmarks/page_load.py", "cores": os.cpu_count(), **figures}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    for name, value in kept(run(*map(int, sys.argv[1:3]))).items():
        print(f"{name:24}{value}")
