"""The fuzzer runs, and notices what it is there for."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from styleclip import checkpoints
from tests.checkpoints import hostile
from tests.fuzz import readers


def test_a_few_mutations_of_every_sample(tmp_path: Path) -> None:
    tried, found = readers.by_mutations(seconds=1.0, seed=0, file=tmp_path / "file")
    assert tried > 5
    assert found > 0


def test_mutations_are_the_same_for_the_same_seed() -> None:
    inputs = readers.seeds()
    first, second = (
        [readers.mutated(random.Random(seed), inputs) for seed in range(20)] for _ in range(2)
    )
    assert first == second
    assert sum(each not in inputs for each in first) > 10


def test_another_exception_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(path: Path) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(checkpoints, "read_weights", careless)
    with pytest.raises(readers.Failed, match="careless: IndexError"):
        readers.check(hostile.samples()["zip"], tmp_path / "file")


def test_a_program_that_starts_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "read_weights", lambda path: os.system("true"))
    with pytest.raises(readers.Failed, match=r"os\.system"):
        readers.check(hostile.samples()["zip"], tmp_path / "file")


def test_a_written_file_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "read_weights", lambda path: path.write_bytes(b""))
    with pytest.raises(readers.Failed, match="open"):
        readers.check(hostile.samples()["zip"], tmp_path / "file")
