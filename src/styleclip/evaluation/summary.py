"""Records -> the figures of one row of the table, each with its interval over pictures.

dragged   of a correlated pair (a=v, b=u): share that shows u after asking for v, less before
KID       edited pictures, and their inversions, against renders that show the target
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.evaluation.figures import bootstrap, kid, spearman
from styleclip.evaluation.prompts import JudgedPrompt
from styleclip.evaluation.protocol import Record, Row, World, reader_width
from styleclip.faces.reader import Reader

Figures = dict[str, Any]  # JSON values


def summarize(
    row: Row,
    records: Sequence[tuple[JudgedPrompt, Record]],
    reader: Reader,
    world: World | None,
) -> Figures:
    """All figures of the records of one row and one file of prompts."""

    def every(name: str) -> Tensor:
        return torch.cat([record[name].float() for _, record in records])

    pictures = every("picture").long()

    def figure(name: str, where: Tensor | None = None) -> Figures | None:
        values = every(name)
        if where is not None:
            values = torch.where(where, values, torch.nan)
        return interval(values, pictures)

    fresh = torch.cat([judged_edits(prompt, record, reader) for prompt, record in records])
    result: Figures = {
        "row": row.name,
        "edits": len(pictures),
        "success": figure("success", fresh),
        "kept": kept_figures(every("kept"), pictures, reader),
        "order": interval(spearman(every("logits")).float(), pictures),
        "seconds": {
            "median": float(every("seconds").median()),
            "p95": float(every("seconds").quantile(0.95)),
            "preparation": row.preparation + prepared(records),
        },
        "prompts": [prompt_figures(prompt, record, reader) for prompt, record in records],
    }
    names = records[0][1].keys()
    if "kept_truth" in names:
        result["kept_truth"] = kept_figures(every("kept_truth"), pictures, reader)
    if "identity" in names:
        result["identity"] = {
            "edited": figure("identity"),
            "another person": figure("identity_other"),
        }
    if "identity_same" in names:
        result["identity"]["same person, drawn so"] = figure("identity_same")
    if world is not None:
        result["outside"] = {"outside": figure("outside"), "inside": figure("inside")}
        result["dragged"] = dragged(records, reader, world)
        width = reader_width(reader)
        result["kid"] = {
            space: {
                "edited": kid(every("features")[:, part], every("features_examples")[:, part]),
                "inversions": kid(
                    every("features_inverted")[:, part], every("features_examples")[:, part]
                ),
            }
            for space, part in (("reader", slice(None, width)), ("random", slice(width, None)))
        }
    return result


def prepared(records: Sequence[tuple[JudgedPrompt, Record]]) -> float:
    """Mean seconds that a prompt was prepared for."""
    seconds = [float(record.get("preparation", torch.zeros(()))) for _, record in records]
    return sum(seconds) / len(seconds)


def interval(values: Tensor, groups: Tensor) -> Figures | None:
    """The figure as JSON, or None where nothing could be judged."""
    try:
        return asdict(bootstrap(values, groups))
    except ArgumentError:
        return None


def kept_figures(kept: Tensor, pictures: Tensor, reader: Reader) -> Figures:
    """Mean over edits with its interval, each attribute's share, and the worst."""
    each = {
        name: float(share)
        for name, share in zip(reader.names, kept.nanmean(dim=0), strict=True)
        if not share.isnan()
    }
    worst = min(each, key=lambda name: each[name], default=None)
    return {
        "mean": interval(kept.nanmean(dim=1), pictures),
        "attributes": each,
        "worst": worst,
        "worst_share": None if worst is None else each[worst],
    }


def judged_edits(prompt: JudgedPrompt, record: Record, reader: Reader) -> Tensor:
    """Boolean [n]: the edits that can succeed or fail.

    Not those whose target was there before; nor those where nobody can see whether it is, because
    another value hides it before and after (the hair colour of a head that is bald and stays so).
    """
    unseen = reader.hidden(record["before"]) & reader.hidden(record["after"])
    targets = [reader.index(name, value)[0] for name, value in prompt.targets.items()]
    return ~record["shown_before"] & ~unseen[:, targets].any(dim=1)


def prompt_figures(prompt: JudgedPrompt, record: Record, reader: Reader) -> Figures:
    """The figures of one prompt, without intervals: too few edits for them."""
    fresh = judged_edits(prompt, record, reader)
    kept = float(record["kept"].nanmean())
    return {
        "text": prompt.prompt.target,
        "targets": dict(prompt.targets),
        "judged": int(fresh.sum()),
        "success": float(record["success"][fresh].float().mean()) if bool(fresh.any()) else None,
        "kept": None if kept != kept else kept,
    }


def dragged(
    records: Sequence[tuple[JudgedPrompt, Record]], reader: Reader, world: World
) -> list[Figures]:
    """For each stated correlation that a prompt touches: how much more often the partner shows."""
    rows = []
    for given, value, factor in world.correlations:
        for asked, partner in ((given, value), (value, given)):
            i, j = reader.index(*partner)
            more, pictures = [], []
            for prompt, record in records:
                if prompt.targets.get(asked[0]) != asked[1] or partner[0] in prompt.targets:
                    continue
                before, after = record["before"], record["after"]
                judged = ~record["shown_before"]
                judged &= ~(reader.hidden(before) | reader.hidden(after))[:, i]
                step = (after[:, i] == j).float() - (before[:, i] == j).float()
                more.append(step[judged])
                pictures.append(record["picture"][judged])
            if more and sum(len(each) for each in more):
                rows.append(
                    {
                        "asked": "=".join(asked),
                        "partner": "=".join(partner),
                        "factor": factor,
                        "more_often": interval(torch.cat(more), torch.cat(pictures)),
                    }
                )
    return rows
