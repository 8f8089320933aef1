"""`flatten`: one axis instead of several."""

from __future__ import annotations

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Rows, Transform


@VOCABULARY.register("flatten")
class Flatten(Transform):
    """Lays the axes of a row out as one, row-major: [28, 28] becomes [784]."""

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`[n, *shape]` as `[n, prod(shape)]`."""
        return x.reshape(x.shape[0], -1)
