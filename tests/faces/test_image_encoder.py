"""Identity by a general image encoder: unit vectors, gradients, and only whole DINOv2 are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from styleclip.checkpoints import load_image_encoder
from styleclip.errors import CheckpointError
from styleclip.faces.image_encoder import ClipIdentity
from tests.reference.networks import save_dino

SIZE = 28


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of random weights, as transformers saves it."""
    folder = tmp_path_factory.mktemp("dino")
    save_dino(folder)
    return folder


def pictures(size: int, batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_unit_vectors_of_pictures_of_any_size(folder: Path) -> None:
    identity = load_image_encoder(folder)
    assert identity.size == SIZE
    for size in (SIZE, 64):
        vectors = identity(pictures(size))
        assert vectors.shape == (3, 16)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
        assert float((vectors[0] * vectors[1]).sum()) < 0.9999


def test_it_is_what_transformers_computes(folder: Path) -> None:
    from transformers import Dinov2Model

    images = pictures(SIZE)
    mean = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
    std = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
    model = Dinov2Model.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model((images / 2 + 0.5 - mean) / std).pooler_output
    found = load_image_encoder(folder)(images)
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))


def test_gradients_reach_the_picture(folder: Path) -> None:
    images = pictures(64).requires_grad_(True)
    load_image_encoder(folder)(images)[:, 0].sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0


def test_the_folder_states_size_and_colours(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "dino")
    stated = {"crop_size": {"height": 60, "width": 60}, "image_mean": [0.5] * 3}
    (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps(stated))
    identity = load_image_encoder(tmp_path / "dino")
    assert identity.size == 56  # whole patches
    assert identity.mean.flatten().tolist() == [0.5] * 3
    assert identity(pictures(64)).shape == (3, 16)


def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "dino")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("layernorm.weight")
    save_file(tensors, tmp_path / "dino" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing: layernorm\.weight"):
        load_image_encoder(tmp_path / "dino")


def test_other_folders_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="is a clip, expected a DINOv2: for a CLIP say 'clip'"
    ):
        load_image_encoder(tiny_model / "clip")
    with pytest.raises(CheckpointError, match="not the folder of a CLIP or a DINOv2"):
        load_image_encoder(tmp_path)
    with pytest.raises(CheckpointError, match="there is no folder nonsense of a DINOv2"):
        load_image_encoder("nonsense")


def test_a_clip_answers_too() -> None:
    network = torch.nn.Linear(3, 4)
    identity = ClipIdentity(lambda images: images.mean(dim=(2, 3)), network)
    assert torch.equal(identity(pictures(8)), pictures(8).mean(dim=(2, 3)))
    assert set(identity.state_dict()) == {"model.weight", "model.bias"}
