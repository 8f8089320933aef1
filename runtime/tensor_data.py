"""Training rows that a caller has as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import run_errors
from gmc.runtime.sampling import encode_values


@dataclass(frozen=True, slots=True)
class TensorData:
    """Statistics `[rows, size]` by variable."""

    values: Mapping[str, Tensor]

    @classmethod
    def of(cls, compiled: Compiled, data: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> TensorData:
        """Rows `[rows, *shape]` of every observed variable.

        Raises:
            GmcError: a variable is unknown or missing, or values have another shape, support or number of rows.
        """
        for variable in compiled.checked.model.observed:
            if variable.name not in data:
                raise GmcError([run_errors.variable_without_rows(variable.span, variable.name)])
        values = {n: encode_values(compiled, n, torch.as_tensor(v)).to(device, dtype) for n, v in data.items()}
        counts = {n: v.shape[0] for n, v in values.items()}
        if len(set(counts.values())) > 1:
            raise GmcError([run_errors.rows_disagree(None, [f"{n} has {c} rows" for n, c in counts.items()])])
        return cls(values)

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
        """The mean statistic `[size]`, in float64."""
        return self.values[variable].to(torch.float64).mean(0)
