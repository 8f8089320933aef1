"""Labels of the rows of the data: an observed variable, or a column of the source that goes with the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.model import Binding, Checked, Data, Split, Variable
from gmc.runtime import errors, probe_errors, run_errors
from gmc.runtime.clamping import Trained
from gmc.runtime.dataset import Dataset
from gmc.runtime.pipe import transforms
from gmc.runtime.source import Columns, Source, is_numeric

LEARNED: Split = "train"


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One number for each row of the training split and of another, float64 `[rows]`, NaN where a row has none.

    `through` are the observed variables that hold the same: the variable itself, and those that are read from the same columns.
    """

    of: str
    train: NDArray[np.float64]
    other: NDArray[np.float64]
    through: tuple[str, ...]


def labels(run: Trained, of: str, train: Dataset, split: Split, other: Dataset) -> Labels:
    """The labels that a name stands for: a variable's, else a column's, with `TRAIN/OTHER` those of two columns.

    Raises:
        GmcError: there is nothing of that name, or it is not one whole number for each row.
    """
    checked = run.compiled.checked
    found = next((v for v in checked.model.variables if v.name == of), None)
    if found is not None:
        values = [_of_variable(run, found, LEARNED, train), _of_variable(run, found, split, other)]
        columns = _read_for(checked, of, (LEARNED, split))
        return Labels(of, values[0], values[1], _holding(checked, of, columns))
    if checked.data is None:
        raise _unknown(checked, of, ())
    source = checked.data.source
    assert isinstance(source, Source)
    columns_of = source.load(Path(checked.source.path).parent, checked.data.source_span)
    pair = _pair(checked, checked.data, columns_of, of, split)
    values = [
        _of_column(checked.data, columns_of, column, name, data.rows)
        for column, name, data in zip(pair, (LEARNED, split), (train, other), strict=True)
    ]
    return Labels(pair[0], values[0], values[1], _holding(checked, None, set(pair)))


# ── Variables ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_variable(run: Trained, variable: Variable, split: Split, data: Dataset) -> NDArray[np.float64]:
    if (why := _unfit(variable)) is not None:
        raise GmcError([probe_errors.no_label(variable.span, variable.name, why)], exit_code=2)
    if variable.name not in data.variables:
        purpose = "which is to be predicted"
        raise GmcError([run_errors.no_column(variable.span, variable.name, split, purpose)], exit_code=2)
    rows = torch.arange(data.rows, device=run.device)
    found = data.external(variable.name, rows, 0).to(torch.float64).reshape(data.rows)
    return found.cpu().numpy()


def _unfit(variable: Variable) -> str | None:
    """Why a variable is no label, if it is none."""
    if not variable.observed:
        return "it is latent"
    if variable.family.states is None:
        return f"a variable of type {variable.family.word} has no classes"
    return None if variable.sites == 1 else f"it has {variable.sites} sites"


def _read_for(checked: Checked, variable: str, splits: tuple[Split, ...]) -> set[str]:
    """The columns that a variable is made of in some splits."""
    data = checked.data
    if data is None:
        return set()
    bindings = [b for b in data.bindings if b.variable == variable and b.split in splits]
    return {b.column for b in bindings}


def _holding(checked: Checked, of: str | None, columns: set[str]) -> tuple[str, ...]:
    """The variables that tell a label: its own, and all that are made of its columns."""
    bindings = () if checked.data is None else checked.data.bindings
    made = {b.variable for b in bindings if columns & set(_reads(b))}
    return tuple(v.name for v in checked.model.variables if v.name == of or v.name in made)


def _reads(binding: Binding) -> Iterator[str]:
    yield binding.column
    for transform in transforms(binding):
        yield from transform.columns


# ── Columns ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pair(checked: Checked, data: Data, columns: Columns, of: str, split: Split) -> tuple[str, str]:
    """The names of the columns with the labels of the training rows and of those of `split`."""
    first, slash, second = of.partition("/")
    if slash and of not in columns.names:
        for name in (first, second):
            if name not in columns.names:
                raise _unknown(checked, name, columns.names)
        return first, second
    if of not in columns.names:
        raise _unknown(checked, of, columns.names)
    tried = {renamed(of, old, new) for old, new in _lines(data, split)} - {None}
    found = sorted(name for name in tried if name in columns.names)
    if len(found) != 1:
        missing = [] if found else sorted(name for name in tried if name is not None)
        span = data.source_span
        raise GmcError([probe_errors.no_partner(span, of, split, columns.names, missing)], exit_code=2)
    return of, found[0]


def _lines(data: Data, split: Split) -> Iterator[tuple[str, str]]:
    """The columns of the training rows and of another split's from which the same variable is made."""
    for binding in data.bindings:
        other = data.binding(split, binding.variable)
        if binding.split == LEARNED and other is not None:
            yield binding.column, other.column


def renamed(name: str, old: str, new: str) -> str | None:
    """What a column is called where `old` is called `new`; None where that does not tell.

    `image` to `test_image` makes `test_label` of `label`, `x_train` to `x_test` makes `y_test` of `y_train`.
    """
    if old == new:
        return name
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    if before:
        return name.replace(before, after) if name.count(before) == 1 else None
    if not head:
        return after + name
    return name + after if not tail else None


def _shared(a: str, b: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _of_column(data: Data, columns: Columns, name: str, split: Split, rows: int) -> NDArray[np.float64]:
    span = data.source_span
    array = columns.read(name)
    if not is_numeric(array):
        raise GmcError(errors.not_numbers(span, name, f"its type is {array.dtype}"))
    if array.ndim == 0 or array.size != len(array):
        why = f"each row has {array[0].size if array.ndim else 0} numbers"
        raise GmcError([probe_errors.no_label(span, name, why)], exit_code=2)
    found = array.reshape(-1).astype(np.float64)
    off = found[np.isfinite(found) & (found != np.round(found))]
    if off.size or bool(np.isinf(found).any()):
        why = f"its values are no whole numbers: {off[0] if off.size else np.inf:g}"
        raise GmcError([probe_errors.no_label(span, name, why)], exit_code=2)
    if len(found) != rows:
        raise GmcError([probe_errors.rows_differ(span, name, len(found), split, rows)], exit_code=2)
    return found


def _unknown(checked: Checked, of: str, columns: tuple[str, ...]) -> GmcError:
    observed = [v.name for v in checked.model.observed]
    found: Diagnostic = probe_errors.unknown_label(None, of, observed, columns)
    return GmcError([found], exit_code=2)
