"""`npz`: named arrays in a NumPy archive."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime import errors
from gmc.runtime.source import Array, Columns, Source, data_path, reason

DAMAGED = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and numpy raise at bytes that are not what they should be."""


@VOCABULARY.register("npz")
class Npz(Source):
    """A NumPy archive, `np.savez` or `np.savez_compressed`: its columns are the arrays, by name.

    Only the arrays that are asked for are read. Arrays of Python objects are refused: they could run code.
    """

    path: str

    def load(self, base: Path, span: Span) -> Columns:
        """The arrays of the archive (GmcError where it is none)."""
        place = data_path(base, self.path, span)
        try:
            with zipfile.ZipFile(place) as archive:
                members = archive.namelist()
        except DAMAGED as error:
            why = "it is no .npz archive" if isinstance(error, zipfile.BadZipFile) else reason(error)
            help = "write it with `np.savez(path, name=array)`; if it is one, it is damaged"
            raise GmcError(errors.data_file_unreadable(span, self.path, why, help)) from None
        names = tuple(name.removesuffix(".npy") for name in members if name.endswith(".npy"))

        def read(name: str) -> Array:
            if name not in names:
                raise KeyError(name)
            return self._read(place, name, span)

        return Columns(names, read)

    def _read(self, place: Path, name: str, span: Span) -> Array:
        try:
            with zipfile.ZipFile(place) as archive, archive.open(f"{name}.npy") as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                if member.read(1):  # reading to the end is also what compares the checksum
                    raise ValueError(f"`{name}` goes on after its end")
                return array
        except DAMAGED as error:
            if isinstance(error, ValueError) and "Object arrays" in str(error):
                raise GmcError(errors.pickled_data(span, self.path, name)) from None
            why = f"`{name}` is damaged ({reason(error)})"
            raise GmcError(errors.data_file_unreadable(span, self.path, why)) from None
