"""Success and kept: did the wanted attribute appear, and did all others stay?

  success = share of pictures that show the target after the edit, of those that did not before
  kept    = share of the other attributes, visible before and after, whose value the edit left alone
"Before" is the inversion, so the figures are the edit's alone. A reader [B,3,H,W] -> value indices
[B,A] is the judge. Intervals are 95 % bootstraps over pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError
from styleclip.generators import Generator
from styleclip.prompts import PromptPair

Read = Callable[[Tensor], Tensor]  # images -> value indices [B,A]
Hidden = Callable[[Tensor], Tensor]  # value indices [B,A] -> bool [B,A]: cannot be seen
MakeEdit = Callable[[Tensor, PromptPair], Edit]


@dataclass(frozen=True)
class Task:
    """A prompt and the truth it asks for: ``attribute`` and ``value`` are the reader's indices."""

    prompt: PromptPair
    attribute: int
    value: int


@dataclass(frozen=True)
class Outcome:
    """What one prompt did to the pictures that did not show it: tensors over those pictures."""

    task: Task
    success: Tensor  # bool [N]
    kept: Tensor  # float [N,A]: 1 kept, 0 changed, NaN not judged (the target, or hidden)
    seconds: float  # an edit


def run_task(
    generator: Generator,
    w_plus: Tensor,
    task: Task,
    make_edit: MakeEdit,
    read: Read,
    hidden: Hidden,
) -> Outcome:
    """Edit the pictures of w_plus [N,L,D] that do not show the target yet, and read them again."""
    before = read_latents(generator, generator.affine(w_plus), read)
    todo = before[:, task.attribute] != task.value
    w_plus, before = w_plus[todo], before[todo]
    if not len(w_plus):
        return Outcome(task, torch.zeros(0, dtype=torch.bool), before.float().cpu(), 0.0)
    started = time.perf_counter()
    edit = make_edit(w_plus, task.prompt)
    style = edit.apply(generator, w_plus)
    seconds = (time.perf_counter() - started) / max(1, len(w_plus))
    after = read_latents(generator, style, read)
    kept = (after == before).float()
    kept[hidden(before) | hidden(after)] = torch.nan
    kept[:, task.attribute] = torch.nan
    shown = after[:, task.attribute] == task.value
    return Outcome(task, shown.cpu(), kept.cpu(), seconds)


@torch.no_grad()
def read_latents(generator: Generator, style: Tensor, read: Read, batch: int = 32) -> Tensor:
    """style [N,S] -> value indices [N,A] of the pictures as a file would hold them (8 bits)."""
    parts = []
    for part in style.split(batch):
        images = generator.synthesis(part).clamp(-1, 1)
        parts.append(read(((images + 1) * 127.5).round() / 127.5 - 1))
    return torch.cat(parts)


@dataclass(frozen=True)
class Figure:
    """A share with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: Tensor, seed: int = 0, draws: int = 1000) -> Figure:
    """Mean of [N] values (one a picture; NaN left out) and its interval over pictures."""
    values = values[~values.isnan()]
    if not len(values):
        raise ArgumentError("nothing to judge: every picture shows the target already")
    random = torch.Generator().manual_seed(seed)
    picks = torch.randint(len(values), (draws, len(values)), generator=random)
    means = values[picks].mean(dim=1).sort().values
    return Figure(float(values.mean()), float(means[int(0.025 * draws)]),
                  float(means[int(0.975 * draws)]))  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """All tasks together."""

    edits: int
    success: Figure
    kept: Figure
    kept_per_attribute: tuple[float, ...]  # NaN where never judged
    seconds: float


def summarize(outcomes: Sequence[Outcome]) -> Summary:
    success = torch.cat([torch.zeros(0), *(outcome.success.float() for outcome in outcomes)])
    if not len(success):
        raise ArgumentError("nothing to judge: every picture shows its target already")
    kept = torch.cat([outcome.kept for outcome in outcomes])
    seconds = sum(outcome.seconds * len(outcome.success) for outcome in outcomes)
    return Summary(
        edits=len(success),
        success=bootstrap(success),
        kept=bootstrap(kept.nanmean(dim=1)),
        kept_per_attribute=tuple(kept.nanmean(dim=0).tolist()),
        seconds=seconds / len(success),
    )
