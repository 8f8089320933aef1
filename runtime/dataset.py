"""The data of a file as batches of statistics.

What does not change from epoch to epoch is computed once and kept on the device, in the smallest type that holds it; what is drawn afresh runs on
the rows of a batch, keyed by their numbers, so that a row's values do not depend on the batch it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gmc.compiler import draws
from gmc.compiler.family import Family
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.model import Checked, Data, Split
from gmc.runtime import errors, missing
from gmc.runtime.loading import Loader, Values
from gmc.runtime.source import Source

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Dataset:
    """One split: for each variable that has a column, its values row by row."""

    values: Mapping[str, Values]
    dtype: torch.dtype

    @property
    def rows(self) -> int:
        """How many rows every variable has."""
        return next(iter(self.values.values())).rows

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that have values here, in the order of the file."""
        return tuple(self.values)

    def batch(self, rows: torch.Tensor, epoch: int) -> dict[str, torch.Tensor]:
        """The statistics [n, size] of each variable in the numbered `rows` (int64 [n]), as they are in that epoch.

        A site that a row has no value of is NaN in all its columns.
        """
        return {name: self._encode(name, values.take(rows, epoch)) for name, values in self.values.items()}

    def external(self, variable: str, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """The values [n, *shape] of one variable as a user reads them, NaN where one is missing."""
        return self.values[variable].take(rows, epoch)

    def mean(self, variable: str) -> torch.Tensor:
        """The mean statistic [size] over the rows that have a value, in float64; `missing.observed_mean` says what of a site that no row has.

        Where values are binarized and then changed site by site at most, this is the expectation over the draws; where more follows, the mean
        of the first epoch.
        """
        values = self.values[variable]
        return self._over_rows(values, lambda rows: values.expected(rows, family(values)).to(torch.float64))

    def variance(self, variable: str) -> torch.Tensor:
        """The variance of each number of the statistic, [size] in float64, over the rows that have a value, in epoch 0; of other sites as in `mean`."""
        values = self.values[variable]

        def drawn(rows: torch.Tensor) -> torch.Tensor:
            flat = values.take(rows, 0).reshape(len(rows), -1)
            return missing.encode(family(values), flat).to(torch.float64)

        mean = self._over_rows(values, drawn)
        return self._over_rows(values, lambda rows: (drawn(rows) - mean).square())

    def _over_rows(self, values: Values, of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The mean [size] over all rows of numbers [n, size] in float64, NaN where a row has none."""
        total = torch.zeros(values.variable.size, dtype=torch.float64, device=values.stored.device)
        count = torch.zeros_like(total)
        for rows in values.chunks():
            found = of(rows)
            total += found.nansum(dim=0)
            count += (~found.isnan()).sum(dim=0)
        return missing.observed_mean(family(values), total, count)

    def gaps(self, variable: str) -> torch.Tensor | None:
        """The sites of a variable that are missing in at least one row, bool [sites] on the CPU; None where nothing is missing."""
        return self.values[variable].gaps

    def _encode(self, name: str, values: torch.Tensor) -> torch.Tensor:
        flat, kind = values.reshape(len(values), -1), family(self.values[name])
        gaps = self.values[name].gaps is not None
        return (missing.encode(kind, flat) if gaps else kind.encode(flat)).to(self.dtype)


@dataclass(frozen=True, slots=True)
class Datasets:
    """All splits; None where the file has no line for one.

    `constants` are what transforms such as `standardize` took from the training rows, by `VARIABLE.NUMBER.NAME`; stored with
    a run and given back to `load_data` they make other rows the same as they were in training.
    """

    train: Dataset | None = None
    valid: Dataset | None = None
    test: Dataset | None = None
    constants: Mapping[str, torch.Tensor] = field(default_factory=dict)


def family(values: Values) -> Family:
    """The family of a variable, with its meaning."""
    found = values.variable.family
    assert isinstance(found, Family)
    return found


def load_data(
    checked: Checked,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    constants: Mapping[str, torch.Tensor] | None = None,
) -> Datasets:
    """Reads and checks all data of a file; `dtype` is that of batches.

    Raises:
        GmcError: with all that is wrong with the files, the columns and the values.
    """
    if checked.data is None:
        return Datasets()
    source = checked.data.source
    assert isinstance(source, Source)
    columns = source.load(Path(checked.source.path).parent, checked.data.source_span)
    maskable = missing.maskable(checked.model, checked.chains)
    loader = Loader(checked.model, columns, seed, device, dtype, dict(constants or {}), maskable)
    found: list[Diagnostic] = []
    splits = {split: _split(loader, checked.data, split, found) for split in SPLITS}
    if found:
        raise GmcError(found)
    datasets = {split: Dataset(values, dtype) for split, values in splits.items() if values}
    return Datasets(datasets.get("train"), datasets.get("valid"), datasets.get("test"), loader.constants)


def _split(loader: Loader, data: Data, split: Split, found: list[Diagnostic]) -> dict[str, Values]:
    """The variables of a split, in the order of the model; what is wrong with them goes to `found`."""
    loaded: dict[str, Values] = {}
    for binding in data.bindings:
        if binding.split == split and binding.variable not in loader.failed:
            try:
                loaded[binding.variable] = loader.load(binding)
            except GmcError as error:
                loader.failed.add(binding.variable)
                found += error.diagnostics
    order = [v.name for v in loader.model.variables if v.name in loaded]
    for name in order[1:]:
        first, other = loaded[order[0]], loaded[name]
        if other.rows != first.rows:
            at = first.pipe.binding.span
            found.append(errors.rows_differ(other.pipe.binding.span, name, other.rows, order[0], first.rows, at))
    return {name: loaded[name] for name in order}


def order(rows: int, seed: int, stage: str, epoch: int) -> torch.Tensor:
    """The order (int64 [rows]) in which an epoch of a stage visits the rows: a permutation that depends on the arguments alone."""
    keys = draws.row_keys(seed, f"order/{stage}", torch.arange(rows))
    high, low = (word.squeeze(1).to(torch.int64) for word in draws.words(keys, 0, epoch, 1))
    return torch.argsort((high << 32) | (low & 0xFFFFFFFF), stable=True)
