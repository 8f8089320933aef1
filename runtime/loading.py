"""Columns to resident values: read, transformed as far as they stay the same, checked, kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

import torch

from gmc.compiler.family import Family
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Binding, Model, Variable
from gmc.dsl.source import Span
from gmc.runtime import errors, missing
from gmc.runtime.pipe import Pipe, compact, tensor_of, transforms
from gmc.runtime.source import Array, Columns, is_numeric
from gmc.runtime.transform import Rows
from gmc.runtime.valuecheck import Survey, fitting_transform

CHUNK = 1 << 21
"""About how many numbers are transformed at a time."""


def chunks(rows: int, size: int, device: torch.device | None = None) -> Iterator[torch.Tensor]:
    """The row numbers 0 to rows - 1 in order (int64), in parts of about `CHUNK` numbers where a row has `size`."""
    step = max(1, CHUNK // max(size, 1))
    for first in range(0, rows, step):
        yield torch.arange(first, min(first + step, rows), device=device)


@dataclass(frozen=True, slots=True)
class Values:
    """A variable's values in a split: `stored` [rows, ...] is what the first `done` steps of the pipe leave.

    `others` are the columns that later steps read besides. `gaps` are the sites that are missing in some row, bool [sites] on the CPU; None where nothing is.
    """

    variable: Variable
    pipe: Pipe
    stored: torch.Tensor
    others: Mapping[str, torch.Tensor]
    done: int
    gaps: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.stored.shape[0]

    def chunks(self) -> Iterator[torch.Tensor]:
        """All row numbers, in parts."""
        return chunks(self.rows, self.variable.size, self.stored.device)

    def epoch_0(self) -> Iterator[torch.Tensor]:
        """All rows as in epoch 0, in parts, each step checked."""
        return (self.take(rows, 0, check=True) for rows in self.chunks())

    def check_next(self) -> None:
        """Raises GmcError if the first step that is still to run cannot take the stored values."""
        for rows in self.chunks():
            self.pipe.check(
                self.done, self.stored[rows], rows, Rows(torch.empty((0, 2), dtype=torch.int32), 0, self.done)
            )

    def take(self, rows: torch.Tensor, epoch: int, check: bool = False) -> torch.Tensor:
        """The values [n, *shape] of the numbered `rows` in an epoch; `check` as in `Pipe.run`."""
        rows = rows.to(self.stored.device)
        x = self.stored.index_select(0, rows)  # several times as fast as indexing
        steps = range(self.done, len(self.pipe.binding.steps))
        if not steps:
            return x
        others = {name: column.index_select(0, rows) for name, column in self.others.items()}
        return self.pipe.run(x, rows, others, steps, epoch, check)

    def expected(self, rows: torch.Tensor, family: Family) -> torch.Tensor:
        """The mean statistics [n, size] of the numbered `rows` over epochs where that is known, else those of epoch 0; in float64.

        They are NaN where a value is missing.
        """

        def statistics(x: torch.Tensor) -> torch.Tensor:
            return missing.encode(family, x.reshape(len(x), -1)).to(torch.float64)

        rest = self.pipe.steps[self.done :]
        if not rest or not all(step.elementwise for step in rest) or any(step.stochastic for step in rest[1:]):
            return statistics(self.take(rows, 0))
        # a site is 1 with the stored probability, else 0, and what follows does not mix sites
        ends = [torch.full_like(self.stored[:1], end, dtype=torch.float64) for end in (0.0, 1.0)]
        after = range(self.done + 1, len(self.pipe.steps))
        low, high = (statistics(self.pipe.run(x, rows[:1], {}, after)) for x in ends)
        p = self.stored[rows].reshape(len(rows), -1).to(torch.float64).repeat_interleave(family.width, dim=1)
        return low + (high - low) * p


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads the bindings of one data block; training rows first, because others take `constants` from them.

    `maskable` are the sites of each variable that may be missing.
    """

    model: Model
    columns: Columns
    seed: int
    device: torch.device
    dtype: torch.dtype
    constants: dict[str, torch.Tensor]
    maskable: Mapping[str, missing.Sites]
    failed: set[str] = field(default_factory=set)

    def load(self, binding: Binding) -> Values:
        """The values of a binding.

        Raises:
            GmcError: there is no such column, or it does not fit its transforms or its variable.
        """
        variable = self.model.variable(binding.variable)
        raw = self._column(binding.column, binding.column_span)
        others = self._others(binding, raw)
        pipe = Pipe(binding, self._fitted(binding, raw, others), self.seed)
        self._check_shape(pipe, variable, raw, others)
        stored = self._run(pipe, raw, others, pipe.resident)
        values = self._values(variable, pipe, stored, others)
        later = pipe.steps[values.done :]
        values = self._survey(values, (values.stored[rows] for rows in values.chunks()), support=not later)
        if not later:
            return values
        if binding.split != "train":
            return self._drawn_once(values)
        if len(later) == 1:  # what the last step draws is of one kind everywhere, so a part shows it
            values.check_next()
            return self._survey(values, islice(values.epoch_0(), 1), support=True)
        return self._survey(values, values.epoch_0(), support=True)

    def _drawn_once(self, values: Values) -> Values:
        """The rows of valid and test are the same in every epoch."""
        stored = torch.cat([compact(x, self.dtype) for x in values.epoch_0()])
        fixed = Values(values.variable, values.pipe, stored, {}, len(values.pipe.steps))
        return self._survey(fixed, (fixed.stored[rows] for rows in fixed.chunks()), support=True)

    def _survey(self, values: Values, parts: Iterable[torch.Tensor], support: bool) -> Values:
        """The values with the gaps that `parts`, the rows from the first on, show.

        Raises:
            GmcError: a value is missing that may not be, or, with `support`, is outside the variable's support.
        """
        variable = values.variable
        allowed = torch.from_numpy(self.maskable[variable.name]).reshape(variable.shape)
        survey = Survey(values.pipe.binding, variable, allowed)
        for rows, part in zip(values.chunks(), parts, strict=False):
            survey.see(part, rows, support)
        survey.judge()
        found = [gaps for gaps in (values.gaps, survey.gaps) if gaps is not None]
        return replace(values, gaps=torch.stack([gaps.reshape(-1) for gaps in found]).any(dim=0) if found else None)

    def _values(self, variable: Variable, pipe: Pipe, stored: torch.Tensor, others: Mapping[str, Array]) -> Values:
        later = {name for step in pipe.steps[pipe.resident :] for name in step.columns}
        kept = {name: compact(tensor_of(others[name]), self.dtype).to(self.device) for name in sorted(later)}
        return Values(variable, pipe, stored.to(self.device), kept, pipe.resident)

    def _column(self, name: str, span: Span) -> Array:
        try:
            array = self.columns.read(name)
        except KeyError:
            raise GmcError(errors.unknown_column(span, name, self.columns.names, self.columns.hint)) from None
        if not is_numeric(array):
            found = "text" if array.dtype.kind in "SU" else f"its type is {array.dtype}"
            raise GmcError(errors.not_numbers(span, name, found))
        if array.ndim == 0 or array.shape[0] == 0:
            raise GmcError(errors.no_rows(span, f"column `{name}`"))
        if array.size == 0:
            raise GmcError(errors.no_rows(span, f"each row of column `{name}`"))
        return array

    def _others(self, binding: Binding, raw: Array) -> dict[str, Array]:
        """The columns that transforms read besides."""
        found: dict[str, Array] = {}
        for step, transform in zip(binding.steps, transforms(binding), strict=True):
            for name in transform.columns:
                found[name] = self._column(name, step.span)
                if len(found[name]) != len(raw):
                    at = binding.column_span
                    raise GmcError(errors.rows_differ(step.span, name, len(found[name]), binding.column, len(raw), at))
        return found

    def _parts(self, pipe: Pipe, raw: Array, others: Mapping[str, Array], steps: int) -> Iterator[torch.Tensor]:
        """All rows through the first `steps` steps, in parts, each step checked."""
        for rows in chunks(len(raw), raw[0].size):
            at = slice(int(rows[0]), int(rows[-1]) + 1)
            beside = {name: tensor_of(column[at]) for name, column in others.items()}
            yield pipe.run(tensor_of(raw[at]), rows, beside, range(steps), check=True)

    def _run(self, pipe: Pipe, raw: Array, others: Mapping[str, Array], steps: int) -> torch.Tensor:
        return torch.cat([compact(part, self.dtype) for part in self._parts(pipe, raw, others, steps)])

    def _fitted(
        self, binding: Binding, raw: Array, others: Mapping[str, Array]
    ) -> tuple[Mapping[str, torch.Tensor], ...]:
        """The constants of each step: stored ones, those of the training rows, or, for these, new ones."""
        fitted: list[Mapping[str, torch.Tensor]] = []
        number = 0
        for i, transform in enumerate(transforms(binding)):
            if not transform.fits:
                fitted.append({})
                continue
            prefix = f"{binding.variable}.{number}."
            known = {k.removeprefix(prefix): v for k, v in self.constants.items() if k.startswith(prefix)}
            if not known and binding.split != "train":
                message = f"takes its constants from training rows, but those of `{binding.variable}` have none"
                help = f"end the line `{binding.variable} = ...` with `| {transform.word}` too"
                raise GmcError(errors.transform_misfit(binding.steps[i].span, transform.word, message, help))
            known = known or transform.fit(self._parts(Pipe(binding, tuple(fitted), self.seed), raw, others, i))
            self.constants.update({prefix + name: value for name, value in known.items()})
            fitted.append(known)
            number += 1
        return tuple(fitted)

    def _check_shape(self, pipe: Pipe, variable: Variable, raw: Array, others: Mapping[str, Array]) -> None:
        """The first row, through the whole pipe, has the variable's shape."""
        beside = {name: tensor_of(column[:1]) for name, column in others.items()}
        first = pipe.run(tensor_of(raw[:1]), torch.arange(1), beside, range(len(pipe.steps)), check=True)
        found = tuple(first.shape[1:])
        if found != variable.shape:
            fitting = fitting_transform(first, variable.shape)
            raise GmcError(
                errors.data_shape(pipe.binding.span, variable.name, variable.shape, found, fitting, variable.span)
            )
