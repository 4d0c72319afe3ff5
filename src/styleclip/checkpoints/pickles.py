"""Plain pickles, torch files of anything, and .npy files, read without running them.

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

from styleclip.checkpoints.archives import stream_tree, zip_tree
from styleclip.checkpoints.finished import Finished, guarded, opened
from styleclip.checkpoints.pickle_machine import Blob, Global, Record, Source
from styleclip.checkpoints.stored import StoredArray, StoredType, array_type, sizes_of

__all__ = ["Global", "Record", "read_plain"]

NPY = b"\x93NUMPY"  # how numpy's files begin
LONGEST_HEADER = 10_000  # of .npy, numpy's own bound


def read_plain(path: str | Path) -> Any:
    """A plain pickle, a torch or a ``.npy`` file: arrays, tensors, containers, numbers and text.

    Any protocol, of Python 2 too (its strings become text, as Latin-1). Arrays are fresh and
    writable; arrays of Python objects or with fields are refused. What names any other class is a
    ``Record``: its name, arguments and state, nothing of it imported, called or compiled. Raises
    ``CheckpointError`` for a file that is missing, damaged or hostile.
    """
    path = Path(path)
    with opened(path) as (stream, size):
        head = stream.read(len(NPY))
        with guarded(path, ".npy file" if head == NPY else "pickle"):
            if head == NPY:
                return _npy(stream, size)
            source = Source(stream, 0, size)
            zipped = head.startswith(b"PK\x03\x04")
            return Finished(size).value(zip_tree(source) if zipped else stream_tree(source))


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
