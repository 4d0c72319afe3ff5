"""Files as they are published, end to end: OpenAI's TorchScript archive, an fs3 with S_mean_std."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleclip.checkpoints import load_bank, load_clip, read_model
from styleclip.editing.relevance import style_statistics
from styleclip.errors import CheckpointError, CheckpointWarning
from styleclip.generators.stylegan2 import StyleGAN2
from tests.checkpoints.test_official_arrays import layers, new_generator
from tests.reference.networks import VECTORS, expected


class Branch(nn.Module):
    """A module with the names of a state dict, one dot after the other."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def archive_of(state: dict[str, Tensor]) -> Any:
    """``state`` as the attributes of a scripted module, as OpenAI's archives have it."""
    root = Branch()
    for name, tensor in state.items():
        *path, last = name.split(".")
        place: nn.Module = root
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, Branch())
            place = place.get_submodule(part)
        if tensor.ndim or last == "logit_scale":
            place.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
        else:
            place.register_buffer(last, tensor)
    root.transformer.resblocks.get_submodule("0").attn_mask = torch.zeros(4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is on its way out of torch
        return torch.jit.script(root)


@pytest.mark.parametrize("half", [True, False])
def test_the_torchscript_archive_of_openai(half: bool, tmp_path: Path) -> None:
    state = torch.load(VECTORS / "clip-openai-vit.pt", weights_only=True)
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive_of(state).save(str(tmp_path / "ViT.pt"))
    embedder = load_clip(tmp_path / "ViT.pt")
    assert {parameter.dtype for parameter in embedder.model.parameters()} == {torch.float32}
    vectors = expected("clip-openai-vit")
    atol = 5e-3 if half else 1e-4  # float16 weights; float32 of other code
    images = embedder.embed_pixels(vectors["pixel_values"])
    texts = embedder.embed_token_ids(vectors["token_ids"])
    for found, wanted in ((images, "image_features"), (texts, "text_features")):
        unit = F.normalize(vectors[wanted], dim=1)
        torch.testing.assert_close(found, unit, rtol=0.0, atol=atol)


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return new_generator(0)


@pytest.fixture
def fs3(generator: StyleGAN2, tmp_path: Path) -> Path:
    count = int(generator.layout.conv_columns().sum())
    rows = torch.randn(count, 7, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "fs3.npy", F.normalize(rows, dim=1).numpy())
    return tmp_path / "fs3.npy"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_statistics_beside_an_fs3_are_taken(
    protocol: int, generator: StyleGAN2, fs3: Path
) -> None:
    mean, std = style_statistics(generator, 5000, seed=1)  # other samples than ours
    lists = [layers(generator, mean), layers(generator, std)]
    fs3.with_name("S_mean_std").write_bytes(pickle.dumps(lists, protocol))
    with pytest.warns(CheckpointWarning):
        found = load_bank(fs3, generator)
    assert torch.equal(found.mean, mean) and torch.equal(found.std, std)


def test_the_statistics_of_another_generator_are_refused(generator: StyleGAN2, fs3: Path) -> None:
    mean, std = style_statistics(new_generator(1), 2000)
    lists = [layers(generator, mean), layers(generator, std)]
    fs3.with_name("S_mean_std").write_bytes(pickle.dumps(lists, 3))
    with pytest.raises(CheckpointError, match="statistics of another generator"):
        load_bank(fs3, generator)


def test_statistics_with_code_in_them_run_nothing(generator: StyleGAN2, fs3: Path) -> None:
    trace = fs3.with_name("trace")

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.write_text, (trace, "run"))

    fs3.with_name("S_mean_std").write_bytes(pickle.dumps([Evil(), Evil()], 3))
    with pytest.raises(CheckpointError):
        load_bank(fs3, generator)
    assert not trace.exists()


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """The embedded model's CLIP, as transformers saved it, to be spoiled."""
    folder = tmp_path / "clip"
    shutil.copytree(read_model("portraits").file("clip"), folder)
    return folder


def test_a_pickle_in_a_folder_of_transformers_is_called_an_attack(
    clip_folder: Path, tmp_path: Path
) -> None:
    (clip_folder / "model.safetensors").unlink()
    code = f"cos\nsystem\n(S'touch {tmp_path / 'ran'}'\ntR."
    (clip_folder / "pytorch_model.bin").write_bytes(code.encode())
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        load_clip(clip_folder)
    (clip_folder / "pytorch_model.bin").write_bytes(b"\x80\x02" + code.encode())
    with pytest.raises(CheckpointError, match="it looks like an attack"):
        load_clip(clip_folder)
    assert not (tmp_path / "ran").exists()


def test_a_config_without_end_is_refused(clip_folder: Path) -> None:
    path = clip_folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["num_hidden_layers"] = 1_000_000
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="asks for 1000000 layers"):
        load_clip(clip_folder)
    path.write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="is not the folder of a CLIP"):
        load_clip(clip_folder)
