"""Reading files of weights: every way to fail is one clear error, and nothing in them runs."""

from __future__ import annotations

import argparse
import collections
import pickle
import zipfile
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styleclip.checkpoints import file_hash, load_generator, read_weights, tensors_hash
from styleclip.checkpoints.pickles import Record
from styleclip.errors import CheckpointError
from tests.reference.networks import VECTORS

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


class Danger:
    """Unpickling one of these would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_both_formats_are_told_by_their_bytes_not_their_names(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x.pt", {"who": "me"})
    torch.save(TENSORS, tmp_path / "x.safetensors")
    torch.save(TENSORS, tmp_path / "old", _use_new_zipfile_serialization=False)
    for file in ("x.pt", "x.safetensors", "old"):
        contents = read_weights(tmp_path / file).contents
        assert set(contents) == set(TENSORS)
        assert all(torch.equal(contents[key], TENSORS[key]) for key in TENSORS)
    assert read_weights(tmp_path / "x.pt").metadata == {"who": "me"}
    assert read_weights(tmp_path / "old").metadata == {}


@pytest.mark.parametrize("file", ["stylegan2-rosinality.pt", "stylegan2-ada.safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.00001, 0.0001, 0.01, 0.5, 0.99, 0.999999])
def test_a_truncated_file_is_refused(file: str, part: float, tmp_path: Path) -> None:
    whole = (VECTORS / file).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(CheckpointError, match=r"cut .*download it again"):
        load_generator(tmp_path / "cut")


def test_a_truncated_old_torch_file_is_refused(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "old").read_bytes()
    for size in (2, 20, 100, len(whole) - 4):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged or incomplete"):
            read_weights(tmp_path / "cut")


def test_a_changed_byte_in_a_torch_file_is_noticed(tmp_path: Path) -> None:
    changed = bytearray((VECTORS / "stylegan2-rosinality.pt").read_bytes())
    changed[len(changed) // 2] ^= 0xFF
    (tmp_path / "changed").write_bytes(changed)
    with pytest.raises(CheckpointError, match=r"incomplete torch file \(Bad CRC-32"):
        read_weights(tmp_path / "changed")


def test_a_torch_file_written_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(TENSORS, tmp_path / "x")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_weights(tmp_path / "x").contents["a"], TENSORS["a"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "it is a web page"),
        (b"  <html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"hello world, this is text", "neither safetensors nor torch"),
        (b"PK\x03\x04 but no more", "damaged or incomplete torch file"),
    ],
)
def test_other_files_are_named_for_what_they_are(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / "file")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no file .*nowhere"):
        read_weights(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is a folder: give the file"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match="there is no file"):
        file_hash(tmp_path / "nowhere")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_methods_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    torch.save(
        {"a": Danger(tmp_path / "ran")}, tmp_path / "x", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(CheckpointError, match=r"nothing in it was run, because it names"):
        read_weights(tmp_path / "x")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": Danger(tmp_path / "ran")}))
    with pytest.raises(CheckpointError, match="it looks like an attack"):
        read_weights(tmp_path / "x.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", [argparse.Namespace, SimpleNamespace])
@pytest.mark.parametrize("protocol", [2, 4])
def test_options_of_a_training_are_kept_beside_the_tensors(
    kind: Any, protocol: int, tmp_path: Path
) -> None:
    options = kind(name="x", sizes=[1, 2], folder=PurePosixPath("a/b"))
    contents = {"opts": options, "a": TENSORS["a"]}
    torch.save(contents, tmp_path / "x", pickle_protocol=protocol)
    contents = read_weights(tmp_path / "x").contents
    assert contents["opts"]["name"] == "x"
    assert contents["opts"]["sizes"] == [1, 2]
    assert isinstance(contents["opts"]["folder"], Record)  # of a class that is not known
    assert str(contents["opts"]["folder"]) == "pathlib.PurePosixPath"


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_dict_that_says_what_it_holds_is_a_dict(protocol: int, tmp_path: Path) -> None:
    """``OrderedDict[str, Tensor]()`` notes its types in every pickle of it."""
    said = collections.OrderedDict[str, torch.Tensor]()
    said["a"] = TENSORS["a"]
    torch.save({"g_ema": said}, tmp_path / "x", pickle_protocol=protocol)
    assert b"GenericAlias" in (tmp_path / "x").read_bytes()
    contents = read_weights(tmp_path / "x").contents["g_ema"]
    assert type(contents) is dict and torch.equal(contents["a"], TENSORS["a"])


# --- what torch can save ------------------------------------------------------


def everything() -> dict[str, Any]:
    """Tensors of all kinds, views and containers as they occur in checkpoints."""
    base = torch.arange(24.0).reshape(2, 3, 4)
    dtypes = (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
        torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.uint16,
        torch.float8_e4m3fn,
    )  # fmt: skip
    return {
        "kinds": {str(dtype): torch.tensor([0, 1, 1]).to(dtype) for dtype in dtypes},
        "views": [base, base[1], base[:, 1:, ::2], base.permute(2, 0, 1)],
        "shapes": (torch.tensor(3.0), torch.zeros(0), torch.zeros(2, 0, 3)),
        "layout": torch.arange(16.0).reshape(1, 4, 2, 2).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "plain": {"n": 3, "x": 0.5, "text": "ä", "none": None, 7: (True, [b"b", {"s"}])},
        "ordered": collections.OrderedDict(z=1, a=2),
        "types": [torch.float16, torch.Size([2, 3])],
    }


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, torch.Tensor):
        return (
            ours.dtype == theirs.dtype
            and ours.stride() == theirs.stride()
            and torch.equal(ours.float(), theirs.detach().float())
        )
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and bool(ours == theirs)


@pytest.mark.filterwarnings("ignore:Casting complex values")  # same() compares as floats
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_all_that_torch_saves_is_read_as_torch_reads_it(
    tmp_path: Path, zipped: bool, protocol: int
) -> None:
    contents = everything()
    torch.save(
        contents, tmp_path / "x", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol
    )
    ours = read_weights(tmp_path / "x").contents
    assert same(ours, contents)
    shared = {tensor.untyped_storage().data_ptr() for tensor in ours["views"]}
    assert len(shared) == 1


def test_a_whole_module_is_its_flat_state_dict(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    network.register_buffer("scratch", torch.zeros(1), persistent=False)
    torch.save(network, tmp_path / "whole")
    torch.save({"g_ema": network, "n": 1}, tmp_path / "part")
    whole, part = read_weights(tmp_path / "whole"), read_weights(tmp_path / "part")
    assert set(whole.contents) == set(part.contents["g_ema"]) == set(network.state_dict())
    for key, tensor in network.state_dict().items():
        assert torch.equal(whole.contents[key], tensor)
    assert whole.settings["0.in_features"] == 2
    assert part.settings["g_ema.1.momentum"] == 0.1


def test_what_is_not_kept_is_not_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1000), "b": torch.zeros(1000)}, tmp_path / "x")
    whole = bytearray((tmp_path / "x").read_bytes())
    place = whole.index(torch.ones(1000).numpy().tobytes())
    whole[place] ^= 1
    (tmp_path / "x").write_bytes(whole)
    kept = read_weights(tmp_path / "x", keep=lambda names: [names[1]])
    assert list(kept.contents) == ["b"]
    with pytest.raises(CheckpointError, match="Bad CRC-32"):
        read_weights(tmp_path / "x")
    save_file(TENSORS, tmp_path / "y")
    assert list(read_weights(tmp_path / "y", keep=lambda _: ["b"]).contents) == ["b"]


# --- TorchScript --------------------------------------------------------------


class Inner(torch.nn.Module):
    """A part in half precision, with a buffer and an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)
        self.register_buffer("positions", torch.arange(3))
        self.heads = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc(x) + self.positions + self.heads
        return y


class Outer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([Inner().half(), Inner()])
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x) * self.scale + torch.ones(1)  # a constant of the code
        return x


# torch advises against TorchScript, but OpenAI's CLIP comes in it
OLD = "ignore:`torch.jit.*is deprecated:DeprecationWarning"


@pytest.mark.filterwarnings(OLD)
def test_a_torchscript_archive_is_a_flat_dict_of_its_tensors(tmp_path: Path) -> None:
    network = Outer()
    torch.jit.save(torch.jit.script(network), tmp_path / "x.pt")
    weights = read_weights(tmp_path / "x.pt")
    assert set(weights.contents) == set(network.state_dict())
    for key, tensor in network.state_dict().items():
        assert weights.contents[key].dtype == tensor.dtype
        assert torch.equal(weights.contents[key], tensor)
    assert weights.contents["blocks.0.fc.weight"].dtype == torch.float16
    assert weights.settings["blocks.1.heads"] == 3


@pytest.mark.filterwarnings(OLD)
def test_the_code_of_an_archive_is_not_looked_at(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Outer()), tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as good,
        zipfile.ZipFile(tmp_path / "y.pt", "w") as changed,
    ):
        for name in good.namelist():
            content = b"import os; os.abort()" if "/code/" in name else good.read(name)
            changed.writestr(name, content)
    ours, theirs = (read_weights(tmp_path / name).contents for name in ("y.pt", "x.pt"))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_zip_that_is_no_torch_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(CheckpointError, match="zip archive but not a torch file"):
        read_weights(tmp_path / "x.zip")


@pytest.mark.parametrize("contents", [[1, 2], torch.zeros(2), {1: torch.zeros(2)}])
def test_contents_without_names_are_refused(contents: Any, tmp_path: Path) -> None:
    torch.save(contents, tmp_path / "x")
    with pytest.raises(CheckpointError, match="expected a dict of tensors by name"):
        read_weights(tmp_path / "x")


def test_ordered_dicts_are_dicts(tmp_path: Path) -> None:
    torch.save(collections.OrderedDict(TENSORS), tmp_path / "x")
    assert list(read_weights(tmp_path / "x").contents) == ["a", "b"]


# --- hashes -------------------------------------------------------------------


def test_the_hash_is_of_the_values_not_of_order_layout_or_file() -> None:
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    one = {"x": image, "y": torch.tensor(1.0)}
    two = {"y": torch.tensor(1.0), "x": image.to(memory_format=torch.channels_last)}
    assert tensors_hash(one) == tensors_hash(two)
    assert len(tensors_hash(one)) == 64


def test_the_hash_of_a_known_dict_never_changes() -> None:
    # recipes of all times hold such hashes
    known = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor(3, dtype=torch.int64)}
    assert tensors_hash(known) == KNOWN_HASH


KNOWN_HASH = "80af88105c003ee564558f4d2ec98b59d9941c7891dba414d0054632996566d2"


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.tensor([1.0, 3.0])},
        {"y": torch.tensor([1.0, 2.0])},
        {"x": torch.tensor([[1.0, 2.0]])},
        {"x": torch.tensor([1.0, 2.0], dtype=torch.float64)},
        {"x": torch.tensor([1.0, 2.0]).view(torch.int32)},
        {"x": torch.tensor([1.0, 2.0]), "z": torch.zeros(0)},
    ],
)
def test_the_hash_sees_values_names_shapes_and_dtypes(other: dict[str, torch.Tensor]) -> None:
    assert tensors_hash(other) != tensors_hash({"x": torch.tensor([1.0, 2.0])})


def test_the_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert file_hash(tmp_path / "x") == expected
