"""The fuzzer runs, and notices what it is there for."""

from __future__ import annotations

import contextlib
import io
import os
import random
import zipfile
from pathlib import Path

import pytest

from styleclip import checkpoints
from tests.checkpoints import hostile
from tests.fuzz import readers


@pytest.mark.slow
def test_mutations_of_the_samples(tmp_path: Path) -> None:
    tried, found = readers.by_mutations(3600, seed=0, file=tmp_path / "file", most=200)
    assert tried == 200
    assert found > 0


def test_mutations_are_the_same_for_the_same_seed() -> None:
    inputs = readers.seeds()
    first, second = (
        [readers.mutated(random.Random(seed), inputs) for seed in range(20)] for _ in range(2)
    )
    assert first == second
    assert sum(each not in inputs for each in first) > 10


def test_samples_are_of_every_layout_and_changes_come_as_far_as_their_readers() -> None:
    """A change that a checksum or a length gives away tests nothing behind it."""
    inputs = readers.seeds()
    assert sum(each.startswith(b"PK") for each in inputs) > 50
    assert sum(each[8:9] == b"{" for each in inputs) > 50
    draw = random.Random(0)
    archives = [each for each in inputs if each.startswith(b"PK") and len(each) > 1000]
    kinds = {b"PK": archives, b"{": [each for each in inputs if each[8:9] == b"{"]}
    for start, chosen in kinds.items():
        changed = [readers.mutated(draw, chosen) for _ in range(40)]
        whole = 0
        for each in changed:
            if start == b"PK":
                with contextlib.suppress(Exception):
                    whole += zipfile.ZipFile(io.BytesIO(each)).testzip() is None
            else:
                whole += 8 + int.from_bytes(each[:8], "little") <= len(each)
        assert whole > 15


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
