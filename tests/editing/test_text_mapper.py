"""The text-conditioned mapper: before training, what training does, a training resumed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.editing.latent_map import LatentMap, LatentMapConfig, measure_latent_map
from styleclip.editing.text_mapper import (
    TextMapper,
    TextMapperConfig,
    TextMapperState,
    train_text_mapper,
)
from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.prompts import PromptPair
from tests.reference.networks import random_generator

WIDTH, EMBEDDING = 6, 7
CONFIG = TextMapperConfig(hidden=16, steps=12, batch=4, goal=1.5, first=1.0)
RED, BLUE = PromptPair("red", "plain"), PromptPair("blue", "plain")


class Projection:
    """A fake CLIP: a fixed random matrix on 8 x 8 pixels, and fixed random vectors for texts."""

    image_size = 8

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(3)
        self.matrix = torch.randn(3 * 64, EMBEDDING, generator=random)

    def embed_images(self, images: Tensor) -> Tensor:
        pixels = F.adaptive_avg_pool2d(images, 8).flatten(1)
        return F.normalize(torch.tanh(pixels @ self.matrix.to(images) / 8), dim=1)

    embed_pixels = embed_images

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        rows = []
        for text in texts:
            random = torch.Generator().manual_seed(sum(map(ord, text)))
            rows.append(torch.randn(EMBEDDING, generator=random))
        return F.normalize(torch.stack(rows), dim=1)


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    small = StyleGAN2Config(8, (5, 4), w_dim=WIDTH, z_dim=5, mapping_layers=2)
    return random_generator(small)


@pytest.fixture(scope="module")
def latent_map(generator: StyleGAN2) -> LatentMap:
    return measure_latent_map(generator, Projection(), LatentMapConfig(samples=300))


@pytest.fixture(scope="module")
def latents(generator: StyleGAN2) -> Tensor:
    w = generator.sample_w(20, torch.Generator().manual_seed(1))
    return generator.truncate(w)


def train(generator: StyleGAN2, latent_map: LatentMap, latents: Tensor, **options: object):
    config = options.pop("config", CONFIG)
    prompts = options.pop("prompts", [RED, BLUE])
    return train_text_mapper(
        generator, Projection(), latents, prompts, latent_map, config, **options
    )  # fmt: skip


def test_before_training_it_is_a_step_along_the_latent_map(
    latent_map: LatentMap, latents: Tensor
) -> None:
    mapper = TextMapper(WIDTH, EMBEDDING, CONFIG)
    mapper.know(latent_map, latents.mean(dim=1))
    edit = mapper.edit(latents, Projection(), RED)
    target, neutral = Projection().embed_texts([RED.target, RED.neutral])
    direction = F.normalize(target - neutral, dim=0)
    _, deviation = latent_map.spread(direction)
    wanted = CONFIG.first * deviation * (direction @ latent_map.matrix)
    assert edit.w_plus_step is not None
    torch.testing.assert_close(edit.w_plus_step, wanted.expand_as(edit.w_plus_step))


def test_training_brings_pictures_nearer_to_their_texts(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor
) -> None:
    losses: list[float] = []
    config = replace(CONFIG, steps=200, batch=16, rate=1e-2, keep_weight=0.01)
    mapper = train(
        generator, latent_map, latents, config=config,
        on_step=lambda step, steps, terms: losses.append(sum(terms.values())),
    )  # fmt: skip
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    # each picture gets its own step
    step = mapper.edit(latents, Projection(), RED).w_plus_step
    assert step is not None and step.std(dim=0).max() > 1e-4
    assert step.shape == latents.shape


@pytest.mark.parametrize("after", [1, 5, 11])
def test_a_training_that_was_stopped_ends_in_the_same_numbers(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor, after: int
) -> None:
    states: list[TextMapperState] = []
    whole = train(
        generator, latent_map, latents, on_state=lambda state: states.append(copy.deepcopy(state))
    )
    assert [state.step for state in states] == list(range(1, CONFIG.steps + 1))
    resumed = train(generator, latent_map, latents, state=states[after - 1])
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_what_cannot_be_trained_or_applied(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor
) -> None:
    with pytest.raises(ArgumentError, match="at least one latent and one prompt"):
        train(generator, latent_map, latents, prompts=[])
    mapper = TextMapper(WIDTH, EMBEDDING, CONFIG)
    with pytest.raises(ArgumentError, match="trained for another generator"):
        mapper.edit(torch.zeros(1, 4, WIDTH + 1), Projection(), RED)
