"""`scale`: values times a number."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Rows, Transform


@VOCABULARY.register("scale")
class Scale(Transform):
    """Multiplies every value by `factor`: `scale(1/255)` brings 8-bit pixels to [0, 1].

    The product is taken in float64, where n * (1/n) never exceeds 1.
    """

    elementwise: ClassVar[bool] = True
    factor: Annotated[float, Field(allow_inf_nan=False)]

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`factor * x`, in float64."""
        return x.to(torch.float64) * self.factor
