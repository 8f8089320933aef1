"""Training rows that a caller has as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.family import Family
from gmc.compiler.graph import family
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Variable
from gmc.runtime import errors, missing, run_errors
from gmc.runtime.clamping import encode_values


@dataclass(frozen=True, slots=True)
class TensorData:
    """Statistics `[rows, size]` by variable, NaN at missing sites; `families` are the variables' own."""

    values: Mapping[str, Tensor]
    families: Mapping[str, Family]
    absent: Mapping[str, Tensor | None]
    """The sites that are missing in some row, bool `[sites]` on the CPU, by variable; None where nothing is."""

    @classmethod
    def of(cls, compiled: Compiled, data: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> TensorData:
        """Rows `[rows, *shape]` of every observed variable; NaN is a missing value.

        Raises:
            GmcError: a variable is unknown or missing, values have another shape, support or number of rows, or one is missing that no chain of the
                file clamps where observed.
        """
        for variable in compiled.checked.model.observed:
            if variable.name not in data:
                raise GmcError([run_errors.variable_without_rows(variable.span, variable.name)])
        values = {
            n: encode_values(compiled, n, torch.as_tensor(v), True, dtype).to(device, dtype) for n, v in data.items()
        }
        counts = {n: v.shape[0] for n, v in values.items()}
        if len(set(counts.values())) > 1:
            raise GmcError([run_errors.rows_disagree(None, [f"{n} has {c} rows" for n, c in counts.items()])])
        variables = {name: compiled.checked.model.variable(name) for name in values}
        allowed = missing.maskable(compiled.checked.model, compiled.checked.chains)
        for name, variable in variables.items():
            _refuse(variable, values[name], allowed[name])
        gaps = {name: missing.gaps_of(value, variables[name].family.width) for name, value in values.items()}
        return cls(values, {name: family(variable) for name, variable in variables.items()}, gaps)

    @property
    def rows(self) -> int:
        """How many rows every variable has."""
        return next(iter(self.values.values())).shape[0]

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that have values."""
        return tuple(self.values)

    def batch(self, rows: Tensor, epoch: int) -> dict[str, Tensor]:
        """The numbered rows; the same in every epoch."""
        return {name: value[rows] for name, value in self.values.items()}

    def mean(self, variable: str) -> Tensor:
        """The mean statistic `[size]` over the rows that have a value, in float64; `missing.observed_mean` says what of a site that no row has."""
        values = self.values[variable].to(torch.float64)
        return missing.observed_mean(self.families[variable], values.nansum(0), (~values.isnan()).sum(0))

    def variance(self, variable: str) -> Tensor:
        """The variance of each number of the statistic, `[size]` in float64, over the rows that have a value; of other sites as in `mean`."""
        values = self.values[variable].to(torch.float64)
        square = (values - self.mean(variable)).square()
        return missing.observed_mean(self.families[variable], square.nansum(0), (~square.isnan()).sum(0))

    def gaps(self, variable: str) -> Tensor | None:
        """The sites of a variable that are missing in at least one row, bool `[sites]` on the CPU; None where nothing is missing."""
        return self.absent[variable]


def _refuse(variable: Variable, statistic: Tensor, allowed: missing.Sites) -> None:
    """Raises GmcError if rows lack a site that is not among those that are allowed to be missing."""
    width = variable.family.width
    bad = (~missing.present(statistic, width)).cpu() & ~torch.from_numpy(allowed)
    if bool(bad.any()):
        row, site = (int(i) for i in bad.nonzero()[0])
        at = missing.place(variable, site)
        total = statistic.shape[0] * variable.sites
        raise GmcError(errors.missing_values(variable.span, variable.name, int(bad.sum()), total, row, at))
