"""`spin`: 0 and 1 as -1 and +1."""

from __future__ import annotations

from typing import ClassVar

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Misfit, Rows, Transform, first_bad


@VOCABULARY.register("spin")
class Spin(Transform):
    """Makes 0 into -1 and 1 into +1, the values of a `spin` variable."""

    elementwise: ClassVar[bool] = True

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """Values are 0 or 1, or missing."""
        bad = first_bad((x != 0) & (x != 1) & (x == x), x)
        if bad is not None:
            row, value = bad
            raise Misfit(
                f"takes 0 and 1, but row {{row}} has {value:g}", "put `threshold(...)` or `binarize` before it", row
            )

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`2 x - 1`."""
        signed = x if x.is_floating_point() else x.to(torch.int16)
        return signed * 2 - 1
