"""The exact measurement of channels, and what makes a part of it say as much as the whole.

  u_ic = normalise(e(s_i, s_c = mean + k sd) - e(s_i, s_c = mean - k sd)), of which the mean counts
  g_ic = normalise(de(s_i) / ds_c)     its slope: one backward pass for all channels, so cheap
  mean_i<=n u_ic + b_c (mean_i<=N g_ic - mean_i<=n g_ic),   b_c = cov(u_c, g_c) / var(g_c)
The slopes of all N pictures are a control variate: how far the first n are from being typical is
taken out as far as u follows g. With n = N nothing is left of them, so the answer is the exact one;
with b_c = 0 they do not count. A channel is done when its mean is known tightly enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import eq
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.latent_map import OnStep
from styleclip.editing.slopes import embedding_slopes, principal_directions
from styleclip.generators import Generator, Prefix
from styleclip.latents import StyleLayer

if TYPE_CHECKING:
    from styleclip.editing.relevance import RelevanceConfig

OnScan = Callable[["Scan"], None]


@dataclass(eq=False)
class Scan:
    """How far a measurement is: all that a kill must not lose.

    ``change`` [S,E]: sum of u_ic (by gradient [S,K], in the principal directions); ``length`` [S]:
    sum of |e(+) - e(-)| (of slopes); ``images`` [S]: their number, which says what is done;
    ``along`` [S]: sum of <u_ic, g_ic>; ``slopes`` [n,S,K]: the g_ic of the pictures that were
    looked at, in the principal directions ``basis`` [K,E]. Those are kept too: on another device
    they come out with other signs. By samples ``change`` [n,E] are the embeddings of those that
    were seen, and the rest says nothing.
    """

    change: Tensor
    length: Tensor
    images: Tensor
    along: Tensor
    slopes: Tensor
    basis: Tensor

    @classmethod
    def of(cls, change: Tensor, length: Tensor, images: Tensor) -> Self:
        """Without slopes."""
        nothing = torch.zeros(0, len(change), 0, dtype=torch.float16)
        along = torch.zeros(len(change)).double()
        return cls(change, length, images, along, nothing, torch.zeros(0, 0))

    @classmethod
    def begin(cls, channels: int, width: int) -> Self:
        """Nothing is known."""
        double = torch.float64
        return cls.of(
            torch.zeros(channels, width, dtype=double), torch.zeros(channels, dtype=double),
            torch.zeros(channels, dtype=torch.int64),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Guide:
    """The slopes of all pictures: ``basis`` [K,E], ``slopes`` [N,S,K], their sums by group."""

    basis: Tensor
    slopes: Tensor
    sums: Tensor  # [groups + 1,S,K], over the pictures of the first groups
    group: int

    @classmethod
    def of(cls, basis: Tensor, slopes: Tensor, group: int) -> Self:
        sums = [part.double().sum(dim=0) for part in slopes.split(group)]
        first = torch.zeros_like(sums[0])
        return cls(basis.double(), slopes, torch.stack([first, *sums]).cumsum(dim=0), group)

    def means(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The mean slope [S,K] of each channel's first ``images`` [S] pictures, and of all."""
        groups = (images + self.group - 1).div(self.group, rounding_mode="floor")
        seen = self.sums[groups, torch.arange(len(images))] / images.clamp(min=1)[:, None]
        return seen, self.sums[-1] / len(self.slopes)

    def along(self, change: Tensor, pictures: Tensor, columns: Tensor) -> Tensor:
        """sum_i <u_ic, g_ic> [C] of unit u [C,n,E] in ``pictures`` [n]."""
        slopes = self.slopes[pictures][:, columns].transpose(0, 1).double()  # [C,n,K]
        return ((change.double() @ self.basis.t()) * slopes).sum(dim=(1, 2))


def row_means(scan: Scan, guide: Guide | None = None) -> tuple[Tensor, Tensor]:
    """The best guess [S,E] at the mean of u over all pictures, and how u scatters around it [S].

    The scatter is the variance of what the slopes leave unexplained, a picture; infinite of one.
    """
    n = scan.images.clamp(min=1).double()
    mean = scan.change / n[:, None]
    left = 1 - mean.square().sum(dim=1)  # the u are unit vectors
    free = n - 1
    if guide is not None:
        seen, whole = guide.means(scan.images)
        together = scan.along / n - ((mean @ guide.basis.t()) * seen).sum(dim=1)
        spread = (1 - seen.square().sum(dim=1)).clamp(min=1e-9)
        share = (together / spread).clamp(0, 1)  # u and g are of one length: more would be noise
        mean = mean + (share[:, None] * (whole - seen)) @ guide.basis
        left = left - 2 * share * together + share.square() * spread
        free = n - 2  # the share was read off the same pictures
    scatter = left.clamp(min=0) * n / free.clamp(min=1e-9)
    return mean, torch.where(free > 0, scatter, math.inf)


def known(scan: Scan, cosine: float | None, images: int, guide: Guide | None = None) -> Tensor:
    """Boolean [S]: the channels whose mean direction is known as tightly as ``cosine`` asks.

    A mean of n of N pictures that scatter by v is off by v (1 - n / N) / n on average, its square
    is too long by as much, and so it is turned by an angle of cosine sqrt(1 - off / |mean|^2).
    """
    n = scan.images.double()
    if cosine is None:
        return n >= images
    mean, scatter = row_means(scan, guide)
    off = scatter / n.clamp(min=1) * (1 - n / images).clamp(min=0)
    return (n >= images) | ((n > 1) & (off <= (1 - cosine**2) * mean.square().sum(dim=1)))


@torch.no_grad()
def scan_channels(
    generator: Generator,
    embedder: Embedder,
    styles: Tensor,
    mean: Tensor,
    std: Tensor,
    config: RelevanceConfig,
    layers: list[StyleLayer],
    resolution: int,
    scan: Scan | None = None,
    slopes_at_once: int = 1,
    on_step: OnStep | None = None,
    on_scan: OnScan | None = None,
) -> tuple[Tensor, Scan]:
    """The exact measurement: for every layer, for every group of images, batches of channels.

    Whether a channel goes on is asked where a group begins, of what is known until there; a channel
    has the whole group behind it or nothing, so the counts alone say where a stopped scan was.
    ``on_step`` counts the pictures whose slopes are known, then channels times pictures. Returns
    the mean of u [S,E] and the state.
    """
    if scan is None:
        seen = embedder.embed_images(generator.synthesis(styles[:1], resolution=resolution))
        scan = Scan.begin(len(mean), seen.shape[1])
    guide = None
    if config.needs_slopes:
        guide = _guide(
            generator, embedder, styles, config, resolution, scan, slopes_at_once, on_step, on_scan
        )  # fmt: skip
    groups = torch.arange(len(styles)).split(config.group)
    whole = sum(layer.channels for layer in layers) * len(styles)
    for layer in layers:
        for group in groups:
            begun = scan.images > int(group[0])
            columns = generator.layout.columns(partial(eq, layer))
            columns &= begun | (
                (scan.images == int(group[0])) & ~known(scan, config.cosine, len(styles), guide)
            )
            # batches are cut from all channels of the group, so they are the same after a stop
            size = max(1, config.batch // (2 * len(group)))
            parts = columns.nonzero().flatten().split(size)
            parts = [part[~begun[part]] for part in parts if not bool(begun[part].all())]
            if not parts:
                continue
            # what lies in front of the layer is the same however its channels are moved
            shared = [
                (styles[some], generator.prefix(styles[some], layer))
                for some in group.split(max(1, config.batch // 2))
            ]
            for part in parts:
                found = [
                    pushed_apart(
                        generator, embedder, some, prefix, part, mean, std, config, resolution
                    )
                    for some, prefix in shared
                ]
                turned, length = in_common(torch.cat(found, dim=1).cpu())
                scan.change[part] += turned.sum(dim=1)
                scan.length[part] += length
                scan.images[part] += len(group)
                if guide is not None:
                    scan.along[part] += guide.along(turned, group, part)
                if on_scan is not None:
                    on_scan(scan)
                if on_step is not None:
                    # a channel that needs no more images has them all behind it
                    settled = known(scan, config.cosine, len(styles), guide) & (scan.images > 0)
                    done = torch.where(settled, len(styles), scan.images).sum().item()
                    on_step(int(done), whole, {"images a channel": _average_images(scan)})
    return row_means(scan, guide)[0], scan


def _guide(
    generator: Generator,
    embedder: Embedder,
    styles: Tensor,
    config: RelevanceConfig,
    resolution: int,
    scan: Scan,
    at_once: int,
    on_step: OnStep | None,
    on_scan: OnScan | None,
) -> Guide:
    """The slopes of all pictures; ``scan`` keeps those that it has."""
    if not len(scan.slopes):
        scan.basis = embedding_basis(generator, embedder, styles, config, resolution).cpu()
    for first in range(len(scan.slopes), len(styles), at_once):
        part = styles[first : first + at_once]
        with torch.enable_grad():
            slopes = embedding_slopes(generator, embedder, part, scan.basis, resolution).cpu()
        turned = F.normalize(slopes, dim=0).permute(1, 2, 0).half()  # [n,S,K]
        turned = turned.nan_to_num(0.0)  # one that overflowed guides nothing
        scan.slopes = torch.cat([scan.slopes, turned]) if len(scan.slopes) else turned
        if on_scan is not None:
            on_scan(scan)
        if on_step is not None:
            on_step(len(scan.slopes), len(styles), {"pictures with slopes": len(scan.slopes)})
    return Guide.of(scan.basis, scan.slopes, config.group)


@torch.no_grad()
def embedding_basis(
    generator: Generator,
    embedder: Embedder,
    styles: Tensor,
    config: RelevanceConfig,
    resolution: int,
) -> Tensor:
    """The principal directions [K,E] of the pictures' embeddings."""
    embeddings = [
        embedder.embed_images(generator.synthesis(part, resolution=resolution))
        for part in styles.split(config.batch)
    ]
    return principal_directions(torch.cat(embeddings), config.components)


def in_common(apart: Tensor) -> tuple[Tensor, Tensor]:
    """Differences e(+) - e(-) [C,N,E] -> u_ic [C,N,E], and the sums over images of lengths [C]."""
    return F.normalize(apart, dim=2).double(), apart.norm(dim=2).double().sum(dim=1)


def pushed_apart(
    generator: Generator,
    embedder: Embedder,
    styles: Tensor,
    prefix: Prefix,
    columns: Tensor,
    mean: Tensor,
    std: Tensor,
    config: RelevanceConfig,
    resolution: int,
) -> Tensor:
    """e(+k sd) - e(-k sd) of ``columns`` [C] in each picture of ``styles`` [N,S]: [C,N,E]."""
    channels, pictures = len(columns), len(styles)
    moved = styles.repeat(2 * channels, 1).unflatten(0, (channels, 2, pictures))
    for i, column in enumerate(columns.tolist()):
        moved[i, 0, :, column] = mean[column] + config.sigma * std[column]
        moved[i, 1, :, column] = mean[column] - config.sigma * std[column]
    rows = moved.flatten(0, 2)
    most = max(pictures, config.batch // pictures * pictures)  # whole repetitions of the prefix
    embeddings = [
        embedder.embed_images(
            generator.synthesis(
                some, resolution=resolution, start=prefix.repeat(len(some) // pictures)
            )
        )
        for some in rows.split(most)
    ]
    up, down = torch.cat(embeddings).view(channels, 2, pictures, -1).unbind(1)
    apart: Tensor = up - down
    return apart


def _average_images(scan: Scan) -> float:
    begun = scan.images > 0
    return float(scan.images[begun].double().mean()) if bool(begun.any()) else 0.0
