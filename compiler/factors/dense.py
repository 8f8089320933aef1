"""Dense factors: a weight for every pair (or triple) of statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gmc.compiler.factor import Factor, is_lateral
from gmc.compiler.lazy import torch
from gmc.dsl.model import Variable
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.emitter import Emitter
    from gmc.compiler.factor import Normal, Theta
    from gmc.compiler.family import Expr
    from gmc.compiler.region import Piece, Region


@VOCABULARY.register("dense")
class Dense(Factor):
    """f = T_a' W T_b; lateral: 1/2 T' W T with W symmetric and no weight between a site and itself; third order: sum W_ijk a_i b_j c_k.

    `init`: the standard deviation of the first weights.
    """

    arities: ClassVar[tuple[int, ...]] = (2, 3)
    separate: ClassVar[bool] = True
    init: float = Field(default=0.01, ge=0.0)

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        """Joins anything."""
        return None

    def parameters(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """`weight`, one axis an end."""
        return {"weight": tuple(v.size for v in ends)}

    def fan_in(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """A column of the last end; of a lateral edge none, whose weights belong to both units."""
        return {} if is_lateral(ends) else {"weight": tuple(range(len(ends) - 1))}

    def initial(self, ends: Sequence[Variable], normal: Normal) -> dict[str, Tensor]:
        """Normal weights, mirrored where lateral."""
        weight = normal(tuple(v.size for v in ends)) * self.init
        if is_lateral(ends):
            weight = torch.triu(weight, 1)
            weight = (weight + weight.T) * off_diagonal(ends[0])
        return {"weight": weight}

    def energy(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> Expr:
        """The form itself."""
        last = len(ends) - 1
        f = (_contract(theta["weight"], values[:last]) * values[last]).sum(1)
        return f * 0.5 if is_lateral(ends) else f

    def field(
        self, g: Emitter, theta: Theta, ends: Sequence[Variable], pieces: Mapping[int, Piece], target: Region, slot: int
    ) -> Expr:
        """The other ends times the weights between: a matrix product for a pair."""
        weight = theta["weight"]
        for axis in range(len(ends)):
            weight = g.select(weight, target if axis == slot else pieces[axis].region, axis)
        others = [axis for axis in range(len(ends)) if axis != slot]
        weight = torch.permute(weight, (*others, slot)) if slot != len(ends) - 1 else weight
        return _contract(weight, [pieces[axis].value for axis in others])

    def shared(self, ends: Sequence[Variable], slopes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Both triangles of a lateral weight hold the same numbers, its diagonal none."""
        if not is_lateral(ends):
            return dict(slopes)
        slope = slopes["weight"]
        return {"weight": (slope + slope.T) * off_diagonal(ends[0]).to(slope.device)}

    def flaw(self, ends: Sequence[Variable], values: Mapping[str, Tensor]) -> str | None:
        """A lateral weight must be symmetric and leave no site to itself."""
        weight = values["weight"]
        if not is_lateral(ends) or bool((weight == weight.T * off_diagonal(ends[0]).to(weight.device)).all()):
            return None
        return "is not symmetric with zeros between a site and itself"

    def couplings(self, ends: Sequence[Variable], theta: Mapping[str, Tensor]) -> Tensor | None:
        """The weight."""
        return theta["weight"]

    def gradient(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> dict[str, Expr]:
        """The mean product of the statistics: for a lateral edge that of each pair, in both places that hold its weight."""
        chains = values[0].shape[0]
        if len(ends) == 2:
            products = torch.mm(values[0].T, values[1]) / chains
            if is_lateral(ends):
                # the two places of a pair may differ in the last bit, as sums run in different orders, and the weights would drift apart
                products = (products + products.T) * 0.5 * g.constant(off_diagonal(ends[0]))
            return {"weight": products}
        pairs = (values[0].unsqueeze(2) * values[1].unsqueeze(1)).flatten(1)
        return {"weight": (torch.mm(pairs.T, values[2]) / chains).reshape(tuple(v.size for v in ends))}


def _contract(weight: Expr, values: Sequence[Expr]) -> Expr:
    """`weight` [.., n] with its leading axes summed against `values`: [chains, n]."""
    if len(values) == 1:
        return torch.mm(values[0], weight)
    return torch.einsum("na,nb,abc->nc", values[0], values[1], weight)


def off_diagonal(variable: Variable) -> Tensor:
    """Ones between different sites, zeros within a site, `[size, size]`."""
    sites = torch.arange(variable.size) // variable.family.width
    return (sites[:, None] != sites[None, :]).to(torch.uint8)
