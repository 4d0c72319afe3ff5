"""What an edit asks of CLIP, and what CLIP is shown: shared by optimisation and mappers.

d = normalise(t - n)          goal = mean + k sd of the generator's own samples along d
clip    "reach"        relu(goal - <e, d>) / sd
        "directional"  1 - cos(e - e_s, d)
        "target"       1 - cos(e, t)
keep    with "reach":  |(e - e_s) without its part along d|^2 / sd^2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.clip.embedder import PLAIN, Embedder
from styleclip.editing.latent_map import LatentMap, enough_resolution
from styleclip.errors import ArgumentError, PromptError
from styleclip.generators import Generator
from styleclip.losses import (
    directional_distance,
    latent_distance,
    off_direction,
    reach_distance,
    target_distance,
    text_direction,
)
from styleclip.prompts import PromptPair, Templates, template_sentences

Loss = Literal["reach", "directional", "target"]
ClipInput = Literal["correct", "paper"]


@dataclass(frozen=True, eq=False)
class Asked:
    """Of P prompts, or of one for each of P pictures."""

    target: Tensor  # [P,E]
    direction: Tensor  # [P,E], unit
    goal: Tensor  # [P], along the direction
    deviation: Tensor  # [P], of the generator's samples; 1 where nobody measured them

    def __getitem__(self, index: Tensor) -> Asked:
        return Asked(*(part[index] for part in vars(self).values()))


def ask(
    embedder: Embedder,
    prompts: Sequence[PromptPair],
    loss: Loss,
    latent_map: LatentMap | None,
    goal: float,
    like: Tensor,
) -> Asked:
    """``goal`` is in the samples' deviations. Raises ``PromptError`` for two texts that are one."""
    targets = embedder.embed_texts([each.target for each in prompts]).to(like)
    if loss == "target":
        neutrals = embedder.embed_texts([each.neutral for each in prompts]).to(like)
        directions = text_direction(targets, neutrals)
    else:
        directions = text_directions(embedder, prompts).to(like)
    middle, deviations = torch.zeros(len(prompts)), torch.ones(len(prompts))
    if latent_map is not None:
        middle, deviations = latent_map.to(like.device).spread(directions)
    middle, deviations = middle.to(like), deviations.to(like)
    return Asked(targets, directions, middle + goal * deviations, deviations)


def text_directions(
    embedder: Embedder, prompts: Sequence[PromptPair], templates: Templates = ()
) -> Tensor:
    """normalise(target - neutral) [P,E]. Raises ``PromptError`` where there is no difference.

    ``templates``: the sentences that both sides are put into, for a CLIP that has not its own.
    """
    targets = _embed_in(embedder, [each.target for each in prompts], templates)
    neutrals = _embed_in(embedder, [each.neutral for each in prompts], templates)
    alike = torch.isclose(targets, neutrals, atol=1e-6).all(dim=1)
    if bool(alike.any()):
        same = prompts[int(alike.int().argmax())]
        raise PromptError(
            f"the model sees no difference between {same.target!r} and {same.neutral!r}: "
            "say it in other words"
        )
    return text_direction(targets, neutrals)


def _embed_in(embedder: Embedder, texts: Sequence[str], templates: Templates) -> Tensor:
    """N texts -> [N,E], each the normalised mean over the sentences that it is put into."""
    sentences = template_sentences(templates)
    has_own = tuple(getattr(embedder, "templates", PLAIN)) != PLAIN
    if not sentences or has_own:
        return embedder.embed_texts(texts)
    vectors = [embedder.embed_texts([each.replace("{}", t) for each in sentences]) for t in texts]
    return F.normalize(torch.stack(vectors).mean(dim=1), dim=-1)


def clip_terms(
    asked: Asked, loss: Loss, keep_weight: float, embeddings: Tensor, sources: Tensor | None
) -> dict[str, Tensor]:
    """The terms [B] of embeddings [B,E]; without ``sources`` [B,E], of a picture from nowhere."""
    if loss == "reach":
        reached = reach_distance(embeddings, asked.direction, asked.goal) / asked.deviation
        if sources is None:
            return {"clip": reached}
        aside = off_direction(embeddings - sources, asked.direction) / asked.deviation[:, None]
        return {"clip": reached, "keep": keep_weight * latent_distance(aside)}
    if loss == "directional" and sources is not None:
        return {"clip": directional_distance(embeddings, sources, asked.direction)}
    return {"clip": target_distance(embeddings, asked.target)}


def shown_resolution(
    generator: Generator, embedder: Embedder, resolution: Literal["full", "enough"]
) -> int:
    """How large pictures are rendered for CLIP."""
    return generator.resolution if resolution == "full" else enough_resolution(generator, embedder)


def look(embedder: Embedder, images: Tensor, clip_input: ClipInput) -> Tensor:
    """Images [B,3,H,W] -> unit vectors [B,E]."""
    if clip_input == "correct":
        return embedder.embed_images(images)
    return embedder.embed_pixels(paper_pixels(images, embedder.image_size))


def check_identity(weight: float, identity: Callable[[Tensor], Tensor] | None) -> None:
    """Raise ``ArgumentError`` for an identity loss without a network."""
    if weight and identity is None:
        raise ArgumentError(
            f"identity_weight is {weight:g}, but there is no identity network: "
            "pass identity=, a function of images to unit vectors, or set the weight to 0"
        )


def paper_pixels(images: Tensor, size: int) -> Tensor:
    """The official CLIP input: nearest upsampling by size/32, average pooling by H/32.

    Neither clamp nor mean nor std. Separable, so done as two products [size,H]; the seven times
    larger picture is never made.
    """
    height = images.shape[2]
    if size % 32 or height % 32:
        raise ArgumentError(
            f"the official CLIP input needs sizes divisible by 32, got {height} and {size}"
        )
    columns = torch.eye(height).repeat_interleave(size // 32, dim=1)[None]  # nearest
    matrix = F.avg_pool1d(columns, height // 32)[0].t().to(images)  # [size,H]
    return matrix @ images @ matrix.t()
