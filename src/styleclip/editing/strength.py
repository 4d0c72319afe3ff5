"""How far along an edit a picture has to go: the smallest strength that shows what was asked for.

  along(a) = <e(G(apply(w_plus, a))), d>,  d = normalise(t - n)
  a* = min { a : along(a) >= min(goal, along(0) + share (max along - along(0))) }
by the embedder's own measure, each picture for itself: to the goal, or to where more strength gives
hardly more. With the person held where an identity network says so:
  a* <= min { a : <R(a), R(0)> < floor }.   For every method: all return edits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.checking import check_finite
from styleclip.editing.directions import DirectionConfig, prompt_direction
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap, enough_resolution
from styleclip.editing.optimization import OptimizationConfig
from styleclip.errors import ArgumentError
from styleclip.generators import Generator, chunk_size

MOST_DEVIATIONS = 12.0  # that a direction's strongest channel is moved
MOST_OF_OTHERS = 2.0  # times the edit as it was found
HAIR = 1e-3  # of the cosine: between a picture as it is written and as it was rendered
LOOKS = 5  # back towards a strength that is known to hold


@dataclass(frozen=True)
class StrengthConfig:
    """Strengths 0, most / points, 2 most / points, ... are looked at.

    ``goal``: how far above the mean of the generator's own samples counts as reached, along the
    text and in their standard deviations; ``share`` of what can be reached is enough anyway.
    """

    goal: float = 3.5
    share: float = 0.95
    most: float | None = None  # None: 12 deviations for directions, 2 for other edits
    points: int = 12
    identity_floor: float | None = None  # a cosine, of pictures at full resolution
    full: bool = False  # CLIP too looks at full resolution, not only at what it needs

    def __post_init__(self) -> None:
        check_finite(self)
        if (self.most is not None and self.most <= 0) or self.points < 1:
            raise ArgumentError("most and points must be positive")
        if not 0 < self.share <= 1:
            raise ArgumentError(f"share must be above 0 and at most 1, got {self.share}")


def fits_by_itself(config: object) -> bool:
    """Whether edits of a method's config are made just as strong as they have to be, unasked.

    A step found by descent to a goal, and a direction whose strength nobody named.
    """
    if isinstance(config, DirectionConfig):
        return config.strength is None
    return isinstance(config, OptimizationConfig) and config.loss == "reach"


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

    ``latent_map`` knows how the generator's own samples spread. A direction's alpha may be
    negative: then the opposite of the prompt is what has to show.
    """
    templates = edit.config.get("templates", ())
    direction = math.copysign(1.0, alpha_of(edit)) * prompt_direction(
        embedder, edit.prompt, templates
    )
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
    strengths the measures are taken to be straight. A picture that is there already gets 0; one
    that never gets there, the strength beyond which it hardly comes nearer. ``identity`` maps
    images of full resolution to unit vectors; its floor holds in the picture of the strength.
    """
    floor = config.identity_floor
    if floor is not None and identity is None:
        raise ArgumentError("an identity floor needs an identity network: pass identity=")
    resolution = generator.resolution if config.full else enough_resolution(generator, embedder)
    largest = resolution if floor is None else generator.resolution
    most = farthest(edit) if config.most is None else config.most
    grid = torch.linspace(0, most, config.points + 1).to(w_plus)
    chosen = []
    for part in torch.arange(len(w_plus)).split(chunk_size(largest)):
        own, latents = picked(edit, part), w_plus[part]
        reached, same = [], []
        start = None
        for strength in grid.tolist():
            style = own.apply(generator, latents, strength)
            shown, whole = _both_sizes(generator, style, resolution, largest)
            reached.append(embedder.embed_images(shown) @ direction.to(shown))
            if identity is not None and floor is not None:
                face = identity(as_written(whole))
                start = face if start is None else start
                same.append((face * start).sum(dim=1))
        along = torch.stack(reached)  # [P,B]
        top = along.max(dim=0).values
        wanted = torch.minimum(
            torch.as_tensor(goal).to(top), along[0] + config.share * (top - along[0])
        )
        strengths = _first_reached(along, grid, wanted)
        if identity is not None and start is not None and floor is not None:
            kept = floor + HAIR
            lost = torch.full_like(wanted, -kept)
            strengths = torch.minimum(strengths, _first_reached(-torch.stack(same), grid, lost))
            strengths = _held(generator, latents, own, strengths, grid, identity, start, kept)
        chosen.append(strengths)
    return torch.cat(chosen)


def farthest(edit: Edit) -> float:
    """The largest strength that is looked at, in multiples of the edit."""
    if edit.method != "direction":
        return MOST_OF_OTHERS
    return MOST_DEVIATIONS / abs(alpha_of(edit))


def alpha_of(edit: Edit) -> float:
    """How many deviations the strongest channel of a direction moves; 1 of any other edit."""
    alpha = edit.config.get("strength") if edit.method == "direction" else None
    return 1.0 if alpha is None else float(alpha)


def _both_sizes(
    generator: Generator, style: Tensor, small: int, large: int
) -> tuple[Tensor, Tensor]:
    """Images of one style [B,S] at two resolutions, in one pass."""
    if small == large:
        image = generator.synthesis(style, resolution=small)
        return image, image
    after = next(layer for layer in generator.layout if layer.resolution == 2 * small)
    start = generator.prefix(style, after)
    assert start.image is not None
    return start.image, generator.synthesis(style, resolution=large, start=start)


def as_written(images: Tensor) -> Tensor:
    """Images [B,3,H,W] with the 256 values that a file has."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def _held(
    generator: Generator,
    w_plus: Tensor,
    edit: Edit,
    strengths: Tensor,
    grid: Tensor,
    identity: Callable[[Tensor], Tensor],
    start: Tensor,
    floor: float,
) -> Tensor:
    """The strengths [B], less where the measure was not straight between two that were looked at.

    Halfway back to the one below, which holds ``floor``; to that one itself in the end.
    """
    step = float(grid[1] - grid[0])
    # a hair above the grid is on it: rounding makes no strength of its own
    below = ((strengths / step - 1e-4).ceil() - 1).clamp(min=0) * step
    for attempt in range(LOOKS):
        images = generator.synthesis(scaled(edit, strengths).apply(generator, w_plus))
        lost = (identity(as_written(images)) * start).sum(dim=1) < floor
        lost &= strengths > below
        if not bool(lost.any()):
            break
        back = below if attempt == LOOKS - 1 else (below + strengths) / 2
        strengths = torch.where(lost, back, strengths)
    return strengths


def _first_reached(values: Tensor, grid: Tensor, wanted: Tensor) -> Tensor:
    """Where values [P,B] on grid [P] first reach ``wanted`` [B]; the end of the grid if never."""
    enough = values >= wanted
    first = torch.where(enough.any(dim=0), enough.float().argmax(dim=0), len(grid) - 1)
    pictures = torch.arange(values.shape[1], device=values.device)
    before = (first - 1).clamp(min=0)
    low, high = values[before, pictures], values[first, pictures]
    share = ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    between = grid[before] + share * (grid[first] - grid[before])
    between = torch.where(enough.any(dim=0), between, grid[-1])
    return torch.where(first == 0, grid[0], between)


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
