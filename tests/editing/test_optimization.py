"""Latent optimisation: the official run, number by number, and what every preset promises."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.checkpoints import load_clip, load_generator
from styleclip.editing.asking import paper_pixels
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import measure_latent_map
from styleclip.editing.optimization import (
    OptimizationConfig,
    learning_rate,
    optimize,
)
from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.losses import directional_distance, target_distance, text_direction
from styleclip.prompts import PromptPair
from tests.reference import optimization as reference
from tests.reference import stylegan2 as reference_network
from tests.reference.networks import VECTORS, expected, random_arcface, random_generator

Space = Literal["w_plus", "style"]
SPACES: tuple[Space, ...] = ("w_plus", "style")
PROMPT = PromptPair(target="a green thing", neutral="a thing")


class LinearEmbedder:
    """A CLIP of five lines: a random matrix for pixels, a random vector for every text."""

    def __init__(self, image_size: int, width: int = 8) -> None:
        self.image_size = image_size
        self.matrix = random(3 * image_size**2, width, seed=17) / image_size

    def embed_images(self, images: Tensor) -> Tensor:
        return self.embed_pixels(F.adaptive_avg_pool2d(images, self.image_size))

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        return F.normalize(pixels.flatten(1) @ self.matrix.to(pixels), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        width = self.matrix.shape[1]
        rows = [random(width, seed=zlib.crc32(text.encode())) for text in texts]
        return F.normalize(torch.stack(rows), dim=-1).float()


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def paper(space: Space, steps: int, **changes: Any) -> OptimizationConfig:
    return replace(OptimizationConfig.paper(space), steps=steps, **changes)


@pytest.fixture(scope="module")
def network() -> StyleGAN2:
    """32 pixels, the least that the official input takes; z and w of unusual widths."""
    return random_generator(StyleGAN2Config(32, (6, 5, 4, 3), w_dim=7, z_dim=9, mapping_layers=2))


@pytest.fixture(scope="module")
def small() -> StyleGAN2:
    return random_generator(StyleGAN2Config(16, (6, 5, 4), w_dim=7, z_dim=9, mapping_layers=2))


def latents(generator: StyleGAN2, batch: int, seed: int = 3) -> Tensor:
    z = random(batch, generator.z_dim, seed=seed).to(generator.const)
    return generator.truncate(generator.mapping(z), psi=0.7)


def step_of(edit: Edit) -> Tensor:
    steps = [step for step in (edit.w_plus_step, edit.style_step) if step is not None]
    assert len(steps) == 1
    return steps[0]


# --- the official run ---------------------------------------------------------


class VectorEmbedder:
    """The CLIP of the vectors, in float64; its text is known as token ids only."""

    def __init__(self) -> None:
        self.clip = load_clip(VECTORS / "optimization-clip.pt")
        self.clip.model.double()
        self.image_size = self.clip.image_size
        self.embed_images = self.clip.embed_images
        self.embed_pixels = self.clip.embed_pixels

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        ids = expected("optimization")["token_ids"]
        return self.clip.embed_token_ids(ids.expand(len(texts), -1))


@pytest.mark.parametrize("space", SPACES)
def test_paper_preset_is_the_official_run(space: Space) -> None:
    # Adam divides each gradient by its size, so a gradient near zero turns the rounding of float32,
    # which differs from processor to processor, into steps of 1e-3; float64 has no such choice
    vectors = {name: tensor.double() for name, tensor in expected("optimization").items()}
    generator = load_generator(VECTORS / "stylegan2-rosinality.pt").double()
    losses: list[float] = []
    start = vectors["w_plus_start"]

    edit = optimize(
        generator, VectorEmbedder(), start, PROMPT, paper(space, 20),
        lambda step, steps, terms: losses.append(terms["loss"]),
    )  # fmt: skip

    official = vectors[f"loss_{space}"]
    assert official.max() - official.min() > 0.01  # so that 1e-5 says something
    torch.testing.assert_close(torch.tensor(losses).double(), official, rtol=0, atol=1e-5)
    start = start if space == "w_plus" else generator.affine(start)
    final, moved = start + step_of(edit), vectors[f"final_{space}"]
    assert (moved - start).abs().max() > 0.1
    torch.testing.assert_close(final, moved, rtol=0, atol=1e-5)


@pytest.mark.parametrize("space", SPACES)
def test_paper_preset_agrees_with_the_slow_version(space: Space) -> None:
    generator = random_generator(
        StyleGAN2Config(64, (6, 5, 4, 3, 2), w_dim=7, z_dim=9, mapping_layers=2)
    ).double()
    embedder = LinearEmbedder(image_size=96)  # x3 upwards, 2x2 pooling
    text = embedder.embed_texts([PROMPT.target])[0].double()
    weights = generator.state_dict()
    names = ["blocks.0.conv"]
    names += [f"blocks.{i}.{layer}" for i in range(1, 5) for layer in ("up", "conv")]
    noises = [weights[f"{name}.noise_const"] for name in names]

    def render(at: Tensor) -> Tensor:
        parts = (
            reference_network.styles(weights, at)
            if space == "w_plus"
            else list(at.split([layer.channels for layer in generator.layout], dim=1))
        )
        return reference_network.skip_images(weights, parts, noises)[-1]

    def logits(pixels: Tensor) -> Tensor:
        return 100 * embedder.embed_pixels(pixels) @ text

    w_plus = latents(generator, 1)
    start, movable = w_plus, torch.ones(generator.config.w_dim, dtype=torch.float64)
    if space == "style":
        start = torch.cat(reference_network.styles(weights, w_plus), dim=1)
        movable = torch.cat(
            [torch.full((la.channels,), float("rgb" not in la.name)) for la in generator.layout]
        )
    final, slow_losses = reference.optimize(render, logits, start, movable, 96, steps=6)

    losses: list[float] = []
    edit = optimize(
        generator, embedder, w_plus, PROMPT, paper(space, 6),
        lambda step, steps, terms: losses.append(terms["loss"]),
    )  # fmt: skip
    # float64 on both sides, but texts are float32 and Adam divides small numbers
    assert losses == pytest.approx(slow_losses, abs=1e-6)
    torch.testing.assert_close(start + step_of(edit), final, rtol=0, atol=1e-5)
    assert (final - start).abs().max() > 0.1


@pytest.mark.parametrize(("height", "size"), [(32, 32), (32, 96), (64, 96), (96, 64), (64, 224)])
def test_paper_pixels_are_replicated_and_averaged(height: int, size: int) -> None:
    images = random(2, 2, height, height, seed=4)
    slow = reference.clip_input(images, size)
    torch.testing.assert_close(paper_pixels(images, size), slow, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("height", "size"), [(16, 224), (48, 224), (64, 100)])
def test_paper_pixels_of_other_sizes_are_refused(height: int, size: int) -> None:
    with pytest.raises(ArgumentError, match=f"divisible by 32, got {height} and {size}"):
        paper_pixels(torch.zeros(1, 3, height, height), size)


@pytest.mark.parametrize("steps", [1, 7, 20, 300])
def test_the_rate_ramps_as_the_official_one(steps: int) -> None:
    config = paper("w_plus", steps)
    found = [learning_rate(step, config) for step in range(steps)]
    assert found == pytest.approx([reference.learning_rate(t, steps) for t in range(steps)])


def test_the_rate_starts_at_zero_and_ends_just_above() -> None:
    config = paper("w_plus", 300)
    assert learning_rate(0, config) == 0
    assert learning_rate(150, config) == pytest.approx(0.1)
    # the last step's t is 299/300: 1/75 of the ramp is left
    last = 0.1 * (1 - math.cos(math.pi / 75)) / 2
    assert 0 < learning_rate(299, config) == pytest.approx(last)


# --- what moves ---------------------------------------------------------------


@pytest.mark.parametrize("preset", ["paper", "default"])
def test_rgb_columns_never_move_in_style_space(network: StyleGAN2, preset: str) -> None:
    own = OptimizationConfig()
    config = paper("style", 6) if preset == "paper" else replace(own, space="style", steps=6)
    edit = optimize(network, LinearEmbedder(32), latents(network, 2), PROMPT, config)
    assert edit.w_plus_step is None and edit.style_step is not None
    conv = network.layout.conv_columns()
    assert bool((edit.style_step[:, ~conv] == 0).all())
    # and most others do (some may not matter for the picture); that rgb columns stay during the
    # run too, and not only in its result, is what the comparison with the slow version shows
    assert float((edit.style_step[:, conv] != 0).float().mean()) > 0.5


def test_in_w_plus_every_number_may_move(network: StyleGAN2) -> None:
    edit = optimize(network, LinearEmbedder(32), latents(network, 2), PROMPT, paper("w_plus", 6))
    assert edit.style_step is None and edit.w_plus_step is not None
    assert bool((edit.w_plus_step != 0).all())


def test_inputs_and_weights_are_left_alone(small: StyleGAN2) -> None:
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    start, random_state = latents(small, 2), torch.get_rng_state()
    optimize(small, LinearEmbedder(16), start, PROMPT, replace(OptimizationConfig(), steps=4))
    assert torch.equal(start, latents(small, 2))
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(before[name], t) for name, t in small.state_dict().items())


def test_a_result_is_a_plain_value_that_says_where_it_came_from(small: StyleGAN2) -> None:
    edit = optimize(
        small, LinearEmbedder(16), latents(small, 2), PROMPT, replace(OptimizationConfig(), steps=2)
    )
    assert not step_of(edit).requires_grad
    assert edit.method == "optimization" and edit.prompt == PROMPT
    assert edit.config["steps"] == 2


# --- batches ------------------------------------------------------------------

PRESETS = {
    "paper w_plus": paper("w_plus", 8),
    "paper style": paper("style", 8),
    "default": replace(OptimizationConfig(), steps=8),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_batch_is_its_pictures_each_by_itself(network: StyleGAN2, name: str) -> None:
    generator = random_generator(network.config).double()
    start, embedder, config = latents(generator, 3), LinearEmbedder(32), PRESETS[name]
    together = step_of(optimize(generator, embedder, start, PROMPT, config))
    singles = [
        step_of(optimize(generator, embedder, one, PROMPT, config)) for one in start.split(1)
    ]
    # float64; Adam divides gradients by their own size, which magnifies rounding
    torch.testing.assert_close(together, torch.cat(singles), rtol=0, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3  # the pictures do differ


@pytest.mark.parametrize("name", PRESETS)
def test_chunks_change_nothing(network: StyleGAN2, name: str) -> None:
    generator = random_generator(network.config).double()
    start, reported = latents(generator, 3), []
    steps = []
    for chunk in (1, 2, 3):
        losses: list[float] = []
        edit = optimize(
            generator, LinearEmbedder(32), start, PROMPT, replace(PRESETS[name], chunk=chunk),
            lambda step, steps, terms, losses=losses: losses.append(terms["loss"]),
        )  # fmt: skip
        steps.append(step_of(edit))
        reported.append(losses)
    torch.testing.assert_close(steps[0], steps[2], rtol=0, atol=1e-6)
    torch.testing.assert_close(steps[1], steps[2], rtol=0, atol=1e-6)
    assert reported[0] == pytest.approx(reported[2], abs=1e-7)
    assert reported[1] == pytest.approx(reported[2], abs=1e-7)


# --- progress -----------------------------------------------------------------


def test_every_step_is_reported_with_its_terms(network: StyleGAN2) -> None:
    calls: list[tuple[int, int, Mapping[str, float]]] = []
    start, embedder = latents(network, 2), LinearEmbedder(32)
    optimize(
        network, embedder, start, PROMPT, paper("w_plus", 7),
        lambda step, steps, terms: calls.append((step, steps, dict(terms))),
    )  # fmt: skip
    assert [(step, steps) for step, steps, _ in calls] == [(i, 7) for i in range(1, 8)]
    for _, _, terms in calls:
        assert set(terms) == {"clip", "latent", "loss"}
        assert terms["loss"] == pytest.approx(terms["clip"] + terms["latent"])
    first, last = calls[0][2], calls[-1][2]
    # the first step looks at the source; step 0 has rate 0, so the second does so too
    pixels = paper_pixels(network.synthesis(network.affine(start)), 32)
    source = target_distance(embedder.embed_pixels(pixels), embedder.embed_texts(["a green thing"]))
    assert first["clip"] == pytest.approx(float(source.mean()), abs=1e-5)
    assert first["latent"] == 0
    assert calls[1][2]["loss"] == pytest.approx(first["loss"], abs=1e-6)
    assert last["latent"] > 0 and last["clip"] < first["clip"]


@pytest.mark.parametrize("space", SPACES)
def test_every_step_shows_its_edit_and_the_last_is_the_result(
    network: StyleGAN2, space: Space
) -> None:
    edits: list[Edit] = []
    start = latents(network, 2)
    result = optimize(
        network, LinearEmbedder(32), start, PROMPT, paper(space, 5), on_edit=edits.append
    )
    styles = [edit.apply(network, start) for edit in edits]
    assert len(styles) == 5
    assert torch.equal(styles[-1], result.apply(network, start))
    # what was shown stays as it was: every step from the third on (rate 0 at first) is another
    assert all(not torch.equal(a, b) for a, b in pairwise(styles[1:]))


# --- errors -------------------------------------------------------------------


class FailingEmbedder(LinearEmbedder):
    """Its answers stop being numbers after a while."""

    def __init__(self, image_size: int, looks: int) -> None:
        super().__init__(image_size)
        self.looks_left = looks

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        self.looks_left -= 1
        embeddings = super().embed_pixels(pixels)
        return embeddings if self.looks_left >= 0 else embeddings * torch.nan


@pytest.mark.parametrize("space", SPACES)
def test_a_loss_that_is_no_number_stops_with_the_best_edit(
    network: StyleGAN2, space: Space
) -> None:
    start, losses = latents(network, 1), []
    config = paper(space, 40)
    with pytest.raises(NonFiniteError, match="nan at step") as caught:
        optimize(
            network, FailingEmbedder(32, looks=14), start, PROMPT, config,
            lambda step, steps, terms: losses.append(terms["clip"]),
        )  # fmt: skip
    best = caught.value.best
    assert isinstance(best, Edit) and best.prompt == PROMPT
    assert not step_of(best).requires_grad
    assert 5 < len(losses) < 40 and losses[-1] == min(losses) < losses[0] - 0.01
    # the edit is the one whose loss was reported last
    style = best.apply(network, start)
    embedder = LinearEmbedder(32)
    pixels = paper_pixels(network.synthesis(style), 32)
    found = target_distance(embedder.embed_pixels(pixels), embedder.embed_texts([PROMPT.target])[0])
    assert float(found) == pytest.approx(losses[-1], abs=1e-5)


class SteepEmbedder(LinearEmbedder):
    """A finite answer with a gradient that is not, from some look on."""

    def __init__(self, image_size: int, looks: int) -> None:
        super().__init__(image_size)
        self.looks_left = looks

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        self.looks_left -= 1
        embeddings = super().embed_pixels(pixels)
        if self.looks_left >= 0:
            return embeddings
        return embeddings + (embeddings - embeddings.detach()).sqrt()  # + 0, slope infinite


def test_a_gradient_that_is_no_number_never_reaches_the_result(network: StyleGAN2) -> None:
    # one look at the source, and the sixth of six steps has the bad gradient: no loss sees it
    config = paper("w_plus", 6)
    with pytest.raises(NonFiniteError) as caught:
        optimize(network, SteepEmbedder(32, looks=6), latents(network, 1), PROMPT, config)
    assert isinstance(caught.value.best, Edit)
    assert bool(torch.isfinite(step_of(caught.value.best)).all())


def test_identity_weight_needs_its_network(small: StyleGAN2) -> None:
    config = replace(OptimizationConfig(), steps=2, identity_weight=0.5)
    with pytest.raises(ArgumentError, match="identity"):
        optimize(small, LinearEmbedder(16), latents(small, 1), PROMPT, config)


def test_identity_holds_the_face(small: StyleGAN2) -> None:
    def identity(images: Tensor) -> Tensor:
        return F.normalize(images.flatten(2).mean(dim=2), dim=-1)  # its mean colour

    start, moved = latents(small, 2), {}
    source = identity(small.synthesis(small.affine(start)))
    for weight in (0.0, 20.0):
        config = replace(OptimizationConfig(), steps=30, identity_weight=weight)
        terms_seen: list[set[str]] = []
        edit = optimize(
            small, LinearEmbedder(16), start, PROMPT, config,
            lambda step, steps, terms, seen=terms_seen: seen.append(set(terms)), identity,
        )  # fmt: skip
        faces = identity(small.synthesis(edit.apply(small, start)))
        moved[weight] = float((1 - (faces * source).sum(dim=1)).mean())
        assert ("identity" in terms_seen[0]) == (weight > 0)
    assert moved[20.0] < 0.5 * moved[0.0]


def test_arcface_holds_the_face_too(small: StyleGAN2) -> None:
    identity, start = random_arcface(), latents(small, 2)
    source = identity(small.synthesis(small.affine(start)))
    moved = {}
    for weight in (0.0, 20.0):
        config = replace(OptimizationConfig(), steps=15, identity_weight=weight)
        edit = optimize(small, LinearEmbedder(16), start, PROMPT, config, None, identity)
        faces = identity(small.synthesis(edit.apply(small, start)))
        moved[weight] = float((1 - (faces * source).sum(dim=1)).mean())
    assert moved[20.0] < 0.5 * moved[0.0]


def test_latents_of_another_generator_are_refused(small: StyleGAN2) -> None:
    for space in SPACES:
        config = replace(OptimizationConfig(), space=space, steps=2)
        with pytest.raises(ArgumentError, match="expected w_plus of shape"):
            optimize(small, LinearEmbedder(16), torch.zeros(1, 3, 7), PROMPT, config)


# --- free generation ----------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_free_generation_starts_at_the_mean_with_the_text_alone(
    network: StyleGAN2, name: str
) -> None:
    seen: list[Mapping[str, float]] = []
    embedder, config = LinearEmbedder(32), replace(PRESETS[name], steps=30)
    edit = optimize(
        network, embedder, None, PROMPT, config,
        lambda step, steps, terms: seen.append(dict(terms)),
    )  # fmt: skip
    mean = network.truncate(network.w_average[None])
    text = embedder.embed_texts([PROMPT.target])[0]

    def distance(style: Tensor) -> float:
        images = network.synthesis(style)
        pixels = paper_pixels(images, 32)
        looked = embedder.embed_pixels(pixels) if "paper" in name else embedder.embed_images(images)
        return float(target_distance(looked, text))

    before = distance(network.affine(mean))
    if "paper" in name:
        assert all(set(terms) == {"clip", "loss"} for terms in seen)
        assert seen[0]["clip"] == pytest.approx(before, abs=1e-5)
    assert step_of(edit).shape[0] == 1
    if "paper" in name:
        assert distance(edit.apply(network, mean)) < before - 0.1
        return
    # the default goes along the text's direction, to the goal and not beyond
    moved = network.synthesis(torch.cat([network.affine(mean), edit.apply(network, mean)]))
    direction = text_direction(*embedder.embed_texts([PROMPT.target, PROMPT.neutral]))
    start, end = embedder.embed_images(moved) @ direction
    middle, deviation = measure_latent_map(network, embedder).spread(direction)
    assert start < middle + deviation
    assert end > start + deviation / 2  # as far as a random network can go
    assert all(set(terms) == {"clip", "loss"} for terms in seen)


# --- the default, by what it does ---------------------------------------------


def test_default_edits_move_pictures_in_the_direction_of_the_text(small: StyleGAN2) -> None:
    start, embedder = latents(small, 3), LinearEmbedder(16)
    edit = optimize(small, embedder, start, PROMPT)
    target, neutral = embedder.embed_texts([PROMPT.target, PROMPT.neutral])
    source = embedder.embed_images(small.synthesis(small.affine(start)))

    def distance(strength: float) -> Tensor:
        images = small.synthesis(edit.apply(small, start, strength))
        return directional_distance(embedder.embed_images(images), source, target - neutral)

    assert torch.equal(edit.apply(small, start, 0.0), small.affine(start))
    assert bool((distance(0.0) > 0.99).all())  # nothing has moved
    assert bool((distance(1.0) < 0.7).all())
    assert bool((distance(-1.0) > distance(1.0) + 0.3).all())  # and back is another way


def test_default_edits_are_repeatable(small: StyleGAN2) -> None:
    edits = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # the global state must not matter
        config = replace(OptimizationConfig(), steps=5)
        edits.append(optimize(small, LinearEmbedder(16), latents(small, 2), PROMPT, config))
    assert torch.equal(step_of(edits[0]), step_of(edits[1]))
