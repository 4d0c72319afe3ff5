"""Identity without a face network: what a general image encoder sees stay the same.

  [B,3,H,W] in [-1,1] -> [B,E] of length 1: the class token of a DINOv2 (Oquab et al. 2023,
  2304.07193), or what the image tower of a CLIP says
For cars, churches, one's own pictures: they answer where ``identity.IdentityNetwork`` does for
faces, in identity losses and floors. They know no persons: to them all faces are much alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DinoIdentity(nn.Module):
    """A DINOv2 of `transformers`; ``size`` is the side in pixels that it looks at."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.size = size
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[B,3,H,W] in [-1,1] -> [B,E] unit vectors."""
        unit = (images.clamp(-1, 1) + 1) / 2
        if unit.shape[-2:] != (self.size, self.size):
            unit = F.interpolate(unit, (self.size, self.size), mode="bicubic", antialias=True)
        tokens: Tensor = self.model(pixel_values=(unit - self.mean) / self.std).last_hidden_state
        return F.normalize(tokens[:, 0], dim=-1)


class ClipIdentity(nn.Module):
    """The image tower of a CLIP: ``embed_images`` of its embedder, whose network is ``model``."""

    def __init__(self, embed_images: Callable[[Tensor], Tensor], model: nn.Module) -> None:
        super().__init__()
        self.embed_images = embed_images
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """[B,3,H,W] in [-1,1] -> [B,E] unit vectors."""
        return self.embed_images(images)
