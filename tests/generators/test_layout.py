"""Whose columns are whose: widths, rows, and the round trip of split and join."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2Config

widths = st.lists(st.integers(1, 9), min_size=2, max_size=9)


@pytest.mark.parametrize(
    ("resolution", "layers", "size", "conv_size", "rows"),
    [(1024, 26, 9088, 6048, 18), (512, 23, 8960, 5952, 16), (256, 20, 8704, 5760, 14)],
)  # sizes from the StyleSpace paper (1024) and from 15 x 512 + 3 x 256 + ... less the last levels
def test_config_f_has_the_published_style(
    resolution: int, layers: int, size: int, conv_size: int, rows: int
) -> None:
    layout = StyleGAN2Config.config_f(resolution).layout()
    assert (len(layout), layout.size, layout.rows) == (layers, size, rows)
    assert int(layout.conv_columns().sum()) == conv_size


def test_rgb_layers_of_config_f_are_numbers_1_4_7() -> None:
    layers = list(StyleGAN2Config.config_f(1024).layout())
    assert [i for i, la in enumerate(layers) if la.kind == "rgb"] == list(range(1, 26, 3))


def test_rgb_reads_the_row_of_the_next_first_convolution() -> None:
    layout = StyleGAN2Config(32, (8, 8, 8, 8)).layout()
    assert [la.w_row for la in layout] == [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7]


@given(widths, st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_split_then_join_is_the_style_itself(channels: list[int], batch: int, seed: int) -> None:
    layout = StyleGAN2Config(2 << len(channels), tuple(channels)).layout()
    style = torch.randn(batch, layout.size, generator=torch.Generator().manual_seed(seed))
    parts = layout.split(style)
    assert [part.shape[1] for part in parts] == [layer.channels for layer in layout]
    assert torch.equal(layout.join(parts), style)
    assert layout.rows == 2 * len(channels)


@given(widths)
@settings(max_examples=50, deadline=None)
def test_columns_of_both_kinds_cover_the_style_once(channels: list[int]) -> None:
    layout = StyleGAN2Config(2 << len(channels), tuple(channels)).layout()
    rgb = layout.columns(lambda layer: layer.kind == "rgb")
    assert torch.equal(rgb, ~layout.conv_columns())
    assert int(rgb.sum()) == sum(channels)


def test_a_style_of_another_generator_is_refused() -> None:
    layout = StyleGAN2Config(16, (4, 4, 4)).layout()
    with pytest.raises(ArgumentError, match="has 32 columns, got 33"):
        layout.split(torch.zeros(1, 33))
    with pytest.raises(ArgumentError, match="expected layer widths"):
        layout.join([torch.zeros(1, 4)] * 7)


@pytest.mark.parametrize(
    ("resolution", "channels", "layers", "message"),
    [
        (48, (4, 4, 4), 8, "power of two from 8 to 1024, got 48"),
        (2048, (4,) * 10, 8, "power of two from 8 to 1024, got 2048"),
        (32, (4, 4), 8, "needs 4 channel widths"),
        (16, (4, 0, 4), 8, "needs 3 channel widths"),
        (16, (4, 4, 4), 0, "mapping_layers must be at least 1"),
    ],
)
def test_impossible_configs_are_refused(
    resolution: int, channels: tuple[int, ...], layers: int, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        StyleGAN2Config(resolution, channels, mapping_layers=layers)


def test_config_survives_json() -> None:
    import json

    config = StyleGAN2Config(16, (4, 5, 6), w_dim=7, z_dim=8, c_dim=2, mapping_width=9, clamp=3.0)
    assert StyleGAN2Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
