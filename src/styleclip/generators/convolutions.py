"""StyleGAN2's 3x3 convolutions with fewer multiplications and moves: on CPUs, without gradients.

  same size  y = A^T [ sum_i (G w_i G^T) . (B^T x_i B) ] A     F(4x4, 3x3) of Lavin and Gray 2016
             (arXiv 1509.09308): tiles of 6x6 inputs give 4x4 outputs with a quarter of the
             multiplications, to about 1e-5 of the largest output (direct: 1e-6)
  doubled    y[2i, 2j], y[2i, 2j+1], y[2i+1, 2j], y[2i+1, 2j+1]: four plain convolutions, with the
             4, 2, 2 and 1 of the nine places of the filter that reach such a pixel
PyTorch's own are used everywhere else: on accelerators, under gradients, at other precisions, and
for the shapes where they are as fast. What decides never looks at the batch: a picture alone and
the same picture among others are computed in the same way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TILE, REACH = 4, 6  # pixels that a tile gives each way, and those that it reads
WIDE, LARGE = 256, 64  # channels and pixels from which tiles are faster
NARROW = 128  # output channels up to which parities are faster
TILES = 256  # computed at a time, so that they stay in the cache

# The tables G, B^T and A^T: polynomials are evaluated at 0, 1, -1, 2, -2 and infinity.
FILTER = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
INPUT = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def same_size(x: Tensor, weight: Tensor) -> Tensor:
    """[B,I,H,W], [O,I,k,k] -> [B,O,H,W], zeros around the picture."""
    wide = min(weight.shape[:2]) >= WIDE and min(x.shape[2:]) >= LARGE
    whole = not any(size % TILE for size in x.shape[2:])
    if wide and whole and _is_free(x, weight):
        return _by_tiles(x, weight)
    return F.conv2d(x, weight, padding=weight.shape[2] // 2)


def doubled(x: Tensor, weight: Tensor) -> Tensor:
    """[B,I,H,W], [O,I,3,3] -> [B,O,2H+1,2W+1]: of x with zeros between its pixels."""
    if len(weight) <= NARROW and _is_free(x, weight):
        return _by_parity(x, weight)
    return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)


def _is_free(x: Tensor, weight: Tensor) -> bool:
    """Whether this is a 3x3 convolution on a CPU in float32 of which no gradient is asked.

    Under autocast the products of the tiles would be of half precision, which they do not bear.
    """
    gradient = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    plain = plain and not torch.is_autocast_enabled("cpu")
    return plain and not gradient and weight.shape[2:] == (3, 3)


def _by_tiles(x: Tensor, weight: Tensor) -> Tensor:
    """The sum over input channels is a matrix product for each of the 36 places of a tile."""
    batch, inputs, height, width = x.shape
    outputs = len(weight)
    down, across = height // TILE, width // TILE
    spread, gather = _both_ways(INPUT, x), _both_ways(OUTPUT, x)  # [36,36], [16,36]
    filters = _both_ways(FILTER, x) @ weight.permute(2, 3, 1, 0).reshape(9, -1)
    filters = filters.view(-1, inputs, outputs)  # [36,I,O]
    y = x.new_empty(batch, height, width, outputs)
    placed = y.view(batch, down, TILE, across, TILE, outputs)
    rows = min(down, max(1, TILES // across))
    pictures = max(1, TILES // (rows * across))
    for some, into in zip(x.split(pictures), placed.split(pictures), strict=True):
        padded = F.pad(some.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        tiles = padded.unfold(1, REACH, TILE).unfold(2, REACH, TILE)  # [n,down,across,I,6,6]
        for part, out in zip(tiles.split(rows, dim=1), into.split(rows, dim=1), strict=True):
            flat = part.permute(4, 5, 0, 1, 2, 3).reshape(REACH**2, -1)
            products = (spread @ flat).view(REACH**2, -1, inputs) @ filters  # [36,tiles,O]
            found = gather @ products.flatten(1)
            found = found.view(TILE, TILE, *part.shape[:3], outputs)
            out.copy_(found.permute(2, 3, 0, 4, 1, 5))
    return y.permute(0, 3, 1, 2)


def _both_ways(table: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    """A transform of rows and then of columns as one matrix over their places."""
    one = torch.tensor(table, dtype=like.dtype, device=like.device)
    return torch.kron(one, one)


def _by_parity(x: Tensor, weight: Tensor) -> Tensor:
    """Even pixels meet the filter's first and last tap each way, odd ones its middle."""
    batch, _, height, width = x.shape
    y = x.new_empty(batch, 2 * height + 1, 2 * width + 1, len(weight)).permute(0, 3, 1, 2)
    taps = [2, 0], [1]
    for row, vertical in enumerate(taps):
        for column, horizontal in enumerate(taps):
            part = weight[:, :, vertical][:, :, :, horizontal]
            padding = len(vertical) - 1, len(horizontal) - 1
            y[:, :, row::2, column::2] = F.conv2d(x, part, padding=padding)
    return y
