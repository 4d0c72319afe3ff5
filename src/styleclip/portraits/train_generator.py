"""Recipe of the portraits generator: no label, caption or CLIP reaches it.

  1. reconstruction   min |lap(G(E(x) + noise)) - lap(x)|_1 over renders x   (both networks)
  2. sharpening       the same with a critic for detail (train_sharpen)
  3. mapping          a rectified flow carries Gaussian z to the encoder's w (arXiv 2209.03003); the
                      mapping network then learns that flow's end points, so z -> w is one pass
Two thirds of stage 1 go through the skip image of half the resolution; the last block comes last.
`styleclip portraits train reconstruction` (sharpening, mapping): 88, 35 and 15 minutes on one core
with bfloat16; further figures in the card beside the weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.errors import ArgumentError
from styleclip.generators.ops import normalize_second_moment
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.inversion.encoder import Encoder, EncoderConfig
from styleclip.losses import laplacian_l1, laplacian_l2
from styleclip.portraits.training import (
    OnStep,
    Renders,
    Run,
    ramped_rate,
    set_rate,
    step_generator,
    update_average,
)

MAPPING_LR_MULTIPLIER = 0.01  # of StyleGAN2's mapping layers: their weights move 100 times less


@dataclass(frozen=True)
class GeneratorRecipe:
    """128-pixel portraits; see the card beside the weights for the figures this gave."""

    seed: int = 1
    config: StyleGAN2Config = StyleGAN2Config(
        128, (128, 128, 96, 80, 48, 24), w_dim=128, z_dim=128, mapping_layers=6, mapping_width=512
    )
    reads: int = 64  # pixels that the encoder sees
    steps: int = 12_000
    full_from: float = 0.67  # of the run: until here through the skip image of half the resolution
    batch: int = 16
    generator_rate: float = 1e-2  # weights are stored at unit variance, so this is 1 % a step
    encoder_rate: float = 1e-3
    w_noise: float = 0.15  # of the shared w, whose columns have unit scale
    row_noise: float = 0.15  # of every row of W+ by itself: edits live there
    w_penalty: float = 1e-3
    detail_weight: float = 8.0  # squared errors: large ones, small rare things, weigh more


def new_networks(recipe: GeneratorRecipe) -> tuple[StyleGAN2, Encoder]:
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        generator = StyleGAN2(recipe.config)
        config = EncoderConfig(recipe.reads, generator.rows, recipe.config.w_dim)
        return generator, Encoder(config)


def train_reconstruction(
    renders: Renders, recipe: GeneratorRecipe, checkpoint: Path, on_step: OnStep
) -> tuple[StyleGAN2, Encoder]:
    """Stage 1; returns the running averages of generator and encoder."""
    device = renders.device
    generator, encoder = new_networks(recipe)
    generator, encoder = generator.to(device), encoder.to(device)
    averages = copy.deepcopy(generator), copy.deepcopy(encoder)
    mapping = {id(p) for p in generator.mapping_layers.parameters()}
    drawn = [p for p in generator.parameters() if id(p) not in mapping]
    ratio = recipe.encoder_rate / recipe.generator_rate
    groups: list[dict[str, Any]] = [
        {"params": drawn},
        {"params": list(encoder.parameters()), "factor": ratio},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    run = Run(
        checkpoint,
        {"generator": generator, "encoder": encoder, "g_mean": averages[0], "e_mean": averages[1]},
        {"adam": optimizer},
    )

    def one_step(step: int) -> dict[str, float]:
        random = step_generator(recipe.seed, step)
        index = torch.randint(len(renders.portraits), (recipe.batch,), generator=random)
        full = step >= recipe.full_from * recipe.steps
        size = recipe.config.resolution if full else recipe.config.resolution // 2
        images = renders.batch(index, size)
        # the encoder names a w, and noise makes its neighbourhood mean the same portrait
        shared, rows = row_noise(recipe, generator, random)
        with torch.autocast(device.type, torch.bfloat16):
            w = encoder.single_w(images).float()
            w_plus = w[:, None] + (shared + rows).to(device)
            style = generator.affine(w_plus)
            redrawn = generator.synthesis(style, noise="none", resolution=size).float()
        loss = laplacian_l1(redrawn, images).mean()
        detail = laplacian_l2(redrawn, images).mean()
        total = loss + recipe.detail_weight * detail + recipe.w_penalty * w.square().mean()
        set_rate(optimizer, ramped_rate(recipe.generator_rate, step, recipe.steps))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        decay = min(0.998, step / (step + 10))
        update_average(averages[0], generator, decay)
        update_average(averages[1], encoder, decay)
        error = F.mse_loss(redrawn.detach(), images)
        return {
            "loss": loss.item(),
            "psnr": float(10 * torch.log10(4 / error)),
            "w": w.detach().std().item(),
        }

    run.train(recipe.steps, one_step, on_step)
    return averages


class Noisy(Protocol):
    """What ``row_noise`` asks of a recipe."""

    @property
    def batch(self) -> int: ...
    @property
    def w_noise(self) -> float: ...
    @property
    def row_noise(self) -> float: ...


def row_noise(
    recipe: Noisy, generator: StyleGAN2, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Noise of the shared w [B,1,D] and of each row of W+ [B,L,D]."""
    shape = (recipe.batch, generator.rows, generator.config.w_dim)
    shared = recipe.w_noise * torch.randn(shape[0], 1, shape[2], generator=random)
    return shared, recipe.row_noise * torch.randn(shape, generator=random)


class Velocity(nn.Module):
    """v(x, t): a residual MLP over [B,D] and t [B,1]."""

    def __init__(self, width: int, hidden: int = 512, layers: int = 4) -> None:
        super().__init__()
        self.inputs = nn.Linear(width + 16, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(),
                          nn.Linear(hidden, hidden)) for _ in range(layers)
        )  # fmt: skip
        self.outputs = nn.Linear(hidden, width)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = t * torch.pi * torch.arange(1, 9, dtype=x.dtype, device=x.device)
        h = self.inputs(torch.cat([x, angles.sin(), angles.cos()], dim=1))
        for block in self.blocks:
            h = h + block(h)
        velocity: Tensor = self.outputs(h)
        return velocity


@torch.no_grad()
def flow(velocity: Velocity, x: Tensor, steps: int = 8) -> Tensor:
    """Carry Gaussian x [N,D] along the flow from t = 0 to 1 (midpoint rule)."""
    h = 1.0 / steps
    for i in range(steps):
        t = torch.full((len(x), 1), i * h, device=x.device)
        middle = x + 0.5 * h * velocity(x, t)
        x = x + h * velocity(middle, t + 0.5 * h)
    return x


@dataclass(frozen=True)
class MappingRecipe:
    """Fits the mapping network to the encoder's w of the stored renders."""

    seed: int = 3
    flow_steps: int = 10_000
    flow_batch: int = 512
    flow_rate: float = 1e-3
    pairs: int = 100_000  # of z and the flow's end: fewer are learned by heart
    mapping_steps: int = 6_000
    mapping_batch: int = 256
    mapping_rate: float = 4e-2  # lower rates leave the edges between clusters of w soft


def train_mapping(
    generator: StyleGAN2, w: Tensor, recipe: MappingRecipe, checkpoint: Path, on_step: OnStep
) -> StyleGAN2:
    """Stage 3. ``w`` [N,D]: the encoder's latents of the training renders."""
    if generator.config.z_dim != w.shape[1]:
        raise ArgumentError("this recipe needs z and w of one width")
    centre, scale = w.mean(dim=0), w.std(dim=0)
    data = (w - centre) / scale
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        velocity = Velocity(w.shape[1]).to(w.device)
        fresh = StyleGAN2(generator.config).mapping_layers
    generator.mapping_layers.load_state_dict(fresh.state_dict())
    average = copy.deepcopy(velocity)
    optimizer = torch.optim.Adam(velocity.parameters())

    def flow_step(step: int) -> dict[str, float]:
        # straight paths from noise to data, paired at random
        random = step_generator(recipe.seed, step)
        target = data[torch.randint(len(data), (recipe.flow_batch,), generator=random)]
        noise = torch.randn(target.shape, generator=random).to(target)
        t = torch.rand(len(target), 1, generator=random).to(target)
        predicted = velocity(torch.lerp(noise, target, t), t)
        loss = F.mse_loss(predicted, target - noise)
        set_rate(optimizer, ramped_rate(recipe.flow_rate, step, recipe.flow_steps, tail=0.7))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        update_average(average, velocity, min(0.999, step / (step + 10)))
        return {"flow": loss.item()}

    path = checkpoint.with_name("flow.pt")
    Run(path, {"velocity": velocity, "mean": average}, {"adam": optimizer}).train(
        recipe.flow_steps, flow_step, on_step
    )

    layers = generator.mapping_layers.requires_grad_(True)
    fit = torch.optim.Adam(layers.parameters(), betas=(0.9, 0.99))

    @lru_cache(maxsize=1)
    def pairs() -> tuple[Tensor, Tensor]:
        # the network sees z at unit second moment, so the flow starts from there as well
        random = step_generator(recipe.seed, recipe.flow_steps + 1)
        z = torch.randn(recipe.pairs, w.shape[1], generator=random).to(w)
        ends = torch.cat([flow(average, part) for part in normalize_second_moment(z).split(4096)])
        return z, ends * scale + centre

    def mapping_step(step: int) -> dict[str, float]:
        z, ends = pairs()
        random = step_generator(recipe.seed + 1, step)
        index = torch.randint(recipe.pairs, (recipe.mapping_batch,), generator=random)
        loss = ((generator.mapping(z[index]) - ends[index]) / scale).square().mean()
        set_rate(fit, ramped_rate(recipe.mapping_rate, step, recipe.mapping_steps, tail=0.7)
                 / MAPPING_LR_MULTIPLIER)  # fmt: skip
        fit.zero_grad(set_to_none=True)
        loss.backward()
        fit.step()
        return {"unexplained": loss.item()}

    Run(checkpoint, {"mapping": layers}, {"adam": fit}).train(
        recipe.mapping_steps, mapping_step, on_step
    )
    random = step_generator(recipe.seed, recipe.flow_steps + 2)
    generator.w_average.copy_(generator.mean_w(10_000, random)[0])
    return generator
