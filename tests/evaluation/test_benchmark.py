"""Success and kept, judged by a reader of pictures whose truth is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError
from styleclip.evaluation.benchmark import (
    Outcome,
    Task,
    bootstrap,
    read_latents,
    run_task,
    summarize,
)
from styleclip.prompts import PromptPair

PROMPT = PromptPair(target="b", neutral="a")
NAN = math.nan


class Plate:
    """A generator of pictures with three pixels in a row: the style itself, in all colours."""

    def affine(self, w_plus: Tensor) -> Tensor:
        return w_plus.flatten(1)

    def synthesis(self, style: Tensor) -> Tensor:
        return style[:, None, None, :].expand(-1, 3, 1, -1)


def latents(*values: tuple[int, int, int]) -> Tensor:
    """Value indices 0, 1, 2 -> w_plus [N,1,3]: pixels of -1, 0, 1."""
    return torch.tensor(values).float()[:, None] - 1


def read(images: Tensor) -> Tensor:
    """The three attributes of a plate."""
    return images[:, 0, 0].round().long() + 1


def nothing_hidden(values: Tensor) -> Tensor:
    return torch.zeros_like(values, dtype=torch.bool)


def sets(*columns: tuple[int, int]):
    """A method that sets attribute i to value v in every picture."""

    def make(w_plus: Tensor, prompt: PromptPair) -> Edit:
        assert prompt == PROMPT
        wanted = w_plus.clone()
        for i, v in columns:
            wanted[:, 0, i] = v - 1
        return Edit("test", prompt, w_plus_step=wanted - w_plus)

    return make


def test_only_pictures_without_the_target_are_edited_and_judged() -> None:
    seen: list[Tensor] = []

    def make(w_plus: Tensor, prompt: PromptPair) -> Edit:
        seen.append(w_plus)
        return sets((0, 2))(w_plus, prompt)

    start = latents((0, 0, 0), (2, 1, 0), (1, 2, 1), (2, 2, 2))
    found = run_task(Plate(), start, Task(PROMPT, 0, 2), make, read, nothing_hidden)
    assert torch.equal(seen[0], start[[0, 2]])
    assert found.success.tolist() == [True, True]
    assert found.task == Task(PROMPT, 0, 2) and found.seconds >= 0


def test_success_is_the_wanted_value_and_no_other() -> None:
    def make(w_plus: Tensor, prompt: PromptPair) -> Edit:
        # the first picture becomes 2, the second 1, the third stays 0
        return Edit("test", prompt, w_plus_step=latents((3, 1, 1), (2, 1, 1), (1, 1, 1)))

    start = latents((0, 0, 0), (0, 0, 0), (0, 0, 0))
    found = run_task(Plate(), start, Task(PROMPT, 0, 2), make, read, nothing_hidden)
    assert found.success.tolist() == [True, False, False]


def test_kept_compares_the_others_and_not_the_target() -> None:
    start = latents((0, 0, 1), (1, 2, 2))
    found = run_task(Plate(), start, Task(PROMPT, 0, 2), sets((0, 2), (1, 2)), read, nothing_hidden)
    # attribute 1 became 2: changed in the first picture, as it was in the second
    expected = torch.tensor([[NAN, 0.0, 1.0], [NAN, 1.0, 1.0]])
    torch.testing.assert_close(found.kept, expected, equal_nan=True)


def test_what_is_hidden_before_or_after_is_not_judged() -> None:
    def hidden(values: Tensor) -> Tensor:
        """Value 2 of attribute 1 hides attribute 2."""
        mask = torch.zeros_like(values, dtype=torch.bool)
        mask[:, 2] = values[:, 1] == 2
        return mask

    def make(w_plus: Tensor, prompt: PromptPair) -> Edit:
        # all reach the target; the second uncovers attribute 2, the third covers it
        return Edit("test", prompt, w_plus_step=latents((3, 1, 2), (3, 0, 2), (3, 2, 2)))

    start = latents((0, 1, 0), (0, 2, 0), (0, 1, 0))
    found = run_task(Plate(), start, Task(PROMPT, 0, 2), make, read, hidden)
    expected = torch.tensor([[NAN, 1.0, 0.0], [NAN, 0.0, NAN], [NAN, 0.0, NAN]])
    torch.testing.assert_close(found.kept, expected, equal_nan=True)


def test_pictures_are_read_as_files_would_hold_them() -> None:
    read_images: list[Tensor] = []

    def reading(images: Tensor) -> Tensor:
        read_images.append(images)
        return read(images)

    style = torch.tensor([[-7.0, 0.0, 1.3], [0.1234567, -0.5, 1.0]])
    read_latents(Plate(), style, reading)
    images = read_images[0]
    assert float(images.min()) == -1 and float(images.max()) == 1
    levels = (images + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    torch.testing.assert_close(images[:, 0, 0], style.clamp(-1, 1), rtol=0, atol=0.501 / 127.5)


def test_reading_in_batches_changes_nothing() -> None:
    style = torch.randint(3, (7, 3), generator=torch.Generator().manual_seed(1)).float() - 1
    for batch in (1, 3, 7, 32):
        assert torch.equal(read_latents(Plate(), style, read, batch), (style + 1).long())


# --- figures ------------------------------------------------------------------


def test_the_interval_is_that_of_the_mean() -> None:
    # of 400 pictures, 300 succeed: a deviation of sqrt(.75 .25 / 400) = .0217
    values = torch.tensor([1.0] * 300 + [0.0] * 100)
    figure = bootstrap(values, draws=4000)
    assert figure.mean == pytest.approx(0.75)
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


def test_the_interval_is_a_function_of_the_seed() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(1))
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_certain_values_have_no_interval() -> None:
    figure = bootstrap(torch.ones(10))
    assert (figure.mean, figure.low, figure.high) == (1, 1, 1)


def test_pictures_without_a_judgement_are_left_out() -> None:
    assert bootstrap(torch.tensor([NAN, 1.0, NAN, 0.0])).mean == 0.5


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_nothing_to_judge_is_an_error(values: list[float]) -> None:
    with pytest.raises(ArgumentError, match="nothing to judge"):
        bootstrap(torch.tensor(values))


def outcome(success: list[bool], kept: list[list[float]], seconds: float = 1.0) -> Outcome:
    return Outcome(
        Task(PROMPT, 0, 2),
        torch.tensor(success, dtype=torch.bool),
        torch.tensor(kept).reshape(len(kept), 3),
        seconds,
    )


def test_a_summary_counts_every_edit_once() -> None:
    found = summarize(
        [
            outcome([True, False], [[NAN, 1.0, 0.0], [NAN, 1.0, NAN]], seconds=2.0),
            outcome([True], [[1.0, NAN, 1.0]], seconds=5.0),
        ]
    )
    assert found.edits == 3
    assert found.success.mean == pytest.approx(2 / 3)
    assert found.kept.mean == pytest.approx((0.5 + 1.0 + 1.0) / 3)  # a picture each
    assert found.kept_per_attribute == pytest.approx((1.0, 1.0, 0.5))
    assert found.seconds == pytest.approx((2 + 2 + 5) / 3)
    assert found.kept.low <= found.kept.mean <= found.kept.high


def test_an_attribute_that_was_never_judged_has_no_figure() -> None:
    found = summarize([outcome([True], [[NAN, 1.0, 0.0]])])
    assert math.isnan(found.kept_per_attribute[0]) and found.kept_per_attribute[1:] == (1.0, 0.0)


def test_a_summary_of_nothing_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="nothing to judge"):
        summarize([outcome([], [])])


def test_a_task_whose_target_all_pictures_show_needs_no_edit() -> None:
    def never(w_plus: Tensor, prompt: PromptPair) -> Edit:
        raise AssertionError("there is nothing to edit")

    start = latents((2, 0, 0), (2, 1, 0))
    found = run_task(Plate(), start, Task(PROMPT, 0, 2), never, read, nothing_hidden)
    assert found.success.shape == (0,) and found.kept.shape == (0, 3)
