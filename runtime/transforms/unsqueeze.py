"""`unsqueeze`: one more axis, of size 1."""

from __future__ import annotations

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Misfit, Rows, Transform


@VOCABULARY.register("unsqueeze")
class Unsqueeze(Transform):
    """Puts an axis of size 1 before axis `axis` of a row, the axes counted from 0: with 0, [28, 28] becomes [1, 28, 28].

    A negative axis counts from the end: with -1, [28, 28] becomes [28, 28, 1].
    """

    axis: int

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """The axis is one of the result's."""
        axes = x.dim() - 1
        if not -axes - 1 <= self.axis <= axes:
            raise Misfit(f"needs an axis between {-axes - 1} and {axes}: a row has {axes} axes here")

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`[n, *shape]` with one axis more."""
        return x.unsqueeze(self.axis + 1 if self.axis >= 0 else self.axis)
