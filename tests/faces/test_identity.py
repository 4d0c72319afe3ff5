"""The identity network: unit vectors, and its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from styleclip.checkpoints import load_identity, save_network
from styleclip.errors import CheckpointError
from styleclip.faces.identity import IdentityConfig, IdentityNetwork

CONFIG = IdentityConfig(resolution=16, widths=(8, 16), embedding=5)


def new_network() -> IdentityNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return IdentityNetwork(CONFIG).eval().requires_grad_(False)


def faces(count: int = 5, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(2))


def test_a_config_survives_json() -> None:
    assert IdentityConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG


def test_vectors_have_unit_length_and_depend_on_the_picture() -> None:
    vectors = new_network()(faces())
    assert vectors.shape == (5, 5)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    cosines = vectors @ vectors.t()
    assert float(cosines.triu(diagonal=1).max()) < 1 - 1e-5


def test_a_picture_has_its_vector_in_any_batch() -> None:
    network = new_network()
    torch.testing.assert_close(network(faces())[3:4], network(faces()[3:4]))


def test_pictures_of_other_sizes_are_resized() -> None:
    network = new_network()
    flat = torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1)
    small, large = (network(flat.expand(1, 3, size, size)) for size in (16, 40))
    torch.testing.assert_close(small, large)


def test_vectors_have_gradients_in_the_picture() -> None:
    images = faces(2).requires_grad_(True)
    one, other = new_network()(images)
    (one * other).sum().backward()
    assert all(float(gradient.abs().max()) > 0 for gradient in images.grad)


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    network, path = new_network(), tmp_path / "identity.safetensors"
    save_network(path, "identity", network.config.to_dict(), network.state_dict())
    again = load_identity(path)
    assert again.config == CONFIG and not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    assert torch.equal(again(faces()), network(faces()))


def test_another_file_is_no_identity_network(tmp_path: Path) -> None:
    network, path = new_network(), tmp_path / "x.safetensors"
    save_network(path, "reader", network.config.to_dict(), network.state_dict())
    with pytest.raises(CheckpointError, match="kind 'reader', expected 'identity'"):
        load_identity(path)
