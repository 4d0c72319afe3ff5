"""Plain pickles, and .npy files, read without running them.

  read_plain(path) -> numpy arrays, tensors, containers, numbers and text
As the official StyleCLIP files are (``S_mean_std`` and others). The bytes go through a machine that
runs nothing (``pickle_machine``); arrays are described first (``stored``) and read then
(``finished``). What a pickle says about any other class is a ``Record``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt

from styleclip.checkpoints.finished import Finished, guarded, opened
from styleclip.checkpoints.pickle_machine import Blob, Global, Record, Source, parse
from styleclip.checkpoints.stored import CALLS, StoredArray, StoredType, array_type, sizes_of

__all__ = ["Global", "Record", "read_plain"]

LONGEST_HEADER = 10_000  # of .npy, numpy's own bound


def read_plain(path: str | Path) -> Any:
    """A plain pickle, or a ``.npy`` file: numpy arrays, tensors, containers, numbers and text.

    Any protocol, of Python 2 too (its strings become text, as Latin-1). Arrays are fresh and
    writable; arrays of Python objects or with fields are refused. What names any other class is a
    ``Record``: its name, arguments and state, nothing of it imported, called or compiled. Raises
    ``CheckpointError`` for a file that is missing, damaged or hostile.
    """
    path = Path(path)
    with opened(path) as (stream, size), guarded(path, "pickle"):
        if stream.read(6) == b"\x93NUMPY":
            return _npy(stream, size)
        return Finished(size).value(parse(Source(stream, 0, size), CALLS))


def _npy(stream: BinaryIO, size: int) -> npt.NDArray[Any]:
    """An array of a .npy file, if its header says no more than there is."""
    from numpy.lib import format as npy

    stream.seek(0)
    version = npy.read_magic(stream)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, kind = header(stream, max_header_size=LONGEST_HEADER)
    start = stream.tell()
    code = kind.str.lstrip("<>|=")
    stored = StoredArray(sizes_of(shape), array_type(code), fortran)
    stored.kind = StoredType(code, kind.str[0])
    stored.content = Blob(Source(stream, 0, size), start, math.prod(stored.shape) * kind.itemsize)
    return Finished(size).array(stored)
