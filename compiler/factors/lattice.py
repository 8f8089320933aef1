"""Lattice factors: nearest neighbours along the axes of a variable's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from gmc.compiler.bonds import Bonds
from gmc.compiler.factor import Factor, Pairs, is_lateral
from gmc.compiler.lazy import torch
from gmc.dsl.model import Variable
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.emitter import Emitter
    from gmc.compiler.factor import Normal, Structure, Theta
    from gmc.compiler.family import Expr
    from gmc.compiler.region import Index, Piece, Region


@VOCABULARY.register("lattice")
class Lattice(Factor):
    """f = sum over nearest neighbours of J <T_i, T_j>: Ising's model for spins, Potts' for categorical sites.

    `coupling`: a number is a fixed J; `shared` learns one J, `axis` one for each axis, `bond` one for each pair of neighbours.
    `boundary`: `open`, or `periodic` (the last site of an axis meets the first). `init`: the standard deviation of first couplings.
    """

    separate: ClassVar[bool] = True
    coupling: Literal["shared", "axis", "bond"] | float = "shared"
    boundary: Literal["open", "periodic"] = "open"
    init: float = Field(default=0.01, ge=0.0)

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        """A lattice is lateral and has an axis."""
        if not is_lateral(ends):
            return f"a lattice joins a variable to itself, not {ends[0].name} to {ends[1].name}"
        if ends[0].sites < 2:
            return f"{ends[0].name} has a single site, so no neighbours"
        return None

    def bonds(self, ends: Sequence[Variable]) -> tuple[Bonds, Index]:
        """Each pair of neighbours once, and the axis it lies on."""
        shape = ends[0].shape
        grid = np.arange(ends[0].sites, dtype=np.int64).reshape(shape)
        first, second, axes = [], [], []
        for axis, length in enumerate(shape):
            # a periodic axis of two has one bond a pair, not two
            wraps = self.boundary == "periodic" and length > 2
            here = grid if wraps else np.take(grid, np.arange(length - 1), axis)
            there = np.roll(grid, -1, axis) if wraps else np.take(grid, np.arange(1, length), axis)
            first.append(here.ravel())
            second.append(there.ravel())
            axes.append(np.full(here.size, axis, dtype=np.int64))
        return Bonds(np.concatenate(first), np.concatenate(second), lateral=True), np.concatenate(axes)

    def parameters(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """`weight`: one, one an axis, or one a bond (axis by axis, row-major); none if fixed."""
        if not isinstance(self.coupling, str):
            return {}
        count = {"shared": 1, "axis": len(ends[0].shape), "bond": self.bonds(ends)[0].count}[self.coupling]
        return {"weight": (count,)}

    def initial(self, ends: Sequence[Variable], normal: Normal) -> dict[str, Tensor]:
        """Normal couplings."""
        return {name: normal(shape) * self.init for name, shape in self.parameters(ends).items()}

    def structure(self, ends: Sequence[Variable]) -> Structure:
        """The bonds."""
        bonds, _ = self.bonds(ends)
        return Pairs(bonds.first, bonds.second)

    def _weights(self, g: Emitter, theta: Theta, bonds: Bonds, axes: Index, like: Expr) -> Expr:
        """A weight for each bond."""
        if not isinstance(self.coupling, str):
            return torch.full_like(like[0, :1], self.coupling).expand(bonds.count)
        if self.coupling == "shared":
            return theta["weight"].expand(bonds.count)
        return torch.index_select(theta["weight"], 0, g.constant(axes)) if self.coupling == "axis" else theta["weight"]

    def energy(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> Expr:
        """The couplings times the inner products."""
        bonds, axes = self.bonds(ends)
        width = ends[0].family.width
        products = bonds.products(g, (values[0], values[1]), (width, width), matrix=False)
        return (products * self._weights(g, theta, bonds, axes, values[0])).sum(1)

    def field(
        self, g: Emitter, theta: Theta, ends: Sequence[Variable], pieces: Mapping[int, Piece], target: Region, slot: int
    ) -> Expr:
        """The neighbours' statistics, gathered."""
        (piece,) = pieces.values()
        bonds, axes = self.bonds(ends)
        weights = self._weights(g, theta, bonds, axes, piece.value)
        return bonds.field(g, weights, False, piece, target, slot)

    def gradient(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> dict[str, Expr]:
        """The mean inner products, summed over the bonds that share a coupling."""
        if not isinstance(self.coupling, str):
            return {}
        bonds, axes = self.bonds(ends)
        width = ends[0].family.width
        mean = bonds.products(g, (values[0], values[1]), (width, width), matrix=False).mean(0)
        if self.coupling == "shared":
            return {"weight": mean.sum().reshape(1)}
        if self.coupling == "axis":
            member = torch.from_numpy((np.arange(len(ends[0].shape))[:, None] == axes[None, :]).astype(np.uint8))
            return {"weight": (g.constant(member) * mean).sum(1)}
        return {"weight": mean}
