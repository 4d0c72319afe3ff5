"""The strength that a picture needs: on a world so plain that the answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.editing.directions import DirectionConfig
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap
from styleclip.editing.optimization import OptimizationConfig
from styleclip.editing.strength import (
    StrengthConfig,
    choose_strength,
    fit_strength,
    fits_by_itself,
    picked,
    scaled,
)
from styleclip.errors import ArgumentError
from styleclip.prompts import PromptPair

PROMPT = PromptPair("far", "here")


class Line:
    """A generator whose picture is one number: the first of its style."""

    resolution = 8
    rows = 1

    def affine(self, w_plus: Tensor) -> Tensor:
        return w_plus[:, 0]

    def synthesis(self, style: Tensor, resolution: int | None = None) -> Tensor:
        return style[:, :1, None, None].expand(-1, 3, 8, 8)


class Angle:
    """Its embedding turns with the number: along the first axis it is sin(x)."""

    image_size = 8

    def embed_images(self, images: Tensor) -> Tensor:
        x = images[:, 0, 0, 0]
        return torch.stack([x.sin(), x.cos()], dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([[1.0, 1.0] if text == "far" else [0.0, 1.0] for text in texts])


AXIS = torch.tensor([1.0, 0.0])


def edit() -> Edit:
    return Edit("direction", PROMPT, style_step=torch.tensor([[1.0, 0.0]]))


def choose(starts: list[float], goal: float, **options: Any) -> Tensor:
    identity = options.pop("identity", None)
    w_plus = torch.tensor(starts)[:, None, None] * torch.tensor([1.0, 0.0])
    config = StrengthConfig(**{"most": 2.0, "points": 40, **options})
    generator: Any = Line()
    return choose_strength(generator, Angle(), w_plus, edit(), AXIS, goal, config, identity)


def test_each_picture_goes_as_far_as_it_has_to() -> None:
    goal = 0.8
    reached = float(torch.tensor(goal).asin())
    found = choose([0.0, 0.5, -0.3], goal)
    wanted = torch.tensor([reached, reached - 0.5, reached + 0.3])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)


def test_a_share_of_what_can_be_gained_counts_from_where_the_picture_is() -> None:
    # the goal is out of reach: from sin(-0.3) half of the way to the top, which is sin(pi / 2)
    start = torch.tensor(-0.3)
    wanted = start.sin() + 0.5 * (1 - start.sin())
    found = choose([-0.3], 10.0, share=0.5, points=200)
    torch.testing.assert_close(found, (wanted.asin() - start)[None], rtol=0, atol=1e-3)


def test_who_is_there_already_stays_and_who_cannot_get_there_comes_near() -> None:
    found = choose([1.2, 0.0], 0.9)
    assert found[0] == 0
    # no sine is 2; 95 % of what there is to gain is enough
    found = choose([0.0], 2.0)
    torch.testing.assert_close(found, torch.tensor([0.95]).asin(), rtol=0, atol=1e-2)
    found = choose([0.0], 2.0, share=1.0)
    torch.testing.assert_close(found, torch.tensor([torch.pi / 2]), rtol=0, atol=0.05)
    # backwards there is nothing to gain
    assert choose([1.6], 2.0) == 0


def test_a_person_is_held() -> None:
    # the same angle is the face here: at 0.4 its cosine with the start is cos(0.4) = 0.92
    def identity(images: Tensor) -> Tensor:
        return Angle().embed_images(images)

    free = choose([0.0], 0.8)
    held = choose([0.0], 0.8, identity=identity, identity_floor=0.92)
    assert held < 0.42 < free
    # between two strengths that are looked at, too: the cosine is 0.92 at 0.40, the grid is of 0.5
    coarse = choose([0.0], 0.8, identity=identity, identity_floor=0.92, points=4)
    assert 0.25 < coarse < 0.42
    with pytest.raises(ArgumentError, match="identity="):
        choose([0.0], 0.8, identity_floor=0.9)


def test_the_goal_is_in_deviations_of_the_samples() -> None:
    # along `far - here`, the first axis: mean 0.1, deviation 0.2; a goal of 3 is 0.7
    spread = LatentMap(
        torch.zeros(2, 2), torch.tensor([0.1, 0.0]), torch.diag(torch.tensor([0.04, 1]))
    )
    generator: Any = Line()
    w_plus = torch.zeros(1, 1, 2)
    config = StrengthConfig(goal=3.0, most=2.0, points=40)
    found = fit_strength(generator, Angle(), w_plus, edit(), spread, config)
    assert found.style_step is not None
    torch.testing.assert_close(found.style_step[0, 0], torch.tensor(0.7).asin(), rtol=0, atol=1e-3)
    assert found.config["strengths"] == [round(float(found.style_step[0, 0]), 4)]
    # strength 1 is the edit as found
    styles = found.apply(generator, w_plus)
    assert Angle().embed_images(generator.synthesis(styles))[0, 0] == pytest.approx(0.7, abs=1e-3)


def test_who_is_fitted_unasked() -> None:
    assert fits_by_itself(OptimizationConfig()) and fits_by_itself(DirectionConfig())
    for config in (OptimizationConfig.paper(), OptimizationConfig.plain("w_plus"),
                   DirectionConfig.paper(), DirectionConfig(strength=2.0), None):  # fmt: skip
        assert not fits_by_itself(config)


def test_steps_are_scaled_and_picked_for_each_picture() -> None:
    step = F.normalize(torch.randn(1, 4, 3), dim=2)
    both = Edit("mapper", PROMPT, w_plus_step=step, style_step=torch.ones(1, 5))
    longer = scaled(both, torch.tensor([0.0, 2.0]))
    assert longer.w_plus_step is not None and longer.style_step is not None
    assert longer.w_plus_step.shape == (2, 4, 3)
    torch.testing.assert_close(longer.w_plus_step[1], 2 * step[0])
    assert longer.style_step[0].eq(0).all()
    second = picked(longer, torch.tensor([1]))
    assert second.w_plus_step is not None
    torch.testing.assert_close(second.w_plus_step, longer.w_plus_step[1:])
    assert picked(both, torch.tensor([1])).w_plus_step is step


def test_an_edit_as_found_is_looked_at_finely_and_a_direction_far() -> None:
    w_plus, generator = torch.zeros(1, 1, 2), Line()

    def farthest(method: str) -> float:
        step = Edit(method, PROMPT, style_step=torch.tensor([[0.01, 0.0]]))
        return float(choose_strength(generator, Angle(), w_plus, step, AXIS, 9.0,
                                     StrengthConfig(share=1.0)))  # type: ignore[arg-type]  # fmt: skip

    assert farthest("direction") == pytest.approx(12)
    assert farthest("optimization") == farthest("mapper") == pytest.approx(2)


@pytest.mark.parametrize("wrong", [{"most": 0.0}, {"points": 0}, {"share": 0.0}])
def test_wrong_numbers_are_explained(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        StrengthConfig(**wrong)
