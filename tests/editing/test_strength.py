"""The strength that a picture needs: on a world so plain that the answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip import images
from styleclip.editing.directions import DirectionConfig
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap
from styleclip.editing.optimization import OptimizationConfig
from styleclip.editing.strength import (
    StrengthConfig,
    _both_sizes,
    choose_strength,
    fit_strength,
    fits_by_itself,
    picked,
    scaled,
)
from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2Config
from styleclip.prompts import PromptPair
from styleclip.studio import Studio
from tests.reference.networks import random_generator

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


@pytest.mark.parametrize("alpha", [4.1, -4.1, 0.5])
def test_a_direction_is_looked_at_as_far_whatever_its_alpha(alpha: float) -> None:
    """12 deviations of its strongest channel, in steps of one."""
    generator: Any = Line()
    step = Edit("direction", PROMPT, style_step=torch.tensor([[0.01 * alpha, 0.0]]),
                config={"strength": alpha})  # fmt: skip
    sign = 1 if alpha > 0 else -1
    found = choose_strength(generator, Angle(), torch.zeros(1, 1, 2), step, sign * AXIS, 9.0,
                            StrengthConfig(share=1.0))  # fmt: skip
    assert float(found) * abs(alpha) == pytest.approx(12)


SPREAD = LatentMap(torch.zeros(2, 2), torch.tensor([0.1, 0.0]), torch.diag(torch.tensor([0.04, 1])))


def test_a_negative_alpha_is_fitted_to_the_opposite() -> None:
    # along `here - far`: mean -0.1, deviation 0.2; a goal of 3 is 0.5, so the sine is -0.5
    generator: Any = Line()
    back = Edit("direction", PROMPT, style_step=torch.tensor([[-4.0, 0.0]]),
                config={"strength": -4.0})  # fmt: skip
    config = StrengthConfig(goal=3.0, most=1.0, points=400)
    found = fit_strength(generator, Angle(), torch.zeros(1, 1, 2), back, SPREAD, config)
    assert found.style_step is not None
    torch.testing.assert_close(found.style_step[0, 0], torch.tensor(-0.5).asin(), rtol=0, atol=1e-3)


class InSentences(Angle):
    """It means the opposite of a text that stands in a sentence."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        far = [(text in ("here", "so far")) for text in texts]
        return torch.tensor([[0.6, 0.8] if each else [-0.6, 0.8] for each in far])


def test_the_strength_aims_where_the_direction_s_templates_point() -> None:
    generator: Any = Line()
    config = StrengthConfig(goal=3.0, most=2.0, points=40)
    fitted = []
    for templates in ((), ["so {}"]):  # a list where it comes from a file
        there = Edit("direction", PROMPT, style_step=torch.tensor([[1.0, 0.0]]),
                     config={"strength": None, "templates": templates})  # fmt: skip
        found = fit_strength(generator, InSentences(), torch.zeros(1, 1, 2), there, SPREAD, config)
        assert found.style_step is not None
        fitted.append(found.style_step[0, 0])
    assert fitted[0] == 0  # away from what the bare texts ask for
    torch.testing.assert_close(fitted[1], torch.tensor(0.7).asin(), rtol=0, atol=1e-3)


class Wide(Angle):
    """A CLIP that reads 16 pixels, and says what it was shown."""

    image_size = 16

    def __init__(self) -> None:
        self.shown: set[int] = set()

    def embed_images(self, images: Tensor) -> Tensor:
        self.shown.add(images.shape[2])
        return F.normalize(images.mean(dim=(2, 3))[:, :2], dim=1)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("floor", [None, 0.5])
def test_who_is_shown_which_size(full: bool, floor: float | None) -> None:
    """CLIP what it needs, or all of it if asked; the identity network what will be written."""
    generator = random_generator(
        StyleGAN2Config(32, (4, 5, 3, 3), w_dim=6, z_dim=5, mapping_layers=2)
    )
    judged: set[int] = set()

    def identity(images: Tensor) -> Tensor:
        judged.add(images.shape[2])
        return F.normalize(images.flatten(1), dim=1)

    embedder, w_plus = Wide(), torch.randn(2, generator.rows, 6)
    step = Edit("mapper", PROMPT, w_plus_step=torch.randn(1, generator.rows, 6))
    config = StrengthConfig(identity_floor=floor, full=full, points=3)
    found = choose_strength(generator, embedder, w_plus, step, AXIS, 9.0, config, identity)
    assert found.shape == (2,)
    assert embedder.shown == {32 if full else 16}
    assert judged == (set() if floor is None else {32})


def test_both_sizes_of_a_picture_are_those_of_two_passes() -> None:
    generator = random_generator(
        StyleGAN2Config(32, (4, 5, 3, 3), w_dim=6, z_dim=5, mapping_layers=2)
    )
    style = generator.affine(torch.randn(2, generator.rows, 6))
    with torch.no_grad():
        small, large = _both_sizes(generator, style, 8, 32)
        torch.testing.assert_close(small, generator.synthesis(style, resolution=8))
        torch.testing.assert_close(large, generator.synthesis(style))


def test_a_floor_holds_where_the_likeness_is_not_straight_between_two_looks() -> None:
    def identity(last: float, images: Tensor) -> Tensor:
        x = images[:, 0, 0, 0]
        cosine = torch.where(x < 0.05, 1.0, torch.where(x > last, 0.0, 0.8))
        return torch.stack([cosine, (1 - cosine.square()).sqrt()], dim=1)

    # looked at 0 and 1, where the likeness is 1 and 0: straight, it were 0.1 at a strength of 0.9
    for last, expected in ((0.95, 0.9), (0.75, 0.45), (0.3, 0.225), (0.0, 0.0)):
        judge = partial(identity, last)
        found = choose([0.0], 10.0, most=1.0, points=1, identity=judge, identity_floor=0.1)
        assert float(found) == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
def test_every_picture_of_a_batch_keeps_its_floor_as_it_is_written() -> None:
    """One of these fell to 0.919 when the face was looked at in CLIP's size alone."""
    studio, floor = Studio.load("portraits"), 0.95
    w_plus = studio.samples(24, seed=77, truncation=0.7)[8:16]
    fit = StrengthConfig(identity_floor=floor)
    free = studio.edit(w_plus, "an old face", DirectionConfig())
    held = studio.edit(w_plus, "an old face", DirectionConfig(), fit=fit)

    def likeness(edit: Edit) -> Tensor:
        faces = []
        for rendered in (studio.render(w_plus), studio.render(w_plus, edit)):
            written = [images.to_tensor(images.to_picture(each[None])) for each in rendered]
            faces.append(studio.identity(torch.cat(written)))
        return (faces[0] * faces[1]).sum(dim=1)

    with torch.no_grad():
        kept, lost = likeness(held), likeness(free)
    assert bool((lost < floor).any()) and bool((kept >= floor).all())
    assert kept[lost < floor].max() < floor + 0.02  # no more is given up than has to be


@pytest.mark.parametrize(
    "wrong", [{"most": 0.0}, {"points": 0}, {"share": 0.0}, {"most": float("nan")},
              {"goal": float("nan")}, {"identity_floor": float("nan")}]
)  # fmt: skip
def test_wrong_numbers_are_explained(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        StrengthConfig(**wrong)
