"""Global directions (StyleCLIP, section 6): one prompt, one step in S for every picture.

  d    = normalise(t - n), t and n the embeddings of the target and the neutral text
  R_c  = <relevance_c, d>,  zero where |R_c| < beta
  ds_c = R_c / max|R| * sd_c           s' = s + alpha ds
What must stay is left out twice: d has no part along it, and in the sum of the relevance of all
channels that move, each as far as it moves, there is none of it either.
A new prompt costs one product; a new generator the measuring of its relevance (`relevance.py`),
whose quickest way takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.asking import text_directions
from styleclip.editing.edit import Edit
from styleclip.editing.relevance import Relevance
from styleclip.errors import ArgumentError, PromptError
from styleclip.latents import StyleLayout
from styleclip.prompts import PromptPair, Templates, template_sentences

# Of a prompt's direction, so that it still asks for what it did: in the portraits' vocabulary at
# most 0.60 is left where its own group is preserved, at least 0.73 where all other groups are.
LEAST_LEFT = 0.65
LEAST_MOVED = 0.3  # of a step in deviations, where its effect on what must stay is taken out
AUTOMATIC = 0.1  # beta where nobody asks for another, but half of the largest |R| at most


@dataclass(frozen=True)
class DirectionConfig:
    """``threshold`` beta, or the number of ``channels`` to keep; neither: AUTOMATIC.

    ``strength`` is alpha: the strongest channel moves so many of its standard deviations. None is
    a step of one deviation, for ``strength.fit_strength`` to find each picture's own alpha.
    ``rgb``: whether toRGB layers move too, if the bank knows them (by samples they carry colours).
    ``templates``: "imagenet", or sentences with one ``{}``, that both texts are put into, for a
    CLIP that has not its own.
    """

    threshold: float | None = None
    channels: int | None = None
    strength: float | None = None
    rgb: bool = True
    templates: Templates = ()

    def __post_init__(self) -> None:
        if self.threshold is not None and self.channels is not None:
            raise ArgumentError("give a threshold or a number of channels, not both")
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise ArgumentError(f"threshold must be at least 0 and below 1, got {self.threshold}")
        if self.channels is not None and self.channels < 1:
            raise ArgumentError(f"channels must be at least 1, got {self.channels}")
        if self.strength is not None and (self.strength == 0 or not math.isfinite(self.strength)):
            raise ArgumentError(
                f"with a strength (alpha) of {self.strength:g} nothing would change: give another "
                "finite number, negative for the opposite"
            )
        template_sentences(self.templates)

    @classmethod
    def paper(cls, threshold: float = 0.15, strength: float = 4.1) -> DirectionConfig:
        """The official notebook's defaults, for a bank of exact relevance."""
        return cls(threshold=threshold, strength=strength, rgb=False, templates="imagenet")


def find_direction(
    relevance: Relevance,
    embedder: Embedder,
    prompt: PromptPair,
    config: DirectionConfig = DirectionConfig(),
    preserve: Sequence[Tensor] = (),
    layout: StyleLayout | None = None,
) -> Edit:
    """The step [1,S] that ``prompt`` asks for, the same for every picture.

    ``preserve``: directions [E] of what must stay. Their part of the prompt's is left out, and
    what the step's channels have of them together.
    ``layout``, the generator's, says which columns are toRGB: needed where ``config.rgb`` is False
    and the relevance has them. That ``embedder`` is the CLIP that was measured with, nobody can see
    here but by its width: ``Studio`` compares the hashes of a bank from a file. Raises
    ``PromptError`` where the two texts are one to the embedder, or where little is left to ask
    for; ``ArgumentError`` where no channel passes the threshold, or none that does can move.
    """
    wanted = without(prompt_direction(embedder, prompt, config.templates), preserve)
    step = channel_step(relevance, wanted.to(relevance.matrix), config, layout)
    if preserve:
        step = without_effect(relevance, step, span(preserve).to(step))
    return Edit("direction", prompt, style_step=step[None], config=asdict(config))


def prompt_direction(embedder: Embedder, prompt: PromptPair, templates: Templates = ()) -> Tensor:
    """normalise(target - neutral) [E]. Raises ``PromptError`` where there is no difference."""
    return text_directions(embedder, [prompt], templates)[0]


def without(direction: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The unit ``direction`` [E] less its part in the span of ``others``, unit again."""
    if not others:
        return direction
    basis = span(others).to(direction)
    left = direction - basis @ (basis.t() @ direction)
    if left.norm() < LEAST_LEFT:
        raise PromptError("what should change is what should be preserved: preserve less")
    return F.normalize(left, dim=0)


def span(directions: Sequence[Tensor]) -> Tensor:
    """An orthonormal basis [E,K] of what ``directions`` [E] span; named twice spans no more."""
    columns, sizes, _ = torch.linalg.svd(torch.stack(list(directions), dim=1), full_matrices=False)
    basis: Tensor = columns[:, sizes > 1e-4 * sizes.max()]
    return basis


def without_effect(relevance: Relevance, step: Tensor, basis: Tensor) -> Tensor:
    """The nearest step [S], of the same channels, whose sum of relevance along ``basis`` is 0.

    Lengths are in the channels' standard deviations, as in the paper's step, which leaves aside
    how much a deviation does; the strongest channel moves as far as before. Weighed by that, more
    is kept and much less of what was asked for is left (benchmarks/preserve.py).
    """
    moves = step != 0
    std, effect = relevance.std.to(step)[moves], relevance.matrix.to(step)[moves] @ basis
    before = step[moves] / std
    weights = torch.linalg.lstsq(effect.double(), before.double()[:, None]).solution[:, 0]
    after = before - (effect.double() @ weights).to(before)
    if after.norm() < LEAST_MOVED * before.norm():
        raise PromptError(
            f"the {int(moves.sum())} channels that move along this prompt move what should be "
            "preserved: preserve less, or lower the threshold so that more channels move"
        )
    found = torch.zeros_like(step)
    found[moves] = after * (before.abs().max() / after.abs().max()) * std
    return found


def channel_step(
    relevance: Relevance,
    wanted: Tensor,
    config: DirectionConfig,
    layout: StyleLayout | None = None,
) -> Tensor:
    """alpha ds [S] of the channels whose relevance to ``wanted`` [E] passes."""
    if relevance.matrix.shape[1] != len(wanted):
        raise ArgumentError(
            f"this bank was measured with a CLIP whose vectors have {relevance.matrix.shape[1]} "
            f"numbers, the prompt's has {len(wanted)}: use the CLIP that it was measured with"
        )
    response = relevance.matrix @ wanted  # R
    if not config.rgb and has_rgb(relevance):
        if layout is None:
            raise ArgumentError(
                "this relevance may hold toRGB layers, and rgb=False leaves them out: say which "
                "columns are theirs, with layout=generator.layout"
            )
        response = torch.where(layout.conv_columns().to(response.device), response, 0.0)
    deviations = relevance.std.to(response)
    moving = torch.where(deviations * response != 0, response, 0.0)  # others take no step
    if not response.abs().max() > 0:
        raise ArgumentError(
            "no channel of this bank moves a picture along this prompt: measure the relevance of "
            "this generator again, or use other words"
        )
    response, largest = moving, moving.abs().max()
    if not largest > 0:
        raise ArgumentError(
            "the channels that this prompt asks for do not vary in this bank (their standard "
            "deviations are 0), so nothing would move: measure it again at a truncation above 0"
        )
    kept = response.abs() >= passing_value(response, config)
    if not bool(kept.any()):
        raise ArgumentError(
            f"no channel reaches the threshold {config.threshold:g}: the largest |R| is "
            f"{largest:.4f}; lower the threshold"
        )
    chosen = torch.where(kept, response, 0.0)
    alpha = 1.0 if config.strength is None else config.strength
    return alpha * deviations * chosen / chosen.abs().max()


def has_rgb(relevance: Relevance) -> bool:
    """Whether rows of toRGB layers may be there: by samples always, or when they were asked for."""
    method = relevance.config.get("method", "samples")
    return method == "samples" or bool(relevance.config.get("rgb", False))


def passing_value(response: Tensor, config: DirectionConfig) -> float:
    """The smallest |R| that stays."""
    if config.threshold is not None:
        return config.threshold
    if config.channels is None:
        return min(AUTOMATIC, 0.5 * float(response.abs().max()))
    count = min(config.channels, int((response != 0).sum()))
    return float(response.abs().topk(count).values[-1])
