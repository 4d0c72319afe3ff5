"""StyleGAN2 as the papers state it, slowly: 1912.04958 for the network, 1710.10196 for the scales.

Works on the state dict of our network in float64 and shares no code with it. Weights are modulated
and demodulated for each sample, upsampling inserts zeros, the low-pass filter is a sum of shifted
images, and every layer is written out in order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]


def mapping(weights: Weights, layers: int, z: Tensor, c: Tensor | None = None) -> Tensor:
    """z [B,Z] (and labels) -> w [B,D]."""
    x = unit_second_moment(z)
    if c is not None:
        label, bias = weights["label_embedding.weight"], weights["label_embedding.bias"]
        x = torch.cat([x, unit_second_moment(c @ label.t() / math.sqrt(c.shape[1]) + bias)], dim=1)
    for i in range(layers):
        weight, bias = weights[f"mapping_layers.{i}.weight"], weights[f"mapping_layers.{i}.bias"]
        x = lrelu(x @ (0.01 * weight / math.sqrt(x.shape[1])).t() + 0.01 * bias)
    return x


def styles(weights: Weights, w_plus: Tensor) -> list[Tensor]:
    """w_plus [B,L,D] -> the style of every layer: conv, rgb at 4 pixels, then up, conv, rgb."""
    names = ["blocks.0.conv", "blocks.0.rgb"]
    rows = [0, 1]
    for block in range(1, block_count(weights)):
        names += [f"blocks.{block}.{layer}" for layer in ("up", "conv", "rgb")]
        rows += [2 * block - 1, 2 * block, 2 * block + 1]
    affine = []
    for name, row in zip(names, rows, strict=True):
        weight, bias = weights[f"{name}.affine.weight"], weights[f"{name}.affine.bias"]
        affine.append(w_plus[:, row] @ weight.t() / math.sqrt(weight.shape[1]) + bias)
    return affine


def skip_images(
    weights: Weights,
    layer_styles: Sequence[Tensor],
    noises: Sequence[Tensor] | None,
    clamp: float | None = None,
) -> list[Tensor]:
    """The skip image [B,3,H,W] after every block, from 4 pixels up; the last one is the result."""
    left = list(layer_styles)
    noise_left = None if noises is None else list(noises)
    batch = left[0].shape[0]
    x = torch.stack([weights["const"]] * batch)
    images: list[Tensor] = []
    for block in range(block_count(weights)):
        for layer in ("conv",) if block == 0 else ("up", "conv"):
            name = f"blocks.{block}.{layer}"
            x = modulated_conv(x, weights[f"{name}.weight"], left.pop(0), True, layer == "up")
            if noise_left is not None:
                x = x + weights[f"{name}.noise_strength"] * noise_left.pop(0)
            x = limited(lrelu(x + weights[f"{name}.bias"].reshape(1, -1, 1, 1)), clamp)
        name = f"blocks.{block}.rgb"
        weight = weights[f"{name}.weight"]
        scaled = weight / math.sqrt(weight.shape[1])
        rgb = modulated_conv(x, scaled, left.pop(0), False, False)
        rgb = limited(rgb + weights[f"{name}.bias"].reshape(1, -1, 1, 1), clamp)
        images.append(rgb if not images else rgb + doubled(images[-1]))
    return images


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, up: bool) -> Tensor:
    """Equations 1 and 3, one sample after the other."""
    padding = weight.shape[2] // 2
    results = []
    for sample, scales in zip(x, style, strict=True):
        own = weight * scales.reshape(1, -1, 1, 1)
        if demodulate:
            norms = own.square().sum(dim=(1, 2, 3), keepdim=True)
            own = own / torch.sqrt(norms + 1e-8)
        if up:
            # a transposed convolution: zeros between the samples, then a convolution (flipped
            # correlation) as far as the kernel reaches; then the filter
            sparse = zeros_between(sample[None])[:, :, :-1, :-1]
            spread = F.conv2d(F.pad(sparse, (2, 2, 2, 2)), own.flip(2, 3))
            results.append(low_pass(F.pad(spread, (1, 1, 1, 1)), gain=4))
        else:
            results.append(F.conv2d(sample[None], own, padding=padding))
    return torch.cat(results)


def doubled(image: Tensor) -> Tensor:
    """Zeros between the pixels, then the filter, which centres them."""
    return low_pass(F.pad(zeros_between(image), (2, 1, 2, 1)), gain=4)


def zeros_between(x: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,C,2H,2W] with x at the even places."""
    wide = x.new_zeros(x.shape[0], x.shape[1], 2 * x.shape[2], 2 * x.shape[3])
    wide[:, :, ::2, ::2] = x
    return wide


def low_pass(padded: Tensor, gain: float) -> Tensor:
    """sum_ij k_i k_j x[y+i, x+j] with k = [1,3,3,1] / 8, times ``gain``; no padding of its own."""
    taps = [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    height, width = padded.shape[2] - 3, padded.shape[3] - 3
    result = torch.zeros_like(padded[:, :, :height, :width])
    for i, vertical in enumerate(taps):
        for j, horizontal in enumerate(taps):
            shifted = padded[:, :, i : i + height, j : j + width]
            result = result + gain * vertical * horizontal * shifted
    return result


def unit_second_moment(x: Tensor) -> Tensor:
    return x / torch.sqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.2 * x, x) * math.sqrt(2)


def limited(x: Tensor, clamp: float | None) -> Tensor:
    return x if clamp is None else torch.clamp(x, -clamp, clamp)


def block_count(weights: Weights) -> int:
    return len([name for name in weights if name.endswith(".rgb.weight")])
