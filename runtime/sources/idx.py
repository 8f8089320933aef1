"""`idx`: the files MNIST is published in."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime import errors
from gmc.runtime.source import Array, Columns, Source, data_path, native, reason

FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The third byte of a file and the type of its numbers (yann.lecun.com/exdb/mnist, "the IDX file format")."""


@VOCABULARY.register("idx")
class Idx(Source):
    """MNIST's own files, as published (`.gz`) or unpacked.

    A folder gives `x_train`, `y_train`, `x_test` and `y_test` from the files of the usual names that lie in it
    (`train-images-idx3-ubyte.gz` and so on); a single file gives the column `values`.
    """

    path: str

    def load(self, base: Path, span: Span) -> Columns:
        """The columns whose files are there (GmcError where there are none)."""
        place = data_path(base, self.path, span)
        files = {"values": place} if not place.is_dir() else _in_folder(place)
        if not files:
            help = f"the folder should hold {', '.join(f'`{name}.gz`' for name in FILES.values())}, or some of them"
            raise GmcError(errors.data_file_not_found(span, f"{self.path}/{FILES['x_train']}.gz", help))
        return Columns(tuple(files), lambda name: read_idx(files[name], span))


def _in_folder(folder: Path) -> dict[str, Path]:
    found = {}
    for column, name in FILES.items():
        # unpacked by some tools as train-images.idx3-ubyte
        names = [variant + end for variant in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
        path = next((folder / n for n in names if (folder / n).is_file()), None)
        if path is not None:
            found[column] = path
    return found


def read_idx(path: Path, span: Span) -> Array:
    """The array of an IDX file, packed or not (GmcError where it is none, or damaged)."""
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise GmcError(errors.data_file_unreadable(span, path.name, reason(error))) from None
    if not data:
        raise GmcError(errors.no_rows(span, f"`{path.name}`"))
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES or len(data) < 4 + 4 * data[3]:
        raise GmcError(errors.data_file_unreadable(span, path.name, "it is no IDX file"))
    dtype, header = np.dtype(TYPES[data[2]]), 4 + 4 * data[3]
    sizes = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + math.prod(sizes) * dtype.itemsize
    if len(data) != expected:
        why = f"its header promises {expected} bytes, but there are {len(data)}"
        raise GmcError(errors.data_file_unreadable(span, path.name, why, "copy the file again"))
    return native(np.frombuffer(data, dtype, offset=header).reshape(sizes))
