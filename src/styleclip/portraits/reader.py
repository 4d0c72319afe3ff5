"""The judge: a small convolution network that reads the attributes of a portrait.

  [B,3,H,W] in [-1,1] -> logits [B, sum of values], one block of columns per attribute
It is trained on renders alone and used for nothing but judging: never to train, tune or choose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.portraits.attributes import ATTRIBUTES


class Reader(nn.Module):
    """Images [B,3,64,64] (others are resized) -> logits, attributes side by side in their order."""

    size = 64  # pixels it reads

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for i, width in enumerate(widths):
            for inputs in (before, width):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                           nn.BatchNorm2d(width), nn.ReLU()]  # fmt: skip
            if i + 1 < len(widths):
                layers.append(nn.MaxPool2d(2))
            before = width
        self.trunk = nn.Sequential(*layers)
        self.squeeze = nn.Conv2d(before, 32, 1)
        self.head = nn.Linear(32 * (self.size // 8) ** 2, sum(len(a.values) for a in ATTRIBUTES))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        x = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(F.relu(self.squeeze(self.trunk(x))).flatten(1))
        return logits

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Images -> value indices [B, attributes]."""
        logits = self(images)
        blocks = logits.split([len(attribute.values) for attribute in ATTRIBUTES], dim=1)
        return torch.stack([block.argmax(dim=1) for block in blocks], dim=1)
