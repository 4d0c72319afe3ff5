"""Pivotal tuning: the picture comes nearer, the rest stays, the generator is left alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.inversion import tuning as tuning_module
from styleclip.inversion.tuning import Tuning, TuningConfig, psnr, tune, tuned_generator
from styleclip.losses import laplacian_l1
from tests.reference.networks import random_generator

CONFIG = StyleGAN2Config(16, (6, 5, 4), w_dim=7, z_dim=9, mapping_layers=2)
QUICK = TuningConfig(steps=30, rate=1e-4, enough=math.inf)


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return random_generator(CONFIG)


def sampled(generator: StyleGAN2, batch: int, seed: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return generator.truncate(generator.sample_w(batch, random))


def drawn(generator: StyleGAN2, w_plus: Tensor) -> Tensor:
    with torch.no_grad():
        return generator.synthesis(generator.affine(w_plus))


def strange(generator: StyleGAN2, w_plus: Tensor) -> Tensor:
    """What the generator draws, with a patch that it cannot draw."""
    images = drawn(generator, w_plus).clamp(-1, 1)
    images[:, 0, 4:8, 4:8] = 0.9
    images[:, 1:, 4:8, 4:8] = -0.9
    return images


def test_the_picture_comes_nearer_and_the_generator_stays(generator: StyleGAN2) -> None:
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    w_plus = sampled(generator, 1)
    images = strange(generator, w_plus)
    found = tune(generator, images, w_plus, QUICK)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(weight.requires_grad for weight in generator.parameters())
    tuned = tuned_generator(generator, found)
    near, far = (float(psnr(drawn(each, w_plus), images)) for each in (tuned, generator))
    assert near > far + 1
    assert found.figures["before"] == pytest.approx(far, abs=1e-4)
    assert found.figures["after"] == pytest.approx(near, abs=1e-4)
    assert found.figures["steps"] == QUICK.steps and found.config["rate"] == QUICK.rate
    assert torch.equal(found.w_plus, w_plus)


def test_only_what_draws_is_tuned(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 1)
    found = tune(generator, strange(generator, w_plus), w_plus, replace(QUICK, steps=3))
    tuned = tuned_generator(generator, found)
    mine, theirs = tuned.state_dict(), generator.state_dict()
    changed = {name for name in mine if not torch.equal(mine[name], theirs[name])}
    assert changed == set(found.differences) == set(generator.drawing_parameters())
    stays = ("mapping_layers", "w_average", "affine", "noise_const", "noise_strength")
    assert not [name for name in changed if any(part in name for part in stays)]
    assert torch.equal(tuned.affine(w_plus), generator.affine(w_plus))
    assert not any(weight.requires_grad for weight in tuned.parameters())


def test_a_seed_is_a_tuning(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 1)
    images = strange(generator, w_plus)
    state = torch.random.get_rng_state()
    one, same, other = (
        tune(generator, images, w_plus, replace(QUICK, steps=4, seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(state, torch.random.get_rng_state())
    for name in one.differences:
        assert torch.equal(one.differences[name], same.differences[name])
    assert any(not torch.equal(one.differences[n], other.differences[n]) for n in one.differences)


def test_locality_keeps_the_rest(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 1)
    images = strange(generator, w_plus)
    others = sampled(generator, 32, seed=8)
    moved = []
    for weight in (0.0, 10.0):
        config = replace(QUICK, steps=60, locality_weight=weight)
        tuned = tuned_generator(generator, tune(generator, images, w_plus, config))
        moved.append(float((drawn(tuned, others) - drawn(generator, others)).square().mean()))
    assert moved[1] < 0.7 * moved[0]


def test_neighbours_are_at_one_distance(generator: StyleGAN2) -> None:
    pivots = sampled(generator, 2)
    near = tuning_module._neighbours(generator, pivots, replace(QUICK, alpha=0.25))
    twice = tuning_module._neighbours(generator, pivots, replace(QUICK, alpha=0.5))
    first, second, far = next(near), next(near), next(twice)
    assert not torch.equal(first, second)
    distance = [(each - pivots).flatten(1).norm(dim=1) for each in (first, second, far)]
    torch.testing.assert_close(distance[0], distance[1])
    torch.testing.assert_close(2 * distance[0], distance[2])
    samples = sampled(generator, 4096, seed=4)
    typical = torch.stack([(samples - pivot).flatten(1).norm(dim=1).mean() for pivot in pivots])
    torch.testing.assert_close(distance[2], 0.5 * typical, rtol=0.1, atol=0)


def test_it_stops_when_near_enough_or_when_nothing_is_gained(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 1)
    images = strange(generator, w_plus)
    start = float(psnr(drawn(generator, w_plus), images))
    near = tune(generator, images, w_plus, replace(QUICK, enough=start - 1))
    assert near.figures["steps"] == 0 and not near.differences
    some = tune(generator, images, w_plus, replace(QUICK, enough=start + 0.5)).figures
    assert 0 < some["steps"] < QUICK.steps and some["after"] == pytest.approx(start + 0.5, abs=0.3)
    idle = replace(QUICK, rate=1e-12, patience=7)
    assert tune(generator, images, w_plus, idle).figures["steps"] == 7


def test_several_pictures_share_a_tuning(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 2)
    images = strange(generator, w_plus)
    tuned = tuned_generator(generator, tune(generator, images, w_plus, QUICK))
    for i in range(2):
        one, picture = w_plus[i : i + 1], images[i : i + 1]
        near, far = (float(psnr(drawn(each, one), picture)) for each in (tuned, generator))
        assert near > far + 0.5


def test_chunks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random_generator(CONFIG).double()
    w_plus = sampled(generator, 3)
    images = strange(generator, w_plus)
    # no pixel is right from the start: the slope of |x| at 0 would be rounding
    images += 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    whole = tune(generator, images, w_plus, replace(QUICK, steps=3))
    monkeypatch.setattr(tuning_module, "chunk_size", lambda _: 2)
    parts = tune(generator, images, w_plus, replace(QUICK, steps=3))
    for name, difference in whole.differences.items():
        torch.testing.assert_close(parts.differences[name], difference, rtol=2e-3, atol=1e-6)


def test_any_distance_of_pictures(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 1)
    images = strange(generator, w_plus)
    asked: list[tuple[int, ...]] = []

    def distance(drawn: Tensor, wanted: Tensor) -> Tensor:
        asked.append(tuple(drawn.shape))
        return 3 * laplacian_l1(drawn, wanted)

    found = tune(generator, images, w_plus, replace(QUICK, steps=2), perceptual=distance)
    assert asked == [(1, 3, 16, 16)] * 5  # the picture three times, its neighbour twice
    weighted = tune(generator, images, w_plus, replace(QUICK, steps=2, perceptual_weight=3.0))
    for name, difference in found.differences.items():
        torch.testing.assert_close(difference, weighted.differences[name], rtol=1e-2, atol=1e-6)


def test_progress_is_reported(generator: StyleGAN2) -> None:
    calls: list[tuple[int, int, Mapping[str, float]]] = []
    w_plus = sampled(generator, 1)
    tune(generator, strange(generator, w_plus), w_plus, replace(QUICK, steps=20),
         lambda step, steps, figures: calls.append((step, steps, figures)))  # fmt: skip
    assert [(step, steps) for step, steps, _ in calls] == [(i, 20) for i in range(1, 21)]
    assert calls[-1][2]["loss"] < calls[0][2]["loss"]
    assert calls[-1][2]["psnr"] > calls[0][2]["psnr"]


def test_a_loss_that_leaves_the_numbers(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 1)
    images = strange(generator, w_plus)
    with pytest.raises(NonFiniteError, match="not finite at step 0: lower the rate"):
        tune(generator, images / 0, w_plus, QUICK)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 16, 16), (3, 16, 16)])
def test_pictures_that_do_not_fit(generator: StyleGAN2, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"expected a picture for each of 1 latents"):
        tune(generator, torch.zeros(shape), sampled(generator, 1))


@pytest.mark.parametrize(
    "values",
    [{"steps": 0}, {"rate": 0.0}, {"patience": 0}, {"alpha": 0.0}, {"locality_weight": -1.0}],
)
def test_settings_that_cannot_be(values: dict[str, float]) -> None:
    with pytest.raises(ArgumentError):
        replace(TuningConfig(), **values)


def test_a_tuning_of_another_generator(generator: StyleGAN2) -> None:
    w_plus = sampled(generator, 1)
    for differences in ({"const": torch.zeros(6, 4, 5)}, {"nonsense": torch.zeros(3)}):
        with pytest.raises(ArgumentError, match="belongs to another one"):
            tuned_generator(generator, Tuning(differences, w_plus))
