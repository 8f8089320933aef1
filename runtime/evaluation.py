"""What an evaluation found, and how far it can be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from gmc.dsl.diagnostic import Diagnostic
from gmc.runtime.partition import Partition

Kind = Literal["exact", "estimate", "lower bound", "estimate of a lower bound", "pseudo-likelihood"]
"""What a number is. Only the first two are of a log-likelihood."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was computed, how, and how far it may be off.

    `values`: nats a row, float64 `[rows]`. `bias`: in words, whether the mean is too high or too low in expectation. `partition`: log Z, None where the method needs none.
    `effective`: the effective sample size of the weights, the median over the rows where each row has its own, of `chains`; None where nothing was weighed.
    """

    method: str
    quantity: str
    kind: Kind
    bias: str
    how: str
    values: Tensor
    partition: Partition | None = None
    effective: float | None = None
    chains: int | None = None
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows were evaluated."""
        return int(self.values.shape[0])

    @property
    def mean(self) -> float:
        """The mean over the rows, in nats."""
        return float(self.values.mean())

    @property
    def log_z(self) -> float | None:
        """log Z, in nats, as it was used."""
        return None if self.partition is None else self.partition.value

    @property
    def rows_error(self) -> float:
        """The standard error of the mean from the spread of the rows; NaN for a single row."""
        return float(self.values.std()) / math.sqrt(self.rows) if self.rows > 1 else math.nan

    @property
    def log_z_error(self) -> float:
        """The standard error of log Z, which all rows share; zero where it is exact or not needed."""
        return 0.0 if self.partition is None else self.partition.standard_error

    @property
    def standard_error(self) -> float:
        """Both together."""
        return math.hypot(self.rows_error, self.log_z_error)

    @property
    def reverse(self) -> float | None:
        """The mean with the log Z of reverse annealing in place of the forward one, if that was asked for."""
        found = None if self.partition is None else self.partition.reverse
        return None if found is None or self.log_z is None else self.mean + self.log_z - found.value

    def json(self) -> dict[str, object]:
        """All of it but the rows' values, as data; null for what is not known."""
        numbers = {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "standard_error_rows": self.rows_error,
            "standard_error_log_z": self.log_z_error,
        }
        return {
            "method": self.method,
            "kind": self.kind,
            "quantity": self.quantity,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "bias": self.bias,
            "rows": self.rows,
            "log_z": self.log_z,
            "partition": None if self.partition is None else self.partition.json(),
            "effective_sample_size": self.effective,
            "chains": self.chains,
            "mean_by_reverse": self.reverse,
            "unit": "nats a row",
            "how": self.how,
            "warnings": [found.code for found in self.warnings],
        }
