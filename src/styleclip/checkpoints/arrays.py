"""Single arrays from files: numpy's ``.npy``, or one tensor that torch saved.

  read_array(path) -> Tensor        load_latents(path) -> w_plus [N,L,D]
A ``.npy`` with Python objects in it is refused, and so is a file whose header promises more numbers
than it has: nothing is allocated for what is not there. Nothing in a file is ever executed
(``pickles``).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from styleclip.checkpoints.finished import ADVICE
from styleclip.checkpoints.pickles import NPY, read_plain
from styleclip.errors import CheckpointError


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
    import numpy as np

    found = read_plain(path)
    if isinstance(found, np.ndarray) and found.dtype.kind == "f":
        found = torch.from_numpy(np.array(found, dtype=np.float32, order="C"))
    if not isinstance(found, Tensor) or not found.is_floating_point():
        what = getattr(found, "dtype", type(found).__name__)
        raise CheckpointError(f"{path} holds {what}, expected one array of floats: {ADVICE}")
    array = found.to(torch.float32, memory_format=torch.contiguous_format)
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
