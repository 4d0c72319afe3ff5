"""The official arrays of global directions: fs3 on a generator's channels, its statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from styleclip.checkpoints import Bank, check_bank, load_bank, styleclip_official
from styleclip.editing.directions import DirectionConfig, channel_step
from styleclip.editing.relevance import RelevanceConfig, measure_relevance, style_statistics
from styleclip.errors import ArgumentError, CheckpointError, CheckpointWarning
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.reference.networks import VECTORS, expected

LAYOUT = StyleGAN2Config(32, (24, 24, 16, 8)).layout()  # of the vectors


class Projection:
    """An embedder: one fixed linear map of the pixels, of unit length."""

    image_size = 16

    def embed_images(self, images: Tensor) -> Tensor:
        random = torch.Generator().manual_seed(7)
        pixels = images.flatten(1)
        weights = torch.randn(pixels.shape[1], 7, generator=random)
        return torch.nn.functional.normalize(pixels @ weights, dim=1)

    embed_pixels = embed_images

    def embed_texts(self, texts: Any) -> Tensor:
        raise NotImplementedError


def new_generator(seed: int) -> StyleGAN2:
    config = StyleGAN2Config(16, (6, 6, 4), w_dim=8, z_dim=8, mapping_layers=2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = StyleGAN2(config).eval().requires_grad_(False)
        for name, parameter in generator.named_parameters():
            if "affine.bias" in name:  # trained networks have means of their own
                parameter.add_(torch.randn(parameter.shape))
    return generator


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return new_generator(0)


@pytest.fixture(scope="module")
def exact(generator: StyleGAN2) -> Any:
    config = RelevanceConfig(images=3, cosine=None, resolution="full")
    return measure_relevance(generator, Projection(), config)


@pytest.fixture
def fs3(exact: Any, generator: StyleGAN2, tmp_path: Path) -> Path:
    path = tmp_path / "fs3.npy"
    np.save(path, exact.matrix[generator.layout.conv_columns()].numpy())
    return path


def test_the_official_direction_from_the_official_arrays() -> None:
    values = expected("global-direction")
    stated = json.loads((VECTORS / "global-direction.json").read_text())
    assert [layer.channels for layer in LAYOUT] == stated["widths"]
    matrix = styleclip_official.relevance_matrix(values["relevance"].float(), LAYOUT, "fs3.npy")
    lists = [list(part.numpy()) for part in values["style_std"].split(stated["widths"])]
    mean, std = styleclip_official.style_statistics([lists, lists], LAYOUT, "S_mean_std")
    assert torch.equal(std, values["style_std"].float()) and torch.equal(mean, std)
    zeros = torch.zeros(len(std))
    bank = Bank(matrix, mean, std, zeros, zeros)
    for beta in (0.1, 0.2):
        config = DirectionConfig(beta, strength=1.0)
        step = channel_step(bank, values["text_direction"].float(), config)
        wanted = values[f"direction_beta{beta}"].float()
        torch.testing.assert_close(step, wanted, rtol=0, atol=1e-5)  # float32 of float64
        assert (step != 0).sum() == values[f"num_channels_beta{beta}"]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_an_exact_relevance_comes_back(
    kind: Any, exact: Any, generator: StyleGAN2, fs3: Path
) -> None:
    np.save(fs3, np.load(fs3).astype(kind))
    with pytest.warns(CheckpointWarning, match="does not say which generator and CLIP"):
        found = load_bank(fs3, generator)
    atol = 1e-3 if kind == np.float16 else 0
    torch.testing.assert_close(found.matrix, exact.matrix, rtol=0, atol=atol)
    # without S_mean_std they are measured here, as ever
    assert torch.equal(found.std, exact.std) and torch.equal(found.mean, exact.mean)
    assert (found.generator_hash, found.clip_hash) == ("", "")
    check_bank(found, {"generator": "a", "clip": "b"}, "any")  # nothing to compare


def test_fewer_resolutions_leave_the_rest_at_zero(
    exact: Any, generator: StyleGAN2, fs3: Path
) -> None:
    until_8 = 6 + 6 + 6  # 4.conv, 8.up, 8.conv
    np.save(fs3, np.load(fs3)[:until_8])
    with pytest.warns(CheckpointWarning):
        found = load_bank(fs3, generator)
    kept = generator.layout.columns(lambda layer: layer.resolution <= 8)
    assert torch.equal(found.matrix[kept], exact.matrix[kept])
    assert found.matrix[~kept].eq(0).all()


def test_the_public_sizes_follow_from_the_layout() -> None:
    """5,376 rows go up to 128 pixels of a 1024 generator, 6,048 to its end."""
    layout = StyleGAN2Config.config_f(1024).layout()
    for rows, last in ((5376, 128), (6048, 1024)):
        angles = torch.arange(rows) / rows
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        matrix = styleclip_official.relevance_matrix(directions, layout, "fs3.npy")
        assert matrix.shape == (9088, 2)
        measured = layout.columns(lambda la, last=last: la.kind == "conv" and la.resolution <= last)
        assert torch.equal(matrix.any(dim=1), measured)
        assert torch.equal(matrix[measured], directions)


def test_channels_that_changed_nothing_are_zero(generator: StyleGAN2, fs3: Path) -> None:
    rows = np.load(fs3)
    rows[3] = np.nan
    np.save(fs3, rows)
    with pytest.warns(CheckpointWarning):
        found = load_bank(fs3, generator)
    assert found.matrix[3].eq(0).all() and found.matrix.isfinite().all()


def test_without_a_generator_it_asks_for_one(fs3: Path) -> None:
    with pytest.raises(ArgumentError, match=r"load_bank\(path, generator\)"):
        load_bank(fs3)


# --- what is refused ----------------------------------------------------------


def test_a_row_gone_a_row_extra_an_axis_less(generator: StyleGAN2, fs3: Path) -> None:
    rows = np.load(fs3)
    for wrong in (rows[:-1], np.concatenate([rows, rows[:1]]), rows[:, 0], rows[None]):
        np.save(fs3, wrong)
        with pytest.raises(CheckpointError, match=r"18 \(to 8 pixels\), 28 \(to 16 pixels\) rows"):
            load_bank(fs3, generator)


def test_rows_that_are_no_directions(generator: StyleGAN2, fs3: Path) -> None:
    rows = np.load(fs3)
    np.save(fs3, 2 * rows)
    with pytest.raises(CheckpointError, match="not of unit length"):
        load_bank(fs3, generator)
    rows[3, 2] = np.nan
    np.save(fs3, rows)
    with pytest.raises(CheckpointError, match="not of unit length"):
        load_bank(fs3, generator)


def layers(generator: StyleGAN2, values: Tensor) -> list[Any]:
    return [part.numpy() for part in generator.layout.split(values)]


def test_statistics_a_layer_gone_extra_or_misshapen(generator: StyleGAN2) -> None:
    layout = generator.layout
    mean, std = style_statistics(generator, 100)
    means, stds = layers(generator, mean), layers(generator, std)
    found = styleclip_official.style_statistics((means, stds), layout, "x")
    assert torch.equal(found[0], mean) and torch.equal(found[1], std)
    for wrong in (stds[:-1], [*stds, stds[0]], [*stds[:-1], stds[-1][1:]]):
        with pytest.raises(CheckpointError, match="this generator has 8 with 44"):
            styleclip_official.style_statistics([means, wrong], layout, "x")


def test_statistics_that_are_none(generator: StyleGAN2) -> None:
    std = layers(generator, torch.ones(generator.layout.size))
    names = ["a"] * len(std)
    for wrong in ([std], [std, std, std], [names, std], {"mean": std}, 3, None, [std, 3]):
        with pytest.raises(CheckpointError, match="two lists of arrays"):
            styleclip_official.style_statistics(wrong, generator.layout, "x")
    for value in (-1.0, float("nan")):
        wrong = layers(generator, torch.full((generator.layout.size,), value))
        with pytest.raises(CheckpointError, match="no finite numbers, or negative"):
            styleclip_official.style_statistics([std, wrong], generator.layout, "x")
