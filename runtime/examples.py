"""What training needs of data: rows by number, and means."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Examples(Protocol):
    """Rows of observed variables as statistics."""

    @property
    def rows(self) -> int:
        """How many rows every variable has."""
        ...

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that have values."""
        ...

    def batch(self, rows: Tensor, epoch: int) -> dict[str, Tensor]:
        """The statistics `[n, size]` of each variable in the numbered rows (int64 [n]), as they are in that epoch.

        A site that a row has no value of is NaN in all its columns.
        """
        ...

    def mean(self, variable: str) -> Tensor:
        """The mean statistic `[size]` over the rows that have a value, in float64; `missing.observed_mean` says what of a site that no row has."""
        ...

    def variance(self, variable: str) -> Tensor:
        """The variance of each number of the statistic, `[size]` in float64, over the rows that have a value, in epoch 0; of other sites as in `mean`."""
        ...

    def gaps(self, variable: str) -> Tensor | None:
        """The sites of a variable that are missing in at least one row, bool `[sites]` on the CPU; None where nothing is missing."""
        ...
