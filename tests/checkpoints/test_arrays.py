"""Arrays in files: latents in W+ of either kind; what is damaged, hostile or something else."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from styleclip.checkpoints import load_latents
from styleclip.checkpoints.arrays import read_array
from styleclip.errors import CheckpointError


def w_plus(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (5, 18, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f2", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_latents_of_any_float_type(kind: str, order: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "w_plus.npy", np.asarray(w_plus().numpy(), dtype=kind, order=order))
    found = load_latents(tmp_path / "w_plus.npy")
    assert found.dtype == torch.float32 and found.is_contiguous()
    wanted = w_plus().half().float() if kind == "<f2" else w_plus()
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("new", [True, False])
def test_torch_latents_of_either_format(new: bool, tmp_path: Path) -> None:
    path = tmp_path / "latents.pt"
    latents = torch.nn.Parameter(w_plus(5, 18, 16).double())
    torch.save(latents, path, _use_new_zipfile_serialization=new)
    found = load_latents(path)
    torch.testing.assert_close(found, w_plus(), rtol=0, atol=0)
    assert found.dtype == torch.float32 and not found.requires_grad


def test_what_a_file_is_its_bytes_decide(tmp_path: Path) -> None:
    with (tmp_path / "latents.pt").open("wb") as stream:
        np.save(stream, w_plus().numpy())
    assert torch.equal(load_latents(tmp_path / "latents.pt"), w_plus())


def test_one_picture_s_latents(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", w_plus(18, 16).numpy())
    assert torch.equal(load_latents(tmp_path / "x.npy"), w_plus(18, 16)[None])


@pytest.mark.parametrize("shape", [(16,), (2, 5, 18, 16), (0, 18, 16)])
def test_other_shapes_are_no_latents(shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.save(torch.zeros(shape), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"expected latents in W\+ \[pictures, rows, width\]"):
        load_latents(tmp_path / "x.pt")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    for value, what in ((float("nan"), "not finite"), (float("inf"), "infinite")):
        latents = w_plus()
        latents[1, 2, 3] = value
        np.save(tmp_path / "x.npy", latents.numpy())
        with pytest.raises(CheckpointError, match=what):
            load_latents(tmp_path / "x.npy")


# --- hostile, damaged, or something else --------------------------------------


class Evil:
    """Writes a file when a pickle of it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "run"))


def npy(shape: str, kind: str = "<f4", content: bytes = b"") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content


@pytest.mark.parametrize(
    "content",
    [
        npy("(1000000000000, 18, 512)"),
        npy("(5, 18, 512)", content=bytes(100)),
        npy("(-5, 18, 512)", content=bytes(100)),
        npy("(99999999999999999999, 4)", content=bytes(100)),
        npy("(2, 2)", kind="<i4", content=bytes(16)),
        npy("(2, 2)", kind="<c8", content=bytes(32)),
        npy("(2, 2)", kind="|V4", content=bytes(16)),
        npy("(" * 5000, content=bytes(16)),
        npy("__import__('os').system('true')"),
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + bytes(64),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(64),
        b"",
        b"hello",
        b"\x80\x02}q\x00.",
        b"PK\x03\x04" + bytes(60),
    ],
)
def test_damaged_and_absurd_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_array(tmp_path / "x")
    assert "\n" not in str(error.value)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    objects = np.array([Evil(trace)], dtype=object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    torch.save(Evil(trace), tmp_path / "x.pt")
    for name in ("x.npy", "x.pt"):
        with pytest.raises(CheckpointError):
            read_array(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize(
    "value",
    [
        {"latents": torch.zeros(1, 2, 3)},
        OrderedDict(),
        [torch.zeros(3)],
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(1).expand(10**7, 512),
        torch.eye(3).to_sparse(),
        torch.zeros(3, device="meta"),
    ],
)
def test_what_is_no_plain_tensor_is_refused(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(CheckpointError):
        read_array(tmp_path / "x.pt")


@pytest.mark.parametrize("kind", ["npy", "pt"])
def test_truncated_anywhere_it_is_refused(kind: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    if kind == "npy":
        np.save(stream, w_plus(2, 4, 4).numpy())
    else:
        torch.save(w_plus(2, 4, 4), stream)
    whole = stream.getvalue()
    for part in range(10):
        (tmp_path / "x").write_bytes(whole[: len(whole) * part // 10])
        with pytest.raises(CheckpointError):
            read_array(tmp_path / "x")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        read_array(tmp_path / "x.npy")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_array(tmp_path)
