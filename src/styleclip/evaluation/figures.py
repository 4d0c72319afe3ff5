"""The statistics behind the tables: intervals, KID, Cramer's V, ranks, ROC.

interval  95 % bootstrap over groups (portraits), each with all of its values
KID       unbiased MMD^2 with k(x, y) = (<x, y> / F + 1)^3      (Binkowski et al., 1801.01401)
V         sqrt(chi^2 / (N (min(rows, columns) - 1)))            (Cramer 1946)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.errors import ArgumentError


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % bootstrap interval, and how many values it rests on."""

    mean: float
    low: float
    high: float
    count: int


def bootstrap(
    values: Tensor, groups: Tensor | None = None, seed: int = 0, draws: int = 1000
) -> Figure:
    """Mean of [N] values (NaN left out) and its interval over ``groups`` [N] of integers.

    Values of one group are drawn together; without groups each is its own. Raises
    ``ArgumentError`` if there is no value.
    """
    groups = torch.arange(len(values)) if groups is None else groups
    known = ~values.isnan()
    if not bool(known.any()):
        raise ArgumentError("nothing to judge: no edit has this figure")
    _, index = groups[known].unique(return_inverse=True)
    count = int(index.max()) + 1
    total = torch.zeros(count, dtype=torch.float64).index_add_(0, index, values[known].double())
    size = torch.zeros(count, dtype=torch.float64).index_add_(
        0, index, torch.ones(len(index), dtype=torch.float64)
    )
    picks = torch.randint(count, (draws, count), generator=torch.Generator().manual_seed(seed))
    means = (total[picks].sum(dim=1) / size[picks].sum(dim=1)).sort().values
    return Figure(
        float(total.sum() / size.sum()), float(means[int(0.025 * draws)]),
        float(means[int(0.975 * draws)]), int(known.sum()),
    )  # fmt: skip


def kid(features: Tensor, others: Tensor) -> float:
    """Squared MMD of two sets of features [N,F], [M,F]; around 0 for sets of one kind."""
    n, m, width = len(features), len(others), features.shape[1]
    if min(n, m) < 2:
        raise ArgumentError("KID needs at least two pictures on each side")
    x, y = features.double(), others.double()
    within_x = (x @ x.t() / width + 1) ** 3
    within_y = (y @ y.t() / width + 1) ** 3
    across = (x @ y.t() / width + 1) ** 3
    first = (within_x.sum() - within_x.diagonal().sum()) / (n * (n - 1))
    second = (within_y.sum() - within_y.diagonal().sum()) / (m * (m - 1))
    return float(first + second - 2 * across.mean())


def cramers_v(first: Tensor, second: Tensor) -> float:
    """Association of two lists of categories [N], 0 to 1; 0 where one of them never varies."""
    table = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64)
    table.index_put_((first, second), torch.ones(len(first), dtype=torch.float64), accumulate=True)
    table = table[table.sum(dim=1) > 0][:, table.sum(dim=0) > 0]
    if min(table.shape) < 2:
        return 0.0
    expected = table.sum(dim=1, keepdim=True) * table.sum(dim=0, keepdim=True) / table.sum()
    chi = ((table - expected).square() / expected).sum()
    return float((chi / (table.sum() * (min(table.shape) - 1))).sqrt())


def spearman(values: Tensor) -> Tensor:
    """Rank correlation of each row [N,K] with 0, 1, .. K-1: [N]; ties share their mean rank."""
    less = (values[:, None, :] < values[:, :, None]).sum(dim=2).double()
    equal = (values[:, None, :] == values[:, :, None]).sum(dim=2).double()
    ranks = less + (equal - 1) / 2
    order = torch.arange(values.shape[1], dtype=torch.float64)
    centred = ranks - ranks.mean(dim=1, keepdim=True)
    order = order - order.mean()
    spread = centred.square().sum(dim=1).sqrt() * order.square().sum().sqrt()
    return torch.where(spread > 0, (centred * order).sum(dim=1) / spread.clamp(min=1e-12), 0.0)


def auc(same: Tensor, different: Tensor) -> float:
    """Chance that a score of ``same`` [N] lies above one of ``different`` [M]; ties count half."""
    above = (same[:, None] > different[None, :]).double().mean()
    ties = (same[:, None] == different[None, :]).double().mean()
    return float(above + ties / 2)


def random_features(images: Tensor, seed: int = 0, filters: int = 16, grid: int = 2) -> Tensor:
    """Features of a fixed random convolution network: [B,3,H,W] in [-1,1] -> [B,F].

    Nobody trained it, so nobody can have trained against it: log(1 + 10 a), a how strongly random
    filters without a mean answer, at three sizes, in each of ``grid`` x ``grid`` parts. It sees
    texture; colours and what the picture shows are the reader's.
    """
    random = torch.Generator().manual_seed(seed)
    x, found = images, []
    for _ in range(3):
        weight = torch.randn(filters, 3, 5, 5, generator=random)
        weight = F.normalize((weight - weight.mean(dim=(2, 3), keepdim=True)).flatten(1), dim=1)
        answers = F.conv2d(x, weight.view(filters, 3, 5, 5).to(x)).abs()
        found.append((10 * F.adaptive_avg_pool2d(answers, grid)).log1p().flatten(1))
        x = F.avg_pool2d(x, 2)
    return torch.cat(found, dim=1)
