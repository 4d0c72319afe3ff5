"""The reader: its blocks, what hides what, its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from styleclip.checkpoints import load_reader, save_network
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.faces.reader import Reader, ReaderConfig

CONFIG = ReaderConfig(
    attributes=(("hair", ("red", "grey", "green")), ("hat", ("none", "cap")), ("age", ("a", "b"))),
    hides=(("hat", "cap", ("hair",)), ("hair", "green", ("hat", "age"))),
    resolution=16,
    widths=(4, 6),
    squeezed=2,
)


def new_reader() -> Reader:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        reader = Reader(CONFIG)
        # statistics of a trained one: they must be in the file as well
        for module in reader.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return reader.eval().requires_grad_(False)


def faces(count: int = 5, size: int = 16) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(2))


def test_a_config_survives_json() -> None:
    text = json.dumps(CONFIG.to_dict())
    assert ReaderConfig.from_dict(json.loads(text)) == CONFIG


def test_blocks_are_the_attributes_side_by_side() -> None:
    reader = new_reader()
    logits = reader(faces())
    blocks = reader.blocks(logits)
    assert [block.shape[1] for block in blocks] == [3, 2, 2]
    assert torch.equal(torch.cat(blocks, dim=1), logits)
    values = reader.read(faces())
    assert values.shape == (5, 3)
    for i, block in enumerate(blocks):
        assert values[:, i].tolist() == [row.index(max(row)) for row in block.tolist()]


def test_the_head_sees_the_features() -> None:
    reader = new_reader()
    features = reader.features(faces())
    assert features.shape == (5, reader.head.in_features) and float(features.min()) >= 0
    torch.testing.assert_close(reader.head(features), reader(faces()))


def test_pictures_of_other_sizes_are_resized() -> None:
    reader = new_reader()
    flat = torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1)
    small, large = (reader(flat.expand(1, 3, size, size)) for size in (16, 40))
    torch.testing.assert_close(small, large)


def test_hidden_follows_the_config() -> None:
    #   hair, hat, age: red none; red cap; green none; green cap
    values = torch.tensor([[0, 0, 1], [0, 1, 1], [2, 0, 0], [2, 1, 0]])
    assert new_reader().hidden(values).tolist() == [
        [False, False, False],
        [True, False, False],
        [False, True, True],
        [True, True, True],
    ]


def test_index_finds_and_teaches() -> None:
    reader = new_reader()
    assert reader.index("hair", "green") == (0, 2) and reader.index("age", "a") == (2, 0)
    with pytest.raises(ArgumentError, match="no attribute 'shoes': it reads hair, hat, age"):
        reader.index("shoes", "red")
    with pytest.raises(ArgumentError, match="hair has no value 'blue': it can be red, grey, green"):
        reader.index("hair", "blue")


def test_a_reader_comes_back_from_its_file(tmp_path: Path) -> None:
    reader, path = new_reader(), tmp_path / "reader.safetensors"
    save_network(path, "reader", reader.config.to_dict(), reader.state_dict())
    again = load_reader(path)
    assert again.config == CONFIG and not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    assert torch.equal(again(faces()), reader(faces()))


def test_another_file_is_no_reader(tmp_path: Path) -> None:
    reader, path = new_reader(), tmp_path / "x.safetensors"
    save_network(path, "encoder", reader.config.to_dict(), reader.state_dict())
    with pytest.raises(CheckpointError, match="kind 'encoder', expected 'reader'"):
        load_reader(path)
    save_network(path, "reader", {"attributes": [["hair", ["red"]]]}, reader.state_dict())
    with pytest.raises(CheckpointError, match="unusable config"):
        load_reader(path)
