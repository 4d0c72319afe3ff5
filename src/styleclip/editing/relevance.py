"""What every style channel does to a picture in CLIP's eyes (StyleCLIP, section 6).

  exact      u_ic = normalise(e(s_i, s_c = mean + k sd) - e(s_i, s_c = mean - k sd))
  gradient   u_ic = normalise(de(s_i) / ds_c), in the principal directions of e
  relevance_c = normalise(mean over images i of u_ic)                              [S,E]
  samples    relevance_c ~ C_se C_ee^-1 / sd_c: how far c usually is when e is (`latent_map`), all
             channels together, where the first two move each by itself
  a prompt   for one d alone: <relevance_c, d> by gradient, with random probes for the lengths
Exact moves leave every other channel as image i has it, and a channel needs no further images once
its mean is known tightly enough (`scan.py`). Measured once per generator and CLIP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.checking import check_choices, check_finite
from styleclip.editing.latent_map import (
    LatentMap,
    LatentMapConfig,
    OnStep,
    enough_resolution,
    measure_latent_map,
)
from styleclip.editing.scan import OnScan, Scan, embedding_basis, scan_channels
from styleclip.editing.slopes import embedding_slopes, prompt_response
from styleclip.errors import ArgumentError
from styleclip.generators import Generator
from styleclip.latents import StyleLayer

CHOICES = {"method": ("exact", "gradient", "samples"), "resolution": ("full", "enough")}
COPIES, KEPT, LOOKED = 6, 4, 8  # of `bytes_per_picture`


@dataclass(frozen=True)
class RelevanceConfig:
    """The paper's numbers, but for the number of images, which is its upper bound here."""

    method: Literal["exact", "gradient", "samples"] = "exact"
    images: int = 100
    sigma: float = 5.0  # k: how far a channel is moved, in standard deviations
    cosine: float | None = 0.98  # wanted with the mean of all images; None: never stop early
    guided: bool = True  # where it may stop early: by the slopes of all pictures (`scan.py`)
    group: int = 10  # images between two looks at what is known
    samples: int = 20_000  # for mean and standard deviation of the channels
    truncation: float = 0.7
    cutoff: int | None = None
    seed: int = 5
    resolution: Literal["full", "enough"] = "enough"  # rendered for CLIP
    rgb: bool = False  # the toRGB layers as well; by samples always
    batch: int = 64  # pictures rendered at once: the bound of the memory (`batch_within`)
    components: int = 48  # of gradients: principal directions of the embeddings

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        check_finite(self)
        for name in ("images", "group", "batch", "components"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.samples < 2:
            raise ArgumentError(f"samples must be at least 2, got {self.samples}")
        if self.method == "gradient" and self.images < 2:
            raise ArgumentError("a gradient's principal directions need at least 2 images")
        check_truncation(self.truncation)
        if self.sigma <= 0:
            raise ArgumentError(f"sigma must be positive, got {self.sigma}")
        if self.cosine is not None and not 0 < self.cosine < 1:
            raise ArgumentError(f"cosine must lie between 0 and 1, got {self.cosine}")

    @property
    def needs_slopes(self) -> bool:
        """Whether the slopes of all pictures are taken before the first channel is moved."""
        early = self.method == "exact" and self.cosine is not None and self.images > self.group
        return early and self.guided


@dataclass(frozen=True)
class PromptRelevanceConfig:
    """What one prompt costs by gradient where nothing was measured: seconds."""

    images: int = 32
    probes: int = 6  # random directions beside the prompt's
    samples: int = 4_000  # for mean and standard deviation of the channels
    truncation: float = 0.7
    seed: int = 5
    resolution: Literal["full", "enough"] = "enough"

    def __post_init__(self) -> None:
        check_finite(self)
        if self.images < 1 or self.probes < 1 or self.samples < 2:
            raise ArgumentError("images and probes must be at least 1, samples at least 2")
        check_truncation(self.truncation)


def check_truncation(truncation: float) -> None:
    """Raise ``ArgumentError`` where all pictures would be one."""
    if truncation == 0:
        raise ArgumentError(
            f"at a truncation of {truncation:g} pictures have no variety that could be measured: "
            "give one above 0, such as 0.7"
        )


@dataclass(frozen=True, eq=False)
class Relevance:
    """``matrix`` [S,E], zero where nothing was measured; ``mean``, ``std`` [S] of the style.

    The rows are of unit length; by samples the longest is. ``effect`` [S] is the mean length of a
    channel's change of e, from -k to +k deviations (by samples unknown, zero); ``images`` [S] is
    how many pictures each row rests on.
    """

    matrix: Tensor
    mean: Tensor
    std: Tensor
    effect: Tensor
    images: Tensor
    config: Mapping[str, Any] = field(default_factory=dict)


@torch.no_grad()
def style_statistics(
    generator: Generator,
    samples: int,
    seed: int = 5,
    truncation: float = 0.7,
    cutoff: int | None = None,
    chunk: int = 1000,
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [S] of the style over random z, in one pass, nothing kept."""
    random = torch.Generator().manual_seed(seed)
    count = 0
    mean = squares = torch.zeros((), dtype=torch.float64)
    while count < samples:
        w = generator.sample_w(min(chunk, samples - count), random)
        style = generator.affine(generator.truncate(w, truncation, cutoff)).cpu().double()
        # two sets with means a, b and n, m members: Chan et al. 1979
        n, m = count, len(style)
        apart = style.mean(dim=0) - mean
        squares = squares + (style - style.mean(dim=0)).square().sum(dim=0)
        squares = squares + apart.square() * (n * m / (n + m))
        mean = mean + apart * (m / (n + m))
        count += m
    return mean.float(), (squares / count).sqrt().float()


def measure_relevance(
    generator: Generator,
    embedder: Embedder,
    config: RelevanceConfig = RelevanceConfig(),
    on_step: OnStep | None = None,
    scan: Scan | None = None,
    on_scan: OnScan | None = None,
) -> Relevance:
    """The relevance of every channel that is not toRGB.

    ``on_scan`` is called after every batch with the state of the work (keep it now and then); given
    back as ``scan``, the same config goes on from there and ends in the same numbers.
    ``batch_within`` says which ``config.batch`` a memory has room for.
    """
    mean, std = style_statistics(
        generator, config.samples, config.seed, config.truncation, config.cutoff
    )
    styles = _pictures(generator, config)
    if config.method == "samples":
        usual = LatentMapConfig(seed=config.seed)
        usual = replace(usual, chunk=min(usual.chunk, config.batch))
        seen = None if scan is None else scan.change
        found = measure_latent_map(
            generator, embedder, usual, on_step, seen,
            None if on_scan is None else lambda seen: on_scan(_seen_so_far(seen)),
        )  # fmt: skip
        return relevance_of_map(generator, found, mean, std, config)
    if config.method == "gradient":
        return _by_gradient(
            generator, embedder, styles, mean, std, config, scan, on_step, on_scan
        )  # fmt: skip
    resolution = _resolution(generator, embedder, config)
    layers = [layer for layer in generator.layout if _is_measured(layer, resolution, config)]
    by_slope = bytes_per_picture(generator, embedder, replace(config, method="gradient"))
    pushed = bytes_per_picture(generator, embedder, config)
    rows, scan = scan_channels(
        generator, embedder, styles, mean, std, config, layers, resolution, scan,
        max(1, config.batch * pushed // by_slope), on_step, on_scan,
    )  # fmt: skip
    return Relevance(
        F.normalize(rows, dim=1).float(), mean, std,
        (scan.length / scan.images.clamp(min=1)).float(), scan.images.clone(), asdict(config),
    )  # fmt: skip


def measured_channels(relevance: Relevance) -> Tensor:
    """Boolean [S]: the channels that were measured; of the others nothing is known."""
    return (relevance.images > 0) | relevance.matrix.any(dim=1)


def batch_within(
    memory: int, generator: Generator, embedder: Embedder, config: RelevanceConfig
) -> int:
    """How many pictures at once fit into ``memory`` bytes, about, beside the networks themselves.

    A picture costs ``bytes_per_picture``; slopes cost a picture of the gradient, and are kept.
    Raises ``ArgumentError`` where not even one picture fits.
    """
    each = least = bytes_per_picture(generator, embedder, config)
    kept = 0
    if config.needs_slopes:
        sloped = bytes_per_picture(generator, embedder, replace(config, method="gradient"))
        least = max(each, sloped)
        # in half precision, and their sums by group in double: both are there twice for a moment
        numbers = generator.layout.size * min(config.components, config.images - 1)
        groups = math.ceil(config.images / config.group) + 1
        kept = 2 * numbers * (2 * config.images + 8 * groups)
    if memory < kept + least:
        raise ArgumentError(
            f"one picture at a time needs about {(kept + least) / 1e6:.0f} MB here, and the memory "
            f"is to be {memory / 1e6:.0f} MB: give more"
            + (", or leave --full out" if config.resolution == "full" else "")
        )
    return (memory - kept) // each


def bytes_per_picture(generator: Generator, embedder: Embedder, config: RelevanceConfig) -> int:
    """What a picture's activations take while it is measured, estimated from the layers' sizes.

    Without gradients COPIES of the largest layer that is rendered are there at once; by gradient
    KEPT of every layer stay until the backward pass. CLIP takes LOOKED of the pixels that it reads.
    """
    shown = _resolution(generator, embedder, config)
    sizes = [la.channels * la.resolution**2 for la in generator.layout if la.resolution <= shown]
    drawn = KEPT * sum(sizes) if config.method == "gradient" else COPIES * max(sizes)
    looked = LOOKED * 3 * max(embedder.image_size, shown) ** 2
    return int((drawn + looked) * generator.w_average.element_size())


@torch.no_grad()
def relevance_of_map(
    generator: Generator,
    latent_map: LatentMap,
    mean: Tensor,
    std: Tensor,
    config: RelevanceConfig,
) -> Relevance:
    """The relevance by samples: the affine layers carry the map from e to w on to S.

    All layers act together here, so toRGB has its part: without it no colour changes.
    """
    steps = latent_map.matrix.to(generator.w_average)[:, None].expand(-1, generator.rows, -1)
    style = generator.affine(steps) - generator.affine(torch.zeros_like(steps[:1]))  # [E,S]
    rows = (style.cpu() / std.clamp(min=1e-8)).t()
    longest = rows.norm(dim=1).max().clamp(min=1e-12)
    return Relevance(
        (rows / longest).float(), mean, std, torch.zeros_like(mean),
        torch.zeros(len(mean), dtype=torch.int64), asdict(replace(config, method="samples")),
    )  # fmt: skip


def prompt_relevance(
    generator: Generator,
    embedder: Embedder,
    direction: Tensor,
    config: PromptRelevanceConfig = PromptRelevanceConfig(),
) -> Relevance:
    """The relevance to one unit ``direction`` [E] and to nothing else, with no measuring before.

    One backward pass for every picture and one for each probe, all pictures together.
    """
    mean, std = style_statistics(generator, config.samples, config.seed, config.truncation)
    usual = RelevanceConfig(
        images=config.images, seed=config.seed, truncation=config.truncation,
        resolution=config.resolution, samples=config.samples,
    )  # fmt: skip
    resolution = _resolution(generator, embedder, usual)
    styles = _pictures(generator, usual)
    response = prompt_response(
        generator, embedder, styles, direction, config.probes, config.seed, resolution
    )
    columns = _measurable(generator, resolution, usual).to(mean)
    return Relevance(
        ((response * columns)[:, None] * direction.cpu()).float(), mean, std,
        torch.zeros_like(mean),
        (columns * config.images).long(), {**asdict(config), "method": "prompt"},
    )  # fmt: skip


def _by_gradient(
    generator: Generator,
    embedder: Embedder,
    styles: Tensor,
    mean: Tensor,
    std: Tensor,
    config: RelevanceConfig,
    scan: Scan | None,
    on_step: OnStep | None,
    on_scan: OnScan | None,
) -> Relevance:
    """A backward pass for every picture and principal direction of the embeddings."""
    resolution = _resolution(generator, embedder, config)
    if scan is None:
        basis = embedding_basis(generator, embedder, styles, config, resolution).cpu()
        scan = replace(Scan.begin(len(mean), len(basis)), basis=basis)
    for first in range(int(scan.images.max()), len(styles), config.group):
        part = styles[first : first + config.group]
        slopes = [
            embedding_slopes(generator, embedder, some, scan.basis, resolution).cpu()
            for some in part.split(config.batch)
        ]
        jacobian = torch.cat(slopes, dim=1)  # [K,N,S]
        scan.change += F.normalize(jacobian, dim=0).sum(dim=1).t()
        scan.length += jacobian.norm(dim=0).sum(dim=0)
        scan.images += len(part)
        if on_scan is not None:
            on_scan(scan)
        if on_step is not None:
            on_step(int(scan.images[0]), len(styles), {})
    columns = _measurable(generator, resolution, config)
    mean_length = (scan.length / len(styles)).to(std)
    return Relevance(
        F.normalize(scan.change @ scan.basis.double(), dim=1).float() * columns[:, None],
        mean, std, 2 * config.sigma * std * mean_length * columns, scan.images * columns,
        asdict(config),
    )  # fmt: skip


def _pictures(generator: Generator, config: RelevanceConfig) -> Tensor:
    """The styles [N,S] that the channels are moved in: none of those of the statistics."""
    random = torch.Generator().manual_seed(config.seed + 1)
    w = generator.sample_w(config.images, random)
    with torch.no_grad():
        return generator.affine(generator.truncate(w, config.truncation, config.cutoff))


def _seen_so_far(embeddings: Tensor) -> Scan:
    """By samples what is known are the embeddings [N,E] of N pictures; the rest is one a row."""
    return Scan.of(
        embeddings.cpu(),
        torch.zeros(len(embeddings)),
        torch.ones(len(embeddings), dtype=torch.int64),
    )


def _resolution(generator: Generator, embedder: Embedder, config: RelevanceConfig) -> int:
    if config.resolution == "full":
        return generator.resolution
    return enough_resolution(generator, embedder)


def _measurable(generator: Generator, resolution: int, config: RelevanceConfig) -> Tensor:
    """Boolean [S]: the columns that are measured."""
    return generator.layout.columns(lambda layer: _is_measured(layer, resolution, config))


def _is_measured(layer: StyleLayer, resolution: int, config: RelevanceConfig) -> bool:
    return layer.resolution <= resolution and (config.rgb or layer.kind == "conv")
