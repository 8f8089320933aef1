"""Low-rank factors: a weight matrix (or a weight cube) as a sum of k products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gmc.compiler.factor import Factor, is_lateral
from gmc.compiler.factors.dense import off_diagonal
from gmc.compiler.lazy import torch
from gmc.dsl.model import Variable
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.emitter import Emitter
    from gmc.compiler.factor import Normal, Theta
    from gmc.compiler.family import Expr
    from gmc.compiler.region import Piece, Region


@VOCABULARY.register("lowrank")
class LowRank(Factor):
    """f = sum over k of the product of A_k . T_a, B_k . T_b (and C_k . T_c): dense with W = A B', or factored third order.

    Lateral: W = (A B' + B A') / 2 without what it puts between a site and itself. `init`: the standard deviation of first weights W.
    """

    arities: ClassVar[tuple[int, ...]] = (2, 3)
    k: int = Field(ge=1)
    init: float = Field(default=0.01, ge=0.0)

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        """Joins anything."""
        return None

    def parameters(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """`weight.0`, `weight.1` (and `weight.2`): `[size of the end, k]`."""
        return {f"weight.{n}": (end.size, self.k) for n, end in enumerate(ends)}

    def initial(self, ends: Sequence[Variable], normal: Normal) -> dict[str, Tensor]:
        """Normal factors, scaled so that W has the deviation asked for."""
        scale = (self.init / self.k**0.5) ** (1 / len(ends))
        return {name: normal(shape) * scale for name, shape in self.parameters(ends).items()}

    def energy(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> Expr:
        """The products, summed over k."""
        f = reduce(mul, (torch.mm(value, theta[f"weight.{n}"]) for n, value in enumerate(values))).sum(1)
        if not is_lateral(ends):
            return f
        own = torch.mm(values[0], _within(g, theta, ends)) * values[1]
        return (f - own.sum(1)) * 0.5

    def field(
        self, g: Emitter, theta: Theta, ends: Sequence[Variable], pieces: Mapping[int, Piece], target: Region, slot: int
    ) -> Expr:
        """Down to k numbers and up again."""
        if is_lateral(ends):
            (piece,) = pieces.values()
            there = self._through(g, theta, {0: piece}, target, 1)
            back = self._through(g, theta, {1: piece}, target, 0)
            within = g.select(g.select(_within(g, theta, ends), piece.region, 0), target, 1)
            return (there + back) * 0.5 - torch.mm(piece.value, within)
        return self._through(g, theta, pieces, target, slot)

    def _through(self, g: Emitter, theta: Theta, pieces: Mapping[int, Piece], target: Region, slot: int) -> Expr:
        down = [
            torch.mm(piece.value, g.select(theta[f"weight.{axis}"], piece.region, 0)) for axis, piece in pieces.items()
        ]
        return torch.mm(reduce(mul, down), g.select(theta[f"weight.{slot}"], target, 0).T)

    def degree(self, ends: Sequence[Variable]) -> int:
        """One array an end is multiplied."""
        return len(ends)

    def gradient(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> dict[str, Expr]:
        """The mean of each end's statistic times the other ends' products."""
        chains = values[0].shape[0]
        down = [torch.mm(value, theta[f"weight.{n}"]) for n, value in enumerate(values)]
        gradient = {
            f"weight.{n}": torch.mm(value.T, reduce(mul, down[:n] + down[n + 1 :])) / chains
            for n, value in enumerate(values)
        }
        if not is_lateral(ends):
            return gradient
        products = torch.mm(values[0].T, values[1]) / chains
        inside = (products + products.T) * 0.5 * g.constant(1 - off_diagonal(ends[0]))
        return {
            f"weight.{n}": (gradient[f"weight.{n}"] - torch.mm(inside, theta[f"weight.{1 - n}"])) * 0.5 for n in (0, 1)
        }


def _within(g: Emitter, theta: Theta, ends: Sequence[Variable]) -> Expr:
    """The part of the lateral W that lies between statistics of one site."""
    product = torch.mm(theta["weight.0"], theta["weight.1"].T)
    return (product + product.T) * 0.5 * g.constant(1 - off_diagonal(ends[0]))
