"""Global directions (StyleCLIP, section 6): one prompt, one step in S for every picture.

  d    = normalise(t - n), t and n the embeddings of the target and the neutral text
  R_c  = <relevance_c, d>,  zero where |R_c| < beta
  ds_c = R_c / max|R| * sd_c           s' = s + alpha ds
"Joint", ours: R as above says what each channel does by itself; the channels of a step act
together, so instead  ds = sd * argmin_a |sum_c a_c effect_c relevance_c - d|^2 + ridge |a|^2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.edit import Edit
from styleclip.editing.relevance import Relevance
from styleclip.errors import ArgumentError, PromptError
from styleclip.losses import text_direction
from styleclip.prompts import PromptPair


@dataclass(frozen=True)
class DirectionConfig:
    """``threshold`` beta, or the number of ``channels`` to keep; neither: the joint step."""

    threshold: float | None = None
    channels: int | None = None
    strength: float = 3.0  # alpha
    ridge: float = 0.1  # of the joint step, as a share of the mean squared effect

    def __post_init__(self) -> None:
        if self.threshold is not None and self.channels is not None:
            raise ArgumentError("give a threshold or a number of channels, not both")
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise ArgumentError(f"threshold must be at least 0 and below 1, got {self.threshold}")
        if self.channels is not None and self.channels < 1:
            raise ArgumentError(f"channels must be at least 1, got {self.channels}")

    @classmethod
    def paper(cls, threshold: float = 0.15, strength: float = 4.1) -> DirectionConfig:
        """The official notebook's defaults."""
        return cls(threshold=threshold, strength=strength)


def find_direction(
    relevance: Relevance,
    embedder: Embedder,
    prompt: PromptPair,
    config: DirectionConfig = DirectionConfig(),
) -> Edit:
    """The step [1,S] that ``prompt`` asks for, the same for every picture.

    Raises ``PromptError`` where the two texts are one to the embedder, ``ArgumentError`` where no
    channel passes the threshold.
    """
    wanted = prompt_direction(embedder, prompt).to(relevance.matrix)
    if config.threshold is None and config.channels is None:
        step = joint_step(relevance, wanted, config)
    else:
        step = channel_step(relevance, wanted, config)
    return Edit("direction", prompt, style_step=step[None], config=asdict(config))


def prompt_direction(embedder: Embedder, prompt: PromptPair) -> Tensor:
    """normalise(target - neutral) [E]. Raises ``PromptError`` where there is no difference."""
    target, neutral = embedder.embed_texts([prompt.target, prompt.neutral])
    if bool(torch.isclose(target, neutral, atol=1e-6).all()):
        raise PromptError(
            f"the model sees no difference between {prompt.target!r} and {prompt.neutral!r}: "
            "say it in other words"
        )
    return text_direction(target, neutral)


def channel_step(relevance: Relevance, wanted: Tensor, config: DirectionConfig) -> Tensor:
    """alpha ds [S] of the channels whose relevance to ``wanted`` [E] passes."""
    response = relevance.matrix @ wanted  # R
    largest = response.abs().max()
    if not largest > 0:
        raise _nothing_moves()
    kept = response.abs() >= passing_value(response, config)
    if not bool(kept.any()):
        raise ArgumentError(
            f"no channel reaches the threshold {config.threshold:g}: the largest |R| is "
            f"{largest:.4f}; lower the threshold"
        )
    chosen = torch.where(kept, response, 0.0)
    return config.strength * relevance.std.to(chosen) * chosen / chosen.abs().max()


def passing_value(response: Tensor, config: DirectionConfig) -> float:
    """The smallest |R| that stays."""
    if config.channels is None:
        return float(config.threshold or 0.0)
    count = min(config.channels, int((response != 0).sum()))
    return float(response.abs().topk(count).values[-1])


def joint_step(relevance: Relevance, wanted: Tensor, config: DirectionConfig) -> Tensor:
    """alpha ds [S], ds the ridge regression of ``wanted`` [E] on what the channels do together.

    Scaled like a step of single channels: its strongest one moves alpha deviations.
    """
    effects = relevance.effect[:, None] * relevance.matrix  # [S,E]
    if not bool((effects @ wanted).any()):
        raise _nothing_moves()
    gram = effects.t() @ effects  # [E,E]
    floor = config.ridge * gram.diagonal().mean()
    identity = torch.eye(len(gram)).to(gram)
    step = effects @ torch.linalg.solve(gram + floor * identity, wanted)
    return config.strength * relevance.std.to(step) * step / step.abs().max()


def _nothing_moves() -> ArgumentError:
    return ArgumentError(
        "no channel of this bank moves a picture along this prompt: measure the relevance of "
        "this generator again, or use other words"
    )
