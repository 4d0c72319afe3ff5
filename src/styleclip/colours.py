"""Colour as eyes judge it: CIELAB, in which equal distances look about equally large.

  sRGB [B,3,H,W] in [-1,1] -> linear light -> XYZ over D65's white -> f, a cube root -> L, a, b
  L = 116 f(Y) - 16 in 0..100,  a = 500 (f(X) - f(Y)),  b = 200 (f(Y) - f(Z))
A distance of about 2.3 is just noticed (CIE 15; Mahy et al. 1994). The constants are those of
IEC 61966-2-1, the primaries of sRGB. ``ramp`` goes from dark to bright in equal steps of that
distance.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

TO_XYZ = (  # rows X, Y, Z over the white of D65, of linear red, green, blue: each sums to 1
    (0.4339499, 0.3762098, 0.1898403),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0177566, 0.1094680, 0.8727754),
)
BEND = 6 / 29  # below its cube, f is a straight line
LOW, HIGH = 5.0, 95.0  # lightness at both ends of the ramp
VIOLET, YELLOW = math.radians(290), math.radians(360 + 100)  # and its hues, by way of red
COLOURFUL = 85.0  # the chroma that it has at most


def to_lab(image: Tensor) -> Tensor:
    """[B,3,H,W] in [-1,1] -> L (0 to 100), a and b: [B,3,H,W]. Values are clamped."""
    unit = (image.float().clamp(-1, 1) + 1) / 2
    light = torch.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    x, y, z = torch.einsum("xc,bchw->xbhw", torch.tensor(TO_XYZ).to(light), light)

    def f(value: Tensor) -> Tensor:
        return torch.where(
            value > BEND**3, value.clamp(min=BEND**3) ** (1 / 3), value / (3 * BEND**2) + 4 / 29
        )

    return torch.stack([116 * f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))], dim=1)


def from_lab(lab: Tensor) -> Tensor:
    """The inverse of ``to_lab``; colours that no screen has come out beyond [-1,1]."""
    lightness, a, b = lab.unbind(dim=1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(f > BEND, f**3, 3 * BEND**2 * (f - 4 / 29))
    light = torch.einsum("cx,bxhw->bchw", torch.tensor(TO_XYZ).to(xyz).inverse(), xyz)
    bent = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, 12.92 * light, bent) * 2 - 1


def ramp(values: Tensor, steps: int = 256) -> Tensor:
    """[H,W] in 0..1 -> [1,3,H,W] in [-1,1]: almost black, violet, red, orange, pale yellow.

    Equal steps of a value are equal distances in CIELAB, and lightness always rises, so that the
    order can be read in grey, and with any kind of colour vision.
    """
    table = _table(steps).to(values.device)
    index = (values.clamp(0, 1) * (steps - 1)).round().long()
    return table[index].permute(2, 0, 1)[None]


@cache
def _table(steps: int) -> Tensor:
    """[steps,3] in [-1,1]."""
    t = torch.linspace(0, 1, 4 * steps, dtype=torch.float64)
    lightness, hue = LOW + (HIGH - LOW) * t, VIOLET + (YELLOW - VIOLET) * t
    path = torch.stack([lightness, hue.cos(), hue.sin()], dim=1)  # [N,3], a and b of chroma 1
    chroma = torch.minimum(_largest_chroma(path), COLOURFUL * (math.pi * t).sin().sqrt())
    path[:, 1:] *= _smooth(chroma)[:, None]
    # equal distances: the path is walked by its length
    lengths = (path[1:] - path[:-1]).norm(dim=1).cumsum(dim=0)
    lengths = torch.cat([lengths.new_zeros(1), lengths])
    wanted = torch.linspace(0, float(lengths[-1]), steps, dtype=torch.float64)
    right = torch.searchsorted(lengths, wanted).clamp(1, len(lengths) - 1)
    share = ((wanted - lengths[right - 1]) / (lengths[right] - lengths[right - 1]))[:, None]
    even = path[right - 1] + share * (path[right] - path[right - 1])
    return from_lab(even.t()[None, :, None])[0, :, 0].t().clamp(-1, 1).float()


def _largest_chroma(path: Tensor) -> Tensor:
    """How colourful each (L, cos hue, sin hue) [N,3] can be on a screen, by bisection: [N]."""
    low, high = torch.zeros_like(path[:, 0]), torch.full_like(path[:, 0], 150.0)
    for _ in range(30):
        middle = (low + high) / 2
        lab = torch.cat([path[:, :1], path[:, 1:] * middle[:, None]], dim=1)
        fits = from_lab(lab.t()[None, :, None]).abs().amax(dim=1)[0, 0] <= 1
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return low


def _smooth(values: Tensor) -> Tensor:
    """Never above ``values`` [N], without their corners: the least nearby, then averaged."""
    reach = len(values) // 12
    padded = torch.cat([values[:1].expand(2 * reach), values, values[-1:].expand(2 * reach)])
    least = padded.unfold(0, 2 * reach + 1, 1).amin(dim=1)
    return least.unfold(0, 2 * reach + 1, 1).mean(dim=1)
