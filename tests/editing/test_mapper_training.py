"""Training mappers: before it, what it does, when it stops, resumed; its losses, literally."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.editing import mapper_training
from styleclip.editing.latent_map import LatentMap, LatentMapConfig, measure_latent_map
from styleclip.editing.mapper import Mapper
from styleclip.editing.mapper_training import (
    TrainingConfig,
    TrainingState,
    new_mapper,
    train_mapper,
)
from styleclip.editing.ranger import Ranger
from styleclip.editing.text_mapper import TextMapper, TextMapperConfig
from styleclip.errors import ArgumentError, NonFiniteError, PromptError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.prompts import PromptPair
from tests.reference import mapper_training as literal
from tests.reference.networks import random_arcface, random_generator

WIDTH, EMBEDDING = 6, 7
CONFIG = TrainingConfig(steps=12, batch=4, goal=1.5, first=1.0, check_every=4)
NETWORK = TextMapperConfig(WIDTH, EMBEDDING, hidden=16, first=1.0)
RED, BLUE = PromptPair("red", "plain"), PromptPair("blue", "plain")


class Projection:
    """A fake CLIP: a fixed random matrix on 8 x 8 pixels, and fixed random vectors for texts."""

    image_size = 8

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(3)
        self.matrix = torch.randn(3 * 64, EMBEDDING, generator=random)

    def embed_images(self, images: Tensor) -> Tensor:
        pixels = F.adaptive_avg_pool2d(images, 8).flatten(1)
        return F.normalize(torch.tanh(pixels @ self.matrix.to(images) / 8), dim=1)

    embed_pixels = embed_images

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        rows = []
        for text in texts:
            random = torch.Generator().manual_seed(sum(map(ord, text)))
            rows.append(torch.randn(EMBEDDING, generator=random))
        return F.normalize(torch.stack(rows), dim=1)


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    small = StyleGAN2Config(8, (5, 4), w_dim=WIDTH, z_dim=5, mapping_layers=2)
    return random_generator(small)


@pytest.fixture(scope="module")
def latent_map(generator: StyleGAN2) -> LatentMap:
    return measure_latent_map(generator, Projection(), LatentMapConfig(samples=300))


@pytest.fixture(scope="module")
def latents(generator: StyleGAN2) -> Tensor:
    w = generator.sample_w(20, torch.Generator().manual_seed(1))
    return generator.truncate(w)


def train(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor, **options: Any
) -> Mapper | TextMapper:
    config = options.pop("config", CONFIG)
    prompts = options.pop("prompts", [RED, BLUE])
    return train_mapper(
        generator, Projection(), latents, prompts, config, latent_map, **options
    )  # fmt: skip


def test_before_training_it_is_a_step_along_the_latent_map(
    latent_map: LatentMap, latents: Tensor
) -> None:
    mapper = TextMapper(NETWORK)
    mapper.know(latent_map, latents.mean(dim=1))
    edit = mapper.edit(latents, Projection(), RED)
    target, neutral = Projection().embed_texts([RED.target, RED.neutral])
    direction = F.normalize(target - neutral, dim=0)
    _, deviation = latent_map.spread(direction)
    wanted = NETWORK.first * deviation * (direction @ latent_map.matrix)
    assert edit.w_plus_step is not None
    torch.testing.assert_close(edit.w_plus_step, wanted.expand_as(edit.w_plus_step))


def test_training_brings_pictures_nearer_to_their_texts(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor
) -> None:
    losses: list[float] = []
    config = replace(CONFIG, steps=200, batch=16, rate=1e-2, keep_weight=0.01, patience=None)
    mapper = train(
        generator, latent_map, latents, config=config,
        on_step=lambda step, steps, terms: losses.append(sum(terms.values())),
    )  # fmt: skip
    assert isinstance(mapper, TextMapper)
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    # each picture gets its own step
    step = mapper.edit(latents, Projection(), RED).w_plus_step
    assert step is not None and step.std(dim=0).max() > 1e-4
    assert step.shape == latents.shape


@pytest.mark.parametrize("kind", ["text", "paper levels", "paper style"])
@pytest.mark.parametrize("after", [1, 5, 11])
def test_a_training_that_was_stopped_ends_in_the_same_numbers(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor, after: int, kind: str
) -> None:
    states: list[TrainingState] = []
    options: dict[str, Any] = {}
    if kind != "text":
        network = "style" if kind == "paper style" else "levels"
        config = replace(
            TrainingConfig.paper(network), steps=12, identity_weight=0.0, levels=("coarse",)
        )
        options = {"config": replace(config, clip_input="correct"), "prompts": RED}
    whole = train(
        generator, latent_map, latents, on_state=lambda s: states.append(copy.deepcopy(s)),
        **options,
    )  # fmt: skip
    assert [state.step for state in states] == list(range(1, CONFIG.steps + 1))
    resumed = train(generator, latent_map, latents, state=states[after - 1], **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_it_stops_when_held_out_latents_gain_nothing_and_returns_the_best(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor
) -> None:
    states: list[TrainingState] = []
    config = replace(CONFIG, steps=500, rate=0.02, check_every=2, patience=3)  # too fast
    mapper = train(
        generator, latent_map, latents, config=config,
        on_state=lambda s: states.append(copy.deepcopy(s)),
    )  # fmt: skip
    last = states[-1]
    assert last.step < 500 and last.since == 3
    for name, tensor in mapper.state_dict().items():
        assert torch.equal(tensor, last.best[name])
    # stopped is stopped: the same state given back trains no further
    again = train(generator, latent_map, latents, config=config, state=last)
    assert torch.equal(next(again.parameters()), next(mapper.parameters()))


class LongProjection(Projection):
    """A CLIP of 32 pixels, which the official input needs."""

    image_size = 32

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        return self.embed_images(pixels)


@pytest.mark.parametrize("network", ["levels", "single", "style"])
def test_the_losses_of_the_paper_preset_are_the_paper_s(network: Any) -> None:
    big = random_generator(
        StyleGAN2Config(64, (5, 4, 4, 4, 3), w_dim=WIDTH, z_dim=5, mapping_layers=2)
    )
    latents = big.truncate(big.sample_w(2, torch.Generator().manual_seed(1)))
    levels = ("coarse", "fine")  # medium is off
    config = replace(TrainingConfig.paper(network), steps=2, rate=0.0, levels=levels)
    embedder, figures = LongProjection(), list[dict[str, float]]()

    def face(images: Tensor) -> Tensor:
        return F.normalize(images.flatten(1)[:, :9], dim=1)

    start: list[dict[str, Tensor]] = []
    train_mapper(
        big, embedder, latents, RED, config, None, face,
        lambda step, steps, terms: figures.append(dict(terms)),
        on_state=lambda state: start.append(copy.deepcopy(state.weights)),
    )  # fmt: skip
    assert len(figures) == 2
    for step, found in enumerate(figures):
        random = torch.Generator().manual_seed(step)
        w_plus = latents[torch.randint(2, (2,), generator=random)]
        torch.randint(1, (2,), generator=random)  # which prompt
        sources = big.synthesis(big.affine(w_plus), "const")
        if network == "style":
            before = big.layout.split(big.affine(w_plus))
            kinds = [layer.kind for layer in big.layout]
            after = literal.moved_styles(start[0], kinds, before)
            size = sum(map(literal.mean_square, after, before))
            images = big.synthesis(torch.cat(after, dim=1), "const")
        else:
            after = (
                literal.moved_w_plus(start[0], levels, w_plus) if network == "levels"
                else w_plus + 0.1 * literal.network(start[0], 0, w_plus)
            )  # fmt: skip
            size = literal.mean_square(after, w_plus)
            noise = [torch.randn(2, 1, *hw, generator=random) for hw in big.noise_shapes()]
            images = big.synthesis(big.affine(after), noise)
        wanted = literal.terms(
            images, sources, size,
            lambda x: embedder.embed_pixels(literal.official_pixels(x, 32)),
            embedder.embed_texts([RED.target])[0], face,
        )  # fmt: skip
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-7), (step, name)


def test_the_paper_preset_has_the_paper_s_numbers() -> None:
    paper = {
        "loss": "target", "optimizer": "ranger", "steps": 50_000, "batch": 2, "rate": 0.5,
        "decay": False, "latent_weight": 0.8, "identity_weight": 0.1, "average": None,
        "clip_input": "paper", "resolution": "full", "precision": "float32", "patience": None,
        "levels": ("coarse", "medium", "fine"),
    }  # fmt: skip
    in_w_plus = {"norm": "layers", "edit_noise": "random"}
    in_style = {"norm": "channels", "edit_noise": "const"}
    for network, quirks in (("levels", in_w_plus), ("single", in_w_plus), ("style", in_style)):
        found = vars(TrainingConfig.paper(network))  # type: ignore[arg-type]
        wanted = {**paper, **quirks, "network": network}
        assert {name: found[name] for name in wanted} == wanted
    assert TrainingConfig.paper() == TrainingConfig.paper("levels")


def test_the_paper_preset_learns_with_ranger(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor
) -> None:
    states: list[TrainingState] = []
    config = replace(
        TrainingConfig.paper(), steps=1, levels=("coarse",), identity_weight=0.0,
        clip_input="correct",
    )  # fmt: skip
    train(
        generator, latent_map, latents, config=config, prompts=RED,
        on_state=lambda s: states.append(copy.deepcopy(s)),
    )  # fmt: skip
    (group,) = states[0].optimizer["param_groups"]
    assert (group["lr"], group["betas"], group["eps"]) == (0.5, (0.95, 0.999), 1e-5)
    assert all("slow" in kept for kept in states[0].optimizer["state"].values())
    # the first step of all: the rate times the gradient, whose rows have no mean
    start = new_mapper(generator, latents, Projection(), config, None).state_dict()
    moved = states[0].weights["networks.0.0.weight"] - start["networks.0.0.weight"]
    assert moved.abs().max() > 0
    torch.testing.assert_close(moved.mean(dim=1), torch.zeros(WIDTH), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", ["reach", "directional", "target"])
def test_a_training_of_many_prompts_is_its_equations(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor, loss: Any
) -> None:
    """Every term of every step, the average of the weights, the rate and the held-out loss."""
    prompts, embedder = [RED, BLUE, PromptPair("green", "a hat")], Projection()
    weights = {"goal": 2.5, "keep_weight": 0.4, "latent_weight": 0.3, "length_weight": 0.2}
    config = replace(
        CONFIG, loss=loss, steps=16, batch=5, rate=0.002, first=0.8, check_every=4, average=0.6,
        held_out=3, **weights,
    )  # fmt: skip
    figures, states = list[dict[str, float]](), list[TrainingState]()
    mapper = train(
        generator, latent_map, latents, config=config, prompts=prompts,
        on_step=lambda step, steps, terms: figures.append(dict(terms)),
        on_state=lambda s: states.append(copy.deepcopy(s)),
    )  # fmt: skip
    assert len(figures) == len(states) == config.steps

    texts = [embedder.embed_texts([each.target, each.neutral]) for each in prompts]
    wishes = [literal.Wish(t, n, **vars(latent_map)) for t, n in texts]

    def terms(network: dict[str, Tensor], picture: int, asked: int) -> dict[str, float]:
        one, wish = latents[picture], wishes[asked]
        u = literal.text_coordinates(network, latents, one, wish, config.first)
        both = torch.stack([one + literal.text_step(u, wish), one])
        after, before = embedder.embed_images(generator.synthesis(generator.affine(both)))
        return literal.text_terms(u, after, before, wish, loss, **weights)

    network = new_mapper(generator, latents, embedder, config, latent_map).state_dict()
    average = copy.deepcopy(network)
    learning, held = range(17), range(17, 20)
    best, lowest = average, float("inf")
    for step, (found, state) in enumerate(zip(figures, states, strict=True)):
        random = torch.Generator().manual_seed(step)
        pictures = torch.randint(len(learning), (config.batch,), generator=random).tolist()
        asked = torch.randint(len(prompts), (config.batch,), generator=random).tolist()
        each = [terms(network, *pair) for pair in zip(pictures, asked, strict=True)]
        means = {name: sum(one[name] for one in each) / len(each) for name in each[0]}
        assert {*found} - {"held out"} == {*means}
        for name, value in means.items():
            assert found[name] == pytest.approx(value, rel=2e-4, abs=1e-5), (step, name)
        # the rate falls in a line over the second half
        rate = 0.002 if step < 8 else 0.002 * (16 - step) / 8
        assert state.optimizer["param_groups"][0]["lr"] == pytest.approx(rate)
        network = state.weights
        share = min(config.average or 0.0, (1 + step) / (10 + step))
        average = {name: share * average[name] + (1 - share) * network[name] for name in average}
        for name, tensor in average.items():
            torch.testing.assert_close(state.average[name], tensor, rtol=1e-4, atol=1e-6)
        assert ("held out" in found) == (step % 4 == 3)
        if "held out" in found:
            losses = [sum(terms(state.average, i, i * 7919 % 3).values()) for i in held]
            assert found["held out"] == pytest.approx(sum(losses) / 3, rel=2e-4)
            if found["held out"] < lowest:
                best, lowest = state.average, found["held out"]
    for name, tensor in mapper.state_dict().items():
        assert torch.equal(tensor, best[name])


def test_a_gain_of_less_than_a_thousandth_is_none(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 0.9995, 0.9992, 0.99, 0.9895, 0.9891, 0.9890])
    monkeypatch.setattr(mapper_training._Task, "loss", lambda *_: next(losses))
    states: list[TrainingState] = []
    config = replace(CONFIG, steps=100, check_every=1, patience=3)
    mapper = train(
        generator, latent_map, latents, config=config,
        on_state=lambda s: states.append(copy.deepcopy(s)),
    )  # fmt: skip
    assert [state.since for state in states] == [0, 1, 2, 0, 1, 2, 3]
    # small gains are kept although they do not count
    assert [state.lowest for state in states][-2:] == [0.9891, 0.9890]
    assert torch.equal(next(mapper.parameters()), states[-1].average["layers.0.weight"])


def test_mappers_take_arcface_as_their_identity_network(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor
) -> None:
    seen: list[dict[str, float]] = []
    config = replace(CONFIG, steps=2, identity_weight=0.3)
    train(
        generator, latent_map, latents, config=config, identity=random_arcface(),
        on_step=lambda step, steps, terms: seen.append(dict(terms)),
    )  # fmt: skip
    assert all(0 < terms["identity"] < 0.6 for terms in seen)
    free = train(generator, latent_map, latents, config=replace(config, identity_weight=0.0))
    held = train(generator, latent_map, latents, config=config, identity=random_arcface())
    steps = [mapper.edit(latents, Projection(), RED).w_plus_step for mapper in (free, held)]
    assert not torch.equal(*steps)  # its gradient reaches the mapper


def test_what_cannot_be_trained_or_applied(
    generator: StyleGAN2, latent_map: LatentMap, latents: Tensor
) -> None:
    with pytest.raises(ArgumentError, match="at least one prompt"):
        train(generator, latent_map, latents, prompts=[])
    with pytest.raises(ArgumentError, match="hardly differ"):
        train(generator, latent_map, latents[:1].repeat(5, 1, 1))
    for wrong in ({"network": "foo"}, {"loss": "bar"}, {"batch": 0}, {"check_every": 0},
                  {"patience": 0}, {"average": 1.0}, {"goal": float("nan")}):  # fmt: skip
        with pytest.raises(ArgumentError):
            replace(CONFIG, **wrong)
    with pytest.raises(ArgumentError, match="learns one prompt, got 2"):
        train(generator, latent_map, latents, config=replace(CONFIG, network="levels"))
    with pytest.raises(ArgumentError, match="no identity network"):
        train(generator, latent_map, latents, config=replace(CONFIG, identity_weight=0.1))
    with pytest.raises(PromptError, match="sees no difference"):
        train(generator, latent_map, latents, prompts=[PromptPair("red", "red")])
    with pytest.raises(NonFiniteError, match="lower the rate"):
        train(generator, latent_map, latents, config=replace(CONFIG, rate=1e30, steps=9))
    mapper = TextMapper(NETWORK)
    with pytest.raises(ArgumentError, match="trained for another generator"):
        mapper.edit(torch.zeros(1, 4, WIDTH + 1), Projection(), RED)
    wide = TextMapper(replace(NETWORK, embedding=EMBEDDING + 1))
    with pytest.raises(ArgumentError, match="the CLIP that it was trained with"):
        wide.edit(torch.zeros(1, 4, WIDTH), Projection(), RED)


def test_ranger_is_its_three_parts() -> None:
    """Against a literal version, over enough steps for both kinds and two looks ahead."""
    random = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, generator=random)
    gradients = [torch.randn(4, 3, generator=random) for _ in range(14)]
    parameter = torch.nn.Parameter(start.clone())
    ranger = Ranger([parameter], lr=0.1)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        ranger.step()
    torch.testing.assert_close(parameter.detach(), literal_ranger(start, gradients, 0.1))


def literal_ranger(weights: Tensor, gradients: list[Tensor], rate: float) -> Tensor:
    """RAdam (1908.03265, algorithm 2, threshold 5), step for step, in float64."""
    first, second = 0.95, 0.999
    w, slow = weights.double(), weights.double()
    mean, square = torch.zeros_like(w), torch.zeros_like(w)
    longest = 2 / (1 - second) - 1
    for t, gradient in enumerate(gradients, start=1):
        g = gradient.double()
        g = g - g.mean(dim=1, keepdim=True)
        mean = first * mean + (1 - first) * g
        square = second * square + (1 - second) * g * g
        length = longest - 2 * t * second**t / (1 - second**t)
        if length > 5:
            r = ((length - 4) * (length - 2) * longest
                 / ((longest - 4) * (longest - 2) * length)) ** 0.5  # fmt: skip
            scale = (1 - second**t) ** 0.5 / (square.sqrt() + 1e-5)
            w = w - rate * r * mean / (1 - first**t) * scale
        else:
            w = w - rate * mean / (1 - first**t)
        if t % 6 == 0:
            slow = slow + 0.5 * (w - slow)
            w = slow
    return w.float()
