"""Our own format: what goes in comes out, strictly, and no half-written file is ever seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from styleclip.checkpoints import (
    load_encoder,
    load_generator,
    native,
    read_network,
    save_generator,
    save_network,
    tensors_hash,
)
from styleclip.errors import CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.inversion.encoder import Encoder, EncoderConfig
from tests.reference.networks import random_generator

CONFIG = StyleGAN2Config(
    16, (6, 5, 4), w_dim=8, z_dim=7, c_dim=2, mapping_layers=2, mapping_width=9, clamp=5.0
)


@pytest.fixture
def generator() -> StyleGAN2:
    return random_generator(CONFIG)


def test_a_generator_comes_back_bit_by_bit(generator: StyleGAN2, tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    save_generator(path, generator)
    again = load_generator(path)
    assert again.config == CONFIG
    assert tensors_hash(again.state_dict()) == tensors_hash(generator.state_dict())
    style = torch.randn(2, generator.layout.size)
    assert torch.equal(again.synthesis(style), generator.synthesis(style))
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_the_file_says_what_it_is(generator: StyleGAN2, tmp_path: Path) -> None:
    save_generator(tmp_path / "x", generator)
    with safe_open(tmp_path / "x", "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "styleclip/1"
    assert metadata["kind"] == "stylegan2"
    assert StyleGAN2Config.from_dict(json.loads(metadata["config"])) == CONFIG


def test_half_precision_halves_the_file_and_reads_as_float32(
    generator: StyleGAN2, tmp_path: Path
) -> None:
    save_generator(tmp_path / "full", generator)
    save_generator(tmp_path / "half", generator, dtype=torch.float16)
    sizes = [(tmp_path / name).stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.65 * sizes[0]
    for name, tensor in load_generator(tmp_path / "half").state_dict().items():
        assert tensor.dtype == torch.float32
        # float16 keeps 11 bits, and numbers below 6e-5 less
        torch.testing.assert_close(tensor, generator.state_dict()[name], rtol=1e-3, atol=1e-7)


def test_integers_keep_their_type_whatever_the_dtype(tmp_path: Path) -> None:
    save_network(tmp_path / "x", "any", {}, {"n": torch.tensor(3)}, dtype=torch.float16)
    assert read_network(tmp_path / "x").state_dict["n"].dtype == torch.int64


def test_the_bytes_are_those_of_safetensors(tmp_path: Path) -> None:
    """The file is written a tensor at a time; the library lays out the same one."""
    tensors = {
        "steps": torch.tensor(3), "b": torch.randn(3, 2).t(), "a": torch.randn(2, 3, 4, 4),
        "half": torch.randn(5).half(), "none": torch.zeros(0, 4), "flag": torch.tensor([True]),
        "last": torch.randn(2, 4, 3, 3).to(memory_format=torch.channels_last),
    }  # fmt: skip
    save_network(tmp_path / "ours", "any", {"x": 1}, tensors)
    with safe_open(tmp_path / "ours", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["config"]) == {"x": 1} and metadata["kind"] == "any"
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, tmp_path / "theirs", metadata)
    ours, theirs = ((tmp_path / name).read_bytes() for name in ("ours", "theirs"))
    headers = [json.loads(each[8 : 8 + int.from_bytes(each[:8], "little")])
               for each in (ours, theirs)]  # fmt: skip
    assert headers[0] == headers[1]
    numbers = sum(tensor.nbytes for tensor in whole.values())
    assert ours[-numbers:] == theirs[-numbers:]


@pytest.mark.slow
def test_a_network_is_not_held_twice_to_be_written(tmp_path: Path) -> None:
    size = 400_000_000
    script = f"""
import resource, sys, torch
from styleclip.checkpoints import save_network
tensors = {{str(i): torch.ones(25_000_000) for i in range({size} // 100_000_000)}}
save_network(sys.argv[1], "any", {{}}, {{"small": torch.ones(1)}})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_network(sys.argv[1], "any", {{}}, tensors)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
      * (1 if sys.platform == "darwin" else 1024))
"""
    command = [sys.executable, "-c", script, str(tmp_path / "x")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert int(done.stdout) < 0.5 * size
    assert (tmp_path / "x").stat().st_size > size
    (tmp_path / "x").unlink()


def test_tied_and_transposed_tensors_can_be_saved(tmp_path: Path) -> None:
    x = torch.arange(6.0).reshape(2, 3)
    save_network(tmp_path / "x", "any", {"n": 1}, {"a": x, "b": x, "c": x.t()})
    kind, config, state = read_network(tmp_path / "x")
    assert (kind, config) == ("any", {"n": 1})
    assert torch.equal(state["c"], x.t())
    assert torch.equal(state["a"], state["b"])


def test_a_failed_save_leaves_the_old_file_and_no_rubbish(
    generator: StyleGAN2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    save_generator(path, generator)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(native.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_generator(path, generator, dtype=torch.float16)
    assert os.listdir(tmp_path) == ["x"]
    assert path.read_bytes() == before


def test_saved_files_have_the_permissions_of_any_new_file(
    generator: StyleGAN2, tmp_path: Path
) -> None:
    save_generator(tmp_path / "x", generator)
    (tmp_path / "plain").touch()
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_encoder_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(16, rows=6, w_dim=8, widths=(8, 12), hidden=10))
    save_network(tmp_path / "x", "encoder", encoder.config.to_dict(), encoder.state_dict())
    again = load_encoder(tmp_path / "x")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(again(images), encoder(images))
    assert again.config == encoder.config
    assert not any(parameter.requires_grad for parameter in again.parameters())


# --- what is refused ----------------------------------------------------------


def test_another_kind_is_refused(generator: StyleGAN2, tmp_path: Path) -> None:
    save_generator(tmp_path / "x", generator)
    with pytest.raises(CheckpointError, match="kind 'stylegan2', expected 'encoder'"):
        load_encoder(tmp_path / "x")
    save_network(tmp_path / "y", "encoder", {}, generator.state_dict())
    with pytest.raises(CheckpointError, match="kind 'encoder', expected 'stylegan2'"):
        load_generator(tmp_path / "y")


def test_loading_is_strict(generator: StyleGAN2, tmp_path: Path) -> None:
    state = generator.state_dict()
    del state["const"]
    state["more"] = torch.zeros(1)
    state["w_average"] = torch.zeros(3)
    save_network(tmp_path / "x", "stylegan2", CONFIG.to_dict(), state)
    with pytest.raises(CheckpointError) as error:
        load_generator(tmp_path / "x")
    expected = "missing: const; unexpected: more; misshapen: w_average [3] instead of [8]"
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "styleclip/2", "kind": "stylegan2", "config": "{}"}, "update styleclip"),
        ({"format": "styleclip/1", "kind": "stylegan2"}, "no readable kind and config"),
        ({"format": "styleclip/1", "kind": "stylegan2", "config": "{"}, "no readable kind"),
        ({"format": "styleclip/1", "config": "{}"}, "no readable kind and config"),
        ({"format": "styleclip/1", "kind": "stylegan2", "config": "[]"}, "not a JSON object"),
        ({"format": "styleclip/1", "kind": "stylegan2", "config": "{}"}, "unusable config"),
        (
            {
                "format": "styleclip/1",
                "kind": "stylegan2",
                "config": '{"resolution": 48, "channels": [1, 2, 3]}',
            },
            "unusable config: resolution must be a power of two",
        ),
    ],
)
def test_bad_headers_are_explained(metadata: dict[str, str], message: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x", metadata)
    with pytest.raises(CheckpointError, match=message):
        load_generator(tmp_path / "x")


def test_a_foreign_file_is_not_native(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match="it was not written here"):
        read_network(tmp_path / "x")


def test_one_network_is_one_sequence_of_bytes(tmp_path: Path) -> None:
    """Whatever the order of hash tables of the process that writes it."""
    command = (
        "import sys, torch; from styleclip.checkpoints import save_network;"
        "save_network(sys.argv[1], 'k', {'b': 1, 'a': [2]}, {n: torch.ones(3) for n in 'xyz'})"
    )
    written = []
    for i in range(3):
        path = tmp_path / f"{i}.safetensors"
        subprocess.run([sys.executable, "-c", command, str(path)], check=True)
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]
    assert int.from_bytes(written[0][:8], "little") % 8 == 0
    assert read_network(tmp_path / "0.safetensors", "k").config == {"a": [2], "b": 1}
