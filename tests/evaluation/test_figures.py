"""Statistics against hand-computed values and literal loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.evaluation.figures import (
    auc,
    bootstrap,
    cramers_v,
    kid,
    random_features,
    spearman,
)

NAN = math.nan


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- bootstrap ----------------------------------------------------------------


def test_the_interval_is_that_of_the_mean() -> None:
    # of 400 pictures, 300 succeed: a deviation of sqrt(.75 .25 / 400) = .0217
    values = torch.tensor([1.0] * 300 + [0.0] * 100)
    figure = bootstrap(values, draws=4000)
    assert figure.mean == pytest.approx(0.75) and figure.count == 400
    assert figure.low == pytest.approx(0.75 - 1.96 * 0.0217, abs=0.005)
    assert figure.high == pytest.approx(0.75 + 1.96 * 0.0217, abs=0.005)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        random = torch.Generator().manual_seed(seed)
        values = (torch.rand(80, generator=random) < 0.7).float()
        figure = bootstrap(values, seed=seed, draws=400)
        covered += figure.low <= 0.7 <= figure.high
    assert 0.89 <= covered / 200 <= 0.99


def test_values_that_belong_together_make_a_wider_interval() -> None:
    # ten edits of each of 40 pictures, all alike: as good as 40 values, not 400
    groups = torch.arange(40).repeat_interleave(10)
    values = randn(40)[groups]
    clustered, independent = bootstrap(values, groups), bootstrap(values)
    assert clustered.mean == pytest.approx(independent.mean)
    assert clustered.count == independent.count == 400
    ratio = (clustered.high - clustered.low) / (independent.high - independent.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


def test_groups_of_one_size_are_drawn_as_their_means() -> None:
    values, groups = randn(30), torch.arange(30) % 6
    means = torch.stack([values[groups == group].mean() for group in range(6)])
    found, expected = bootstrap(values, groups), bootstrap(means)
    assert found.mean == pytest.approx(expected.mean)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_names_and_order_of_groups_do_not_matter() -> None:
    values, groups = randn(30), torch.arange(30) // 4
    assert bootstrap(values, groups) == bootstrap(values, 100 * groups + 3)
    mixed = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    found, expected = bootstrap(values[mixed], groups[mixed]), bootstrap(values, groups)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_is_a_function_of_the_seed() -> None:
    assert bootstrap(randn(50)) == bootstrap(randn(50))
    assert bootstrap(randn(50), seed=1) != bootstrap(randn(50), seed=2)


def test_certain_values_have_no_interval() -> None:
    figure = bootstrap(torch.ones(10))
    assert (figure.mean, figure.low, figure.high) == (1, 1, 1)


def test_what_was_not_judged_is_left_out() -> None:
    figure = bootstrap(torch.tensor([NAN, 1.0, NAN, 0.0]), torch.tensor([0, 1, 2, 3]))
    assert (figure.mean, figure.count) == (0.5, 2)
    # a group without a value is not drawn, one that lost some is drawn with the rest
    figure = bootstrap(torch.tensor([NAN, 1.0, NAN, 1.0]), torch.tensor([0, 1, 1, 1]))
    assert (figure.low, figure.high) == (1, 1)


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_nothing_to_judge_is_an_error(values: list[float]) -> None:
    with pytest.raises(ArgumentError, match="nothing to judge"):
        bootstrap(torch.tensor(values))


# --- KID ----------------------------------------------------------------------


def literal_kid(x: list[list[float]], y: list[list[float]]) -> float:
    def kernel(a: list[float], b: list[float]) -> float:
        return (sum(i * j for i, j in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(rows: list[list[float]]) -> float:
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return sum(kernel(rows[i], rows[j]) for i, j in pairs) / len(pairs)

    across = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


def test_kid_is_the_literal_one() -> None:
    x, y = randn(5, 3, seed=1), 1 + randn(7, 3, seed=2)
    assert kid(x, y) == pytest.approx(literal_kid(x.tolist(), y.tolist()))


def test_kid_of_one_distribution_is_zero_on_average() -> None:
    found = torch.tensor([kid(randn(8, 4, seed=s), randn(6, 4, seed=s + 1000)) for s in range(300)])
    error = found.std() / math.sqrt(300)
    # with the diagonal, as a mean of all pairs, it would be about 2
    assert abs(found.mean()) < 3 * error and error < 0.1
    assert found.min() < 0 < found.max()


def test_kid_grows_with_the_distance() -> None:
    x = randn(50, 4, seed=1)
    near, far = (kid(x, shift + randn(50, 4, seed=2)) for shift in (0.5, 1.0))
    assert 0 < near < far


def test_kid_of_a_single_picture_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="at least two pictures"):
        kid(randn(1, 4), randn(5, 4))


# --- Cramer's V ---------------------------------------------------------------


def categories(table: list[list[int]]) -> tuple[Tensor, Tensor]:
    pairs = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    first, second = torch.tensor(pairs).unbind(dim=1)
    return first, second


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # N (ad - bc)^2 / (row sums, column sums) = 100 200^2 / (30 70 40 60) = 0.79365
        ([[10, 20], [30, 40]], math.sqrt(0.79365 / 100)),
        # 5 expected everywhere: chi^2 = 4 (5^2 / 5) = 20 of 30
        ([[10, 0], [5, 5], [0, 10]], math.sqrt(20 / 30)),
        ([[10, 0, 10], [0, 20, 0]], 1.0),  # each column says the row
        ([[5, 0, 0], [0, 7, 0], [0, 0, 2]], 1.0),
        ([[10, 20], [20, 40]], 0.0),
        ([[10, 20]], 0.0),  # one of them never varies
    ],
)
def test_cramers_v_of_hand_computed_tables(table: list[list[int]], expected: float) -> None:
    first, second = categories(table)
    assert cramers_v(first, second) == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert cramers_v(second, first) == pytest.approx(expected, rel=1e-4, abs=1e-9)
    # values that nobody has leave no trace
    assert cramers_v(3 * first + 1, second + 2) == pytest.approx(expected, rel=1e-4, abs=1e-9)


# --- ranks and ROC ------------------------------------------------------------


def test_spearman_of_hand_computed_rows() -> None:
    rows = torch.tensor(
        [
            [1.0, 2.0, 3.0, 4.0],
            [-1.0, -2.0, -30.0, -31.0],
            [1.0, 3.0, 2.0, 4.0],  # 1 - 6 * 2 / (4 * 15)
            [1.0, 1.0, 2.0, 3.0],  # ranks 1/2, 1/2, 2, 3: 4.5 / sqrt(4.5 * 5)
            [7.0, 7.0, 7.0, 7.0],
        ]
    )
    expected = torch.tensor([1.0, -1.0, 0.8, 4.5 / math.sqrt(22.5), 0.0], dtype=torch.float64)
    torch.testing.assert_close(spearman(rows), expected)


def test_auc_is_the_literal_one() -> None:
    random = torch.Generator().manual_seed(1)
    same = torch.randint(2, 8, (9,), generator=random)
    different = torch.randint(6, (13,), generator=random)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in same for b in different]
    assert 0.5 in wins
    assert auc(same, different) == pytest.approx(sum(wins) / len(wins))


def test_auc_at_its_ends() -> None:
    high, low = torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0, 1.5])
    assert auc(high, low) == 1 and auc(low, high) == 0
    assert auc(torch.zeros(3), torch.zeros(2)) == 0.5


# --- features -----------------------------------------------------------------


def test_random_features_are_a_function_of_picture_and_seed() -> None:
    images = randn(3, 3, 32, 32).float()
    state = torch.get_rng_state()
    found = random_features(images, filters=8)
    assert torch.equal(state, torch.get_rng_state())
    assert found.shape == (3, 3 * 8 * 4) and bool(torch.isfinite(found).all())
    assert torch.equal(random_features(images, filters=8), found)
    assert not torch.equal(random_features(images, seed=1, filters=8), found)
    torch.testing.assert_close(random_features(images[1:2], filters=8), found[1:2])
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_random_features_see_softness_and_not_brightness() -> None:
    images = randn(60, 3, 48, 48).float().clamp(-1, 1) * 0.5
    soft = F.avg_pool2d(images, 3, stride=1, padding=1)
    first, second = random_features(images[:30]), random_features(images[30:])
    apart = kid(first, second)
    assert kid(random_features(soft[:30]), second) > 10 * abs(apart)
    torch.testing.assert_close(random_features(images + 0.3), random_features(images))
