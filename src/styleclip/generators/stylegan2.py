"""StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), of config F's or any other widths.

  z [B,Z] -mapping-> w [B,D] -truncate-> w_plus [B,L,D] -affine-> style [B,S] -synthesis-> [B,3,H,W]
A layer is  x = clamp(sqrt(2) lrelu(d conv(s x) + strength * noise + b));  a block is up, conv and
an addition to the skip image (figure 7b). toRGB reads the W+ row of the next block's first
convolution. Images leave in [-1,1] (not clamped). ``style`` is the raw output of the affine layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError
from styleclip.generators import Noise, Prefix
from styleclip.generators.ops import (
    EqualLinear,
    activated,
    demodulation,
    modulated_conv,
    modulated_to_rgb,
    normalize_second_moment,
    upsample_image,
)
from styleclip.latents import StyleLayer, StyleLayout, check_w_plus


@dataclass(frozen=True)
class StyleGAN2Config:
    """What the weights do not say by themselves.

    ``channels`` are the widths at 4, 8, ... ``resolution`` pixels; ``c_dim`` 0 means unconditional;
    ``clamp`` bounds every layer's output (networks trained with float16 blocks have 256).
    """

    resolution: int
    channels: tuple[int, ...]
    w_dim: int = 512
    z_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    mapping_width: int | None = None
    clamp: float | None = None

    def __post_init__(self) -> None:
        power = self.resolution.bit_length() - 1
        if self.resolution != 2**power or not 3 <= power <= 10:
            raise ArgumentError(
                f"resolution must be a power of two from 8 to 1024, got {self.resolution}"
            )
        if len(self.channels) != power - 1 or min(self.channels) < 1:
            raise ArgumentError(
                f"a {self.resolution}-pixel generator needs {power - 1} channel widths "
                f"(4 to {self.resolution} pixels), got {self.channels}"
            )
        if self.mapping_layers < 1:
            raise ArgumentError(f"mapping_layers must be at least 1, got {self.mapping_layers}")
        if self.clamp is not None and self.clamp <= 0:
            raise ArgumentError(f"clamp must be a positive number or None, got {self.clamp}")

    @classmethod
    def config_f(cls, resolution: int = 1024) -> StyleGAN2Config:
        """The published widths: min(512, 32768 / resolution), as the FFHQ networks have them."""
        powers = range(2, resolution.bit_length())
        return cls(resolution, tuple(min(512, 2 ** (15 - power)) for power in powers))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StyleGAN2Config:
        return cls(**{**values, "channels": tuple(values["channels"])})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def layout(self) -> StyleLayout:
        """conv, rgb at 4 pixels, then up, conv, rgb at each resolution; width = input channels."""
        layers = [
            StyleLayer("4.conv", "conv", 4, self.channels[0], 0),
            StyleLayer("4.rgb", "rgb", 4, self.channels[0], 1),
        ]
        for i, (before, width) in enumerate(pairwise(self.channels)):
            size, row = 8 << i, 2 * i + 1
            layers.append(StyleLayer(f"{size}.up", "conv", size, before, row))
            layers.append(StyleLayer(f"{size}.conv", "conv", size, width, row + 1))
            layers.append(StyleLayer(f"{size}.rgb", "rgb", size, width, row + 2))
        return StyleLayout(tuple(layers))


class StyleGAN2(nn.Module):
    """A generator with four verbs: ``mapping``, ``truncate``, ``affine``, ``synthesis``."""

    w_average: Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.layout = config.layout()
        hidden = config.mapping_width or config.w_dim
        self.label_embedding = EqualLinear(config.c_dim, config.w_dim) if config.c_dim else None
        inputs = config.z_dim + (config.w_dim if config.c_dim else 0)
        widths = [inputs, *[hidden] * (config.mapping_layers - 1), config.w_dim]
        self.mapping_layers = nn.ModuleList(
            EqualLinear(a, b, lr_multiplier=0.01, activate=True) for a, b in pairwise(widths)
        )
        self.register_buffer("w_average", torch.zeros(config.w_dim))
        self.const = nn.Parameter(torch.randn(config.channels[0], 4, 4))
        widths_before = (None, *config.channels)
        self.blocks = nn.ModuleList(
            SynthesisBlock(before, width, 4 << i, config)
            for i, (before, width) in enumerate(zip(widths_before, config.channels, strict=False))
        )
        self.channels_last()

    @property
    def resolution(self) -> int:
        return self.config.resolution

    @property
    def rows(self) -> int:
        """L = 2 log2(resolution) - 2."""
        return self.layout.rows

    def channels_last(self) -> None:
        """Lay the weights out as the convolutions like them; values stay as they are."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs

    @property
    def z_dim(self) -> int:
        """Width of z."""
        return self.config.z_dim

    def mapping(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [B,Z] (standard normal), labels c [B,c_dim] if conditional -> w [B,D]."""
        if z.ndim != 2 or z.shape[1] != self.config.z_dim:
            raise ArgumentError(f"z must be [B, {self.config.z_dim}], got {list(z.shape)}")
        x = normalize_second_moment(z)
        if self.label_embedding is not None:
            if c is None or c.shape != (z.shape[0], self.config.c_dim):
                raise ArgumentError(
                    f"this generator is conditional: pass c of shape [B, {self.config.c_dim}] "
                    "(one-hot labels)"
                )
            x = torch.cat([x, normalize_second_moment(self.label_embedding(c))], dim=1)
        elif c is not None:
            raise ArgumentError("this generator is not conditional: leave c out")
        for layer in self.mapping_layers:
            x = layer(x)
        return x  # [B,D]

    def truncate(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """w [B,D] -> w_plus [B,L,D]: w' = mean + psi (w - mean)  (1812.04948, sec. B).

        Only in the first ``cutoff`` rows, in all of them if None.
        """
        if w.ndim != 2 or w.shape[1] != self.config.w_dim:
            raise ArgumentError(f"w must be [B, {self.config.w_dim}], got {list(w.shape)}")
        if cutoff is not None and cutoff < 0:
            raise ArgumentError(f"cutoff counts rows of W+ and cannot be negative, got {cutoff}")
        near = torch.lerp(self.w_average.expand_as(w), w, psi)
        moved = self.rows if cutoff is None else min(cutoff, self.rows)
        return torch.stack([near] * moved + [w] * (self.rows - moved), dim=1)  # [B,L,D]

    def affine(self, w_plus: Tensor) -> Tensor:
        """w_plus [B,L,D] -> style [B,S]: A_l(w_row(l)) of every layer, side by side."""
        check_w_plus(w_plus, self.rows, self.config.w_dim)
        affines = [affine for block in self._blocks() for affine in block.affines()]
        pairs = zip(self.layout, affines, strict=True)
        return torch.cat([affine(w_plus[:, layer.w_row]) for layer, affine in pairs], dim=1)

    def synthesis(
        self,
        style: Tensor,
        noise: Noise = "const",
        resolution: int | None = None,
        generator: torch.Generator | None = None,
        start: Prefix | None = None,
    ) -> Tensor:
        """style [B,S] -> images [B,3,H,W], nominally in [-1,1].

        ``resolution`` below the full one stops early and returns the skip image of that size.
        ``noise``: "const" (the network's own), "none", "random" (drawn from ``generator``), or one
        tensor [B or 1, 1, H, W] per convolution in layer order. ``start`` is a ``prefix`` of styles
        that are the same up to there; the blocks in front of it are not computed again.
        """
        last = self._block_of(self.resolution if resolution is None else resolution)
        image = self._run(style, noise, generator, start, last + 1).image
        assert image is not None
        return image

    def prefix(self, style: Tensor, layer: StyleLayer, noise: Noise = "const") -> Prefix:
        """What a synthesis of ``style`` [B,S] has in hand in front of a convolution.

        Its ``image`` is the skip image of half the layer's size. In front of a toRGB layer it stops
        before the convolution that the layer reads; nothing is in front of 4 pixels.
        """
        number = self._block_of(layer.resolution)
        before = self._run(style, noise, None, None, number)
        up, first = list(self._blocks())[number].up, 3 * number - 1
        if up is None or layer == self.layout.layers[first]:
            return before
        noises = self._noises(noise, style, None)
        x = up(before.x, self.layout.split(style)[first], noises[2 * number - 1])
        return Prefix(layer.resolution, x, before.image)

    def _run(
        self,
        style: Tensor,
        noise: Noise,
        generator: torch.Generator | None,
        start: Prefix | None,
        stop: int,
    ) -> Prefix:
        """The blocks from ``start`` up to number ``stop``, without it."""
        if style.ndim != 2:
            raise ArgumentError(f"style must be [B, {self.layout.size}], got {list(style.shape)}")
        styles = self.layout.split(style)
        noises = self._noises(noise, style, generator)
        if start is None:
            start = Prefix(4, self.const.expand(style.shape[0], -1, -1, -1), None)
        if len(start.x) != len(style):
            raise ArgumentError(
                f"a prefix of {len(start.x)} pictures does not fit {len(style)} styles: repeat it"
            )
        first = self._block_of(start.resolution)
        if stop < first:
            raise ArgumentError(
                f"the prefix already is at {start.resolution} pixels: ask for that or more"
            )
        # without gradients the blocks write over what they are given
        x = start.x.clone(memory_format=torch.channels_last)
        image = start.image
        for i, block in enumerate(self._blocks()):
            if first <= i < stop:
                # the first block has layers conv, rgb; every other one up, conv, rgb
                block_styles = styles[max(0, 3 * i - 1) : 3 * i + 2]
                block_noises = noises[max(0, 2 * i - 1) : 2 * i + 1]
                x, image = block(x, image, block_styles, block_noises)
        return Prefix(4 << stop, x, image)

    def _block_of(self, resolution: int) -> int:
        """The number of the block that makes ``resolution`` pixels."""
        sizes = [4 << i for i in range(len(self.blocks))]
        if resolution not in sizes:
            raise ArgumentError(
                f"resolution must be a power of two from 4 to {self.resolution}, got {resolution}"
            )
        return sizes.index(resolution)

    def noise_shapes(self) -> list[tuple[int, int]]:
        """[H,W] of every convolution's noise, in layer order."""
        return [(la.resolution, la.resolution) for la in self.layout if la.kind == "conv"]

    def sample_w(self, samples: int, generator: torch.Generator) -> Tensor:
        """w [samples,D] of random z; a conditional network goes through its labels in turn."""
        c_dim = self.config.c_dim
        z = torch.randn(samples, self.config.z_dim, generator=generator).to(self.const)
        c = None
        if c_dim:
            c = F.one_hot(torch.arange(samples) % c_dim, c_dim).to(self.const)
        with torch.no_grad():
            return self.mapping(z, c)

    def mean_w(self, samples: int, generator: torch.Generator) -> Tensor:
        """Mean of w over random z [1,D]; conditional networks average over labels too."""
        return self.sample_w(samples, generator).mean(dim=0, keepdim=True)

    def drawing_parameters(self) -> dict[str, nn.Parameter]:
        """The weights that draw a style, by name: const, convolutions, toRGB.

        Not those that come before the style (mapping, affine layers), nor the noise's strengths.
        """
        before = ("mapping_layers.", "label_embedding.")
        return {
            name: weight
            for name, weight in self.named_parameters()
            if not name.startswith(before)
            and ".affine." not in name
            and not name.endswith("noise_strength")
        }

    def _blocks(self) -> Iterator[SynthesisBlock]:
        for block in self.blocks:
            assert isinstance(block, SynthesisBlock)
            yield block

    def _noises(
        self, noise: Noise, like: Tensor, generator: torch.Generator | None
    ) -> list[Tensor | None]:
        shapes = self.noise_shapes()
        if isinstance(noise, str):
            if noise == "const":
                return [layer.noise_const for block in self._blocks() for layer in block.convs()]
            if noise == "none":
                return [None] * len(shapes)
            if noise == "random" and generator is not None:
                batch = like.shape[0]
                where = generator.device
                return [
                    torch.randn(batch, 1, h, w, generator=generator, device=where).to(like)
                    for h, w in shapes
                ]
            raise ArgumentError(
                'noise is "const", "none", "random" (together with generator=) or a list of '
                f"tensors, got {noise!r}"
            )
        given = list(noise)
        if len(given) != len(shapes) or any(
            n.ndim != 4 or n.shape[0] not in (1, like.shape[0]) or n.shape[1] != 1
            or tuple(n.shape[2:]) != shape
            for n, shape in zip(given, shapes, strict=False)
        ):  # fmt: skip
            found = [list(n.shape) for n in given]
            raise ArgumentError(
                f"noise must be [B or 1, 1, H, W] for H, W in {shapes}; got {found}"
            )
        return list(given)


class Convolution(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU; doubles the size if ``up``."""

    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, resolution: int, w_dim: int, up: bool,
                 clamp: float | None) -> None:  # fmt: skip
        super().__init__()
        self.affine = EqualLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(
            torch.randn(outputs, inputs, 3, 3)
        )  # demodulation sets the scale
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(1, 1, resolution, resolution))
        self.up = up
        self.clamp = clamp

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        y = modulated_conv(x, self.weight, style, up=self.up)
        noise = None if noise is None else noise * self.noise_strength
        return activated(y, demodulation(self.weight, style), self.bias, noise, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three channels, without demodulation or activation."""

    def __init__(self, inputs: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain = 1.0 / math.sqrt(inputs)
        self.clamp = clamp

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = modulated_to_rgb(x, self.weight, style * self.gain) + self.bias[None, :, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: (up,) conv, and the toRGB whose output joins the doubled skip image."""

    def __init__(self, inputs: int | None, width: int, resolution: int, config: StyleGAN2Config):
        super().__init__()
        self.resolution = resolution
        d, clamp = config.w_dim, config.clamp
        self.up = None if inputs is None else Convolution(inputs, width, resolution, d, True, clamp)
        self.conv = Convolution(width, width, resolution, d, False, clamp)
        self.rgb = ToRGB(width, d, clamp)

    def convs(self) -> list[Convolution]:
        return [self.conv] if self.up is None else [self.up, self.conv]

    def affines(self) -> list[EqualLinear]:
        return [*(layer.affine for layer in self.convs()), self.rgb.affine]

    def forward(
        self,
        x: Tensor,
        image: Tensor | None,
        styles: Sequence[Tensor],
        noises: Sequence[Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        """Activations and skip image of the block before -> this one's; one style a layer.

        Activations that have this block's size already went through its first convolution.
        """
        *conv_styles, rgb_style = styles
        for layer, style, noise in zip(self.convs(), conv_styles, noises, strict=True):
            if not (layer.up and x.shape[-1] == self.resolution):
                x = layer(x, style, noise)
        rgb = self.rgb(x, rgb_style)
        return x, rgb if image is None else rgb.add_(upsample_image(image))
