"""`unpack_bits`: eight values from each byte."""

from __future__ import annotations

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.transform import Misfit, Rows, Transform


@VOCABULARY.register("unpack_bits")
class UnpackBits(Transform):
    """The bits of each byte along the last axis, the highest first, as `np.packbits` packs them: [98] becomes [784]."""

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """Values are bytes, along an axis."""
        if x.dtype != torch.uint8:
            kind = str(x.dtype).removeprefix("torch.")
            raise Misfit(f"takes bytes (uint8), but the values are {kind} here", "put it first in the pipe")
        if x.dim() < 2:
            raise Misfit("takes rows with at least one axis, but a row is a single number here")

    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """`[n, ..., k]` bytes as `[n, ..., 8 k]` bits."""
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=x.device)
        return ((x.unsqueeze(-1) >> shifts) & 1).flatten(-2)
