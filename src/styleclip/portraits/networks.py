"""What the networks of the portraits world can do, each on portraits that no training saw.

  reader     share read correctly, attribute by attribute, and its confusions
  generator  shares and associations of values among samples against the data's; PSNR; KID
  CLIP       zero-shot answers, agreement with the reader on samples, caption retrieval
  encoder    attributes that inverting leaves as they were; identity: verification of persons
Values that others hide count nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleclip.clip.embedder import ClipEmbedder
from styleclip.evaluation.figures import auc, cramers_v, kid
from styleclip.evaluation.protocol import as_file, draw, features, reader_width
from styleclip.faces.arcface import ArcFace
from styleclip.faces.identity import IdentityNetwork
from styleclip.faces.reader import Reader
from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.portraits.attributes import ATTRIBUTES, CORRELATIONS, Portrait
from styleclip.portraits.captions import Caption, attribute_phrase, sample_caption
from styleclip.portraits.renderer import render
from styleclip.portraits.train_identity import LOOKS, person_of_seed
from styleclip.portraits.training import EVALUATION_SEED
from styleclip.portraits.world import NAMES, to_images, truth_table

Figures = dict[str, Any]
Read = Callable[[Tensor], Tensor]  # images [B,3,H,W] -> value indices [B,A]
PARTS = 50  # pictures at a time


@torch.no_grad()
def in_parts(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.cat([function(part) for part in images.split(PARTS)])


def accuracy(values: Tensor, truth: Tensor, seen: Tensor) -> Figures:
    """Share of visible attributes that agree: each, their mean, and which is the worst."""
    right = (values.cpu() == truth).float()
    each = {name: float(right[seen[:, i], i].mean()) for i, name in enumerate(NAMES)}
    worst = min(each, key=lambda name: each[name])
    return {
        "mean": sum(each.values()) / len(each), "worst": worst, "worst_share": each[worst],
        "attributes": each,
    }  # fmt: skip


def confusion(values: Tensor, truth: Tensor, seen: Tensor) -> dict[str, list[list[int]]]:
    """For each attribute: rows of truth, columns of what was read."""
    tables = {}
    for i, attribute in enumerate(ATTRIBUTES):
        size = len(attribute.values)
        pairs = truth[seen[:, i], i] * size + values.cpu()[seen[:, i], i]
        tables[attribute.name] = pairs.bincount(minlength=size * size).view(size, size).tolist()
    return tables


def reader_figures(reader: Reader, images: Tensor, portraits: Sequence[Portrait]) -> Figures:
    truth, seen = truth_table(portraits)
    values = in_parts(reader.read, images)
    return {
        "on renders": accuracy(values, truth, seen),
        "confusion": confusion(values, truth, seen),
    }


def zero_shot(embedder: ClipEmbedder) -> Read:
    """A reader made of texts: each attribute's value is the phrase nearest to the picture."""
    blocks = [
        embedder.embed_texts(
            [attribute_phrase(attribute.name, value) for value in attribute.values]
        )
        for attribute in ATTRIBUTES
    ]

    def read(images: Tensor) -> Tensor:
        pictures = embedder.embed_images(images)
        return torch.stack([(pictures @ block.t()).argmax(dim=1) for block in blocks], dim=1)

    return read


def clip_figures(
    embedder: ClipEmbedder,
    reader: Reader,
    images: Tensor,
    portraits: Sequence[Portrait],
    samples: Tensor,
) -> Figures:
    """``samples``: the generator's own pictures, where the reader stands for the truth."""
    truth, seen = truth_table(portraits)
    read = in_parts(reader.read, samples).cpu()
    return {
        "zero-shot on renders": accuracy(in_parts(zero_shot(embedder), images), truth, seen),
        "agreement with the reader on samples": accuracy(
            in_parts(zero_shot(embedder), samples), read, ~reader.hidden(read)
        ),
        "retrieval": retrieval(embedder, images[:100], portraits[:100]),
    }


def retrieval(
    embedder: ClipEmbedder, images: Tensor, portraits: Sequence[Portrait], seed: int = 0
) -> Figures:
    """R@1: each portrait has a caption that is true of no other one here.

    A portrait for which no such caption comes up stays in the pool, but is not asked for.
    """
    rng = np.random.default_rng(seed)
    captions: dict[int, Caption] = {}
    for i, portrait in enumerate(portraits):
        for _ in range(2_000):
            caption = sample_caption(portrait, rng)
            if sum(caption.holds(other) for other in portraits) == 1:
                captions[i] = caption
                break
    texts = embedder.embed_texts([caption.text for caption in captions.values()])
    asked = torch.tensor(list(captions))
    similarity = (texts @ in_parts(embedder.embed_images, images).t()).cpu()
    return {
        "captions": len(captions),
        "pool": len(portraits),
        "picture from caption R@1": float((similarity.argmax(dim=1) == asked).float().mean()),
        "caption from picture R@1": float(
            (similarity[:, asked].argmax(dim=0) == torch.arange(len(asked))).float().mean()
        ),
    }


def sample_images(generator: StyleGAN2, count: int, seed: int = 0) -> Tensor:
    """Samples at psi 1: [count,3,H,W] in [-1,1], as a file would hold them."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        w = generator.sample_w(count, random)
        return draw(generator, generator.affine(generator.truncate(w)))


def generator_figures(
    generator: StyleGAN2,
    reader: Reader,
    data: Tensor,
    portraits: Sequence[Portrait],
    samples: Tensor,
    inverted: Tensor,
    world_sample: Sequence[Portrait],
) -> Figures:
    """``data``: held-out renders of ``portraits``; ``inverted``: the same by the generator.

    ``world_sample``: many portraits of the world, for its shares and associations.
    """
    truth, seen = truth_table(world_sample)
    read = in_parts(reader.read, samples).cpu()
    visible = ~reader.hidden(read)
    shares = _share_gaps(read, visible, truth, seen)
    pairs = _association_gaps(read, visible, truth, seen)
    confidence = {"samples": _confidence(reader, samples), "renders": _confidence(reader, data)}
    half = len(data) // 2
    drawn, halves = features_of(reader, samples[: len(data)]), features_of(reader, data)
    width = reader_width(reader)
    spaces = {"reader": slice(None, width), "random": slice(width, None)}
    decibels = psnr(inverted, data[: len(inverted)])
    return {
        "samples": len(samples),
        "shares": shares,
        "associations": pairs,
        "confidence": {**confidence, "ratio": confidence["samples"] / confidence["renders"]},
        "inversion PSNR (median dB)": float(decibels.median()),
        "inversions": len(inverted),
        "kid": {
            space: {
                "samples": kid(drawn[:, part].float(), halves[:, part].float()),
                "two halves of the data": kid(halves[:half, part], halves[half:, part]),
            }
            for space, part in spaces.items()
        },
    }


def features_of(reader: Reader, images: Tensor) -> Tensor:
    return in_parts(lambda part: features(reader, part), images).cpu()


def encoder_figures(
    reader: Reader, images: Tensor, portraits: Sequence[Portrait], inverted: Mapping[str, Tensor]
) -> Figures:
    """Attributes that inverting left as they were; ``inverted``: how -> pictures of the first."""
    truth, seen = truth_table(portraits)
    return {
        how: {
            "pictures": len(pictures),
            "PSNR (median dB)": float(psnr(pictures, images[: len(pictures)]).median()),
            "unchanged": accuracy(
                in_parts(reader.read, pictures), truth[: len(pictures)], seen[: len(pictures)]
            ),
        }
        for how, pictures in inverted.items()
    }


def identity_figures(identity: IdentityNetwork | ArcFace, persons: int, size: int) -> Figures:
    """Verification on persons that no training saw: AUC of cosines, same against different."""
    first = EVALUATION_SEED
    looks = range(first, first + persons * LOOKS)
    images = as_file(to_images([render(person_of_seed(seed), size) for seed in looks]))
    vectors = in_parts(identity, images.to(next(identity.parameters()).device)).cpu()
    cosines = vectors @ vectors.t()
    person = torch.arange(len(vectors)) // LOOKS
    apart = torch.ones(len(vectors), len(vectors), dtype=torch.bool).triu(diagonal=1)
    same = person[:, None] == person[None, :]
    alike, others = cosines[apart & same], cosines[apart & ~same]
    pick = torch.randperm(len(others), generator=torch.Generator().manual_seed(0))[:20_000]
    return {
        "persons": persons,
        "AUC": auc(alike, others[pick]),
        "same person": float(alike.mean()),
        "different persons": float(others.mean()),
    }


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """dB of each picture [N]; the range is 2."""
    error = (images - others).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)


def _confidence(reader: Reader, images: Tensor) -> float:
    """Mean probability of what is read, over attributes that can be seen."""

    def confident(part: Tensor) -> Tensor:
        blocks = reader.blocks(reader(part))
        sure = torch.stack([block.softmax(dim=1).amax(dim=1) for block in blocks], dim=1)
        return sure.masked_fill(reader.hidden(reader.read(part)), torch.nan)

    return float(in_parts(confident, images).nanmean())


def _share_gaps(read: Tensor, visible: Tensor, truth: Tensor, seen: Tensor) -> Figures:
    rows = []
    for i, attribute in enumerate(ATTRIBUTES):
        for j, value in enumerate(attribute.values):
            drawn = float((read[visible[:, i], i] == j).float().mean())
            stated = float((truth[seen[:, i], i] == j).float().mean())
            rows.append({"value": f"{attribute.name}={value}", "samples": drawn, "data": stated})
    worst = max(rows, key=lambda row: abs(row["samples"] - row["data"]))  # type: ignore[operator]
    gap = abs(worst["samples"] - worst["data"])  # type: ignore[operator]
    return {"worst": worst["value"], "worst_gap": gap, "values": rows}


def _association_gaps(read: Tensor, visible: Tensor, truth: Tensor, seen: Tensor) -> Figures:
    rows = []
    named = dict.fromkeys((rule.given[0], rule.attribute) for rule in CORRELATIONS)
    for one, other in named:
        a, b = NAMES.index(one), NAMES.index(other)
        drawn, stated = visible[:, a] & visible[:, b], seen[:, a] & seen[:, b]
        rows.append(
            {
                "pair": f"{one}, {other}",
                "samples": cramers_v(read[drawn, a], read[drawn, b]),
                "data": cramers_v(truth[stated, a], truth[stated, b]),
            }
        )
    worst = max(rows, key=lambda row: abs(row["samples"] - row["data"]))  # type: ignore[operator]
    gap = abs(worst["samples"] - worst["data"])  # type: ignore[operator]
    return {"worst": worst["pair"], "worst_gap": gap, "pairs": rows}


def blind_pairs(samples: Tensor, renders: Tensor, seed: int = 0) -> tuple[list[Tensor], list[str]]:
    """Pairs of a sample and a render [3,H,W] side by side, and on which side the sample is.

    Shown to somebody who does not know the answers, they say how well samples pass for renders:
    half right is a guess.
    """
    random = torch.Generator().manual_seed(seed)
    left = torch.rand(len(samples), generator=random) < 0.5
    pairs = [
        torch.cat([sample, render] if first else [render, sample], dim=2)
        for sample, render, first in zip(samples, renders, left.tolist(), strict=True)
    ]
    return pairs, ["left" if first else "right" for first in left.tolist()]
