"""One mapper for many prompts: a network of the picture and of the text's direction.

  u = a(w, d) d + r(w, d)            d = normalise(t - n), in CLIP's coordinates [E]
  step = sd_d u A                    A the latent map, sd_d the samples' deviation along d
  loss = relu(goal - <e, d>) / sd_d + keep |(e - e_s) off d|^2 / sd_d^2 + latent |u - first|^2
As the default optimisation (`optimization.py`), with its descent learned beforehand: an edit is one
pass, and a prompt that was never trained is asked for by its direction like any other. (HairCLIP,
2112.05142, and FFCLIP, 2209.06550, condition mappers on text as well; moving in A is ours.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from styleclip.clip.embedder import Embedder
from styleclip.editing.directions import prompt_direction
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap, enough_resolution
from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators import Generator
from styleclip.losses import latent_distance
from styleclip.prompts import PromptPair

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, mean of each term


@dataclass(frozen=True)
class TextMapperConfig:
    """The loss is that of ``OptimizationConfig``; lengths are in the samples' deviations."""

    hidden: int = 512
    layers: int = 2
    steps: int = 800
    batch: int = 16
    rate: float = 1e-3
    first: float = 6.5  # the length along d where training begins
    goal: float = 3.5
    keep_weight: float = 0.06
    latent_weight: float = 0.02
    average: float = 0.99  # of the weights, what is returned
    seed: int = 0


class TextMapper(nn.Module):
    """(w_plus [B,L,D], direction [E] or [B,E]) -> step [B,1,D], the same for every row."""

    matrix: Tensor
    mean: Tensor
    covariance: Tensor
    w_mean: Tensor
    w_scale: Tensor

    def __init__(self, width: int, embedding: int, config: TextMapperConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("matrix", torch.zeros(embedding, width))
        self.register_buffer("mean", torch.zeros(embedding))
        self.register_buffer("covariance", torch.zeros(embedding, embedding))
        self.register_buffer("w_mean", torch.zeros(width))
        self.register_buffer("w_scale", torch.ones(width))
        layers: list[nn.Module] = [nn.Linear(width + embedding, config.hidden), nn.SiLU()]
        for _ in range(config.layers - 1):
            layers += [nn.Linear(config.hidden, config.hidden), nn.SiLU()]
        last = nn.Linear(config.hidden, embedding + 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def know(self, latent_map: LatentMap, w: Tensor) -> None:
        """Take over the latent map, and mean and scale of the latents ``w`` [N,D]."""
        for name in ("matrix", "mean", "covariance"):
            getattr(self, name).copy_(getattr(latent_map, name))
        self.w_mean.copy_(w.mean(dim=0))
        self.w_scale.copy_(w.std(dim=0).clamp(min=1e-6))

    def spread(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the samples along ``direction`` [...,E]."""
        middle = direction @ self.mean
        return middle, ((direction @ self.covariance) * direction).sum(-1).clamp(min=1e-12).sqrt()

    def coordinates(self, w_plus: Tensor, direction: Tensor) -> Tensor:
        """u [B,E], in deviations along ``direction``."""
        direction = direction.expand(len(w_plus), -1)
        w = (w_plus.mean(dim=1) - self.w_mean) / self.w_scale
        found = self.layers(torch.cat([w, direction * math.sqrt(direction.shape[1])], dim=1))
        length = self.config.first * torch.exp(found[:, :1])
        u: Tensor = length * direction + found[:, 1:]
        return u

    def forward(self, w_plus: Tensor, direction: Tensor) -> Tensor:
        _, deviation = self.spread(direction)
        u = self.coordinates(w_plus, direction) * deviation.reshape(-1, 1)
        return (u @ self.matrix)[:, None]

    @torch.no_grad()
    def edit(self, w_plus: Tensor, embedder: Embedder, prompt: PromptPair) -> Edit:
        """The edit of these pictures [B,L,D]. Raises ``PromptError``."""
        if w_plus.ndim != 3 or w_plus.shape[2] != len(self.w_mean):
            raise ArgumentError(
                f"this mapper moves latents [B, L, {len(self.w_mean)}], got "
                f"{list(w_plus.shape)}: was it trained for another generator?"
            )
        direction = prompt_direction(embedder, prompt).to(self.matrix)
        step = self(w_plus.to(self.matrix), direction).expand(-1, w_plus.shape[1], -1)
        return Edit("mapper", prompt, w_plus_step=step, config=asdict(self.config))


@dataclass(eq=False)
class TextMapperState:
    """How far a training is: all that a kill must not lose."""

    step: int = 0
    mapper: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    adam: dict[str, Any] = field(default_factory=dict)


def train_text_mapper(
    generator: Generator,
    embedder: Embedder,
    latents: Tensor,
    prompts: Sequence[PromptPair],
    latent_map: LatentMap,
    config: TextMapperConfig = TextMapperConfig(),
    on_step: OnStep | None = None,
    state: TextMapperState | None = None,
    on_state: Callable[[TextMapperState], None] | None = None,
) -> TextMapper:
    """A mapper for ``prompts`` (one or many), trained on ``latents`` [N,L,D].

    ``on_state`` is called after every step with the state of the work (live tensors: copy or write
    them at once); given back as ``state`` the training goes on and ends in the same numbers.
    Raises ``NonFiniteError`` when the loss leaves the numbers.
    """
    if not len(latents) or not prompts:
        raise ArgumentError("a mapper needs at least one latent and one prompt to learn from")
    directions = torch.stack([prompt_direction(embedder, each) for each in prompts]).to(latents)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        mapper = TextMapper(latents.shape[2], directions.shape[1], config).to(latents.device)
    mapper.know(latent_map, latents.mean(dim=1))
    average = TextMapper(latents.shape[2], directions.shape[1], config).to(latents.device)
    average.load_state_dict(mapper.state_dict())
    adam = torch.optim.Adam(mapper.parameters(), lr=config.rate, betas=(0.9, 0.99))
    resolution = enough_resolution(generator, embedder)
    sources = _looks(generator, embedder, latents, resolution)
    state = state or TextMapperState()
    if state.step:
        mapper.load_state_dict(state.mapper)
        average.load_state_dict(state.average)
        adam.load_state_dict(state.adam)

    for step in range(state.step, config.steps):
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        pictures = torch.randint(len(latents), (config.batch,), generator=random)
        asked = torch.randint(len(prompts), (config.batch,), generator=random)
        w_plus, direction = latents[pictures], directions[asked]
        middle, deviation = mapper.spread(direction)
        u = mapper.coordinates(w_plus, direction)
        moved = w_plus + ((u * deviation[:, None]) @ mapper.matrix)[:, None]
        images = generator.synthesis(generator.affine(moved), resolution=resolution)
        embeddings = embedder.embed_images(images).to(direction)
        goal = middle + config.goal * deviation
        aside = _off(embeddings - sources[pictures], direction) / deviation[:, None]
        along = (u * direction).sum(dim=1, keepdim=True) * direction
        terms = {
            "clip": (goal - (embeddings * direction).sum(dim=1)).clamp(min=0) / deviation,
            "keep": config.keep_weight * latent_distance(aside),
            "latent": config.latent_weight * latent_distance(u - along),
        }
        loss = torch.stack(list(terms.values())).sum(dim=0).mean()
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(
                f"the loss became {loss.item()} at step {step + 1}: lower the rate"
            )
        for group in adam.param_groups:
            group["lr"] = config.rate * min(1.0, 2 * (1 - step / config.steps))
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            decay = min(config.average, (1 + step) / (10 + step))
            for mean, value in zip(average.parameters(), mapper.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        if on_state is not None:
            on_state(
                TextMapperState(
                    step + 1, mapper.state_dict(), average.state_dict(), adam.state_dict()
                )
            )
        if on_step is not None:
            means = {name: term.mean().item() for name, term in terms.items()}
            on_step(step + 1, config.steps, means)
    return average.eval().requires_grad_(False)


def _off(moved: Tensor, direction: Tensor) -> Tensor:
    """``off_direction`` of a direction for each row."""
    return moved - (moved * direction).sum(dim=1, keepdim=True) * direction


@torch.no_grad()
def _looks(generator: Generator, embedder: Embedder, latents: Tensor, resolution: int) -> Tensor:
    """e of every source picture, once: [N,E]."""
    found = [
        embedder.embed_images(generator.synthesis(generator.affine(part), resolution=resolution))
        for part in latents.split(32)
    ]
    return torch.cat(found).to(latents)
