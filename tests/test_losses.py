"""Each loss against its literal version, and its gradient, also where nothing has moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleclip.losses import (
    directional_distance,
    identity_distance,
    laplacian_l1,
    laplacian_l2,
    latent_distance,
    off_direction,
    reach_distance,
    target_distance,
    text_direction,
)
from tests.reference import losses as reference

CLOSE = {"rtol": 1e-9, "atol": 1e-9}  # float64 on both sides


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(random(*shape, seed=seed), dim=-1)


def check(found: Tensor, expected: list[float], **tolerance: float) -> None:
    values = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, values, **(tolerance or CLOSE))


def test_target_distance() -> None:
    images, text = unit(5, 7), unit(7, seed=1)
    check(target_distance(images, text), reference.target(images, text))


def test_directional_distance() -> None:
    images, sources = unit(5, 7), unit(5, 7, seed=1)
    target, neutral = unit(7, seed=2), unit(7, seed=3)
    expected = reference.directional(images, sources, target, neutral)
    # 1e-6 under the root changes a length of about 1 by 1e-6
    for wanted in (target - neutral, text_direction(target, neutral)):
        check(directional_distance(images, sources, wanted), expected, rtol=0, atol=2e-6)


def test_directional_distance_is_one_where_nothing_moved() -> None:
    images = unit(3, 7)
    found = directional_distance(images, images, unit(7, seed=2))
    assert torch.equal(found, torch.ones(3, dtype=torch.float64))


def test_identity_distance() -> None:
    faces, sources = unit(4, 9), unit(4, 9, seed=1)
    check(identity_distance(faces, sources), reference.identity(faces, sources))


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 17)], ids=["w_plus", "style"])
def test_latent_distance_is_a_sum_of_squares(shape: tuple[int, ...]) -> None:
    step = random(*shape)
    check(latent_distance(step), reference.latent(step))


@pytest.mark.parametrize(("loss", "power"), [(laplacian_l1, 1), (laplacian_l2, 2)])
def test_laplacian_losses(loss: Callable[[Tensor, Tensor], Tensor], power: int) -> None:
    images, others = random(2, 3, 16, 8), random(2, 3, 16, 8, seed=1)
    check(loss(images, others), reference.laplacian(images, others, levels=4, power=power))


def test_laplacian_bands_add_up_to_the_picture() -> None:
    # of the reference: otherwise its bands would be no decomposition
    picture = random(8, 8).tolist()
    fine, coarse = reference.pyramid(picture, 2)
    for y in range(8):
        for x in range(8):
            assert fine[y][x] + coarse[y // 2][x // 2] == pytest.approx(picture[y][x])


def test_text_direction() -> None:
    target, neutral = unit(7), unit(7, seed=1)
    found = text_direction(target, neutral)
    torch.testing.assert_close(found.norm(), torch.tensor(1.0, dtype=torch.float64))
    assert reference.cosine(found.tolist(), (target - neutral).tolist()) == pytest.approx(1)
    assert torch.equal(text_direction(target, target), torch.zeros(7, dtype=torch.float64))


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_distances_stay_in_their_range(seed: int, nearness: float) -> None:
    images, sources = unit(3, 6, seed=seed), unit(3, 6, seed=seed + 1)
    images = F.normalize(torch.lerp(images, sources, nearness), dim=-1)
    text = unit(6, seed=seed + 2)
    for distance in (
        target_distance(images, text),
        identity_distance(images, sources),
        directional_distance(images, sources, text),
    ):
        assert distance.shape == (3,)
        assert bool((distance >= -1e-9).all()) and bool((distance <= 2 + 1e-9).all())


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "target": (lambda x: target_distance(x, unit(6, seed=8)), unit(2, 6)),
    "directional": (lambda x: directional_distance(x, unit(2, 6), unit(6, seed=8)), unit(2, 6)),
    "identity": (lambda x: identity_distance(x, unit(2, 6)), unit(2, 6)),
    "latent": (latent_distance, torch.zeros(2, 3, 4, dtype=torch.float64)),
    "laplacian l1": (lambda x: laplacian_l1(x, random(2, 3, 8, 8)), random(2, 3, 8, 8)),
    "laplacian l2": (lambda x: laplacian_l2(x, random(2, 3, 8, 8)), random(2, 3, 8, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_slope(name: str) -> None:
    loss, still = CASES[name]
    moved = (still + 0.3 * random(*still.shape, seed=5)).requires_grad_()
    assert torch.autograd.gradcheck(loss, (moved,))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-300], ids=str)
def test_gradients_are_finite_where_nothing_moved(name: str, size: float) -> None:
    loss, still = CASES[name]
    here = (still + size * random(*still.shape, seed=5)).requires_grad_()
    value = loss(here)
    (gradient,) = torch.autograd.grad(value.sum(), here)
    assert bool(torch.isfinite(value).all()) and bool(torch.isfinite(gradient).all())


def test_gradients_are_finite_where_the_texts_are_one() -> None:
    images, text = unit(2, 6).requires_grad_(), unit(6, seed=4)
    value = directional_distance(images, unit(2, 6, seed=1), text_direction(text, text))
    (gradient,) = torch.autograd.grad(value.sum(), images)
    assert torch.equal(value.detach(), torch.ones(2, dtype=torch.float64))
    assert bool((gradient == 0).all())


def test_reach_and_off_direction_are_their_equations() -> None:
    random = torch.Generator().manual_seed(11)
    moved = torch.randn(6, 5, generator=random, dtype=torch.float64)
    direction = torch.nn.functional.normalize(moved[0] + moved[3], dim=0)
    goal = torch.tensor(0.4, dtype=torch.float64)
    expected = torch.tensor(reference.reach_distance(moved, direction, 0.4), dtype=torch.float64)
    assert bool((expected == 0).any()) and bool((expected > 0).any())
    torch.testing.assert_close(reach_distance(moved, direction, goal), expected)
    aside = off_direction(moved, direction)
    torch.testing.assert_close(aside, reference.off_direction(moved, direction))
    torch.testing.assert_close(aside @ direction, torch.zeros(6, dtype=torch.float64))
