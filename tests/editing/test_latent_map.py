"""The map from CLIP's space to w: the ridge it solves, and what it does to pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from styleclip.editing.latent_map import (
    LatentMapConfig,
    enough_resolution,
    fit_latent_map,
    measure_latent_map,
)
from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.reference.networks import random_generator


def draws(samples: int, width: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(samples, width, generator=random, dtype=torch.float64)


def test_the_map_is_the_minimum_of_the_ridge() -> None:
    # the gradient of  mean |w - e A|^2 + floor |A|^2  vanishes at A, and nowhere beside it
    embeddings, w, ridge = draws(200, 5, 1) * torch.arange(1, 6), draws(200, 3, 2), 0.3
    found = fit_latent_map(embeddings, w, ridge)
    centred, target = embeddings - embeddings.mean(0), w - w.mean(0)
    floor = ridge * centred.square().mean()
    matrix = found.matrix.clone().requires_grad_(True)
    loss = (target - centred @ matrix).square().sum() / 200 + floor * matrix.square().sum()
    (gradient,) = torch.autograd.grad(loss, matrix)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_a_linear_world_is_found_again() -> None:
    truth, embeddings = draws(5, 3, 3), draws(500, 5, 4)
    found = fit_latent_map(embeddings + 7, embeddings @ truth - 2, ridge=1e-9)
    torch.testing.assert_close(found.matrix, truth, rtol=0, atol=1e-6)
    # only what moves with one component, the others held: a copy of it takes half
    twice = torch.cat([embeddings, embeddings[:, :1]], dim=1)
    halves = fit_latent_map(twice, embeddings @ truth, ridge=1e-9).matrix
    torch.testing.assert_close(halves[0], halves[5], rtol=0, atol=1e-5)


def test_spread_is_that_of_the_samples() -> None:
    embeddings = draws(300, 4, 5)
    direction = torch.nn.functional.normalize(draws(1, 4, 6)[0], dim=0)
    mean, deviation = fit_latent_map(embeddings, embeddings, 0.1).spread(direction)
    along = embeddings @ direction
    torch.testing.assert_close(mean, along.mean())
    torch.testing.assert_close(deviation, along.std(correction=0))


class Pixels:
    """A fake CLIP of 8 pixels whose embedding is the picture's three mean colours and their sum."""

    image_size = 8

    def embed_images(self, images: Tensor) -> Tensor:
        colours = images.mean(dim=(2, 3))
        return torch.nn.functional.normalize(
            torch.cat([colours, colours.sum(1, True) + 1], dim=1), dim=1
        )


@pytest.mark.parametrize("c_dim", [0, 3])
def test_measured_on_any_generator_and_the_same_twice(c_dim: int) -> None:
    config = StyleGAN2Config(32, (6, 6, 6, 6), w_dim=7, z_dim=9, c_dim=c_dim, mapping_layers=2)
    generator: StyleGAN2 = random_generator(config)
    seen: list[int] = []
    settings = LatentMapConfig(samples=70, chunk=32)
    found = measure_latent_map(generator, Pixels(), settings, lambda s, n, f: seen.append(s))
    assert seen == [32, 64, 70]
    assert found.matrix.shape == (4, 7) and found.covariance.shape == (4, 4)
    again = measure_latent_map(generator, Pixels(), LatentMapConfig(samples=70, chunk=7))
    torch.testing.assert_close(found.matrix, again.matrix, rtol=1e-4, atol=1e-5)
    assert enough_resolution(generator, Pixels()) == 8


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"ridge": -0.1}, {"ridge": float("nan")}])
def test_wrong_numbers_are_explained(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        LatentMapConfig(**wrong)


def test_too_few_samples() -> None:
    with pytest.raises(ArgumentError, match="at least 2 samples"):
        measure_latent_map(None, None, LatentMapConfig(samples=1))  # type: ignore[arg-type]
