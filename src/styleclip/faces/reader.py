"""The judge: a small convolution network that reads the attributes of a face.

  [B,3,H,W] in [-1,1] -> logits [B, sum of values], one block of columns per attribute
It is used for nothing but judging: never to train, tune or choose what it judges. Its config says
what it reads, and which value of one attribute hides another (sunglasses hide the eyes' colour), so
an evaluation needs to know nothing else about the world.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError


@dataclass(frozen=True)
class ReaderConfig:
    """``attributes``: (name, values) in order; ``hides``: (name, value, names that it hides)."""

    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    hides: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    resolution: int = 64  # pixels it reads; other pictures are resized
    widths: tuple[int, ...] = (32, 64, 96, 128)
    squeezed: int = 32

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReaderConfig:
        return cls(
            attributes=tuple((name, tuple(each)) for name, each in values["attributes"]),
            hides=tuple((name, value, tuple(hidden)) for name, value, hidden in values["hides"]),
            resolution=int(values["resolution"]),
            widths=tuple(values["widths"]),
            squeezed=int(values["squeezed"]),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Reader(nn.Module):
    """Images [B,3,H,W] -> logits, attributes side by side in their order."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        self.names = tuple(name for name, _ in config.attributes)
        self.sizes = [len(values) for _, values in config.attributes]
        layers: list[nn.Module] = []
        before = 3
        for i, width in enumerate(config.widths):
            for inputs in (before, width):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                           nn.BatchNorm2d(width), nn.ReLU()]  # fmt: skip
            if i + 1 < len(config.widths):
                layers.append(nn.MaxPool2d(2))
            before = width
        self.trunk = nn.Sequential(*layers)
        self.squeeze = nn.Conv2d(before, config.squeezed, 1)
        side = config.resolution >> (len(config.widths) - 1)
        self.head = nn.Linear(config.squeezed * side**2, sum(self.sizes))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """What the head sees, [B,F]: a space in which to compare sets of pictures."""
        size = self.config.resolution
        if images.shape[-2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        x = images.contiguous(memory_format=torch.channels_last)
        return F.relu(self.squeeze(self.trunk(x))).flatten(1)

    def blocks(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Logits -> one [B, values] for each attribute."""
        return tuple(torch.split(logits, self.sizes, dim=1))

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Images -> value indices [B, attributes]."""
        return torch.stack([b.argmax(dim=1) for b in self.blocks(self(images))], dim=1)

    def index(self, name: str, value: str) -> tuple[int, int]:
        """Where a value lies: (attribute, value). Raises ``ArgumentError`` for an unknown one."""
        if name not in self.names:
            raise ArgumentError(
                f"the reader knows no attribute {name!r}: it reads {', '.join(self.names)}"
            )
        i = self.names.index(name)
        values = self.config.attributes[i][1]
        if value not in values:
            raise ArgumentError(f"{name} has no value {value!r}: it can be {', '.join(values)}")
        return i, values.index(value)

    def hidden(self, values: Tensor) -> Tensor:
        """Value indices [B,A] -> bool [B,A]: True where another value hides the attribute."""
        mask = torch.zeros_like(values, dtype=torch.bool)
        for name, value, others in self.config.hides:
            i, j = self.index(name, value)
            for other in others:
                mask[:, self.names.index(other)] |= values[:, i] == j
        return mask
