"""The encoders of e4e and pSp: rows, sizes, and what they refuse. Their numbers: checkpoints/."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.faces.irse import TrunkConfig
from styleclip.inversion.e4e import PyramidConfig, PyramidEncoder
from tests.reference.networks import fill_randomly

CONFIG = PyramidConfig(8, 6, "first", 32, trunk=TrunkConfig((4, 6, 8, 10), (1, 2, 1, 1), 2))


def new_encoder(config: PyramidConfig = CONFIG) -> PyramidEncoder:
    encoder = PyramidEncoder(config).eval().requires_grad_(False)
    fill_randomly(encoder)
    return encoder


def pictures(count: int = 2, size: int = 32) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, size, size, generator=random) * 2 - 1


def test_a_config_survives_json() -> None:
    for config in (CONFIG, PyramidConfig(18)):
        assert PyramidConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_public_network_has_its_known_size() -> None:
    with torch.device("meta"):
        public = PyramidEncoder(PyramidConfig(rows=18))
    assert round(sum(p.numel() for p in public.parameters()) / 1e6) == 267


def test_rows_are_offsets_from_the_first_or_each_its_own() -> None:
    images = pictures()
    e4e, psp = new_encoder(), new_encoder(replace(CONFIG, base="own"))
    psp.load_state_dict(e4e.state_dict())
    own = psp.offsets(images)
    assert own.shape == (2, 8, 6)
    together = own + torch.cat([torch.zeros_like(own[:, :1]), own[:, :1].expand(-1, 7, -1)], dim=1)
    torch.testing.assert_close(e4e.offsets(images), together)
    for encoder in (e4e, psp):
        torch.testing.assert_close(encoder(images), encoder.average + encoder.offsets(images))


def test_a_picture_has_its_latent_in_any_batch() -> None:
    encoder = new_encoder()
    torch.testing.assert_close(encoder(pictures(5))[3:4], encoder(pictures(5)[3:4]))


@pytest.mark.parametrize("rows", [4, 8, 14, 18])
def test_generators_of_other_sizes_have_other_rows(rows: int) -> None:
    encoder = new_encoder(replace(CONFIG, rows=rows))
    w_plus = encoder(pictures())
    assert w_plus.shape == (2, rows, 6)
    assert len(w_plus[0].unique(dim=0)) == rows


def test_larger_pictures_are_averaged_and_others_resized() -> None:
    encoder, images = new_encoder(), pictures()
    larger = F.interpolate(images, (96, 96), mode="nearest")
    torch.testing.assert_close(encoder(larger), encoder(images))
    flat = torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1)
    small, odd = (encoder(flat.expand(1, 3, size, size)) for size in (32, 45))
    torch.testing.assert_close(small, odd)


def test_a_letterboxed_picture_is_read_without_its_bars() -> None:
    encoder = new_encoder(replace(CONFIG, letterboxed=True))
    images = pictures()
    bars = images.clone()
    bars[:, :, :4] = bars[:, :, -4:] = 0.3
    assert torch.equal(encoder(bars), encoder(images))
    bars[:, :, 4] = 0.3
    assert not torch.equal(encoder(bars), encoder(images))


def test_latents_have_gradients_in_the_picture() -> None:
    images = pictures().requires_grad_(True)
    new_encoder()(images).square().sum().backward()
    assert images.grad is not None
    assert all(float(gradient.abs().max()) > 0 for gradient in images.grad)


def test_pictures_that_are_not_square_are_refused() -> None:
    encoder = new_encoder()
    for shape in ((3, 32, 32), (1, 3, 32, 48), (1, 1, 32, 32), (1, 3, 0, 0)):
        with pytest.raises(ArgumentError, match=r"square pictures \[B, 3, H, H\], got"):
            encoder(torch.zeros(shape))


def test_impossible_encoders_are_refused() -> None:
    for changes, message in (
        ({"rows": 2}, "3 rows or more"),
        ({"resolution": 48}, "a power of two"),
        ({"resolution": 16}, "32 pixels or more"),
        ({"base": "last"}, "got 'last'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            replace(CONFIG, **changes)
