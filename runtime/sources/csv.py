"""`csv`: columns of numbers in a text file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import field_validator

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime import errors
from gmc.runtime.source import Array, Columns, Source, data_path, reason


@VOCABULARY.register("csv")
class Csv(Source):
    """A text file of numbers, a row an example, columns by the names in its first line.

    `"a:b"` as a column takes all from `a` to `b`, both included, as one row of numbers. With `header = false` the columns are
    called `0`, `1` and so on. An empty cell is a missing value. Columns that are not asked for may hold anything.
    """

    path: str
    header: bool = True
    delimiter: str = ","

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if len(value) != 1 or value in '"\r\n ':
            raise ValueError("must be one character, and no quote, space or line break")
        return value

    def load(self, base: Path, span: Span) -> Columns:
        """The columns by name (GmcError where the file is no such text)."""
        place = data_path(base, self.path, span)
        first = next(self._lines(place, span), None)
        if first is None:
            raise GmcError(errors.no_rows(span, f"`{self.path}`"))
        names = tuple(name.strip() for name in first) if self.header else tuple(map(str, range(len(first))))
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise GmcError(errors.data_file_unreadable(span, self.path, f"two columns are called `{twice[0]}`"))
        example = f'`"{names[0]}:{names[-1]}"` takes all columns as one row' if len(names) > 1 else None
        return Columns(names, lambda name: self._column(place, name, names, span), example)

    def _lines(self, place: Path, span: Span) -> Iterator[list[str]]:
        try:
            with place.open(newline="", encoding="utf-8-sig") as file:
                yield from (line for line in csv.reader(file, delimiter=self.delimiter) if line)
        except UnicodeDecodeError:
            raise GmcError(errors.data_file_unreadable(span, self.path, "it is not UTF-8 text")) from None
        except (OSError, csv.Error) as error:
            raise GmcError(errors.data_file_unreadable(span, self.path, reason(error))) from None

    def _column(self, place: Path, name: str, names: tuple[str, ...], span: Span) -> Array:
        chosen = _chosen(name, names)
        rows: list[Array] = []
        for cells in islice(self._lines(place, span), int(self.header), None):
            if len(cells) != len(names):
                why = f"row {len(rows)} does not have {len(names)} cells but {len(cells)}"
                raise GmcError(errors.data_file_unreadable(span, self.path, why))
            rows.append(self._numbers(cells[chosen], len(rows), name, span))
        values = np.stack(rows) if rows else np.empty((0, chosen.stop - chosen.start))
        return values if name not in names else values[:, 0]

    def _numbers(self, cells: list[str], row: int, name: str, span: Span) -> Array:
        try:
            return np.array(cells, dtype=np.float64)
        except ValueError:  # an empty cell, or a mistake
            return np.array([self._number(cell, row, name, span) for cell in cells])

    def _number(self, cell: str, row: int, name: str, span: Span) -> float:
        try:
            return float(cell) if cell.strip() else float("nan")
        except ValueError:
            found = f"row {row} has `{cell[:40]}`"
            help = None if self.header else "`header = true`, the default, takes the first line as names"
            raise GmcError(errors.not_numbers(span, name, found, help)) from None


def _chosen(name: str, names: tuple[str, ...]) -> slice:
    """Which columns `name` or `a:b` means (KeyError if none)."""
    if name in names:
        return slice(names.index(name), names.index(name) + 1)
    first, colon, last = name.partition(":")
    if not colon or first not in names or last not in names or names.index(first) > names.index(last):
        raise KeyError(name)
    return slice(names.index(first), names.index(last) + 1)
