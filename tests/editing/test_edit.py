"""An edit as a value: what strengths and stacks of edits mean."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleclip.editing.edit import Edit, apply_edits
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
