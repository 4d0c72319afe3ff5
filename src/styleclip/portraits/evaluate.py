"""`styleclip portraits evaluate`: every figure of a model, and of the methods that edit with it.

  renders of unseen seeds -> PNG files -> inversion -> each method's edits -> the reader's judgement
All methods, presets and later changes go through the same pictures and prompts (`evaluation/`). A
model folder of another world works as well if it brings a reader: its pictures are then samples of
its generator, and what needs the truth is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip import images as files
from styleclip.checkpoints import Model, file_hash, tensors_hash
from styleclip.checkpoints.registry import DIRECTIONS, LATENT_MAP, MAPPER
from styleclip.clip.embedder import ClipEmbedder
from styleclip.errors import ArgumentError
from styleclip.evaluation.prompts import PromptFile, read_prompt_file
from styleclip.evaluation.protocol import Judges, Pictures, draw
from styleclip.evaluation.report import commit, machine, write_report
from styleclip.evaluation.run import NETWORKS, Bar, evaluate_rows, open_folder, sheet_rows
from styleclip.inversion.projection import ProjectionConfig, project
from styleclip.portraits import networks
from styleclip.portraits.attributes import WORLD_VERSION, Portrait
from styleclip.portraits.methods import METHODS, Parts, load_parts, method_row, presets
from styleclip.portraits.renderer import render
from styleclip.portraits.world import PortraitsWorld, held_out, to_images, truth_table

PROMPTS = Path(__file__).parent / "prompts"
FILES = ("plain", "novel", "double", "untrained", "single", "one")
RENDERS = 500  # held-out renders that judge the networks
SAMPLES = 5_000
SHARES_SEED = 3_000_000  # portraits that only count for the world's shares


@dataclass(frozen=True)
class Question:
    """What is evaluated: how many pictures, which methods and prompts, networks or not."""

    model: str = "portraits"
    count: int = 200
    methods: tuple[str, ...] = METHODS
    prompts: tuple[Path, ...] = tuple(PROMPTS / f"{name}.json" for name in FILES)
    networks: bool = True
    full: bool = False  # no row is shortened
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown:
            raise ArgumentError(
                f"there is no method {unknown[0]!r}: choose from {', '.join(METHODS)}"
            )


def evaluate(
    question: Question,
    folder: Path,
    bar: Bar,
    device: torch.device | str = "cpu",
    force: bool = False,
) -> dict[str, Any]:
    """All figures as JSON values; ``folder`` keeps what is done. ``bar(name)`` reports progress."""
    prompts = [read_prompt_file(path) for path in question.prompts]
    names = [each.name for each in prompts]
    if len(set(names)) < len(names):
        raise ArgumentError(
            f"two files of prompts have one name ({', '.join(names)}): rename one, "
            "their records would be mixed"
        )
    parts = load_parts(question.model, torch.device(device))
    for each in prompts:
        check_prompts(each, parts)
    settings = {
        "model": tensors_hash(parts.generator.state_dict()),
        "clip": tensors_hash(parts.embedder.model.state_dict()),
        "reader": tensors_hash(parts.reader.state_dict()),
        "encoder": None if parts.encoder is None else tensors_hash(parts.encoder.state_dict()),
        "identity": None if parts.identity is None else tensors_hash(parts.identity.state_dict()),
        "world": WORLD_VERSION if is_portraits(parts.model) else None,
        "latent map": hash_of(parts.model, LATENT_MAP),
        "directions": hash_of(parts.model, DIRECTIONS),
        "mapper": hash_of(parts.model, MAPPER),
        "presets": presets(),
        "count": question.count,
        "seed": question.seed,
        "full": question.full,
        "prompts": {
            each.name: [[p.prompt.neutral, p.prompt.target, dict(p.targets)] for p in each.prompts]
            for each in prompts
        },
    }
    open_folder(folder, settings, force)
    result: dict[str, Any] = {
        "schema": 1,
        "name": parts.model.name,
        "settings": settings,
        "machine": machine(),
        "commit": commit(),
        "unknown_words": unknown_words(parts.embedder),
        "networks": None,
        "edits": [],
    }

    # the pictures, as files
    portraits = held_out(question.count) if is_portraits(parts.model) else None
    originals = written_pictures(folder, parts, portraits, question)
    w_plus = inversions(folder, parts, originals, bar)
    inverted = draw(parts.generator, parts.generator.affine(w_plus))
    pictures = Pictures(
        images=originals,
        w_plus=w_plus,
        inverted=inverted,
        before=networks.in_parts(parts.reader.read, inverted),
        truth=None if portraits is None else truth_table(portraits)[0].to(parts.device),
    )
    if question.networks and portraits is not None:
        path = folder / NETWORKS
        if not path.exists():
            found = network_figures(folder, parts, originals, portraits, inverted, bar)
            path.with_suffix(".partial").write_text(json.dumps(found), encoding="utf-8")
            os.replace(path.with_suffix(".partial"), path)
        result["networks"] = json.loads(path.read_text(encoding="utf-8"))

    # the methods, one after the other
    world = None if portraits is None else PortraitsWorld(portraits, parts.generator.resolution)
    asked = {
        name: method_row(name, parts, pictures, world, question.full) for name in question.methods
    }
    rows = [row for row in asked.values() if row is not None]
    result["left_out"] = [name for name, row in asked.items() if row is None]
    judges = Judges(parts.reader, parts.identity)
    result["edits"] = evaluate_rows(
        parts.generator, judges, pictures, rows, prompts, folder, world, question.seed, bar
    )
    shown = [row for row in rows if row.takes(prompts[0])]
    sheet = sheet_rows(pictures, shown, prompts[0], folder, question.seed)
    titles = ["picture", "inversion", *(row.name for row in shown)]
    write_report(result, sheet, titles, folder)
    return result


def hash_of(model: Model, part: str) -> str | None:
    """SHA-256 of a file of the model, None if it has none."""
    path = model.folder / part
    return file_hash(path) if path.exists() else None


def is_portraits(model: Model) -> bool:
    """Whether the renderer of this version draws the pictures that the model knows."""
    return bool(model.extra.get("world") == WORLD_VERSION)


def check_prompts(file: PromptFile, parts: Parts) -> None:
    """Raise ``ArgumentError`` for a target that the reader cannot see, or another one hides."""
    for prompt in file.prompts:
        for name, value in prompt.targets.items():
            parts.reader.index(name, value)
        for name, value, others in parts.reader.config.hides:
            hidden = [other for other in others if other in prompt.targets]
            if prompt.targets.get(name) == value and hidden:
                raise ArgumentError(
                    f"the prompt {prompt.prompt.target!r} asks for {name} = {value}, which hides "
                    f"the {hidden[0]} that it asks for as well: leave one of them out"
                )


def unknown_words(embedder: ClipEmbedder) -> dict[str, list[str]]:
    """The prompts of words that were never trained, and what the user is warned of."""
    content = json.loads((PROMPTS / "unknown.json").read_text(encoding="utf-8"))
    return {row["text"]: list(embedder.unknown_words(row["text"])) for row in content["prompts"]}


def written_pictures(
    folder: Path, parts: Parts, portraits: Sequence[Portrait] | None, question: Question
) -> Tensor:
    """The pictures as PNG files in ``folder``, read again: [N,3,H,W] in [-1,1]."""
    place = folder / "pictures"
    place.mkdir(exist_ok=True)
    size = parts.generator.resolution
    paths = [place / f"{i:04d}.png" for i in range(question.count)]
    if not all(path.exists() for path in paths):
        if portraits is not None:
            drawn = to_images([render(portrait, size) for portrait in portraits])
        else:
            drawn = networks.sample_images(parts.generator, question.count, question.seed)
        for path, image in zip(paths, drawn, strict=True):
            files.save_image(path, files.to_picture(image[None]), overwrite=True)
    opened = [files.to_tensor(files.open_picture(path), size) for path in paths]
    return torch.cat(opened).to(parts.device)


def inversions(folder: Path, parts: Parts, originals: Tensor, bar: Bar) -> Tensor:
    """w_plus [N,L,D] of the pictures, as `styleclip edit` finds it; kept in ``folder``."""
    path, on_step = folder / "inversions.pt", bar("inversions")
    done: Tensor = torch.zeros(0, parts.generator.rows, parts.generator.config.w_dim)
    if path.exists():
        done = torch.load(path, weights_only=True)
    for part in originals[len(done) :].split(10) if len(done) < len(originals) else ():
        if parts.encoder is None:
            found = project(parts.generator, part)
        else:
            with torch.no_grad():
                start = parts.encoder(part)
            found = project(parts.generator, part, ProjectionConfig(), start)
        done = torch.cat([done, found.cpu()])
        torch.save(done, path.with_suffix(".partial"))
        os.replace(path.with_suffix(".partial"), path)
        on_step(len(done), len(originals), {})
    return done[: len(originals)].to(parts.device)


def network_figures(
    folder: Path,
    parts: Parts,
    originals: Tensor,
    portraits: Sequence[Portrait],
    refined: Tensor,
    bar: Bar,
) -> dict[str, Any]:
    """The table of networks; the refined inversions are those of the edits."""
    on_step, reader, generator = bar("networks"), parts.reader, parts.generator
    renders = held_out(RENDERS)
    data = to_images([render(portrait, generator.resolution) for portrait in renders])
    data = data.to(parts.device)
    samples = networks.sample_images(generator, SAMPLES)
    write_blind_pairs(folder, samples, data)
    on_step(1, 6, {})
    result = {"reader": networks.reader_figures(reader, data, renders)}
    inverted: dict[str, Tensor] = {"after refinement": refined}
    if parts.encoder is not None:
        w_plus = networks.in_parts(parts.encoder, data)
        inverted["one pass"] = draw(generator, generator.affine(w_plus))
        result["encoder"] = networks.encoder_figures(
            reader, data, renders, {"one pass": inverted["one pass"]}
        )
    on_step(2, 6, {})
    refined_figures = networks.encoder_figures(
        reader, originals, portraits, {"after refinement": refined}
    )
    result["encoder"] = {**result.get("encoder", {}), **refined_figures}
    on_step(3, 6, {})
    result["generator"] = networks.generator_figures(
        generator, reader, data, renders, samples, inverted.get("one pass", refined),
        held_out(20_000, first=SHARES_SEED),
    )  # fmt: skip
    on_step(4, 6, {})
    result["clip"] = networks.clip_figures(parts.embedder, reader, data, renders, samples)
    on_step(5, 6, {})
    if parts.identity is not None:
        result["identity"] = networks.identity_figures(parts.identity, 250, generator.resolution)
    on_step(6, 6, {})
    return result


def write_blind_pairs(folder: Path, samples: Tensor, renders: Tensor, count: int = 32) -> None:
    """``blind-pairs.png`` for somebody who does not know, ``blind-answers.json`` for afterwards."""
    pairs, answers = networks.blind_pairs(samples[-count:], renders[-count:])
    rows = [torch.cat(pairs[i : i + 4], dim=2) for i in range(0, len(pairs), 4)]
    whole = torch.cat([row for row in rows if row.shape[2] == rows[0].shape[2]], dim=1)
    files.save_image(folder / "blind-pairs.png", files.to_picture(whole[None]), overwrite=True)
    text = json.dumps({"sample is on the": answers}, indent=1)
    (folder / "blind-answers.json").write_text(text + "\n", encoding="utf-8")
