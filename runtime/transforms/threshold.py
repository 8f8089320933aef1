"""`threshold`: 1 from a level on, else 0."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Rows, Transform


@VOCABULARY.register("threshold")
class Threshold(Transform):
    """1 where a value is at least `level`, else 0; deterministic. A missing value stays missing."""

    elementwise: ClassVar[bool] = True
    level: Annotated[float, Field(allow_inf_nan=False)]

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`x >= level` as 0 and 1."""
        high = (x >= self.level).to(torch.uint8)
        if not x.is_floating_point() or not bool(x.isnan().any()):
            return high
        return high.to(x.dtype).masked_fill(x.isnan(), float("nan"))
