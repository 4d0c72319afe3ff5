"""Recipe of the generator's last stage: the reconstruction goes on, and a critic asks for texture.

  critic     max  -softplus(C(G(w)) - C(x))  - gamma/2 |grad C|^2       over renders x, w = E(x)
  generator  min  |lap(G(w)) - lap(x)|_1 + weight softplus(C(x) - C(G(w)))
Each picture is compared with its own reconstruction (relativistic pairs, 1807.00734; both gradient
penalties, 2501.05441), patch by patch, so the critic has only texture to speak of. The encoder
stands still: w means what it meant, and the mapping fits. Part of `styleclip portraits train
generator`: 13 minutes on one core; 27.4 dB became 27.7 on held-out renders.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.generators.stylegan2 import StyleGAN2
from styleclip.inversion.encoder import Encoder
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


@dataclass(frozen=True)
class SharpenRecipe:
    seed: int = 7
    steps: int = 1_500
    batch: int = 12
    rate: float = 3e-3
    critic_rate: float = 5e-4
    critic_widths: tuple[int, ...] = (32, 64, 128)
    critic_alone: int = 100  # steps before the generator listens
    weight: float = 0.02
    gamma: float = 1.0
    penalty_every: int = 8
    w_noise: float = 0.05
    row_noise: float = 0.05
    detail_weight: float = 24.0


class Critic(nn.Module):
    """Pictures [B,3,H,W] -> a number for each patch [B,1,H/8,W/8]."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in pairwise((3, *widths)):
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        patches: Tensor = self.layers(images)
        return patches


def train_sharpen(
    generator: StyleGAN2,
    encoder: Encoder,
    renders: Renders,
    recipe: SharpenRecipe,
    checkpoint: Path,
    on_step: OnStep,
) -> StyleGAN2:
    """The running average of the sharpened generator; its mapping stays as it came."""
    generator = copy.deepcopy(generator)
    device = renders.device
    average, before = copy.deepcopy(generator), copy.deepcopy(generator)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        critic = Critic(recipe.critic_widths).to(device)
    generator.requires_grad_(True)
    generator.mapping_layers.requires_grad_(False)
    drawn = [parameter for parameter in generator.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam(drawn, betas=(0.9, 0.99))
    critic_adam = torch.optim.Adam(critic.parameters(), betas=(0.0, 0.99))
    modules = {"generator": generator, "mean": average, "critic": critic}
    run = Run(checkpoint, modules, {"adam": adam, "critic": critic_adam})

    def one_step(step: int) -> dict[str, float]:
        random = step_generator(recipe.seed, step)
        index = torch.randint(len(renders.portraits), (recipe.batch,), generator=random)
        images = renders.batch(index)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            w_plus = encoder.single_w(images).float()[:, None].repeat(1, generator.rows, 1)
        shared = torch.randn(w_plus[:, :1].shape, generator=random) * recipe.w_noise
        rows = torch.randn(w_plus.shape, generator=random) * recipe.row_noise
        w_plus = w_plus + (shared + rows).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            redrawn = generator.synthesis(generator.affine(w_plus), noise="none").float()

        # the critic, which sees each picture beside its reconstruction
        fake = redrawn.detach()
        penalised = step % recipe.penalty_every == 0
        pair = torch.cat([images, fake]).requires_grad_(penalised)
        with torch.autocast(device.type, torch.bfloat16, enabled=not penalised):
            real_patches, fake_patches = critic(pair).float().chunk(2)
        told_apart = F.softplus(fake_patches - real_patches).mean()
        critic_loss = told_apart
        if penalised:
            (gradient,) = torch.autograd.grad(
                real_patches.sum() + fake_patches.sum(), pair, create_graph=True
            )
            steepness = gradient.square().sum(dim=(1, 2, 3)).mean() / fake_patches[0].numel()
            critic_loss = told_apart + recipe.penalty_every * recipe.gamma / 2 * steepness
        set_rate(critic_adam, ramped_rate(recipe.critic_rate, step, recipe.steps))
        critic_adam.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_adam.step()

        # the generator
        loss = laplacian_l1(redrawn, images).mean()
        total = loss + recipe.detail_weight * laplacian_l2(redrawn, images).mean()
        if step >= recipe.critic_alone:
            critic.requires_grad_(False)
            with torch.autocast(device.type, torch.bfloat16):
                missed = critic(images).float().detach() - critic(redrawn).float()
            critic.requires_grad_(True)
            total = total + recipe.weight * F.softplus(missed).mean()
        set_rate(adam, ramped_rate(recipe.rate, step, recipe.steps, tail=0.5))
        adam.zero_grad(set_to_none=True)
        total.backward()
        adam.step()
        update_average(average, generator, min(0.99, step / (step + 10)))
        error = F.mse_loss(fake, images)
        return {
            "loss": loss.item(),
            "psnr": float(10 * torch.log10(4 / error)),
            "told apart": told_apart.item(),
        }

    run.train(recipe.steps, one_step, on_step)
    # z -> w is none of this stage's business, whatever an old checkpoint holds
    average.mapping_layers.load_state_dict(before.mapping_layers.state_dict())
    average.w_average.copy_(before.w_average)
    return average.eval().requires_grad_(False)
