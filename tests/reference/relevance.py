"""The exact scan of style channels, written as slowly and plainly as it can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def exact_relevance(
    generator: Any, embedder: Any, styles: Tensor, mean: Tensor, std: Tensor, k: float
) -> tuple[Tensor, Tensor]:
    """Unit rows [S,E] and mean lengths [S]: one picture at a time, nothing shared, no drift."""
    rows, lengths = [], []
    for layer, columns in zip(generator.layout, columns_of(generator), strict=True):
        for c in columns:
            if layer.kind == "rgb":
                rows.append(None)
                lengths.append(0.0)
                continue
            differences = []
            for style in styles:
                ends = []
                for sign in (1, -1):
                    moved = style.clone()
                    moved[c] = mean[c] + sign * k * std[c]
                    image = generator.synthesis(moved[None])
                    ends.append(embedder.embed_images(image)[0])
                differences.append(ends[0] - ends[1])
            units = torch.stack([d / d.norm() for d in differences]).mean(dim=0)
            rows.append(units / units.norm())
            lengths.append(float(torch.stack(differences).norm(dim=1).mean()))
    width = next(row for row in rows if row is not None).shape[0]
    filled = [torch.zeros(width).to(styles) if row is None else row for row in rows]
    return torch.stack(filled), torch.tensor(lengths).to(styles)


def columns_of(generator: Any) -> list[range]:
    found, start = [], 0
    for layer in generator.layout:
        found.append(range(start, start + layer.channels))
        start += layer.channels
    return found
