"""Inversion: refinement by optimisation, and the encoder's shapes and errors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.inversion.encoder import Encoder, EncoderConfig
from styleclip.inversion.projection import ProjectionConfig, project, w_spread
from styleclip.losses import laplacian_l1
from tests.reference.networks import random_generator

CONFIG = StyleGAN2Config(16, (6, 5, 4), w_dim=7, z_dim=9, mapping_layers=2)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return random_generator(CONFIG)


def sampled(generator: StyleGAN2, batch: int, seed: int = 3) -> Tensor:
    z = random(batch, generator.z_dim, seed=seed).to(generator.const)
    return generator.truncate(generator.mapping(z))


def drawn(generator: StyleGAN2, w_plus: Tensor) -> Tensor:
    return generator.synthesis(generator.affine(w_plus))


def errors(generator: StyleGAN2, w_plus: Tensor, images: Tensor) -> Tensor:
    return laplacian_l1(drawn(generator, w_plus), images)


# --- refinement ---------------------------------------------------------------


def test_own_samples_come_out_better_with_steps(generator: StyleGAN2) -> None:
    images = drawn(generator, sampled(generator, 3))
    mean = generator.truncate(generator.w_average[None]).repeat(3, 1, 1)
    found = [errors(generator, mean, images)]
    for steps in (5, 25, 150):
        w_plus = project(generator, images, ProjectionConfig(steps, rate=0.1, anchor=0.001))
        found.append(errors(generator, w_plus, images))
    for worse, better in pairwise(found):
        assert bool((better < 0.9 * worse).all())
    assert bool((found[-1] < 0.25 * found[0]).all())


def test_a_near_start_comes_nearer(generator: StyleGAN2) -> None:
    truth = sampled(generator, 2)
    images = drawn(generator, truth)
    start = truth + 0.3 * w_spread(generator) * random(*truth.shape, seed=4)
    w_plus = project(generator, images, ProjectionConfig(steps=40), start)
    assert bool((errors(generator, w_plus, images) < 0.6 * errors(generator, start, images)).all())


def test_no_steps_give_the_start(generator: StyleGAN2) -> None:
    start = sampled(generator, 2)
    images = drawn(generator, sampled(generator, 2, seed=8))
    assert torch.equal(project(generator, images, ProjectionConfig(steps=0), start), start)
    mean = generator.truncate(generator.w_average[None]).repeat(2, 1, 1)
    assert torch.equal(project(generator, images, ProjectionConfig(steps=0)), mean)


@pytest.mark.parametrize("rate", [0.05, 30.0])
def test_the_result_is_never_worse_than_the_start(generator: StyleGAN2, rate: float) -> None:
    # a rate of 30 throws every step far away; the first picture's start is perfect already
    start = sampled(generator, 2)
    images = drawn(generator, start)
    images[1] += 0.1
    w_plus = project(generator, images, ProjectionConfig(steps=5, rate=rate), start)
    after, before = errors(generator, w_plus, images), errors(generator, start, images)
    assert bool((after <= before + 1e-6).all())
    torch.testing.assert_close(w_plus[0], start[0], rtol=0, atol=1e-5)
    if rate > 1:
        assert torch.equal(w_plus, start)


def test_each_picture_is_refined_by_itself() -> None:
    generator = random_generator(CONFIG).double()
    images = drawn(generator, sampled(generator, 3))
    start = sampled(generator, 3, seed=9)
    for given in (start, None):
        config = ProjectionConfig(steps=8)
        together = project(generator, images, config, given)
        singles = [
            project(
                generator, images[i : i + 1], config, None if given is None else given[i : i + 1]
            )
            for i in range(3)
        ]
        # float64; Adam divides gradients by their own size, which magnifies rounding
        torch.testing.assert_close(together, torch.cat(singles), rtol=0, atol=1e-6)
        assert (together[0] - together[1]).abs().max() > 1e-3


def test_the_anchor_holds_on_to_the_start(generator: StyleGAN2) -> None:
    start, images = sampled(generator, 2), drawn(generator, sampled(generator, 2, seed=8))
    distances = []
    for anchor in (0.0, 1.0, 100.0):
        w_plus = project(generator, images, ProjectionConfig(30, anchor=anchor), start)
        distances.append(float(((w_plus - start) / w_spread(generator)).square().mean()))
    assert distances[0] > 1.2 * distances[1] > 1.2 * distances[2]


def test_progress_is_reported(generator: StyleGAN2) -> None:
    calls: list[tuple[int, int, Mapping[str, float]]] = []
    images = drawn(generator, sampled(generator, 2)).clamp(-1, 1)
    config = ProjectionConfig(steps=6, rate=0.1)
    project(
        generator, images, config,
        on_step=lambda step, steps, terms: calls.append((step, steps, terms)),
    )  # fmt: skip
    assert [(step, steps) for step, steps, _ in calls] == [(i, 6) for i in range(1, 7)]
    assert calls[-1][2]["error"] < calls[0][2]["error"]
    # the first report is the picture after one step; its dB follow from its mean square
    one_step: list[float] = []
    project(
        generator, images, ProjectionConfig(steps=1, rate=0.1),
        on_step=lambda step, steps, terms: one_step.append(terms["psnr"]),
    )  # fmt: skip
    spread, mean = w_spread(generator), generator.truncate(generator.w_average[None])
    moved = mean.repeat(2, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(errors(generator, moved, images).sum(), moved)
    redrawn = drawn(generator, mean - 0.1 * spread * gradient.sign()).clamp(-1, 1)
    mse = float((redrawn - images).square().mean())
    assert one_step[0] == pytest.approx(10 * math.log10(4 / mse), abs=0.05)


def test_an_error_that_is_no_number_stops_with_the_best_latent() -> None:
    class Failing(StyleGAN2):
        """A generator whose pictures stop being numbers after a while."""

        left = 12

        def synthesis(self, *args, **kwargs) -> Tensor:
            self.left -= 1
            images = super().synthesis(*args, **kwargs)
            return images if self.left >= 0 else images * torch.nan

    generator = Failing(CONFIG).eval()
    generator.load_state_dict(random_generator(CONFIG).state_dict())
    whole = random_generator(CONFIG)
    images, start = drawn(whole, sampled(whole, 2)), sampled(whole, 2, seed=9)
    with pytest.raises(NonFiniteError, match="at step 12") as caught:
        project(generator, images, ProjectionConfig(steps=40), start)
    best = caught.value.best
    assert isinstance(best, Tensor) and not best.requires_grad
    assert bool((errors(whole, best, images) < 0.95 * errors(whole, start, images)).all())


def test_nothing_given_is_changed(generator: StyleGAN2) -> None:
    start, images = sampled(generator, 2), drawn(generator, sampled(generator, 2, seed=8))
    before = start.clone(), images.clone(), torch.get_rng_state()
    weights = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    w_plus = project(generator, images, ProjectionConfig(steps=3), start)
    assert torch.equal(start, before[0]) and torch.equal(images, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert all(torch.equal(weights[name], t) for name, t in generator.state_dict().items())
    assert not w_plus.requires_grad


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 32)])
def test_images_of_another_size_are_refused(generator: StyleGAN2, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"expected images \[B, 3, 16, 16\], got"):
        project(generator, torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 4, 7), (2, 6, 8), (1, 6, 7), (3, 6, 7)])
def test_a_start_of_another_shape_is_refused(generator: StyleGAN2, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError):
        project(generator, torch.zeros(2, 3, 16, 16), ProjectionConfig(steps=1), torch.zeros(shape))


def test_spread_is_the_deviation_of_samples(generator: StyleGAN2) -> None:
    w = generator.mapping(random(20_000, generator.z_dim, seed=5))
    torch.testing.assert_close(w_spread(generator), w.std(dim=0), rtol=0.1, atol=0)
    flat = random_generator(CONFIG)
    for layer in flat.mapping_layers:
        layer.weight.zero_()
    assert torch.equal(w_spread(flat), torch.full((7,), 0.01))  # never zero: Adam moves in it


# --- encoder ------------------------------------------------------------------

ENCODER = EncoderConfig(16, rows=6, w_dim=7, widths=(5, 8), hidden=9)


def new_encoder() -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Encoder(ENCODER).eval()


def test_encoder_gives_one_latent_a_picture() -> None:
    encoder, images = new_encoder(), random(3, 3, 16, 16, seed=2)
    w_plus, w = encoder(images), encoder.single_w(images)
    assert w_plus.shape == (3, 6, 7) and w.shape == (3, 7)
    assert (w[0] - w[1]).abs().max() > 1e-3
    torch.testing.assert_close(encoder(images[1:2])[0], w_plus[1], rtol=0, atol=1e-5)


def test_a_fresh_encoder_names_one_w_for_all_rows() -> None:
    encoder, images = new_encoder(), random(2, 3, 16, 16, seed=2)
    assert torch.equal(encoder(images), encoder.single_w(images)[:, None].expand(-1, 6, -1))


def test_offsets_are_added_row_by_row() -> None:
    encoder, images = new_encoder(), random(2, 3, 16, 16, seed=2)
    offsets = random(6, 7, seed=3)
    encoder.to_offsets.bias.data.copy_(offsets.flatten())
    expected = encoder.single_w(images)[:, None] + offsets
    torch.testing.assert_close(encoder(images), expected, rtol=0, atol=1e-6)


def test_every_weight_of_the_encoder_learns() -> None:
    encoder = new_encoder()
    for parameter in encoder.parameters():  # gains and offsets start at 0 and hide what is behind
        parameter.data.add_(0.1)
    encoder(random(4, 3, 16, 16, seed=2)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_the_encoder_averages_larger_pictures() -> None:
    images = random(2, 3, 32, 32, seed=5)
    encoder = new_encoder()
    blocks = images.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(encoder(images), encoder(blocks), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 3, 24, 24), (1, 3, 8, 8), (1, 3, 16, 32), (1, 1, 16, 16), (3, 16, 16)]
)
def test_the_encoder_reads_multiples_of_one_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"this encoder reads \[B, 3, 16, 16\] or a multiple"):
        new_encoder()(torch.zeros(shape))


@pytest.mark.parametrize(("resolution", "widths"), [(32, (5, 8)), (8, (5, 8)), (64, (5,) * 3)])
def test_widths_must_end_at_four_pixels(resolution: int, widths: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=f"only from a resolution of {4 << len(widths)}"):
        EncoderConfig(resolution, rows=6, w_dim=7, widths=widths)


def test_encoder_config_survives_json() -> None:
    assert EncoderConfig.from_dict(json.loads(json.dumps(ENCODER.to_dict()))) == ENCODER
