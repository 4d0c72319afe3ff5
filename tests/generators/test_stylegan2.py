"""Our StyleGAN2 against the equations, its options, its gradients and its errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.generators import ops
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.reference import stylegan2 as reference
from tests.reference.networks import random_generator

SMALL = {"w_dim": 6, "z_dim": 5, "mapping_layers": 2}
CONFIGS = {
    "8 pixels": StyleGAN2Config(8, (5, 3), **SMALL),
    "16, widths that grow": StyleGAN2Config(16, (2, 4, 7), **SMALL),
    "32, narrowing": StyleGAN2Config(32, (8, 8, 6, 4), **SMALL),
    "one channel": StyleGAN2Config(16, (1, 1, 1), **SMALL),
    "conditional": StyleGAN2Config(16, (6, 5, 4), c_dim=3, mapping_width=9, **SMALL),
    "clamped": StyleGAN2Config(16, (6, 5, 4), clamp=0.7, **SMALL),
    "one mapping layer": StyleGAN2Config(8, (4, 4), w_dim=6, z_dim=5, mapping_layers=1),
}
# float64 on both sides: only the order of additions differs
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=CONFIGS, ids=str)
def generator(request: pytest.FixtureRequest) -> StyleGAN2:
    return random_generator(CONFIGS[request.param]).double()


@pytest.fixture
def tiny() -> StyleGAN2:
    return random_generator(CONFIGS["16, widths that grow"]).double()


def ordered_noises(generator: StyleGAN2) -> list[Tensor]:
    weights = generator.state_dict()
    names = ["blocks.0.conv"]
    for block in range(1, len(generator.config.channels)):
        names += [f"blocks.{block}.up", f"blocks.{block}.conv"]
    return [weights[f"{name}.noise_const"] for name in names]


def reference_images(generator: StyleGAN2, style: Tensor, noises: Any) -> list[Tensor]:
    parts = generator.layout.split(style)
    return reference.skip_images(generator.state_dict(), parts, noises, generator.config.clamp)


# --- against the equations ----------------------------------------------------


def test_mapping_follows_the_equations(generator: StyleGAN2) -> None:
    config = generator.config
    z = random(3, config.z_dim)
    c = torch.eye(3, dtype=torch.float64) if config.c_dim else None
    expected = reference.mapping(generator.state_dict(), config.mapping_layers, z, c)
    torch.testing.assert_close(generator.mapping(z, c), expected, **CLOSE)


def test_affine_follows_the_equations(generator: StyleGAN2) -> None:
    w_plus = random(3, generator.rows, generator.config.w_dim)
    expected = torch.cat(reference.styles(generator.state_dict(), w_plus), dim=1)
    torch.testing.assert_close(generator.affine(w_plus), expected, **CLOSE)


def test_synthesis_follows_the_equations(generator: StyleGAN2) -> None:
    style = random(3, generator.layout.size)
    expected = reference_images(generator, style, ordered_noises(generator))[-1]
    assert expected.abs().max() > 0.1  # a picture, not zeros
    torch.testing.assert_close(generator.synthesis(style), expected, **CLOSE)


def test_synthesis_follows_the_equations_in_float32() -> None:
    generator = random_generator(CONFIGS["32, narrowing"])
    style = random(2, generator.layout.size).float()
    expected = reference_images(generator, style, ordered_noises(generator))[-1]
    # float32: 1e-5 of values up to about 10
    torch.testing.assert_close(generator.synthesis(style), expected, rtol=1e-5, atol=1e-4)


def test_the_clamp_is_reached_in_the_comparison() -> None:
    generator = random_generator(CONFIGS["clamped"]).double()
    style = random(3, generator.layout.size)
    clamped = reference_images(generator, style, ordered_noises(generator))[-1]
    parts = generator.layout.split(style)
    free = reference.skip_images(generator.state_dict(), parts, ordered_noises(generator))[-1]
    assert (clamped - free).abs().max() > 0.1


def test_early_stop_returns_the_skip_image_of_that_size(generator: StyleGAN2) -> None:
    style = random(2, generator.layout.size)
    images = reference_images(generator, style, ordered_noises(generator))
    for i, expected in enumerate(images):
        early = generator.synthesis(style, resolution=4 << i)
        torch.testing.assert_close(early, expected, **CLOSE)


def test_gradients_switched_on_do_not_change_the_image(generator: StyleGAN2) -> None:
    # without gradients activations are overwritten, with them they are not
    style = random(2, generator.layout.size)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    with torch.no_grad():
        plain = generator.synthesis(style)
        again = generator.synthesis(style)
    with_gradients = generator.synthesis(style.clone().requires_grad_())
    assert torch.equal(plain, again)
    torch.testing.assert_close(plain, with_gradients.detach(), **CLOSE)
    assert torch.equal(style, random(2, generator.layout.size))
    assert all(torch.equal(before[name], t) for name, t in generator.state_dict().items())


def test_a_batch_is_its_samples(tiny: StyleGAN2) -> None:
    style = random(4, tiny.layout.size)
    one_by_one = torch.cat([tiny.synthesis(row[None]) for row in style])
    torch.testing.assert_close(tiny.synthesis(style), one_by_one, **CLOSE)


def test_demodulation_cancels_the_scale_of_a_style() -> None:
    weight, style = random(4, 3, 3, 3), random(2, 3, seed=2)
    once = style * ops.demodulation(weight, style)[:, :1]
    twice = 2 * style * ops.demodulation(weight, 2 * style)[:, :1]
    torch.testing.assert_close(once, twice, rtol=1e-6, atol=0.0)  # eps = 1e-8 is all that differs


def test_low_pass_keeps_a_constant_and_stops_the_finest_stripes() -> None:
    flat = torch.ones(1, 2, 9, 9, dtype=torch.float64)
    stripes = flat.clone()
    stripes[..., ::2] = -1
    torch.testing.assert_close(
        ops.low_pass(flat, 0, 1.0), torch.ones(1, 2, 6, 6, dtype=torch.float64)
    )
    assert ops.low_pass(stripes, 0, 1.0).abs().max() < 1e-12


# --- truncation ---------------------------------------------------------------


def test_truncation_moves_rows_below_the_cutoff_towards_the_mean(tiny: StyleGAN2) -> None:
    w = random(2, tiny.config.w_dim)
    near = tiny.w_average + 0.3 * (w - tiny.w_average)
    w_plus = tiny.truncate(w, psi=0.3, cutoff=2)
    for row in range(tiny.rows):
        torch.testing.assert_close(w_plus[:, row], near if row < 2 else w, **CLOSE)


@pytest.mark.parametrize("cutoff", [None, 6, 100])
def test_truncation_without_reachable_cutoff_moves_all_rows(
    tiny: StyleGAN2, cutoff: int | None
) -> None:
    w = random(2, tiny.config.w_dim)
    mean = tiny.w_average.expand(2, tiny.rows, -1)
    torch.testing.assert_close(tiny.truncate(w, psi=0.0, cutoff=cutoff), mean, **CLOSE)


def test_psi_one_and_cutoff_zero_change_nothing(tiny: StyleGAN2) -> None:
    w = random(2, tiny.config.w_dim)
    same = w[:, None].expand(-1, tiny.rows, -1)
    torch.testing.assert_close(tiny.truncate(w), same, **CLOSE)
    assert torch.equal(tiny.truncate(w, psi=0.2, cutoff=0), same)


def test_mean_w_is_the_mean_over_z() -> None:
    config = StyleGAN2Config(8, (4, 4), w_dim=6, z_dim=5, c_dim=2, mapping_layers=2)
    generator = random_generator(config)
    mean = generator.mean_w(2_000, torch.Generator().manual_seed(3))
    again = generator.mean_w(2_000, torch.Generator().manual_seed(3))
    other = generator.mean_w(2_000, torch.Generator().manual_seed(4))
    assert mean.shape == (1, 6)
    assert torch.equal(mean, again)
    spread = generator.mapping(torch.randn(500, 5), torch.eye(2).repeat(250, 1)).std(dim=0)
    # two independent means of 2,000 differ by less than five standard errors
    assert ((mean - other).abs() < 5 * spread * math.sqrt(2 / 2_000)).all()


# --- noise --------------------------------------------------------------------


def test_no_noise_is_the_reference_without_noise(generator: StyleGAN2) -> None:
    style = random(2, generator.layout.size)
    expected = reference_images(generator, style, None)[-1]
    torch.testing.assert_close(generator.synthesis(style, noise="none"), expected, **CLOSE)
    assert not torch.allclose(generator.synthesis(style), expected)


def test_given_noise_is_used_in_layer_order(generator: StyleGAN2) -> None:
    style = random(2, generator.layout.size)
    noises = [
        random(1 if i % 2 else 2, 1, h, w, seed=i + 5)
        for i, (h, w) in enumerate(generator.noise_shapes())
    ]
    expected = reference_images(generator, style, noises)[-1]
    torch.testing.assert_close(generator.synthesis(style, noise=noises), expected, **CLOSE)


def test_random_noise_follows_its_generator(tiny: StyleGAN2) -> None:
    style = random(1, tiny.layout.size).expand(2, -1)

    def render(seed: int, **options: int) -> Tensor:
        source = torch.Generator().manual_seed(seed)
        return tiny.synthesis(style, noise="random", generator=source, **options)

    first = render(1)
    assert torch.equal(first, render(1))
    assert not torch.allclose(first, render(2))
    assert not torch.allclose(first[0], first[1])  # each sample has its own


def test_random_noise_leaves_the_global_state_alone(tiny: StyleGAN2) -> None:
    before = torch.get_rng_state()
    tiny.synthesis(
        random(1, tiny.layout.size), noise="random", generator=torch.Generator().manual_seed(1)
    )
    assert torch.equal(before, torch.get_rng_state())


# --- gradients ----------------------------------------------------------------

GRADIENT_CONFIGS = ["8 pixels", "clamped", "one channel"]


def slope(function: Any, at: Tensor, direction: Tensor, step: float = 1e-7) -> Tensor:
    """Central difference of a scalar function along ``direction``."""
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


@pytest.mark.parametrize("name", GRADIENT_CONFIGS)
def test_gradient_in_w_plus_is_the_slope_of_the_reference(name: str) -> None:
    generator = random_generator(CONFIGS[name]).double()
    weights, noises = generator.state_dict(), ordered_noises(generator)
    w_plus = random(2, generator.rows, generator.config.w_dim).requires_grad_()
    probe = random(2, 3, generator.resolution, generator.resolution, seed=7)
    loss = (generator.synthesis(generator.affine(w_plus)) * probe).sum()
    (gradient,) = torch.autograd.grad(loss, w_plus)

    def literal(at: Tensor) -> Tensor:
        parts = reference.styles(weights, at)
        images = reference.skip_images(weights, parts, noises, generator.config.clamp)
        return (images[-1] * probe).sum()

    for seed in range(3):
        direction = random(*w_plus.shape, seed=20 + seed)
        expected = slope(literal, w_plus.detach(), direction)
        # central differences at 1e-7 in float64: 1e-5 of the slope
        torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", GRADIENT_CONFIGS)
def test_gradient_in_style_is_the_slope_of_the_reference(name: str) -> None:
    generator = random_generator(CONFIGS[name]).double()
    noises = ordered_noises(generator)
    style = random(2, generator.layout.size).requires_grad_()
    probe = random(2, 3, generator.resolution, generator.resolution, seed=7)
    (gradient,) = torch.autograd.grad((generator.synthesis(style) * probe).sum(), style)

    def literal(at: Tensor) -> Tensor:
        return (reference_images(generator, at, noises)[-1] * probe).sum()

    for layer, part in zip(generator.layout, generator.layout.split(gradient), strict=True):
        # one direction for each layer, so that an error in a weak layer shows
        direction = torch.zeros_like(style)
        own = random(2, layer.channels, seed=layer.w_row + 30)
        columns = generator.layout.columns(lambda other, layer=layer: other == layer)
        direction[:, columns] = own
        expected = slope(literal, style.detach(), direction)
        torch.testing.assert_close((part * own).sum(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", GRADIENT_CONFIGS)
def test_gradient_in_every_weight_is_the_slope_of_the_reference(name: str) -> None:
    generator = random_generator(CONFIGS[name]).double().requires_grad_(True)
    weights = {key: value.detach().clone() for key, value in generator.state_dict().items()}
    noises = ordered_noises(generator)
    w_plus = random(1, generator.rows, generator.config.w_dim)
    probe = random(1, 3, generator.resolution, generator.resolution, seed=7)
    (generator.synthesis(generator.affine(w_plus)) * probe).sum().backward()
    parameters = dict(generator.named_parameters())
    for number, (key, parameter) in enumerate(parameters.items()):
        if key.startswith(("mapping_layers", "label_embedding")):
            continue

        def literal(at: Tensor, key: str = key) -> Tensor:
            changed = {**weights, key: at}
            parts = reference.styles(changed, w_plus)
            images = reference.skip_images(changed, parts, noises, generator.config.clamp)
            return (images[-1] * probe).sum()

        direction = random(*parameter.shape, seed=40 + number)
        expected = slope(literal, weights[key], direction)
        assert parameter.grad is not None, key
        found = (parameter.grad * direction).sum()
        torch.testing.assert_close(
            found, expected, rtol=1e-5, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )


# --- errors -------------------------------------------------------------------


def test_wrong_arguments_are_explained(tiny: StyleGAN2) -> None:
    size, rows, d = tiny.layout.size, tiny.rows, tiny.config.w_dim
    style = random(1, size)
    cases: list[tuple[Any, str]] = [
        (lambda: tiny.mapping(random(2, 9)), r"z must be \[B, 5\], got \[2, 9\]"),
        (lambda: tiny.mapping(random(5)), r"z must be \[B, 5\], got \[5\]"),
        (lambda: tiny.mapping(random(2, 5), random(2, 3)), "not conditional: leave c out"),
        (lambda: tiny.truncate(random(1, 7)), r"w must be \[B, 6\], got \[1, 7\]"),
        (lambda: tiny.truncate(random(1, d), cutoff=-1), "cannot be negative, got -1"),
        (lambda: tiny.affine(random(1, rows + 2, d)), r"expected w_plus of shape \[B, 6, 6\]"),
        (lambda: tiny.affine(random(rows, d)), r"expected w_plus of shape \[B, 6, 6\]"),
        (lambda: tiny.synthesis(style[0]), r"style must be \[B, 32\]"),
        (lambda: tiny.synthesis(random(1, size - 1)), "made with another generator"),
        (lambda: tiny.synthesis(style, resolution=24), "from 4 to 16, got 24"),
        (lambda: tiny.synthesis(style, resolution=32), "from 4 to 16, got 32"),
        (lambda: tiny.synthesis(style, resolution=2), "from 4 to 16, got 2"),
        (lambda: tiny.synthesis(style, noise="random"), "together with generator="),
        (lambda: tiny.synthesis(style, noise="loud"), "got 'loud'"),
        (lambda: tiny.synthesis(style, noise=[random(1, 1, 4, 4)]), "noise must be"),
        (
            lambda: tiny.synthesis(
                style, noise=[random(3, 1, h, w) for h, w in tiny.noise_shapes()]
            ),
            "noise must be",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ArgumentError, match=message):
            call()


def test_a_conditional_generator_asks_for_labels() -> None:
    generator = random_generator(CONFIGS["conditional"])
    for c in (None, torch.zeros(1, 3), torch.zeros(2, 4)):
        with pytest.raises(ArgumentError, match=r"pass c of shape \[B, 3\]"):
            generator.mapping(torch.zeros(2, 5), c)


def test_a_synthesis_goes_on_from_its_prefix(generator: StyleGAN2) -> None:
    style = generator.affine(random(3, generator.rows, generator.config.w_dim))
    with torch.no_grad():
        whole = generator.synthesis(style)
        for layer in generator.layout:
            prefix = generator.prefix(style, layer)
            torch.testing.assert_close(generator.synthesis(style, start=prefix), whole)
            # the blocks write over activations, not over the prefix
            torch.testing.assert_close(generator.synthesis(style, start=prefix), whole)
            if layer.resolution > 4:
                skip = generator.synthesis(style, resolution=layer.resolution // 2)
                assert prefix.image is not None
                torch.testing.assert_close(prefix.image, skip)


def test_a_repeated_prefix_serves_styles_that_differ_behind_it(tiny: StyleGAN2) -> None:
    style = tiny.affine(random(2, tiny.rows, tiny.config.w_dim))
    both = style.repeat(2, 1)
    # one layer after the other, from the last: every prefix must be in front of what has changed
    for layer in reversed(tiny.layout.layers):
        both[2:, tiny.layout.columns(lambda each, layer=layer: each == layer)] += 1
        prefix = tiny.prefix(style, layer).repeat(2)
        torch.testing.assert_close(tiny.synthesis(both, start=prefix), tiny.synthesis(both))


def test_a_prefix_that_does_not_fit_is_explained(tiny: StyleGAN2) -> None:
    style = tiny.affine(random(2, tiny.rows, tiny.config.w_dim))
    with pytest.raises(ArgumentError, match="repeat it"):
        tiny.synthesis(style[:1], start=tiny.prefix(style, tiny.layout.layers[3]))
    with pytest.raises(ArgumentError, match="already is at 16 pixels"):
        tiny.synthesis(style, resolution=4, start=tiny.prefix(style, tiny.layout.layers[-1]))
