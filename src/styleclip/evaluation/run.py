"""The whole evaluation: rows x files x prompts, one small file of records each, then the figures.

A run keeps its records in a folder and goes on where it was stopped; the folder remembers what was
asked of it (models, seeds, prompts), so records of two different questions never mix.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.evaluation.prompts import PromptFile, assign_pictures
from styleclip.evaluation.protocol import Judges, Pictures, Record, Row, World, run_prompt
from styleclip.evaluation.summary import Figures, summarize
from styleclip.generators import Generator

SETTINGS = "settings.json"
NETWORKS = "networks.json"  # the figures of the networks, measured once
Bar = Callable[[str], Callable[[int, int, Mapping[str, float]], None]]


def evaluate_rows(
    generator: Generator,
    judges: Judges,
    pictures: Pictures,
    rows: Sequence[Row],
    files: Sequence[PromptFile],
    folder: Path,
    world: World | None = None,
    seed: int = 0,
    bar: Bar = lambda _: lambda *_: None,
) -> list[Figures]:
    """The figures of every row and file, in that order. ``bar(name)`` reports progress."""
    found = []
    for row in rows:
        asked = [file for file in files if row.takes(file)]
        for file in asked[:1] if row.limit is not None else asked:
            plan = assign_pictures(len(pictures.images), len(file.prompts), seed)
            if row.limit is not None:
                plan = [index[: max(1, row.limit // len(plan))] for index in plan]
            on_step, records = bar(f"{row.name}, {file.name}"), []
            for number, (prompt, index) in enumerate(zip(file.prompts, plan, strict=True)):
                path = record_path(folder, row, file, number)
                record = _stored(path) if index else None
                if record is None and index:
                    started = time.perf_counter()
                    if row.prepare is not None:
                        row.prepare(prompt)
                    prepared = time.perf_counter() - started
                    record = run_prompt(
                        generator, judges, pictures, index, prompt, row.make_edit, world,
                        seed + number,
                    )  # fmt: skip
                    record["preparation"] = torch.tensor(prepared)
                    record["memory"] = torch.tensor(float(peak_memory()))
                    _store(record, path)
                if record is not None:
                    records.append((prompt, record))
                on_step(number + 1, len(plan), {})
            figures = summarize(row, records, judges.reader, world)
            memory = max(float(record["memory"]) for _, record in records)
            found.append({"file": file.name, **figures, "peak_memory_bytes": memory})
    return found


def sheet_rows(
    pictures: Pictures, rows: Sequence[Row], file: PromptFile, folder: Path, seed: int
) -> list[tuple[str, list[Tensor]]]:
    """For each prompt, its first picture by the seed: text, [file, inversion, each row's edit]."""
    plan = assign_pictures(len(pictures.images), len(file.prompts), seed)
    found = []
    for number, (prompt, index) in enumerate(zip(file.prompts, plan, strict=True)):
        if not index:
            continue
        tiles = [pictures.images[index[0]].cpu(), pictures.inverted[index[0]].cpu()]
        for row in rows:
            record = _stored(record_path(folder, row, file, number))
            if record is not None:
                tiles.append(record["shown_in_report"][0].float() / 127.5 - 1)
        found.append((prompt.prompt.target, tiles))
    return found


def record_path(folder: Path, row: Row, file: PromptFile, number: int) -> Path:
    return folder / "records" / f"{_slug(row.name)}-{file.name}-{number}.pt"


def open_folder(folder: Path, settings: Mapping[str, Any], force: bool = False) -> None:
    """Make ``folder`` ready for an evaluation with these settings, or for the rest of one.

    Raises ``ArgumentError`` if it holds another one; ``force`` forgets that one's records.
    """
    path = folder / SETTINGS
    wanted = json.dumps(settings, indent=2, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") != wanted:
        if not force:
            raise ArgumentError(
                f"{folder} holds an evaluation with other settings (see {path}): "
                "name another folder, or add --force to start over there"
            )
        kept = [
            folder / "inversions.pt",
            folder / NETWORKS,
            *folder.glob("records/*.pt"),
            *folder.glob("pictures/*"),
        ]
        for old in kept:
            old.unlink(missing_ok=True)
    (folder / "records").mkdir(parents=True, exist_ok=True)
    path.write_text(wanted, encoding="utf-8")


def peak_memory() -> int:
    """Bytes that this process has held at most; on CUDA, those of the device."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _stored(path: Path) -> Record | None:
    if not path.exists():
        return None
    record: Record = torch.load(path, weights_only=True)
    return record


def _store(record: Record, path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(record, partial)
    os.replace(partial, path)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())
