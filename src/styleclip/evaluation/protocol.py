"""The one way an edit is judged, whatever made it: prompts x pictures -> records -> figures.

  success  of edits whose inversion does not show the target yet: share in which the reader sees it
  kept     share of the other attributes that read as in the inversion (or as in the truth)
  order    Spearman correlation of strength with the reader's logit of the target
  outside  mean squared change where the attribute is not drawn, beside where it is
A record is what one prompt did to its pictures, a dict of tensors over them; `summarize` turns the
records of a row into figures with intervals over pictures. Values that others hide count nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from styleclip.editing.edit import Edit
from styleclip.evaluation.figures import random_features
from styleclip.evaluation.prompts import JudgedPrompt, PromptFile
from styleclip.faces.reader import Reader
from styleclip.generators import Generator

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
Record = dict[str, Tensor]
Identity = Callable[[Tensor], Tensor]  # images [B,3,H,W] -> unit vectors [B,E]


class World(Protocol):
    """What a renderer that knows the truth adds; pictures without one have no such figures."""

    @property
    def correlations(self) -> Sequence[tuple[tuple[str, str], tuple[str, str], float]]:
        """(attribute, value) given, (attribute, value) drawn, by how much likelier."""
        ...

    def redrawn(self, picture: int, targets: Mapping[str, str]) -> Tensor:
        """The truth with some attributes changed: [3,H,W] in [-1,1]."""
        ...

    def region(self, picture: int, targets: Mapping[str, str]) -> Tensor:
        """Where that change is drawn: bool [H,W]."""
        ...

    def examples(self, targets: Mapping[str, str], count: int, seed: int) -> Tensor:
        """Renders that show the targets: [count,3,H,W] in [-1,1]."""
        ...


@dataclass(frozen=True)
class Pictures:
    """What is edited: the files' pixels, their latents, and what the reader sees in them."""

    images: Tensor  # [N,3,H,W] in [-1,1], as read from the files
    w_plus: Tensor  # [N,L,D], their inversions
    inverted: Tensor  # [N,3,H,W], the inversions' pictures as a file would hold them
    before: Tensor  # value indices [N,A] of the inversions
    truth: Tensor | None = None  # value indices [N,A], where known


@dataclass(frozen=True)
class Judges:
    """The networks that look at edits; none of them takes part in making one."""

    reader: Reader
    identity: Identity | None = None


# which pictures [n], what is asked -> the edit of those pictures' w_plus
MakeEdit = Callable[[list[int], JudgedPrompt], Edit]


@dataclass(frozen=True)
class Row:
    """One method and preset. ``limit``: edits at most, of the first file alone; None: all.

    ``prepare`` is called before the edits of a prompt, and what it takes counts as preparation.
    ``own``: only files of prompts that name the row are asked.
    """

    name: str
    make_edit: MakeEdit
    preparation: float = 0.0  # seconds before the first edit
    limit: int | None = None
    prepare: Callable[[JudgedPrompt], None] | None = None
    own: bool = False

    def takes(self, file: PromptFile) -> bool:
        """Whether the method is asked the prompts of a file."""
        if file.methods or self.own:
            return self.name in file.methods
        return True


def run_prompt(
    generator: Generator,
    judges: Judges,
    pictures: Pictures,
    index: list[int],
    prompt: JudgedPrompt,
    make_edit: MakeEdit,
    world: World | None,
    seed: int,
) -> Record:
    """Edit the pictures of ``index``, and write down everything that figures need."""
    reader = judges.reader
    wanted = [reader.index(name, value) for name, value in prompt.targets.items()]
    w_plus, inverted = pictures.w_plus[index], pictures.inverted[index]

    # the edit, and its cost
    started = time.perf_counter()
    edit = make_edit(index, prompt)
    images = draw(generator, edit.apply(generator, w_plus))
    seconds = (time.perf_counter() - started) / len(index)

    # what the reader sees
    before, after = pictures.before[index], reader.read(images)
    unseen = reader.hidden(before) | reader.hidden(after)
    record = {
        "picture": torch.tensor(index),
        "before": before,
        "after": after,
        "shown_before": shown(reader, before, wanted),
        "success": shown(reader, after, wanted),
        "kept": _kept(after, before, unseen, wanted),
        "seconds": torch.full((len(index),), seconds),
        "shown_in_report": ((images[:1] + 1) * 127.5).round().to(torch.uint8),
    }
    if pictures.truth is not None:
        truth = pictures.truth[index]
        unseen = reader.hidden(truth) | reader.hidden(after)
        record["kept_truth"] = _kept(after, truth, unseen, wanted)

    # whose face it is, and whether it looks like a picture of this kind
    record["features"] = features(reader, images)
    record["features_inverted"] = features(reader, inverted)
    if judges.identity is not None:
        record["identity"] = _cosine(judges.identity, images, inverted)
        another = _cosine(judges.identity, images.roll(1, 0), inverted)
        record["identity_other"] = (
            another if len(index) > 1 else torch.full_like(another, torch.nan)
        )
    if world is not None:
        record["features_examples"] = features(
            reader, world.examples(prompt.targets, len(index), seed).to(images)
        )
        redrawn = torch.stack([world.redrawn(i, prompt.targets) for i in index]).to(images)
        if judges.identity is not None:
            record["identity_same"] = _cosine(judges.identity, redrawn, pictures.images[index])
        change = (images - inverted).square().mean(dim=1)  # [n,H,W]
        region = torch.stack([world.region(i, prompt.targets) for i in index]).to(change)
        record["inside"] = (change * region).sum(dim=(1, 2)) / region.sum(dim=(1, 2))
        record["outside"] = (change * (1 - region)).sum(dim=(1, 2)) / (1 - region).sum(dim=(1, 2))

    # does more strength give more of it?
    logits = [
        _target_logits(reader, draw(generator, edit.apply(generator, w_plus, s)), wanted)
        for s in STRENGTHS
    ]
    record["logits"] = torch.stack(logits, dim=1)
    return {name: tensor.cpu() for name, tensor in record.items()}


@torch.no_grad()
def draw(generator: Generator, style: Tensor, batch: int = 32) -> Tensor:
    """style [N,S] -> pictures [N,3,H,W] as a file would hold them (8 bits)."""
    parts = [generator.synthesis(part).clamp(-1, 1) for part in style.split(batch)]
    return as_file(torch.cat(parts))


def as_file(images: Tensor) -> Tensor:
    """[-1,1] rounded to the 256 levels of a file."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def shown(reader: Reader, values: Tensor, wanted: Sequence[tuple[int, int]]) -> Tensor:
    """Value indices [N,A] -> bool [N]: are all wanted (attribute, value) there, and not hidden?"""
    hidden = reader.hidden(values)
    return torch.stack([(values[:, i] == j) & ~hidden[:, i] for i, j in wanted]).all(dim=0)


@torch.no_grad()
def features(reader: Reader, images: Tensor) -> Tensor:
    """The two spaces in which sets of pictures are compared, side by side: [N, R + 192]."""
    return torch.cat([reader.features(images), random_features(images)], dim=1).half()


def reader_width(reader: Reader) -> int:
    """How many of the columns of ``features`` are the reader's."""
    return reader.head.in_features


def _kept(after: Tensor, before: Tensor, unseen: Tensor, wanted: list[tuple[int, int]]) -> Tensor:
    """[N,A]: 1 kept, 0 changed, NaN not judged (a target, or hidden)."""
    kept = (after == before).float()
    kept[unseen] = torch.nan
    for i, _ in wanted:
        kept[:, i] = torch.nan
    return kept


@torch.no_grad()
def _cosine(identity: Identity, images: Tensor, others: Tensor) -> Tensor:
    return (identity(images) * identity(others)).sum(dim=1)


@torch.no_grad()
def _target_logits(reader: Reader, images: Tensor, wanted: list[tuple[int, int]]) -> Tensor:
    blocks = reader.blocks(reader(images))
    return torch.stack([blocks[i][:, j] for i, j in wanted]).mean(dim=0)
