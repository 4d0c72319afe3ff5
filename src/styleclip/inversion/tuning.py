"""Pivotal tuning: a copy of the generator redraws one picture (Roich et al. 2021, 2106.05744).

  argmin_T  rec(G_T(w_p), x) + locality * rec(G_T(w_r), G(w_r)),   rec = l2 * MSE + perceptual * d
  w_r = w_p + a (w_z - w_p) / |w_z - w_p|,   w_z of a random z, anew at every step
The pivot w_p is what the encoder and projection found; near it G_T draws x, at the distance a it
must still draw what G draws. Only weights that draw move: mapping and affine layers stay, so W+ and
S mean what they meant, and the noise stays the network's own, which cannot learn the picture.
Images [B,3,H,W], w_plus [B,L,D] -> ``Tuning``. What it gains, and what locality costs, stands in
docs/inversion-notes.md: 32 to 35 dB on drawn portraits, 24 to 33 with a mark that none has.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators import Generator, chunk_size
from styleclip.latents import check_w_plus
from styleclip.losses import laplacian_l1

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, figures
Distance = Callable[[Tensor, Tensor], Tensor]  # images [B,3,H,W] twice -> [B]
PAPER_WIDTH = 512  # channels of the widest layers of the networks that the paper tunes
G = TypeVar("G", bound=Generator)


@dataclass(frozen=True)
class TuningConfig:
    """The paper's numbers where it gives them (sec. 3.2, 3.3 and 4), ours where said.

    ``rate`` is Adam's for weights of size 1 in a network 512 wide, the paper's: here in shares of
    a tensor's own size, since ours are stored at other scales, and faster in a narrower network,
    whose layers add up fewer of them. ``alpha``: the paper's distance of 30 is over all rows of W+;
    here, for any generator, in shares of how far random latents are away.
    """

    steps: int = 350
    rate: float = 3e-4
    l2_weight: float = 1.0
    perceptual_weight: float = 1.0
    locality_weight: float = 0.1
    alpha: float = 0.5
    enough: float = 42.0  # dB at which it stops: off by 2 of 255 (ours)
    patience: int = 50  # steps without a gain of 1 % that end it (ours)
    seed: int = 0  # of the random z

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rate <= 0 or self.patience < 1:
            raise ArgumentError("a tuning needs at least one step, a positive rate and patience")
        if min(self.l2_weight, self.perceptual_weight, self.locality_weight) < 0:
            raise ArgumentError("the weights of a tuning's terms cannot be negative")
        if self.alpha <= 0:
            raise ArgumentError(f"alpha is a distance from the pivot, got {self.alpha}")


@dataclass(frozen=True, eq=False)
class Tuning:
    """What is added to a generator's weights, by name (float16), and the pivots [B,L,D] it is for.

    ``figures``: "steps" taken, and PSNR "before" and "after" (dB, mean of the pictures).
    """

    differences: Mapping[str, Tensor]
    w_plus: Tensor
    config: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


def tune(
    generator: Generator,
    images: Tensor,
    w_plus: Tensor,
    config: TuningConfig = TuningConfig(),
    on_step: OnStep | None = None,
    perceptual: Distance = laplacian_l1,
) -> Tuning:
    """What to add to the weights so that ``w_plus`` [B,L,D] is drawn as ``images`` [B,3,R,R].

    ``generator`` itself is left alone: ``tuned_generator`` makes the one that draws them.
    ``perceptual`` is any distance of pictures, a Laplacian pyramid's by default (the paper: LPIPS).
    It ends when the pictures are near enough, nothing is gained any more, or after all steps.
    Raises ``NonFiniteError`` when the loss leaves the numbers.
    """
    size = generator.resolution
    check_w_plus(w_plus, generator.rows, generator.w_average.shape[0])
    if images.shape != (len(w_plus), 3, size, size):
        raise ArgumentError(
            f"expected a picture for each of {len(w_plus)} latents, [{len(w_plus)}, 3, {size}, "
            f"{size}], got {list(images.shape)}"
        )
    w_plus = w_plus.detach()
    tuned = copy.deepcopy(generator)
    weights = tuned.drawing_parameters()
    adam = torch.optim.Adam(
        [
            {"params": [weight.requires_grad_(True)], "lr": rate}
            for weight, rate in zip(weights.values(), _rates(weights, config.rate), strict=True)
        ]
    )
    chunks = torch.arange(len(images)).split(chunk_size(size))
    near = _neighbours(generator, w_plus, config)

    def distance(drawn: Tensor, wanted: Tensor) -> Tensor:
        error = (drawn - wanted).square().flatten(1).mean(dim=1)
        return config.l2_weight * error + config.perceptual_weight * perceptual(drawn, wanted)

    before, lowest, since, step = 0.0, math.inf, 0, 0
    while True:
        # one step for all pictures: chunks add up to the same gradient
        adam.zero_grad()
        neighbours = next(near)
        figures = {"loss": 0.0, "locality": 0.0, "psnr": 0.0}
        for part in chunks:
            drawn = _draw(tuned, w_plus[part])
            error = distance(drawn, images[part]).sum() / len(images)
            error.backward()
            figures["loss"] += error.item()
            figures["psnr"] += float(psnr(drawn.detach(), images[part]).sum()) / len(images)
            if config.locality_weight and step:  # nothing has strayed before the first step
                with torch.no_grad():
                    as_it_was = _draw(generator, neighbours[part])
                strayed = distance(_draw(tuned, neighbours[part]), as_it_was).sum() / len(images)
                (config.locality_weight * strayed).backward()
                figures["locality"] += strayed.item()
        if not all(map(math.isfinite, figures.values())):
            raise NonFiniteError(f"the loss is not finite at step {step}: lower the rate")
        if on_step is not None and step:
            on_step(step, config.steps, figures)

        # near enough, or no gain any more?
        before = before if step else figures["psnr"]
        gained = figures["loss"] < 0.99 * lowest
        lowest, since = (figures["loss"], 0) if gained else (lowest, since + 1)
        if step == config.steps or since >= config.patience or figures["psnr"] >= config.enough:
            break
        adam.step()
        step += 1

    originals = generator.drawing_parameters()
    differences = {
        name: (weight.detach() - originals[name].detach()).half()
        for name, weight in weights.items()
        if not torch.equal(weight, originals[name])
    }
    found = Tuning(differences, w_plus, asdict(config))
    redrawn = tuned_generator(generator, found)  # as it is stored
    with torch.no_grad():
        after = [psnr(_draw(redrawn, w_plus[part]), images[part]) for part in chunks]
    reached = {"steps": step, "before": before, "after": float(torch.cat(after).mean())}
    return replace(found, figures=reached)


def tuned_generator(generator: G, tuning: Tuning) -> G:
    """A copy of ``generator`` with the differences added; ``ArgumentError`` if they do not fit."""
    tuned = copy.deepcopy(generator)
    weights = tuned.drawing_parameters()
    for name, difference in tuning.differences.items():
        if name not in weights or weights[name].shape != difference.shape:
            shape = list(weights[name].shape) if name in weights else "no such tensor"
            raise ArgumentError(
                f"the tuning changes {name} {list(difference.shape)}, but this generator has "
                f"{shape}: it belongs to another one"
            )
        weights[name].data.add_(difference.to(weights[name]))
    return tuned


def psnr(drawn: Tensor, images: Tensor) -> Tensor:
    """Peak signal to noise ratio of pictures in [-1,1], as they would be saved: [B], dB."""
    error = (drawn.clamp(-1, 1) - images).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(4 / error.clamp(min=1e-12))


def _neighbours(generator: Generator, w_plus: Tensor, config: TuningConfig) -> Iterator[Tensor]:
    """Latents [B,L,D] at a fixed distance from the pivots, each time in another direction."""
    random = torch.Generator().manual_seed(config.seed)
    samples = generator.truncate(generator.sample_w(256, random))
    away = torch.stack([(samples - pivot).flatten(1).norm(dim=1).mean() for pivot in w_plus])
    radius = config.alpha * away[:, None, None]  # [B,1,1]
    while True:
        towards = generator.truncate(generator.sample_w(len(w_plus), random)) - w_plus
        yield w_plus + radius * towards / towards.flatten(1).norm(dim=1)[:, None, None]


def _draw(generator: Generator, w_plus: Tensor) -> Tensor:
    return generator.synthesis(generator.affine(w_plus))


def _rates(weights: Mapping[str, Tensor], rate: float) -> list[float]:
    """Adam's rate of each tensor: in shares of its size, biases in units of activations."""
    width = max(weight.shape[1] for weight in weights.values() if weight.ndim == 4)
    sizes = [
        float(weight.detach().square().mean().sqrt().clamp(min=1e-3)) if weight.ndim > 1 else 1.0
        for weight in weights.values()
    ]
    return [rate * PAPER_WIDTH / width * size for size in sizes]
