"""An edit as a value: what strengths and stacks of edits mean."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleclip.editing.edit import Edit, MovedChannel, apply_edits, moved_channels
from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.prompts import PromptPair
from tests.reference.networks import random_generator

PROMPT = PromptPair(target="b", neutral="a")
CONFIG = StyleGAN2Config(8, (3, 2), w_dim=4, z_dim=4, mapping_layers=1)
GENERATOR: StyleGAN2 = random_generator(CONFIG).double()
CLOSE = {"rtol": 1e-9, "atol": 1e-9}  # float64: only the order of additions differs

strengths = st.floats(-3, 3)
kinds = st.sampled_from(["w_plus", "style", "both"])


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def w_plus(batch: int) -> Tensor:
    return random(batch, GENERATOR.rows, CONFIG.w_dim, seed=99)


def edit(kind: str, seed: int, batch: int = 1) -> Edit:
    return Edit(
        "test",
        PROMPT,
        w_plus_step=None if kind == "style" else random(batch, *w_plus(1).shape[1:], seed=seed),
        style_step=None if kind == "w_plus" else random(batch, GENERATOR.layout.size, seed=~seed),
    )


@st.composite
def stacks(draw: st.DrawFn, batch: int) -> list[tuple[Edit, float]]:
    """Up to four edits of any kind, for one picture or for the batch, with their strengths."""
    parts = draw(st.lists(st.tuples(kinds, st.sampled_from([1, batch]), strengths), max_size=4))
    return [(edit(kind, i, size), a) for i, (kind, size, a) in enumerate(parts)]


def literal(latents: Tensor, stack: list[tuple[Edit, float]]) -> Tensor:
    """affine(w + sum a dw) + sum a ds, picture by picture."""
    results = []
    for i in range(len(latents)):
        w, ds = latents[i].clone(), torch.zeros(GENERATOR.layout.size, dtype=torch.float64)
        for each, strength in stack:
            for step, total in ((each.w_plus_step, w), (each.style_step, ds)):
                if step is not None:
                    total += strength * step[i if len(step) > 1 else 0]
        results.append(GENERATOR.affine(w[None])[0] + ds)
    return torch.stack(results)


@given(stacks(batch=3))
@settings(max_examples=40, deadline=None)
def test_a_stack_is_the_equation(stack: list[tuple[Edit, float]]) -> None:
    found = apply_edits(GENERATOR, w_plus(3), stack)
    torch.testing.assert_close(found, literal(w_plus(3), stack), **CLOSE)


@given(stacks(batch=2), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_a_stack_does_not_matter(stack: list, shuffler) -> None:
    shuffled = list(stack)
    shuffler.shuffle(shuffled)
    first = apply_edits(GENERATOR, w_plus(2), stack)
    torch.testing.assert_close(apply_edits(GENERATOR, w_plus(2), shuffled), first, **CLOSE)


@given(st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_a_stack_does_not_matter_to_the_bit(order: list[int]) -> None:
    # in single precision, as pictures are made: else two orders are two files
    generator, start = random_generator(CONFIG), w_plus(2).float()
    stack = [(edit("both", i, batch=1 + i % 2), 0.3 * i - 1) for i in range(5)]
    shuffled = [stack[i] for i in order]
    found, other = (apply_edits(generator, start, each) for each in (stack, shuffled))
    assert torch.equal(found, other)


@given(kinds, st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_strength_zero_is_the_identity_to_the_bit(kind: str, seed: int) -> None:
    found = edit(kind, seed).apply(GENERATOR, w_plus(2), 0.0)
    assert torch.equal(found, GENERATOR.affine(w_plus(2)))


@given(kinds, st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_any_other_strength_is_not_the_identity(kind: str, seed: int) -> None:
    # else all that is tested here would hold for an edit that does nothing
    found = edit(kind, seed).apply(GENERATOR, w_plus(2), 0.1)
    assert not torch.allclose(found, GENERATOR.affine(w_plus(2)))


@given(kinds, strengths, strengths)
@settings(max_examples=30, deadline=None)
def test_strengths_of_one_edit_add(kind: str, a: float, b: float) -> None:
    one = edit(kind, 5)
    together = apply_edits(GENERATOR, w_plus(2), [(one, a), (one, b)])
    torch.testing.assert_close(one.apply(GENERATOR, w_plus(2), a + b), together, **CLOSE)


@given(kinds)
@settings(max_examples=10, deadline=None)
def test_minus_one_undoes(kind: str) -> None:
    one, start = edit(kind, 6, batch=2), w_plus(2)
    undone = apply_edits(GENERATOR, start, [(one, 1.0), (one, -1.0)])
    torch.testing.assert_close(undone, GENERATOR.affine(start), **CLOSE)
    there, back = one.apply(GENERATOR, start), one.apply(GENERATOR, start, -1.0)
    torch.testing.assert_close((there + back) / 2, GENERATOR.affine(start), **CLOSE)


def test_strength_is_one_unless_said() -> None:
    one = edit("both", 7)
    there = one.apply(GENERATOR, w_plus(1))
    assert torch.equal(there, one.apply(GENERATOR, w_plus(1), 1.0))


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf")])
def test_a_strength_is_a_number(strength: float) -> None:
    with pytest.raises(ArgumentError, match="must be a finite number"):
        apply_edits(GENERATOR, w_plus(1), [(edit("both", 1), 1.0), (edit("both", 2), strength)])


def test_latents_are_left_alone() -> None:
    start = w_plus(2)
    edit("both", 8, batch=2).apply(GENERATOR, start)
    assert torch.equal(start, w_plus(2))


def test_an_edit_takes_the_type_of_the_latents() -> None:
    generator = random_generator(CONFIG)
    style = edit("both", 9).apply(generator, w_plus(2).float())
    assert style.dtype == torch.float32


@pytest.mark.parametrize(
    "step",
    [
        {"w_plus_step": torch.zeros(1, GENERATOR.rows + 2, CONFIG.w_dim)},
        {"w_plus_step": torch.zeros(1, GENERATOR.rows, CONFIG.w_dim + 1)},
        {"w_plus_step": torch.zeros(GENERATOR.rows, CONFIG.w_dim)},
        {"w_plus_step": torch.zeros(2, GENERATOR.rows, CONFIG.w_dim)},
        {"style_step": torch.zeros(1, GENERATOR.layout.size - 1)},
        {"style_step": torch.zeros(2, GENERATOR.layout.size)},
        {"style_step": torch.zeros(GENERATOR.layout.size)},
    ],
    ids=lambda step: " ".join(f"{name} {list(t.shape)}" for name, t in step.items()),
)
def test_a_step_of_another_shape_is_refused(step: dict[str, Tensor]) -> None:
    with pytest.raises(ArgumentError, match="made for another generator or other pictures"):
        Edit("test", PROMPT, **step).apply(GENERATOR, w_plus(3))


# Which channels an edit moves


def moving(**changes: float) -> Edit:
    """An edit in S of channels by their names, with _ for the full stop and __ for the colon."""
    step = torch.zeros(1, GENERATOR.layout.size, dtype=torch.float64)
    for name, change in changes.items():
        place = name.removeprefix("at").replace("__", ":").replace("_", ".")
        step[0, GENERATOR.layout.column(place)] = change
    return Edit("test", PROMPT, style_step=step)


def test_the_channels_that_moved_most_come_first() -> None:
    one = moving(at4_conv__2=0.5, at8_rgb__1=-2.0)
    found = moved_channels(GENERATOR, w_plus(1), one, strength=-3)
    assert [str(each) for each in found] == ["8.rgb:1", "4.conv:2"]  # and none that stayed
    assert [each.change for each in found] == pytest.approx([6.0, -1.5])
    assert [each.deviations for each in found] == [None, None]
    (first,) = moved_channels(GENERATOR, w_plus(1), one, strength=-3, count=1)
    assert first == MovedChannel("8.rgb", 1, pytest.approx(6.0))
    assert moved_channels(GENERATOR, w_plus(1), one, strength=0) == []


def test_deviations_decide_where_they_are_known() -> None:
    one = moving(at4_conv__2=0.5, at8_rgb__1=-2.0)
    std = torch.ones(GENERATOR.layout.size)
    std[GENERATOR.layout.column("8.rgb:1")] = 10
    found = moved_channels(GENERATOR, w_plus(1), one, std=std)
    assert [str(each) for each in found] == ["4.conv:2", "8.rgb:1"]
    assert [each.deviations for each in found] == pytest.approx([0.5, -0.2])
    assert [each.change for each in found] == pytest.approx([0.5, -2.0])
    with pytest.raises(ArgumentError, match="expected a std of"):
        moved_channels(GENERATOR, w_plus(1), one, std=std[1:])


@given(kinds, st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_edits_of_any_kind_are_listed(kind: str, seed: int) -> None:
    stack = [(edit(kind, seed), 0.5), (edit("both", seed + 1), -1.0)]
    found = moved_channels(GENERATOR, w_plus(1), stack, strength=2, count=1000)
    expected = literal(w_plus(1), [(each, 2 * own) for each, own in stack])
    change = torch.zeros(GENERATOR.layout.size, dtype=torch.float64)
    for each in found:
        change[GENERATOR.layout.column(str(each))] = each.change
    torch.testing.assert_close(change, (expected - GENERATOR.affine(w_plus(1)))[0], **CLOSE)
    sizes = [abs(each.change) for each in found]
    assert sizes == sorted(sizes, reverse=True)


def test_channels_are_those_of_one_picture() -> None:
    with pytest.raises(ArgumentError, match="one picture, got w_plus of 2"):
        moved_channels(GENERATOR, w_plus(2), edit("both", 1))
