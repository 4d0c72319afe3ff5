"""Reading files of weights: every way to fail is one clear error, and nothing in them runs."""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styleclip.checkpoints import file_hash, load_generator, read_weights, tensors_hash
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
def test_a_pickle_with_classes_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    torch.save(
        {"a": Danger(tmp_path / "ran")}, tmp_path / "x", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(CheckpointError, match=r"holds Python objects.*not readable yet"):
        read_weights(tmp_path / "x")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": Danger(tmp_path / "ran")}))
    with pytest.raises(CheckpointError, match="not readable yet"):
        read_weights(tmp_path / "x.pkl")
    assert not (tmp_path / "ran").exists()


def test_a_torchscript_archive_is_not_readable_yet(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}.")
        archive.writestr("model/constants.pkl", b"\x80\x02).")
    with pytest.raises(CheckpointError, match="TorchScript archive, which is not readable yet"):
        read_weights(tmp_path / "x.pt")


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
