"""Single arrays from files: numpy's ``.npy``, or one tensor that torch saved.

  read_array(path) -> Tensor        load_latents(path) -> w_plus [N,L,D]
A ``.npy`` with Python objects in it is refused, and so is a file whose header promises more numbers
than it has: nothing is allocated for what is not there. Nothing in a file is ever executed.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from styleclip.checkpoints.finished import ADVICE, first_line
from styleclip.errors import CheckpointError

NPY = b"\x93NUMPY"


def load_latents(path: str | Path) -> Tensor:
    """The w_plus [N,L,D], float32, of a file such as the official ``w_plus.npy``, ``latents.pt``.

    One picture's [L,D] becomes [1,L,D]. Whether they are a generator's, their user checks. Only
    files that this project wrote in these layouts were read. Raises ``CheckpointError``.
    """
    latents = read_array(path)
    if latents.ndim == 2:
        latents = latents[None]
    if latents.ndim != 3 or not latents.numel():
        raise CheckpointError(
            f"{path} holds an array of shape {list(latents.shape)}, expected latents in W+ "
            "[pictures, rows, width] such as [100, 18, 512]: give another file"
        )
    if not latents.isfinite().all():
        raise CheckpointError(f"{path} has latents that are not finite: {ADVICE}")
    return latents


def read_array(path: str | Path) -> Tensor:
    """The one array of numbers in a file, of any float type, as float32; NaN may be among them.

    What a file is, its first bytes decide. Raises ``CheckpointError`` if it is missing, damaged, or
    holds something else.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder: give a file inside it" if path.is_dir() else "is not there: check it"
        raise CheckpointError(f"{path} {what}")
    array = _numpy(path) if is_npy(path) else _torch(path)
    if not array.is_floating_point():
        raise CheckpointError(f"{path} holds {array.dtype} numbers, expected floats: {ADVICE}")
    array = array.detach().to(torch.float32, memory_format=torch.contiguous_format)
    if array.isinf().any():
        raise CheckpointError(f"{path} has infinite numbers: {ADVICE}")
    return array


def is_npy(path: str | Path) -> bool:
    """Whether a file begins as numpy's do."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(len(NPY)) == NPY
    except OSError:
        return False


def _numpy(path: Path) -> Tensor:
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            # a map of the file allocates nothing, fails where the file is too short for the
            # header's shape, and knows no objects
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype.kind != "f":
            raise ValueError(f"it holds {mapped.dtype}, expected floats")
        return torch.from_numpy(np.array(mapped, dtype=np.float32, order="C"))
    except Exception as error:  # the reader of headers fails in many ways
        raise CheckpointError(
            f"{path} is a damaged .npy file, or not one of numbers ({first_line(error)}): {ADVICE}"
        ) from error


def _torch(path: Path) -> Tensor:
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > size:
                    raise ValueError("its entries unpack to more than the file is long")
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of uncommon pickle protocols
            found = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a tensor that torch saved, or holds Python objects: {ADVICE}"
        ) from error
    except Exception as error:  # the reader fails in many ways on damaged bytes
        raise CheckpointError(
            f"{path} is neither a .npy file nor a tensor that torch saved ({first_line(error)}): "
            f"{ADVICE}"
        ) from error
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_meta:
        kind = type(found).__name__
        raise CheckpointError(f"{path} holds a {kind}, expected one plain tensor: {ADVICE}")
    if found.numel() * found.element_size() > size:  # one number, said to be many
        raise CheckpointError(f"{path} promises more numbers than it has: {ADVICE}")
    return found
