"""`binarize`: values read as probabilities of 1."""

from __future__ import annotations

from typing import ClassVar

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Misfit, Rows, Transform, first_bad


@VOCABULARY.register("binarize")
class Binarize(Transform):
    """Draws 1 with the probability that each value gives, else 0.

    Training rows are drawn afresh each epoch, the rows of valid and test once, by the seed. A draw depends on the seed, the variable,
    the row and the epoch alone, not on the batch the row is in. 0 and 1 stay as they are.
    """

    stochastic: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """Values are probabilities, or missing."""
        bad = first_bad((x < 0) | (x > 1), x)
        if bad is not None:
            row, value = bad
            help = "bring 8-bit pixels to [0, 1] first: `scale(1/255) | binarize`" if value > 1 else None
            raise Misfit(f"takes probabilities, between 0 and 1, but row {{row}} has {value:g}", help, row)

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`u < x` for u uniform in (0, 1), as 0 and 1; a missing value stays missing."""
        from gmc.compiler.draws import uniform

        u = uniform(rows.keys, rows.site, rows.epoch, x[0].numel()).reshape(x.shape)
        drawn = u < x
        if not x.is_floating_point():
            return drawn.to(torch.uint8)
        return torch.where(x.isnan(), x, drawn.to(x.dtype))
