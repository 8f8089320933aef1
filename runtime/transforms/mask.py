"""`mask`: what was not observed."""

from __future__ import annotations

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.errors import shape
from gmc.runtime.transform import Misfit, Rows, Transform, real


@VOCABULARY.register("mask")
class Mask(Transform):
    """Makes a value missing (NaN) where `column` is 0; the column has the shape of the rows, or one number a row."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that masks."""
        return (self.column,)

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """The column has the shape of the rows, or one number a row."""
        found, wanted = tuple(rows.others[self.column].shape[1:]), tuple(x.shape[1:])
        if found not in ((), wanted):
            raise Misfit(
                f"needs a column of shape {shape(wanted)}, or one number a row, but `{self.column}` has {shape(found)}"
            )

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`x` with NaN where the column is 0."""
        hidden = rows.others[self.column] == 0
        hidden = hidden.reshape(hidden.shape + (1,) * (x.dim() - hidden.dim()))
        return real(x).masked_fill(hidden, float("nan"))
