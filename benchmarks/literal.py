"""The slow yardstick of ``speed.py``: StyleGAN2's synthesis word for word as the papers put it.

Weights are modulated and demodulated for every sample, a batch is one grouped convolution,
upsampling is a transposed convolution followed by the filter on one-channel images, every step is
a pass of its own over contiguous tensors, and all parameters ask for gradients. This is how the
original code runs on a CPU; written here from the equations, for timing (``tests/reference`` checks
the numbers).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.generators.stylegan2 import StyleGAN2, SynthesisBlock


class LiteralStyleGAN2(nn.Module):
    """Takes a ``StyleGAN2`` over; ``synthesis(style)`` renders with its constant noise."""

    def __init__(self, generator: StyleGAN2) -> None:
        super().__init__()
        self.generator = generator
        for parameter in self.generator.parameters():
            parameter.data = parameter.data.contiguous()
            parameter.requires_grad_(True)

    def affine(self, w_plus: Tensor) -> Tensor:
        return self.generator.affine(w_plus)

    def synthesis(self, style: Tensor) -> Tensor:
        styles = iter(self.generator.layout.split(style))
        x = self.generator.const[None].repeat(style.shape[0], 1, 1, 1)
        image: Tensor | None = None
        for block in self.generator.blocks:
            assert isinstance(block, SynthesisBlock)
            for layer in block.convs():
                x = modulated(x, layer.weight, next(styles), demodulate=True, up=layer.up)
                x = x + layer.noise_strength * layer.noise_const
                x = F.leaky_relu(x + layer.bias[None, :, None, None], 0.2) * math.sqrt(2)
                x = x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)
            rgb = block.rgb
            scaled = rgb.weight / math.sqrt(rgb.weight.shape[1])
            colours = modulated(x, scaled, next(styles), demodulate=False, up=False)
            colours = colours + rgb.bias[None, :, None, None]
            colours = colours if rgb.clamp is None else colours.clamp(-rgb.clamp, rgb.clamp)
            image = colours if image is None else colours + upsample(image)
        assert image is not None
        return image


def modulated(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, up: bool) -> Tensor:
    """Equations 1 and 3 of 1912.04958 on the weights of each sample, as a grouped convolution."""
    batch, inputs, height, width = x.shape
    outputs, _, k, _ = weight.shape
    weights = weight[None] * style[:, None, :, None, None]  # [B,O,I,k,k]
    if demodulate:
        weights = weights * (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, batch * inputs, height, width)
    if up:
        weights = weights.transpose(1, 2).reshape(batch * inputs, outputs, k, k)
        x = F.conv_transpose2d(x, weights, stride=2, groups=batch)
        x = x.reshape(batch, outputs, *x.shape[2:])
        return filtered(x, gain=4.0, before=1, after=1)
    weights = weights.reshape(batch * outputs, inputs, k, k)
    x = F.conv2d(x, weights, padding=k // 2, groups=batch)
    return x.reshape(batch, outputs, *x.shape[2:])


def upsample(image: Tensor) -> Tensor:
    """Zeros between the samples, then the filter."""
    batch, channels, height, width = image.shape
    sparse = image.reshape(batch, channels, height, 1, width, 1)
    sparse = F.pad(sparse, (0, 1, 0, 0, 0, 1)).reshape(batch, channels, 2 * height, 2 * width)
    return filtered(sparse, gain=4.0, before=2, after=1)


def filtered(x: Tensor, gain: float, before: int, after: int) -> Tensor:
    """The [1,3,3,1] filter of sum ``gain`` on every channel as an image of its own."""
    batch, channels = x.shape[:2]
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8.0
    kernel = (gain * torch.outer(taps, taps))[None, None]
    x = F.pad(x, (before, after, before, after))
    y = F.conv2d(x.reshape(batch * channels, 1, *x.shape[2:]), kernel)
    return y.reshape(batch, channels, *y.shape[2:])


def clip_pixels(images: Tensor, size: int) -> Tensor:
    """The official CLIP input: every pixel repeated size/32 times each way, averages of H/32."""
    large = F.interpolate(images, scale_factor=size // 32, mode="nearest")
    return F.avg_pool2d(large, images.shape[2] // 32)
