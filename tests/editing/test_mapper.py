"""Mapper networks: the official outputs, switched-off levels, and what does not fit."""

from __future__ import annotations

import pytest
import torch

from styleclip.editing.mapper import FACTOR, Group, Mapper, MapperConfig
from styleclip.errors import ArgumentError
from styleclip.generators.stylegan2 import StyleGAN2Config
from styleclip.prompts import PromptPair
from tests.reference.networks import random_generator

PROMPT = PromptPair("curly hair", "a face")


def mapper(config: MapperConfig) -> Mapper:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Mapper(config).eval().requires_grad_(False)


def test_a_level_that_is_off_moves_nothing() -> None:
    w_plus = torch.randn(2, 18, 6)
    step = mapper(MapperConfig.levels(6, ("fine", "coarse"))).delta(w_plus)
    assert step[:, 4:8].eq(0).all()
    assert step[:, :4].ne(0).any() and step[:, 8:].ne(0).any()
    assert step.shape == w_plus.shape


def test_by_channels_a_row_is_moved_by_itself() -> None:
    network = mapper(MapperConfig.single(6))
    w_plus = torch.randn(2, 10, 6)
    changed = w_plus.clone()
    changed[:, 3] += 1
    rows = (network.delta(changed) != network.delta(w_plus)).any(dim=2)
    assert rows[0].nonzero().flatten().tolist() == [3]
    # the official normalisation mixes the rows of a level
    network = mapper(MapperConfig("w_plus", (Group("all", 0, None, 6),), norm="layers"))
    rows = (network.delta(changed) != network.delta(w_plus)).any(dim=2)
    assert rows[0].all()


def test_the_edit_is_the_step_of_these_pictures() -> None:
    small = StyleGAN2Config(16, (4, 5, 3), w_dim=6, z_dim=5, mapping_layers=2)
    generator = random_generator(small)
    w_plus = torch.randn(3, generator.rows, 6)
    network = mapper(MapperConfig.single(6))
    edit = network.edit(w_plus, PROMPT)
    torch.testing.assert_close(edit.apply(generator, w_plus), generator.affine(network(w_plus)))
    torch.testing.assert_close(network(w_plus), w_plus + FACTOR * network.delta(w_plus))
    assert torch.equal(edit.apply(generator, w_plus, 0.0), generator.affine(w_plus))
    style = generator.affine(w_plus)
    in_style = mapper(MapperConfig.style(generator.layout))
    edited = in_style.edit(style, PROMPT).apply(generator, w_plus)
    torch.testing.assert_close(edited, in_style(style))
    conv = generator.layout.conv_columns()
    assert torch.equal(edited[:, ~conv], style[:, ~conv])
    assert (edited[:, conv] != style[:, conv]).any(dim=0).float().mean() > 0.9


def test_a_mapper_of_another_generator_is_refused() -> None:
    with pytest.raises(ArgumentError, match="trained for another generator"):
        mapper(MapperConfig.levels(6)).delta(torch.randn(1, 18, 7))
    with pytest.raises(ArgumentError, match="at least 9 rows"):
        mapper(MapperConfig.levels(6)).delta(torch.randn(1, 8, 6))
    with pytest.raises(ArgumentError, match=r"\[B, S\]"):
        mapper(MapperConfig("style", (Group("a", 0, 4, 4),))).delta(torch.randn(1, 3))


def test_wrong_levels_are_explained() -> None:
    with pytest.raises(ArgumentError, match="no level 'rough'"):
        MapperConfig.levels(6, ("rough",))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'coarse' is there twice"):
        MapperConfig.levels(6, ("coarse", "fine", "coarse"))
    with pytest.raises(ArgumentError, match="at least one level"):
        MapperConfig.levels(6, ())
    with pytest.raises(ArgumentError, match="overlap"):
        MapperConfig("w_plus", (Group("a", 0, None, 6), Group("b", 4, 8, 6)))
    config = MapperConfig.levels(6)
    assert MapperConfig.from_dict(config.to_dict()) == config
