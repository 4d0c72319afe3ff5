"""The relevance of style channels: against a literal scan, its stopping, its resuming."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.editing import relevance as measuring
from styleclip.editing import scan as scanning
from styleclip.editing import slopes as sloping
from styleclip.editing.directions import DirectionConfig, channel_step
from styleclip.editing.latent_map import LatentMap, LatentMapConfig
from styleclip.editing.relevance import (
    PromptRelevanceConfig,
    Relevance,
    RelevanceConfig,
    _pictures,
    batch_within,
    bytes_per_picture,
    measure_relevance,
    prompt_relevance,
    relevance_of_map,
    style_statistics,
)
from styleclip.editing.scan import Guide, Scan, in_common, known, row_means
from styleclip.editing.slopes import (
    _length,
    embedding_slopes,
    principal_directions,
    prompt_response,
)
from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.reference.networks import expected, random_generator
from tests.reference.relevance import exact_relevance

CONFIG = RelevanceConfig(
    images=6, group=2, samples=500, cosine=None, batch=5, components=6, resolution="full"
)


class Projection:
    """A fake CLIP: a fixed random matrix on 8 x 8 pixels, bent a little."""

    image_size = 8

    def __init__(self, width: int = 7) -> None:
        random = torch.Generator().manual_seed(3)
        self.matrix = torch.randn(3 * 64, width, generator=random)

    def embed_images(self, images: Tensor) -> Tensor:
        pixels = F.adaptive_avg_pool2d(images, 8).flatten(1)
        return F.normalize(torch.tanh(pixels @ self.matrix.to(images) / 8), dim=1)

    embed_pixels = embed_images

    def embed_texts(self, texts: Any) -> Tensor:
        raise NotImplementedError


@pytest.fixture
def generator() -> StyleGAN2:
    small = StyleGAN2Config(16, (4, 5, 3), w_dim=6, z_dim=5, mapping_layers=2)
    return random_generator(small).double()


def test_statistics_are_those_of_all_styles_at_once(generator: StyleGAN2) -> None:
    mean, std = style_statistics(generator, 250, seed=9, truncation=0.6, cutoff=3, chunk=60)
    random = torch.Generator().manual_seed(9)
    parts = [generator.sample_w(n, random) for n in (60, 60, 60, 60, 10)]
    styles = generator.affine(generator.truncate(torch.cat(parts), 0.6, 3))
    torch.testing.assert_close(mean, styles.mean(dim=0).float())
    torch.testing.assert_close(std, styles.std(dim=0, correction=0).float())


def test_the_scan_is_the_literal_one(generator: StyleGAN2) -> None:
    # nothing shared, one picture at a time, every other channel as its picture has it
    embedder = Projection()
    found = measure_relevance(generator, embedder, CONFIG)
    styles = _pictures(generator, CONFIG)
    rows, lengths = exact_relevance(
        generator, embedder, styles, found.mean.double(), found.std.double(), CONFIG.sigma
    )
    torch.testing.assert_close(found.matrix.double(), rows, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.effect.double(), lengths, rtol=1e-5, atol=1e-6)
    conv = generator.layout.conv_columns()
    assert found.images[conv].eq(6).all()
    assert found.images[~conv].eq(0).all()


@pytest.mark.parametrize("method", ["exact", "guided", "gradient", "samples"])
@pytest.mark.parametrize("batch", [1, 3, 5, 1000])
def test_so_many_pictures_are_rendered_at_once(
    generator: StyleGAN2, batch: int, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of the memory holds however they are measured, and changes no number."""
    few = partial(LatentMapConfig, samples=40)
    monkeypatch.setattr(measuring, "LatentMapConfig", few)
    generator = generator if method != "samples" else generator.float()
    config = replace(CONFIG, method="exact" if method == "guided" else method, group=3)
    if method == "guided":
        config = replace(config, cosine=0.999)
    whole = measure_relevance(generator, Projection(), config)
    seen: list[int] = []

    class Counting(Projection):
        def embed_images(self, images: Tensor) -> Tensor:
            seen.append(len(images))
            return super().embed_images(images)

    begin = generator.prefix

    def counted(style: Tensor, *rest: Any) -> Any:
        seen.append(len(style))
        return begin(style, *rest)

    monkeypatch.setattr(generator, "prefix", counted)
    found = measure_relevance(generator, Counting(), replace(config, batch=batch))
    assert max(seen) <= batch
    assert batch == 1000 or max(seen) >= min(batch - 1, 3)  # and it is made use of
    torch.testing.assert_close(found.matrix, whole.matrix, rtol=0, atol=1e-6)


def test_a_scan_goes_on_with_another_bound_of_the_memory(generator: StyleGAN2) -> None:
    states: list[Scan] = []
    whole = measure_relevance(
        generator, Projection(), replace(CONFIG, batch=12),  # three channels at once
        on_scan=lambda scan: states.append(copy.deepcopy(scan)),
    )  # fmt: skip
    other = replace(CONFIG, batch=20)
    for state in states[:4]:
        found = measure_relevance(generator, Projection(), other, scan=state)
        torch.testing.assert_close(found.matrix, whole.matrix, rtol=0, atol=1e-6)
        assert torch.equal(found.images, whole.images)


def test_a_scan_that_was_stopped_ends_in_the_same_numbers(generator: StyleGAN2) -> None:
    config = replace(CONFIG, cosine=0.9)
    states: list[Scan] = []
    whole = measure_relevance(
        generator, Projection(), config, on_scan=lambda scan: states.append(copy.deepcopy(scan))
    )
    # after every batch of slopes, then one channel up and down in a group's two pictures
    looked = {len(state.slopes) for state in states}
    assert max(looked) == 6 and len(looked) > 1
    assert len(states) == len(looked) + whole.images.sum() / 2
    assert 2 < whole.images[whole.images > 0].double().mean() < 6  # some stopped early
    for i in (0, 1, 2, 9, 20, len(states) - 1):
        again: list[Scan] = []
        resumed = measure_relevance(
            generator, Projection(), config, scan=copy.deepcopy(states[i]), on_scan=again.append
        )
        assert len(again) == len(states) - 1 - i  # what was measured is not measured again
        assert torch.equal(resumed.matrix, whole.matrix)
        assert torch.equal(resumed.effect, whole.effect)
        assert torch.equal(resumed.images, whole.images)


def test_a_measurement_by_gradient_that_was_stopped_ends_in_the_same_numbers(
    generator: StyleGAN2,
) -> None:
    config = replace(CONFIG, method="gradient")
    states: list[Scan] = []
    whole = measure_relevance(
        generator, Projection(), config, on_scan=lambda scan: states.append(copy.deepcopy(scan))
    )
    assert len(states) == 3
    for done, state in enumerate(states, start=1):
        again: list[Scan] = []
        resumed = measure_relevance(
            generator, Projection(), config, scan=state, on_scan=again.append
        )
        assert len(again) == 3 - done  # what was measured is not measured again
        assert torch.equal(resumed.matrix, whole.matrix)
        assert torch.equal(resumed.effect, whole.effect)
        assert torch.equal(resumed.images, whole.images)


@pytest.mark.parametrize("method", ["exact", "gradient"])
def test_a_scan_goes_on_where_principal_directions_have_other_signs(
    generator: StyleGAN2, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as on another device: their signs are an accident of how they are computed
    config = replace(CONFIG, method=method, images=12, cosine=0.95)
    states: list[Scan] = []
    whole = measure_relevance(
        generator, Projection(), config, on_scan=lambda scan: states.append(copy.deepcopy(scan))
    )

    def turned(embeddings: Tensor, components: int) -> Tensor:
        found = principal_directions(embeddings, components)
        return found * (-1.0) ** torch.arange(len(found)).to(found)[:, None]

    monkeypatch.setattr(scanning, "principal_directions", turned)
    for state in (states[0], states[len(states) // 2]):
        found = measure_relevance(generator, Projection(), config, scan=copy.deepcopy(state))
        assert torch.equal(found.matrix, whole.matrix)


def test_channels_whose_direction_is_known_take_no_more_images(generator: StyleGAN2) -> None:
    config = replace(CONFIG, images=40, group=4)
    whole = measure_relevance(generator, Projection(), config)
    early = measure_relevance(generator, Projection(), replace(config, cosine=0.95))
    conv = generator.layout.conv_columns()
    assert early.images[conv].float().mean() < 30
    cosine = (early.matrix * whole.matrix).sum(dim=1)[conv]
    assert cosine.mean() > 0.95


def guided_scan(
    moved: Tensor, slopes: Tensor, basis: Tensor, seen: list[int], group: int
) -> tuple[Scan, Guide]:
    """What is known after the first ``seen`` [S] pictures of u [S,N,E] and g [N,S,K]."""
    scan, guide = Scan.begin(*moved[:, 0].shape), Guide.of(basis, slopes, group)
    for c, n in enumerate(seen):
        for first in range(0, n, group):
            pictures = torch.arange(first, min(first + group, n))
            u = moved[c : c + 1, pictures]
            scan.change[c] += u[0].sum(dim=0)
            scan.along[c] += guide.along(u, pictures, torch.tensor([c]))[0]
            scan.images[c] += len(pictures)
    return scan, guide


def test_a_guided_mean_is_the_control_variate_written_out() -> None:
    random = torch.Generator().manual_seed(7)
    moved = F.normalize(torch.randn(2, 11, 6, generator=random, dtype=torch.float64) + 1, dim=2)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=random, dtype=torch.float64))[0][:4]
    slopes = F.normalize(
        moved.transpose(0, 1) @ basis.t()
        + 0.1 * torch.randn(11, 2, 4, generator=random, dtype=torch.float64), dim=2
    )  # fmt: skip
    scan, guide = guided_scan(moved, slopes, basis, [5, 11], group=5)
    mean, scatter = row_means(scan, guide)
    for c, n in enumerate((5, 11)):
        u, g = moved[c, :n], slopes[:n, c] @ basis
        apart, slope = u - u.mean(dim=0), g - g.mean(dim=0)
        share = (apart * slope).sum() / slope.square().sum()
        assert 0 < share < 1
        whole = slopes[:, c].mean(dim=0) @ basis
        torch.testing.assert_close(mean[c], u.mean(dim=0) + share * (whole - g.mean(dim=0)))
        left = (apart - share * slope).square().sum() / (n - 2)
        torch.testing.assert_close(scatter[c], left)
    # with all pictures the slopes have nothing to say
    torch.testing.assert_close(mean[1], moved[1].mean(dim=0), rtol=0, atol=1e-12)


def test_slopes_that_say_nothing_do_no_harm() -> None:
    random = torch.Generator().manual_seed(3)
    moved = F.normalize(torch.randn(40, 60, 8, generator=random, dtype=torch.float64) + 0.7, dim=2)
    slopes = F.normalize(torch.randn(60, 40, 8, generator=random, dtype=torch.float64), dim=2)
    basis = torch.eye(8, dtype=torch.float64)
    scan, guide = guided_scan(moved, slopes, basis, [20] * 40, group=10)
    whole = moved.mean(dim=1)
    plain, led = (
        F.cosine_similarity(row_means(scan, each)[0], whole).mean() for each in (None, guide)
    )
    assert led > plain - 2e-3
    ratio = row_means(scan, guide)[1] / row_means(scan)[1]
    assert 0.9 < ratio.mean() < 1.1


def test_guided_channels_need_fewer_images_for_the_same_rows(generator: StyleGAN2) -> None:
    config = replace(CONFIG, images=40, group=4, components=7)
    whole = measure_relevance(generator, Projection(), config)
    led = measure_relevance(generator, Projection(), replace(config, cosine=0.98))
    alone = measure_relevance(generator, Projection(), replace(config, cosine=0.98, guided=False))
    conv = generator.layout.conv_columns()
    count, plain = (each.images[conv].double().mean() for each in (led, alone))
    assert count < 0.8 * plain
    for each in (led, alone):
        assert (each.matrix * whole.matrix).sum(dim=1)[conv].mean() > 0.98


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_slope_that_is_no_number_does_not_spoil_its_channel(
    generator: StyleGAN2, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    def slopes(*arguments: Any) -> Tensor:
        found = embedding_slopes(*arguments)
        found[:, 0] = bad
        return found

    monkeypatch.setattr(scanning, "embedding_slopes", slopes)
    config = replace(CONFIG, images=40, group=4, cosine=0.98)
    found = measure_relevance(generator, Projection(), config)
    assert found.matrix.isfinite().all()
    assert (found.images[generator.layout.conv_columns()] < config.images).any()


def test_the_stopping_rule_keeps_its_word() -> None:
    # unit vectors around a mean: when the rule is content, the mean of all is as near as promised
    random = torch.Generator().manual_seed(0)
    cosines = []
    for spread in (0.05, 0.1, 0.2, 0.3):
        for _ in range(40):
            middle = F.normalize(torch.randn(32, generator=random, dtype=torch.float64), dim=0)
            noise = torch.randn(100, 32, generator=random, dtype=torch.float64)
            units = F.normalize(middle + spread * noise, dim=1)
            for n in range(5, 101, 5):
                state = Scan.of(units[:n].sum(0)[None], torch.ones(1), torch.tensor([n]))
                if bool(known(state, 0.97, 100)):
                    break
            assert n < 100 or spread > 0.1
            cosines.append(F.cosine_similarity(units[:n].sum(0), units.sum(0), dim=0))
    assert torch.stack(cosines).mean() > 0.97
    assert torch.stack(cosines).min() > 0.9


def test_a_channel_that_does_nothing_in_common_is_measured_to_the_end() -> None:
    random = torch.Generator().manual_seed(1)
    units = F.normalize(torch.randn(100, 32, generator=random, dtype=torch.float64), dim=1)
    state = Scan.of(units[:50].sum(0)[None], torch.ones(1), torch.tensor([50]))
    assert not known(state, 0.98, 100)
    assert known(Scan.of(units.sum(0)[None], torch.ones(1), torch.tensor([100])), 0.98, 100)


def test_what_is_known_of_a_sample_is_more_in_a_small_population() -> None:
    # ten unit vectors whose unbiased r^2 is a half: of many more the mean turns by a cosine of
    # 0.953, of eleven by one of 0.995
    change = torch.zeros(1, 4, dtype=torch.float64)
    change[0, 0] = 10 * ((0.5 * 9 + 1) / 10) ** 0.5
    state = Scan.of(change, torch.ones(1), torch.tensor([10]))
    assert known(state, 0.98, 11)
    assert not known(state, 0.98, 10_000)
    assert known(state, 0.95, 10_000)


def test_the_pictures_are_none_of_those_of_the_statistics(generator: StyleGAN2) -> None:
    random = torch.Generator().manual_seed(CONFIG.seed)
    w = generator.sample_w(CONFIG.images, random)
    counted = generator.affine(generator.truncate(w, CONFIG.truncation))
    apart = (_pictures(generator, CONFIG)[:, None] - counted).abs().amax(dim=2)
    assert apart.min() > 1e-3


def test_the_moved_pictures_are_truncated_as_they_are_asked_for(generator: StyleGAN2) -> None:
    for cutoff in (None, 2):
        config = replace(CONFIG, truncation=0.3, cutoff=cutoff)
        random = torch.Generator().manual_seed(config.seed + 1)
        w = generator.sample_w(config.images, random)
        wanted = generator.affine(generator.truncate(w, 0.3, cutoff))
        assert torch.equal(_pictures(generator, config), wanted)


def test_a_measurement_by_samples_that_was_stopped_ends_in_the_same_numbers(
    generator: StyleGAN2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "LatentMapConfig", partial(LatentMapConfig, samples=40))
    generator, config = generator.float(), replace(CONFIG, method="samples", batch=16)
    states: list[Scan] = []
    whole = measure_relevance(
        generator, Projection(), config, on_scan=lambda scan: states.append(copy.deepcopy(scan))
    )
    assert [len(state.change) for state in states] == [16, 32, 40]
    for done, state in enumerate(states, start=1):
        again: list[Scan] = []
        resumed = measure_relevance(
            generator, Projection(), config, scan=state, on_scan=again.append
        )
        assert len(again) == 3 - done  # what was seen is not looked at again
        assert torch.equal(resumed.matrix, whole.matrix)


@pytest.mark.parametrize("method", ["exact", "gradient", "samples"])
def test_a_small_memory_makes_the_same_bank(
    generator: StyleGAN2, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "LatentMapConfig", partial(LatentMapConfig, samples=40))
    generator = generator if method != "samples" else generator.float()
    config = replace(CONFIG, method=method)
    each = bytes_per_picture(generator, Projection(), config)
    batches = [batch_within(n * each, generator, Projection(), config) for n in (2, 50)]
    assert batches == [2, 50]
    banks = [
        measure_relevance(generator, Projection(), replace(config, batch=batch))
        for batch in batches
    ]
    for name in ("matrix", "mean", "std", "effect"):
        small, large = (getattr(bank, name) for bank in banks)
        torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-6)
    if method != "samples":  # in double precision all that a file keeps is the same
        assert torch.equal(*(bank.matrix.half() for bank in banks))
    with pytest.raises(ArgumentError, match="one picture at a time needs about"):
        batch_within(each - 1, generator, Projection(), config)


def test_a_memory_has_room_for_the_slopes_too(generator: StyleGAN2) -> None:
    config = replace(CONFIG, cosine=0.95)
    moved, sloped = (
        bytes_per_picture(generator, Projection(), each)
        for each in (config, replace(config, method="gradient"))
    )
    assert sloped > moved
    alone = replace(config, guided=False)
    assert batch_within(moved, generator, Projection(), alone) == 1
    for memory in (moved, sloped):
        with pytest.raises(ArgumentError, match="one picture at a time needs about"):
            batch_within(memory, generator, Projection(), config)
    # and what is kept of all pictures is no room for others
    few, many = (
        batch_within(100 * moved, generator, Projection(), replace(config, images=images))
        for images in (6, 600)
    )
    assert many < few < 100
    kept = 600 * generator.layout.size * config.components * 2  # the slopes, half precision
    assert many * moved + kept <= 100 * moved


@pytest.mark.parametrize("method", ["exact", "gradient"])
def test_layers_that_clip_is_not_shown_are_left_out(generator: StyleGAN2, method: Any) -> None:
    config = replace(CONFIG, method=method, resolution="enough")  # 8 of 16 pixels
    found = measure_relevance(generator, Projection(), config)
    shown = generator.layout.columns(lambda layer: layer.resolution <= 8 and layer.kind == "conv")
    assert found.images[shown].eq(6).all() and found.images[~shown].eq(0).all()
    assert found.matrix[shown].norm(dim=1).gt(0.99).all() and found.matrix[~shown].eq(0).all()


@pytest.mark.parametrize("method", ["exact", "gradient"])
def test_to_rgb_layers_are_measured_if_they_are_asked_for(
    generator: StyleGAN2, method: Any
) -> None:
    config = replace(CONFIG, method=method)
    plain = measure_relevance(generator, Projection(), config)
    found = measure_relevance(generator, Projection(), replace(config, rgb=True))
    conv = generator.layout.conv_columns()
    torch.testing.assert_close(found.matrix[conv], plain.matrix[conv])
    assert plain.matrix[~conv].eq(0).all()
    assert found.matrix[~conv].norm(dim=1).gt(0.99).all() and found.images.eq(6).all()


def test_a_prompt_is_judged_in_truncated_pictures(generator: StyleGAN2) -> None:
    assert PromptRelevanceConfig().truncation == RelevanceConfig().truncation == 0.7
    direction = F.normalize(torch.randn(7, generator=torch.Generator().manual_seed(9)), dim=0)
    config = PromptRelevanceConfig(images=4, samples=100, truncation=0.3, resolution="full")
    found = prompt_relevance(generator, Projection(), direction, config)
    mean, std = style_statistics(generator, 100, config.seed, 0.3)
    assert torch.equal(found.mean, mean) and torch.equal(found.std, std)
    styles = _pictures(generator, replace(CONFIG, images=4, truncation=0.3))
    response = prompt_response(
        generator, Projection(), styles, direction.double(), config.probes, config.seed, 16
    )
    conv = generator.layout.conv_columns()
    torch.testing.assert_close(
        (found.matrix @ direction)[conv], response[conv].float(), rtol=1e-4, atol=1e-5
    )


def test_probes_are_unit_and_across_the_prompt(
    generator: StyleGAN2, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tensor] = []

    def slopes(*arguments: Any) -> Tensor:
        asked.append(arguments[3])
        return embedding_slopes(*arguments)

    monkeypatch.setattr(sloping, "embedding_slopes", slopes)
    direction = F.normalize(torch.arange(1.0, 8.0, dtype=torch.float64), dim=0)
    styles = _pictures(generator, CONFIG)
    prompt_response(generator, Projection(), styles, direction, 5, 0, 16)
    directions = asked[0]  # [1 + P,E]
    assert torch.equal(directions[0], direction) and len(directions) == 6
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(6, dtype=torch.float64))
    assert (directions[1:] @ direction).abs().max() < 1e-12


def test_probes_that_span_the_rest_give_the_length() -> None:
    """|x|^2 = <x, d>^2 + (E - 1) mean <x, r_p>^2 where the probes are a basis of what d leaves."""
    random = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(7, 7, generator=random, dtype=torch.float64))
    x = torch.randn(7, 11, generator=random, dtype=torch.float64)
    torch.testing.assert_close(_length(basis.t() @ x, 7), x.norm(dim=0))


def test_the_official_arithmetic() -> None:
    values = expected("global-direction")
    # [channel, image, (-, +), E]: features as the network gave them
    down, up = F.normalize(values["image_features"], dim=-1).unbind(2)
    turned, _ = in_common(up - down)
    torch.testing.assert_close(
        F.normalize(turned.sum(dim=1), dim=1), values["relevance"], rtol=0, atol=1e-6
    )


def test_slopes_are_those_of_finite_differences(generator: StyleGAN2) -> None:
    embedder = Projection()
    styles = _pictures(generator, replace(CONFIG, images=2))
    directions = torch.eye(7, dtype=torch.float64)[:3]
    slopes = embedding_slopes(generator, embedder, styles, directions, 16)
    for c in (0, 5, 9, 20):
        step = torch.zeros_like(styles)
        step[:, c] = 1e-6
        up, down = (
            embedder.embed_images(generator.synthesis(styles + sign * step)) for sign in (1, -1)
        )
        expected_slope = (up - down) @ directions.t() / 2e-6
        torch.testing.assert_close(slopes[:, :, c], expected_slope.t(), rtol=1e-4, atol=1e-8)


def test_small_moves_and_gradients_agree(generator: StyleGAN2) -> None:
    """With a tiny k around the pictures' own values, the exact scan is the gradient."""
    config = replace(CONFIG, method="gradient", images=12, components=7)
    found = measure_relevance(generator, Projection(), config)
    styles = _pictures(generator, config)
    embedder = Projection()
    conv = generator.layout.conv_columns()
    for c in conv.nonzero().flatten().tolist()[::4]:
        step = torch.zeros_like(styles)
        step[:, c] = 1e-6
        up, down = (
            embedder.embed_images(generator.synthesis(styles + sign * step)) for sign in (1, -1)
        )
        row = F.normalize(F.normalize(up - down, dim=1).mean(dim=0), dim=0)
        assert (found.matrix[c].double() * row).sum() > 0.9999
    assert found.matrix[~conv].eq(0).all()


def test_one_prompt_s_answer_is_the_gradient_s(generator: StyleGAN2) -> None:
    """With many probes the estimated lengths are the true ones; with few they are near."""
    config = PromptRelevanceConfig(images=12, probes=400, samples=300, resolution="full")
    direction = F.normalize(torch.randn(7, generator=torch.Generator().manual_seed(9)), dim=0)
    found = prompt_relevance(generator, Projection(), direction, config)
    by_gradient = measure_relevance(
        generator, Projection(), replace(CONFIG, method="gradient", images=12, components=7)
    )
    conv = generator.layout.conv_columns()
    response, wanted = found.matrix @ direction, by_gradient.matrix @ direction
    torch.testing.assert_close(response[conv], wanted[conv], rtol=0, atol=0.1)
    assert torch.corrcoef(torch.stack([response[conv], wanted[conv]]))[0, 1] > 0.995
    assert response[~conv].eq(0).all() and response.abs().max() <= 1
    few = prompt_relevance(generator, Projection(), direction, replace(config, probes=6))
    pair = torch.stack([(few.matrix @ direction)[conv], wanted[conv]])
    assert torch.corrcoef(pair)[0, 1] > 0.85
    # nothing is said of what lies across the prompt
    across = torch.randn(7)
    across -= (across @ direction) * direction
    assert (found.matrix @ across).abs().max() < 1e-6


def test_principal_directions_are_unit_and_strongest_first() -> None:
    random = torch.Generator().manual_seed(4)
    scale = torch.tensor([0.1, 3.0, 1.0, 0.0])
    points = torch.randn(500, 4, generator=random) * scale + 5
    found = principal_directions(points, 2)
    torch.testing.assert_close(found.abs(), torch.eye(4)[[1, 2]], rtol=0, atol=0.1)
    assert principal_directions(points[:3], 9).shape == (2, 4)


def test_progress_is_told_of_slopes_too_and_ends_at_its_end(generator: StyleGAN2) -> None:
    seen: list[tuple[int, int]] = []
    measure_relevance(
        generator, Projection(), replace(CONFIG, cosine=0.9, batch=1),
        on_step=lambda step, steps, _: seen.append((step, steps)),
    )  # fmt: skip
    conv = int(generator.layout.conv_columns().sum())
    assert seen[:6] == [(done, 6) for done in range(1, 7)]
    assert seen[-1] == (conv * 6, conv * 6)
    assert {steps for _, steps in seen[6:]} == {conv * 6}
    assert [step for step, _ in seen[6:]] == sorted(step for step, _ in seen[6:])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"images": 0}, "images"), ({"sigma": 0.0}, "sigma"), ({"cosine": 1.0}, "cosine"),
     ({"samples": 1}, "samples"), ({"batch": 0}, "batch"), ({"truncation": 0.0}, "no variety"),
     ({"method": "gradient", "images": 1}, "at least 2 images"),
     ({"sigma": math.nan}, "sigma must be a finite number"),
     ({"sigma": math.inf}, "sigma must be a finite number"),
     ({"truncation": math.nan}, "truncation must be a finite number"),
     ({"method": "instant"}, "choose from exact, gradient, samples"),
     ({"resolution": "half"}, "choose from full, enough")],
)  # fmt: skip
def test_wrong_numbers_are_explained(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        replace(CONFIG, **wrong)


def test_relevance_keeps_what_it_was_measured_with(generator: StyleGAN2) -> None:
    found = measure_relevance(generator, Projection(), CONFIG)
    assert isinstance(found, Relevance)
    assert RelevanceConfig(**found.config) == CONFIG


def test_by_samples_a_step_is_that_of_the_latent_map(generator: StyleGAN2) -> None:
    """The step in S of all channels is, up to its length, what the affine layers make of d A."""
    mean, std = style_statistics(generator, 400)
    random = torch.Generator().manual_seed(2)
    matrix = torch.randn(7, 6, generator=random, dtype=torch.float64)
    found = relevance_of_map(generator, LatentMap(matrix, matrix[:, 0], matrix), mean, std, CONFIG)
    direction = F.normalize(torch.randn(7, generator=random), dim=0)
    step = channel_step(found, direction, DirectionConfig(threshold=0.0, strength=1.0)).double()
    w_plus = (direction.double() @ matrix).expand(1, generator.rows, -1)
    moved = (generator.affine(w_plus) - generator.affine(torch.zeros_like(w_plus)))[0]
    assert F.cosine_similarity(step, moved, dim=0) > 0.9999
    assert found.matrix.norm(dim=1).max() == pytest.approx(1.0)


def test_measuring_by_samples_needs_no_scan(generator: StyleGAN2) -> None:
    found = measure_relevance(generator.float(), Projection(), replace(CONFIG, method="samples"))
    assert found.matrix.norm(dim=1).min() > 0
    assert found.config["method"] == "samples"
