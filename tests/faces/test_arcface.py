"""ArcFace: where it looks, that it is frozen, and its place in the identity loss."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.errors import ArgumentError
from styleclip.faces.arcface import ArcFace, ArcFaceConfig
from styleclip.faces.irse import TrunkConfig
from tests.reference.networks import random_arcface


def faces(count: int = 2, size: int = 256) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, size, size, generator=random) * 2 - 1


@pytest.fixture(scope="module")
def network() -> ArcFace:
    return random_arcface()


def test_a_config_survives_json(network: ArcFace) -> None:
    config = network.config
    assert ArcFaceConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert ArcFaceConfig.from_dict(json.loads(json.dumps(ArcFaceConfig().to_dict()))) == (
        ArcFaceConfig()
    )


def test_the_defaults_are_the_public_network() -> None:
    with torch.device("meta"):
        public = ArcFace(ArcFaceConfig())
    # 24 units of two convolutions, the stem and the embedding: 50 layers
    assert sum(p.numel() for p in public.parameters()) == 43_797_696


def test_vectors_have_unit_length_and_depend_on_the_face(network: ArcFace) -> None:
    vectors = network(faces())
    assert vectors.shape == (2, 12)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    assert float(vectors[0] @ vectors[1]) < 1 - 1e-5


def test_it_looks_at_the_middle_of_the_aligned_face_alone(network: ArcFace) -> None:
    images = faces(1)
    elsewhere = -images
    elsewhere[..., 35:223, 32:220] = images[..., 35:223, 32:220]
    torch.testing.assert_close(network(elsewhere), network(images), rtol=0.0, atol=0.0)
    for row, column in ((35, 32), (222, 219)):  # the corners of what it sees
        changed = images.clone()
        changed[..., row, column] += 5
        assert not torch.equal(network(changed), network(images))


def test_larger_pictures_are_averaged_and_smaller_ones_repeated(network: ArcFace) -> None:
    images = faces(1)
    for size in (512, 1024):
        larger = F.interpolate(images, (size, size), mode="nearest")
        torch.testing.assert_close(network(larger), network(images))
    small = faces(1, 64)
    repeated = F.interpolate(small, (256, 256), mode="nearest")
    torch.testing.assert_close(network(small), network(repeated))


def test_the_crop_is_averaged_to_what_the_trunk_reads(network: ArcFace) -> None:
    images = faces(1)
    crops = F.adaptive_avg_pool2d(images[..., 35:223, 32:220], 32)
    assert torch.equal(network(images), network.embed(crops))


def test_training_mode_changes_nothing() -> None:
    network, images = random_arcface(), faces()
    before = network(images)
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    assert torch.equal(network.train()(images), before)
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_vectors_have_gradients_in_the_picture(network: ArcFace) -> None:
    images = faces().requires_grad_(True)
    one, other = network(images)
    (one @ other).backward()
    assert images.grad is not None
    assert all(float(gradient.abs().max()) > 0 for gradient in images.grad)


def test_pictures_of_another_shape_are_refused(network: ArcFace) -> None:
    for shape in ((3, 64, 64), (1, 1, 64, 64), (1, 4, 64, 64)):
        with pytest.raises(ArgumentError, match=r"reads pictures \[B, 3, H, W\], got"):
            network(torch.zeros(shape))
    with pytest.raises(ArgumentError, match=r"\[B, 3, 32, 32\], got \[1, 3, 16, 16\]"):
        network.embed(torch.zeros(1, 3, 16, 16))


def test_impossible_trunks_are_refused() -> None:
    for widths, units, squeeze, message in (
        ((4, 6, 8), (1, 1, 1), 2, "has 4 stages"),
        ((4, 6, 8, 10), (1, 0, 1, 1), 2, "one unit or more"),
        ((4, 4, 8, 10), (1, 1, 1, 1), 2, "must differ in width"),
        ((4, 6, 8, 10), (1, 1, 1, 1), 5, "leaves none"),
    ):
        with pytest.raises(ArgumentError, match=message):
            TrunkConfig(widths, units, squeeze)
    with pytest.raises(ArgumentError, match="multiple of 16, got 100"):
        ArcFaceConfig(resolution=100)
