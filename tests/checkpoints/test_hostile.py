"""Nothing gets in: hostile and damaged files are refused in one sentence, and nothing runs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleclip.checkpoints import (
    load_clip,
    load_encoder,
    load_generator,
    load_identity,
    load_mapper,
    read_weights,
)
from styleclip.checkpoints.arrays import read_array
from styleclip.checkpoints.inspection import inspect
from styleclip.checkpoints.pickles import read_plain
from styleclip.errors import CheckpointError
from tests.checkpoints import hostile
from tests.reference.networks import VECTORS

CORPUS = hostile.corpus(Path("canary"))  # in the working directory
BOMBS = hostile.bombs()
INERT = hostile.inert(Path("canary"))
SAMPLES = hostile.samples()


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Exists as soon as something ran."""
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "canary"
    monkeypatch.setattr(os, "system", lambda *_: canary.touch())
    return canary


def refused(read: Callable[[Path], Any], file: Path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(CheckpointError) as error:
        read(file)
    message = str(error.value)
    assert message.startswith(str(file))
    assert message.isprintable()
    assert len(message) < len(str(file)) + 400
    return message


@pytest.mark.parametrize("name", [name for name in CORPUS if name not in BOMBS])
@pytest.mark.usefixtures("canary")
def test_a_hostile_file_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CORPUS[name])
    for read in (read_weights, load_generator, inspect, read_array):
        refused(read, file)
    if name.startswith("npy"):
        refused(read_plain, file)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file"]


PATIENT = """
import faulthandler, json, sys
from pathlib import Path
from styleclip.checkpoints import load_generator, read_weights
from styleclip.checkpoints.arrays import read_array
from styleclip.checkpoints.inspection import inspect
from styleclip.errors import CheckpointError

for file in map(Path, sys.argv[2:]):
    answers = []
    for read in (read_weights, load_generator, inspect, read_array):
        faulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)  # from within C, too
        try:
            read(file)
        except CheckpointError as error:
            answers.append(str(error))
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(answers), flush=True)
"""
LONGEST = 60.0  # seconds for one reader: a bound against waiting for ever, not a measurement


@pytest.fixture(scope="module")
def of_bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The sentences on each bomb, read in a process that ends itself where a bomb goes off."""
    folder = tmp_path_factory.mktemp("bombs")
    names = list(BOMBS)
    files = [folder / f"bomb{i}" for i in range(len(names))]
    for file, name in zip(files, names, strict=True):
        file.write_bytes(BOMBS[name])
    answers: list[list[str]] = []
    while len(answers) < len(files):
        rest = list(map(str, files[len(answers) :]))
        command = [sys.executable, "-c", PATIENT, str(LONGEST), *rest]
        done = subprocess.run(command, capture_output=True, text=True)
        answers += map(json.loads, done.stdout.splitlines())
        if done.returncode != 0:
            answers.append([])  # of the one that it ended at
    return dict(zip(names, answers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_one_sentence(name: str, of_bombs: dict[str, list[str]]) -> None:
    answers = of_bombs[name]
    assert len(answers) == 4, "it went off, or was read"
    assert all(each.isprintable() and len(each) < 600 for each in answers)


def test_of_two_entries_of_one_name_none_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CORPUS["zip: one name twice"])
    assert "several entries of one name" in refused(read_weights, tmp_path / "file")


@pytest.mark.parametrize("name", INERT)
def test_what_is_unknown_stays_inert(name: str, tmp_path: Path, canary: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(INERT[name])
    read_weights(file)
    read_plain(file)
    for load in (load_generator, load_clip, load_mapper, load_encoder, load_identity, inspect):
        refused(load, file)
    assert not canary.exists()


def test_an_attack_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CORPUS["os.system"])
    assert refused(read_weights, tmp_path / "file").endswith(
        "was not read, and nothing in it was run, because it names os.system, which no weights "
        "need: do not use this file, it looks like an attack"
    )


LIMITED = """
import encodings.cp437, json, os, resource, sys, time  # the codec of zip archives
from pathlib import Path
import torch
import styleclip.checkpoints as checkpoints
from styleclip.checkpoints.pickles import read_plain
from styleclip.errors import CheckpointError

folder = Path(sys.argv[1])
for each in sorted(folder.glob("good-*")):  # what is imported late, is imported now
    for read in (checkpoints.read_weights, read_plain, checkpoints.load_generator):
        try:
            read(each)
        except CheckpointError:
            pass
os.chdir(folder.parent)
events, head = [], b""
def watch(event, args):
    started = event in {"exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn",
                        "os.fork", "subprocess.Popen", "socket.connect", "pickle.find_class",
                        "os.mkdir", "os.remove", "os.rename", "marshal.loads", "ctypes.dlopen"}
    written = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    # numpy parses a header as a literal, which compiles but does not execute
    literal = event == "compile" and head.startswith(b"\\x93NUMPY")
    if (started or written) and not literal:
        events.append(f"{event} {str(args)[:200]}")
sys.addaudithook(watch)
memory = Path("/proc/self/statm")
if memory.exists():  # elsewhere there is no telling what is used already
    used = int(memory.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
slowest, outcomes = 0.0, {}
for each in sorted(folder.glob("bad-*")):
    head = each.read_bytes()[:6]
    for read in (checkpoints.read_weights, read_plain):
        started = time.process_time()
        try:
            read(each)
            outcome = "read"
        except CheckpointError:
            outcome = "refused"
        except BaseException as error:
            outcome = repr(error)
        slowest = max(slowest, time.process_time() - started)
        outcomes.setdefault(outcome, []).append(each.name)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"outcomes": outcomes, "slowest": slowest, "events": events, "peak": peak}))
"""


@pytest.mark.slow
def test_time_and_memory_are_bounded_and_nothing_is_started(tmp_path: Path) -> None:
    """A gigabyte above what was used before; every event that Python reports is watched."""
    folder = tmp_path / "files"
    folder.mkdir()
    for i, content in enumerate((CORPUS | INERT).values()):
        (folder / f"bad-{i:03}").write_bytes(content)
    for name, content in SAMPLES.items():
        (folder / f"good-{name}").write_bytes(content)
    command = [sys.executable, "-c", LIMITED, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["outcomes"]) <= {"refused", "read"}, result["outcomes"]
    assert result["events"] == [], "\n".join(e[:90] for e in result["events"])
    assert [each.name for each in tmp_path.iterdir()] == ["files"]
    # a bound against waiting for ever, not a measurement: a million instructions take seconds
    assert result["slowest"] < 60


# --- damage -------------------------------------------------------------------


def readers(name: str) -> Callable[[Path], Any]:
    return read_plain if name in ("npy", "arrays") else read_weights


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_good(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(SAMPLES[name])
    readers(name)(tmp_path / "file")


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("tenth", range(10))
def test_a_sample_cut_at_every_tenth_is_refused(name: str, tenth: int, tmp_path: Path) -> None:
    whole = SAMPLES[name]
    (tmp_path / "file").write_bytes(whole[: len(whole) * tenth // 10])
    refused(readers(name), tmp_path / "file")


@pytest.mark.parametrize(
    "file", ["stylegan2-ada.pkl", "stylegan2-rosinality.pt", "stylegan2-ada.safetensors"]
)
@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_network_cut_at_every_tenth_is_refused(file: str, tenth: int, tmp_path: Path) -> None:
    whole = (VECTORS / file).read_bytes()
    (tmp_path / "file").write_bytes(whole[: len(whole) * tenth // 10])
    refused(load_generator, tmp_path / "file")


@pytest.mark.parametrize("name", SAMPLES)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_flipped_bits_are_refused_or_harmless(
    name: str, data: st.DataObject, tmp_path: Path, canary: Path
) -> None:
    """A flip within numbers that have no checksum is only another number."""
    changed = bytearray(SAMPLES[name])
    flips = st.tuples(st.integers(0, len(changed) - 1), st.integers(0, 7))
    for place, bit in data.draw(st.lists(flips, min_size=1, max_size=4)):
        changed[place] ^= 1 << bit
    (tmp_path / "file").write_bytes(changed)
    for read in (read_weights, read_plain, load_generator):
        with contextlib.suppress(CheckpointError):
            read(tmp_path / "file")
    assert not canary.exists()
