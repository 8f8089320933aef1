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
        """The statistics `[n, size]` of each variable in the numbered rows (int64 [n]), as they are in that epoch."""
        ...

    def mean(self, variable: str) -> Tensor:
        """The mean statistic `[size]` over all rows, in float64."""
        ...
