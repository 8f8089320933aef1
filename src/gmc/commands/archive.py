"""Arrays of samples as .npz files, written as they come."""

from __future__ import annotations

import errno
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gmc.commands import files

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gmc.runtime.sampling import Part, Stream

PIECE = 1 << 20
"""Bytes that are copied at once."""


class Column:
    """An array that is filled piece by piece, on the disk, in a file without a name that nothing can leave behind."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype, file: IO[bytes]) -> None:
        self.name, self.shape, self.dtype, self.file = name, shape, dtype, file

    def put(self, first: int, position: int, piece: np.ndarray, kept: int | None) -> None:
        """Puts in rows `[n, ..]` from the one numbered `first` on; with `kept` columns a row, the piece is `[n, m, ..]` from column `position` on."""
        if kept is None or piece.shape[1] == kept:
            self._write(first * (piece[:1].nbytes), piece)
            return
        size = piece[:1, :1].nbytes
        for row, values in enumerate(piece):
            self._write(((first + row) * kept + position) * size, values)

    def _write(self, offset: int, values: np.ndarray) -> None:
        self.file.seek(offset)
        self.file.write(values.tobytes())

    def pack(self, archive: zipfile.ZipFile) -> None:
        """Adds the whole array to an .npz file; equal arrays are equal bytes."""
        from numpy.lib.format import dtype_to_descr, write_array_header_1_0

        header = {"descr": dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        self.file.seek(0)
        # not np.savez, which has no place for a variable called `file`; ZipInfo's own date is the same on every day
        with archive.open(zipfile.ZipInfo(f"{self.name}.npy"), "w", force_zip64=True) as member:
            write_array_header_1_0(member, header)
            while piece := self.file.read(PIECE):
                member.write(piece)


def write_stream(path: Path, stream: Stream, parts: Iterable[Part]) -> None:
    """Writes the values of a stream into an .npz file, an array for each variable, whole or not at all; memory does not grow with their number.

    On the way it takes twice the room of the file on its disk.

    Raises:
        GmcError: it could not be written; what was there is as it was.
    """
    with files.replacing(path) as temporary, ExitStack() as stack:
        columns: dict[str, Column] = {}
        for part in parts:
            for name, value in part.samples.values.items():
                array = value.cpu().numpy()
                if name not in columns:
                    rest = array.shape[1:] if stream.kept is None else (stream.kept, *array.shape[2:])
                    file = stack.enter_context(tempfile.TemporaryFile(dir=temporary.parent))
                    columns[name] = Column(name, (stream.chains, *rest), array.dtype, file)
                columns[name].put(part.first, part.position, array, stream.kept)
            if part.first == part.position == 0:
                _refuse_too_much(columns.values(), temporary.parent)
        with zipfile.ZipFile(temporary, "w") as archive:
            for column in columns.values():
                column.pack(archive)


def _refuse_too_much(columns: Iterable[Column], folder: Path) -> None:
    """Raises OSError where a disk has no room for arrays and the file made of them, before the work is done."""
    size = 2 * sum(math.prod(column.shape) * column.dtype.itemsize for column in columns)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(errno.ENOSPC, f"it takes {size / 1e9:.3g} GB of room, and there are {free / 1e9:.3g}")


def write_arrays(path: Path, arrays: dict[str, Tensor]) -> None:
    """Writes arrays that are in memory into an .npz file, whole or not at all.

    Raises:
        GmcError: it could not be written; what was there is as it was.
    """
    from numpy.lib.format import write_array

    with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, value in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                write_array(member, value.cpu().numpy(), allow_pickle=False)
