"""The primitives of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), in plain PyTorch.

  equalized linear   y = x (g W)^T + m b,  g = m / sqrt(fan_in)           (1710.10196, sec. 4.1)
  modulated conv     y_o = d_o conv(s_i x_i, w)_o,  d_o = 1 / sqrt(sum_ik (s_i w_oik)^2 + eps)
                     (eq. 1 and 3, with the scales moved from the weights to the activations, so
                     that one convolution serves the whole batch)
  up-firdn           zeros between the samples, then the [1,3,3,1] low-pass filter
Shapes: activations [B,C,H,W], style [B,C]. Everything is differentiable in all of its tensors. A
new large tensor costs a CPU ten passes over an old one: activations are overwritten where no
gradient needs them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.generators import convolutions

SQRT2 = math.sqrt(2.0)
SLOPE = 0.2  # of the leaky ReLU, everywhere in StyleGAN2


def normalize_second_moment(x: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x / sqrt(mean(x^2)) along ``dim``: the "pixel norm" in front of the mapping network."""
    return x * (x.square().mean(dim=dim, keepdim=True) + eps).rsqrt()


class EqualLinear(nn.Module):
    """Linear layer with equalized learning rate: weights are stored at unit variance."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init / lr_multiplier))
        self.gain = lr_multiplier / math.sqrt(inputs)
        self.lr_multiplier = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:  # [..., inputs] -> [..., outputs]
        y = F.linear(x, self.weight * self.gain, self.bias * self.lr_multiplier)
        return F.leaky_relu(y, SLOPE) * SQRT2 if self.activate else y


def demodulation(weight: Tensor, style: Tensor, eps: float = 1e-8) -> Tensor:
    """d of eq. 3: weight [O,I,k,k], style [B,I] -> [B,O]."""
    return (style.square() @ weight.square().sum(dim=(2, 3)).t() + eps).rsqrt()


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, *, up: bool = False) -> Tensor:
    """conv(s x, w) without its demodulation: [B,I,H,W] -> [B,O,H,W], or [B,O,2H,2W] if ``up``.

    Without gradients ``x`` is overwritten.
    """
    x = _scaled(x, style)
    if not up:
        return convolutions.same_size(x, weight)
    return low_pass(convolutions.doubled(x, weight), padding=1, gain=4.0)


def activated(
    y: Tensor, gain: Tensor, bias: Tensor, noise: Tensor | None, clamp: float | None
) -> Tensor:
    """clamp(sqrt(2) lrelu(d y + n + b)): y [B,C,H,W], d [B,C], b [C], n [B or 1,1,H,W].

    sqrt(2) is moved inside, to the small tensors. Without gradients ``y`` is overwritten.
    """
    y = _scaled(y, gain * SQRT2)
    y = y.add_((bias * SQRT2).to(y.dtype)[:, None, None])
    if noise is not None:
        y = y.add_((noise * SQRT2).to(y.dtype))
    y = F.leaky_relu_(y, SLOPE)
    return y if clamp is None else y.clamp(-clamp, clamp)


def low_pass(x: Tensor, padding: int, gain: float) -> Tensor:
    """Depthwise [1,3,3,1] x [1,3,3,1] filter of sum ``gain``, zero padding on all sides."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8.0
    kernel = (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])


def upsample_image(image: Tensor) -> Tensor:
    """The skip image at twice the size: [B,3,H,W] -> [B,3,2H,2W], zeros between, then low-pass.

    In one dimension that is (x[i-1] + 3 x[i]) / 4, (3 x[i] + x[i+1]) / 4: linear interpolation,
    here with zeros around the image.
    """
    padded = F.pad(image, (1, 1, 1, 1))
    doubled = F.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[:, :, 2:-2, 2:-2]


def modulated_to_rgb(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
    """1x1 modulated convolution without demodulation: [B,C,H,W], [3,C,1,1], [B,C] -> [B,3,H,W].

    Three output channels: here it is cheaper to scale the weights, one small matrix a sample.
    """
    matrix = weight[:, :, 0, 0] * style[:, None, :]  # [B,3,C]
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # [B,HW,C], a view when channels-last
    rgb = pixels @ matrix.transpose(1, 2)
    return rgb.reshape(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)


def _scaled(x: Tensor, scale: Tensor) -> Tensor:
    """x [B,C,H,W] times scale [B,C]; over ``x`` itself where no gradient will ask for it."""
    factor = scale.to(x.dtype)[:, :, None, None]
    return x * factor if x.requires_grad or factor.requires_grad else x.mul_(factor)
