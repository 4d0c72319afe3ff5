"""One mapper for many prompts: a network of the picture and of the text's direction.

  u = a(w, d) d + r(w, d)            d = normalise(t - n), in CLIP's coordinates [E]
  step = sd_d u A                    A the latent map, sd_d the samples' deviation along d
It moves where the default optimisation moves (`optimization.py`), with the descent learned
beforehand: an edit is one pass, and a prompt that was never trained is asked for by its direction
like any other. (HairCLIP, 2112.05142, and FFCLIP, 2209.06550, condition mappers on text as well;
moving in A is ours.) `mapper_training.py` trains it, for one prompt or for many.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from styleclip.clip.embedder import Embedder
from styleclip.editing.directions import prompt_direction
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap
from styleclip.errors import ArgumentError
from styleclip.prompts import PromptPair


@dataclass(frozen=True)
class TextMapperConfig:
    """``width`` D of the latents, ``embedding`` E of CLIP, and the network between them."""

    width: int
    embedding: int
    hidden: int = 512
    layers: int = 2
    first: float = 6.5  # the length along d before training, in the samples' deviations

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TextMapperConfig:
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class TextMapper(nn.Module):
    """(w_plus [B,L,D], direction [E] or [B,E]) -> step [B,1,D], the same for every row."""

    matrix: Tensor
    mean: Tensor
    covariance: Tensor
    w_mean: Tensor
    w_scale: Tensor

    def __init__(self, config: TextMapperConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("matrix", torch.zeros(config.embedding, config.width))
        self.register_buffer("mean", torch.zeros(config.embedding))
        self.register_buffer("covariance", torch.zeros(config.embedding, config.embedding))
        self.register_buffer("w_mean", torch.zeros(config.width))
        self.register_buffer("w_scale", torch.ones(config.width))
        layers: list[nn.Module] = []
        before = config.width + config.embedding
        for _ in range(config.layers):
            layers += [nn.Linear(before, config.hidden), nn.SiLU()]
            before = config.hidden
        last = nn.Linear(before, config.embedding + 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    @property
    def latent_map(self) -> LatentMap:
        """The map that it moves in."""
        return LatentMap(self.matrix, self.mean, self.covariance)

    def know(self, latent_map: LatentMap, w: Tensor) -> None:
        """Take over the latent map, and mean and scale of the latents ``w`` [N,D]."""
        for name in ("matrix", "mean", "covariance"):
            getattr(self, name).copy_(getattr(latent_map, name))
        self.w_mean.copy_(w.mean(dim=0))
        scale = w.std(dim=0, correction=0)
        self.w_scale.copy_(scale.clamp(min=0.1 * float(scale.mean())))

    def coordinates(self, w_plus: Tensor, direction: Tensor) -> Tensor:
        """u [B,E], in deviations along ``direction``."""
        direction = direction.expand(len(w_plus), -1)
        w = (w_plus.mean(dim=1) - self.w_mean) / self.w_scale
        found = self.layers(torch.cat([w, direction * math.sqrt(direction.shape[1])], dim=1))
        length = self.config.first * torch.exp(found[:, :1])
        u: Tensor = length * direction + found[:, 1:]
        return u

    def step(self, u: Tensor, direction: Tensor) -> Tensor:
        """u [B,E] -> step [B,1,D]."""
        _, deviation = self.latent_map.spread(direction)
        return ((u * deviation.reshape(-1, 1)) @ self.matrix)[:, None]

    def forward(self, w_plus: Tensor, direction: Tensor) -> Tensor:
        return self.step(self.coordinates(w_plus, direction), direction)

    @torch.no_grad()
    def edit(self, w_plus: Tensor, embedder: Embedder, prompt: PromptPair) -> Edit:
        """The edit of these pictures [B,L,D]. Raises ``PromptError``."""
        if w_plus.ndim != 3 or w_plus.shape[2] != self.config.width:
            raise ArgumentError(
                f"this mapper moves latents [B, L, {self.config.width}], got "
                f"{list(w_plus.shape)}: was it trained for another generator?"
            )
        direction = prompt_direction(embedder, prompt).to(self.matrix)
        if len(direction) != self.config.embedding:
            raise ArgumentError(
                f"this mapper reads texts as {self.config.embedding} numbers, this CLIP gives "
                f"{len(direction)}: use the CLIP that it was trained with"
            )
        step = self(w_plus.to(self.matrix), direction).expand(-1, w_plus.shape[1], -1)
        return Edit("mapper", prompt, w_plus_step=step, config=self.config.to_dict())
