"""Global directions: the official arithmetic, what is added to it, and what cannot be asked."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from styleclip.editing.directions import (
    AUTOMATIC,
    DirectionConfig,
    channel_step,
    find_direction,
    prompt_direction,
    span,
    without,
    without_effect,
)
from styleclip.editing.edit import apply_edits
from styleclip.editing.relevance import Relevance
from styleclip.errors import ArgumentError, PromptError
from styleclip.generators.stylegan2 import StyleGAN2Config
from styleclip.prompts import PromptPair
from tests.reference.networks import VECTORS, expected, random_generator

CHANNELS = 40
PROMPT = PromptPair("red hair", "a face")


class Texts:
    """A fake CLIP whose texts are fixed random unit vectors."""

    image_size = 8

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        rows = []
        for text in texts:
            random = torch.Generator().manual_seed(sum(map(ord, text)))
            rows.append(torch.randn(12, generator=random))
        return F.normalize(torch.stack(rows), dim=1)

    def embed_images(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    embed_pixels = embed_images


def bank(seed: int = 0, channels: int = CHANNELS, width: int = 12) -> Relevance:
    random = torch.Generator().manual_seed(seed)
    matrix = F.normalize(torch.randn(channels, width, generator=random), dim=1)
    std = torch.rand(channels, generator=random) + 0.5
    effect = torch.rand(channels, generator=random) + 0.1
    return Relevance(matrix, torch.zeros(channels), std, effect, torch.full((channels,), 100))


@pytest.mark.parametrize("beta", [0.1, 0.2])
def test_the_official_direction(beta: float) -> None:
    values = expected("global-direction")
    layout = json.loads((VECTORS / "global-direction.json").read_text())
    conv = torch.cat(
        [
            torch.full((width,), not rgb)
            for width, rgb in zip(layout["widths"], layout["is_to_rgb"], strict=True)
        ]
    )
    matrix = torch.zeros(len(conv), 48, dtype=torch.float64)
    matrix[conv] = values["relevance"]
    zeros = torch.zeros(len(conv))
    found = Relevance(matrix, zeros, values["style_std"], zeros, zeros)
    step = channel_step(found, values["text_direction"], DirectionConfig(beta, strength=1.0))
    torch.testing.assert_close(step, values[f"direction_beta{beta}"], rtol=0, atol=1e-6)
    assert (step != 0).sum() == values[f"num_channels_beta{beta}"]
    step = channel_step(found, values["text_direction"], DirectionConfig(beta, strength=3.0))
    edited = values["style"] + step
    wanted = values[f"style_edited_beta{beta}_alpha3"]
    torch.testing.assert_close(edited, wanted, rtol=0, atol=1e-6)


def test_the_strongest_channels_are_kept() -> None:
    relevance, wanted = bank(), F.normalize(torch.ones(12), dim=0)
    step = channel_step(relevance, wanted, DirectionConfig(channels=5, strength=2.0))
    response = relevance.matrix @ wanted
    assert sorted(step.nonzero().flatten().tolist()) == sorted(
        response.abs().topk(5).indices.tolist()
    )
    # the strongest channel moves alpha standard deviations, the others by their share of R
    torch.testing.assert_close((step / relevance.std).abs().max(), torch.tensor(2.0))
    kept = step != 0
    torch.testing.assert_close(
        (step / relevance.std)[kept], 2 * response[kept] / response.abs().max()
    )


def test_without_a_threshold_there_is_one_that_no_prompt_fails() -> None:
    relevance, wanted = bank(), F.normalize(torch.ones(12), dim=0)
    response = (relevance.matrix @ wanted).abs()
    step = channel_step(relevance, wanted, DirectionConfig())
    assert torch.equal(step != 0, response >= AUTOMATIC)
    faint = 0.1 * wanted  # no |R| reaches 0.1 any more
    step = channel_step(relevance, faint, DirectionConfig())
    assert torch.equal(step != 0, response >= response.max() / 2)


def test_more_channels_than_there_are_is_all_that_are_measured() -> None:
    relevance = bank()
    relevance.matrix[:30] = 0
    step = channel_step(relevance, torch.ones(12), DirectionConfig(channels=1000))
    assert step[:30].eq(0).all()
    assert (step != 0).sum() == 10


def test_what_must_stay_is_left_out_of_the_step() -> None:
    relevance = bank()
    random = torch.Generator().manual_seed(1)
    wanted, *kept = F.normalize(torch.randn(3, 12, generator=random), dim=1)
    left = without(wanted, kept)
    for each in kept:
        assert abs(left @ each) < 1e-6
    torch.testing.assert_close(left.norm(), torch.tensor(1.0))
    # as near to what was wanted as it can be: the rest lies in the span of what stays
    rest = wanted - left * (left @ wanted)
    span = torch.stack(kept, dim=1)
    torch.testing.assert_close(
        span @ torch.linalg.lstsq(span, rest[:, None]).solution, rest[:, None]
    )
    edit = find_direction(relevance, Texts(), PROMPT, preserve=kept)
    plain = find_direction(relevance, Texts(), PROMPT)
    assert edit.style_step is not None and plain.style_step is not None
    assert not torch.allclose(edit.style_step, plain.style_step)
    torch.testing.assert_close(without(wanted, [*kept, kept[0], kept[0] + kept[1]]), left)
    with pytest.raises(PromptError, match="preserve less"):
        without(wanted, [wanted + 1e-3 * kept[0]])


def test_the_step_has_no_effect_on_what_must_stay() -> None:
    relevance = bank()
    random = torch.Generator().manual_seed(2)
    kept = list(F.normalize(torch.randn(3, 12, generator=random), dim=1))
    config = DirectionConfig(threshold=0.2, strength=3.0)
    plain = find_direction(relevance, Texts(), PROMPT, config).style_step
    held = find_direction(relevance, Texts(), PROMPT, config, kept).style_step
    assert plain is not None and held is not None
    moves = held[0] / relevance.std  # in deviations
    for each in kept:
        assert abs(moves @ relevance.matrix @ each) < 1e-5
        assert abs(plain[0] / relevance.std @ relevance.matrix @ each) > 0.1
    assert (held[0] != 0).sum() > 5  # and still alpha deviations of its strongest channel
    assert moves.abs().max() == pytest.approx(3.0, rel=1e-5)


def test_of_all_steps_without_effect_it_is_the_nearest() -> None:
    relevance = bank()
    random = torch.Generator().manual_seed(3)
    step = torch.randn(CHANNELS, generator=random) * (torch.arange(CHANNELS) % 3 > 0)
    kept = list(F.normalize(torch.randn(2, 12, generator=random), dim=1))
    found = without_effect(relevance, step, span(kept))
    assert found[step == 0].eq(0).all()
    # what was taken away lies in what the kept directions do, and in nothing else
    moves = step != 0
    before, after = (each[moves] / relevance.std[moves] for each in (step, found))
    taken = before - after * (before @ after) / (after @ after)
    effect = relevance.matrix[moves] @ span(kept)
    beside = effect @ torch.linalg.lstsq(effect, taken[:, None]).solution
    torch.testing.assert_close(beside[:, 0], taken, atol=1e-5, rtol=1e-5)


def test_channels_that_all_move_what_must_stay_are_named() -> None:
    kept = list(F.normalize(torch.randn(3, 12, generator=torch.Generator().manual_seed(2)), dim=1))
    few = DirectionConfig(channels=2)
    with pytest.raises(PromptError, match=r"the 2 channels .* lower the threshold"):
        find_direction(bank(), Texts(), PROMPT, few, kept)


def test_what_is_left_must_still_be_what_was_asked_for() -> None:
    wanted, across = torch.eye(12)[:2]
    for angle, allowed in ((0.6, False), (0.9, True)):  # of the radian
        other = math.cos(angle) * wanted + math.sin(angle) * across
        if allowed:
            torch.testing.assert_close(without(wanted, [other]) @ other, torch.tensor(0.0))
            continue
        with pytest.raises(PromptError, match="preserve less"):
            without(wanted, [other])


def test_templates_of_the_config_are_those_of_an_embedder() -> None:
    """Each side is the normalised mean over the sentences; a CLIP with its own keeps them."""
    config = DirectionConfig(templates=("a photo of a {}.", "art of the {}."))
    sides = []
    for text in (PROMPT.target, PROMPT.neutral):
        rows = Texts().embed_texts([f"a photo of a {text}.", f"art of the {text}."])
        sides.append(F.normalize(rows.mean(dim=0), dim=0))
    wanted = F.normalize(sides[0] - sides[1], dim=0)
    torch.testing.assert_close(prompt_direction(Texts(), PROMPT, config.templates), wanted)
    edit = find_direction(bank(), Texts(), PROMPT, config)
    assert edit.style_step is not None
    torch.testing.assert_close(edit.style_step[0], channel_step(bank(), wanted, config))
    own = Texts()
    own.templates = ("the {}",)  # type: ignore[attr-defined]
    plain = prompt_direction(Texts(), PROMPT)
    torch.testing.assert_close(prompt_direction(own, PROMPT, config.templates), plain)
    with pytest.raises(ArgumentError, match=r"exactly one \{\}"):
        DirectionConfig(templates=("a photo",))


def test_the_paper_leaves_to_rgb_alone_whatever_the_bank() -> None:
    small = StyleGAN2Config(16, (4, 5, 3), w_dim=6, z_dim=5, mapping_layers=2)
    layout = random_generator(small).layout
    conv, wanted = layout.conv_columns(), F.normalize(torch.ones(12), dim=0)
    paper, samples = DirectionConfig.paper(threshold=0.0), bank(channels=layout.size)
    step = channel_step(samples, wanted, paper, layout)
    assert step[~conv].eq(0).all() and step[conv].ne(0).all()
    # the strongest of those that are left moves alpha deviations
    torch.testing.assert_close((step / samples.std).abs().max(), torch.tensor(4.1))
    assert channel_step(samples, wanted, replace(paper, rgb=True), layout).ne(0).all()
    with pytest.raises(ArgumentError, match=r"layout=generator\.layout"):
        channel_step(samples, wanted, paper)
    exact = replace(samples, matrix=samples.matrix * conv[:, None], config={"method": "exact"})
    torch.testing.assert_close(channel_step(exact, wanted, paper), step)
    # a bank that was measured with toRGB has those layers as well
    asked = replace(samples, config={"method": "exact", "rgb": True})
    torch.testing.assert_close(channel_step(asked, wanted, paper, layout), step)
    with pytest.raises(ArgumentError, match=r"layout=generator\.layout"):
        channel_step(asked, wanted, paper)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    config=st.sampled_from(
        [DirectionConfig(threshold=0.05), DirectionConfig(channels=7), DirectionConfig()]
    ),
)
def test_swapping_the_texts_flips_the_direction(seed: int, config: DirectionConfig) -> None:
    there = find_direction(bank(seed), Texts(), PROMPT, config).style_step
    back = find_direction(
        bank(seed), Texts(), PromptPair(PROMPT.neutral, PROMPT.target), config
    ).style_step
    assert there is not None and back is not None
    torch.testing.assert_close(there, -back)


def test_strength_nothing_is_the_identity_and_directions_add() -> None:
    small = StyleGAN2Config(16, (4, 5, 3), w_dim=6, z_dim=5, mapping_layers=2)
    generator = random_generator(small)
    relevance = bank(channels=generator.layout.size)
    one = find_direction(relevance, Texts(), PROMPT)
    two = find_direction(relevance, Texts(), PromptPair("a hat", "a face"))
    w_plus = torch.randn(2, generator.rows, 6)
    style = generator.affine(w_plus)
    assert torch.equal(one.apply(generator, w_plus, 0.0), style)
    both = apply_edits(generator, w_plus, [(one, 0.5), (two, 2.0)])
    swapped = apply_edits(generator, w_plus, [(two, 2.0), (one, 0.5)])
    torch.testing.assert_close(both, swapped)
    assert one.style_step is not None and two.style_step is not None
    torch.testing.assert_close(both, style + 0.5 * one.style_step + 2 * two.style_step)


# --- what cannot be asked -----------------------------------------------------


def test_a_threshold_above_all_names_the_largest() -> None:
    relevance = bank()
    largest = float((relevance.matrix @ F.normalize(torch.ones(12), dim=0)).abs().max())
    with pytest.raises(ArgumentError, match=rf"largest \|R\| is {largest:.4f}; lower"):
        channel_step(relevance, F.normalize(torch.ones(12), dim=0), DirectionConfig(0.99))


def test_two_texts_that_are_one_to_the_embedder() -> None:
    with pytest.raises(PromptError, match="no difference"):
        find_direction(bank(), Texts(), PromptPair("ab", "ba"))


@pytest.mark.parametrize("config", [DirectionConfig(), DirectionConfig(channels=3)], ids=str)
def test_an_empty_bank_is_an_error(config: DirectionConfig) -> None:
    relevance = bank()
    relevance.matrix.zero_()
    with pytest.raises(ArgumentError, match="no channel of this bank"):
        find_direction(relevance, Texts(), PROMPT, config)


@pytest.mark.parametrize("config", [DirectionConfig(), DirectionConfig(channels=3)], ids=str)
def test_a_bank_whose_channels_do_not_vary_is_an_error(config: DirectionConfig) -> None:
    relevance = bank()
    relevance.std.zero_()
    with pytest.raises(ArgumentError, match="do not vary in this bank"):
        find_direction(relevance, Texts(), PROMPT, config)


def test_channels_that_do_not_vary_are_none_of_those_that_are_kept() -> None:
    relevance, wanted = bank(), F.normalize(torch.ones(12), dim=0)
    strongest = int((relevance.matrix @ wanted).abs().argmax())
    relevance.std[strongest] = 0
    step = channel_step(relevance, wanted, DirectionConfig(channels=3, strength=2.0))
    assert (step != 0).sum() == 3 and step[strongest] == 0
    moved = step[step != 0] / relevance.std[step != 0]
    torch.testing.assert_close(moved.abs().max(), torch.tensor(2.0))


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.1, "channels": 3}, {"threshold": 1.0}, {"threshold": -0.1},
              {"channels": 0}, {"strength": 0.0}, {"strength": float("nan")}]
)  # fmt: skip
def test_wrong_numbers_are_explained(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError):
        DirectionConfig(**wrong)  # type: ignore[arg-type]
