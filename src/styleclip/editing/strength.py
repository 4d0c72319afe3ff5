"""How far along an edit a picture has to go: the smallest strength that shows what was asked for.

  a* = min { a : <e(G(apply(w_plus, a))), d> >= goal },  d = normalise(t - n)
by the embedder's own measure, each picture for itself, with the person held where an identity
network says so:  a* <= max { a : <R(a), R(0)> >= floor }.  For every method: all return edits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap, enough_resolution
from styleclip.errors import ArgumentError
from styleclip.generators import Generator, chunk_size
from styleclip.losses import text_direction


@dataclass(frozen=True)
class StrengthConfig:
    """Strengths 0, most / points, 2 most / points, ... are looked at.

    ``goal``: how far above the mean of the generator's own samples counts as reached, along the
    text and in their standard deviations.
    """

    goal: float = 3.5
    most: float = 12.0
    points: int = 12
    identity_floor: float | None = None  # a cosine
    full: bool = False  # look at full resolution, not only at what CLIP needs

    def __post_init__(self) -> None:
        if self.most <= 0 or self.points < 1:
            raise ArgumentError("most and points must be positive")


def fit_strength(
    generator: Generator,
    embedder: Embedder,
    w_plus: Tensor,
    edit: Edit,
    latent_map: LatentMap,
    config: StrengthConfig = StrengthConfig(),
    identity: Callable[[Tensor], Tensor] | None = None,
) -> Edit:
    """The edit with a step for each picture, each as long as it has to be for its prompt.

    ``latent_map`` knows how the generator's own samples spread.
    """
    target, neutral = embedder.embed_texts([edit.prompt.target, edit.prompt.neutral])
    direction = text_direction(target, neutral)
    middle, deviation = latent_map.spread(direction)
    goal = middle + config.goal * deviation
    chosen = choose_strength(
        generator, embedder, w_plus, edit, direction, goal, config, identity
    )  # fmt: skip
    return scaled(edit, chosen)


@torch.no_grad()
def choose_strength(
    generator: Generator,
    embedder: Embedder,
    w_plus: Tensor,
    edit: Edit,
    direction: Tensor,
    goal: float | Tensor,
    config: StrengthConfig = StrengthConfig(),
    identity: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The strength [B] for each picture of ``w_plus`` [B,L,D].

    ``direction`` [E] is the text's, ``goal`` what the product with it should reach. Between two
    strengths the measure is taken to be straight. A picture that is there already gets 0; one that
    never gets there, the strength that brings it nearest. ``identity`` maps images to unit vectors.
    """
    if config.identity_floor is not None and identity is None:
        raise ArgumentError("an identity floor needs an identity network: pass identity=")
    resolution = generator.resolution if config.full else enough_resolution(generator, embedder)
    grid = torch.linspace(0, config.most, config.points + 1).to(w_plus)
    chosen = []
    for part in torch.arange(len(w_plus)).split(chunk_size(resolution)):
        reached, same = [], []
        start = None
        for strength in grid.tolist():
            style = picked(edit, part).apply(generator, w_plus[part], strength)
            images = generator.synthesis(style, resolution=resolution)
            reached.append(embedder.embed_images(images) @ direction.to(images))
            if identity is not None and config.identity_floor is not None:
                face = identity(images)
                start = face if start is None else start
                same.append((face * start).sum(dim=1))
        along = torch.stack(reached)  # [P,B]
        allowed = torch.ones_like(along, dtype=torch.bool)
        if same and config.identity_floor is not None:
            # once lost, a person stays lost
            allowed = (torch.stack(same) >= config.identity_floor).cummin(dim=0).values
        chosen.append(_first_reached(along, allowed, grid, goal))
    return torch.cat(chosen)


def _first_reached(along: Tensor, allowed: Tensor, grid: Tensor, goal: float | Tensor) -> Tensor:
    """along, allowed [P,B] on grid [P] -> [B]."""
    enough = (along >= goal) & allowed
    first = enough.float().argmax(dim=0)  # 0 where none is
    nearest = torch.where(allowed, along, -torch.inf).argmax(dim=0)
    pictures = torch.arange(along.shape[1], device=along.device)
    before = (first - 1).clamp(min=0)
    low, high = along[before, pictures], along[first, pictures]
    share = ((goal - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    between = grid[before] + share * (grid[first] - grid[before])
    return torch.where(enough.any(dim=0), torch.where(first == 0, grid[0], between), grid[nearest])


def picked(edit: Edit, index: Tensor) -> Edit:
    """The edit of pictures ``index``; one that is the same for all stays as it is."""

    def some(step: Tensor | None) -> Tensor | None:
        return step if step is None or len(step) == 1 else step[index.to(step.device)]

    return replace(edit, w_plus_step=some(edit.w_plus_step), style_step=some(edit.style_step))


def scaled(edit: Edit, strength: Tensor) -> Edit:
    """The edit with its steps multiplied: ``strength`` [B] becomes its strength 1."""

    def times(step: Tensor | None) -> Tensor | None:
        if step is None:
            return None
        return step * strength.to(step).view(-1, *[1] * (step.ndim - 1))

    config = {**edit.config, "strengths": [round(float(each), 4) for each in strength]}
    return replace(
        edit, w_plus_step=times(edit.w_plus_step), style_step=times(edit.style_step), config=config
    )
