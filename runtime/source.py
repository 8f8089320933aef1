"""Where data come from: named columns of numbers, read when asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import SourceWord
from gmc.runtime import errors

Array = NDArray[Any]
"""A column: `[rows, *shape]`."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a source.

    `names` are those it has, `read` gives one of them (KeyError where it has none of that name; GmcError where its
    bytes are no sound array), and `hint` is what to tell one who asks for a column that is not there.
    """

    names: tuple[str, ...]
    read: Callable[[str], Array]
    hint: str | None = None


class Source(SourceWord):
    """A registered source of data."""

    @abstractmethod
    def load(self, base: Path, span: Span) -> Columns:
        """Its columns; relative paths start at `base`, the folder of the .gm file.

        Raises:
            GmcError: there is no such file, or it is not of its kind; shown at `span`, where the source is written.
        """


def data_path(base: Path, path: str, span: Span) -> Path:
    """The existing file or folder that `path` means (GmcError if there is none, or if it is an empty file)."""
    place = base / Path(path).expanduser()
    try:
        found = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise GmcError(errors.data_file_not_found(span, path)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise GmcError(errors.data_file_unreadable(span, path, reason(error))) from None
    if place.is_file() and found.st_size == 0:
        raise GmcError(errors.no_rows(span, f"`{path}`"))
    return place


def reason(error: Exception) -> str:
    """Why a file could not be read or written, in the operating system's words where it has any."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def native(array: Array) -> Array:
    """`array` in this machine's order of bytes."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def is_numeric(array: Array) -> bool:
    """Whether an array holds real numbers or truth values."""
    return array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
