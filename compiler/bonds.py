"""The gather kernel of sparse structures: fields along a list of bonds.

A bond joins site `first[n]` of one end to site `second[n]` of the other and has a weight: a number, which multiplies the inner product
of the two statistics, or a matrix between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gmc.compiler.lazy import torch

if TYPE_CHECKING:
    from gmc.compiler.emitter import Emitter
    from gmc.compiler.family import Expr
    from gmc.compiler.region import Index, Piece, Region


@dataclass(frozen=True, slots=True, eq=False)
class Bonds:
    """Bonds between the sites of two ends, or of one."""

    first: Index
    second: Index
    lateral: bool

    @property
    def count(self) -> int:
        """How many bonds there are."""
        return int(self.first.size)

    def _into(self, slot: int) -> tuple[Index, Index, Index]:
        """Source site, target site and bond number of every way along a bond into end `slot`."""
        number = np.arange(self.count)
        ways = (self.first, self.second, number), (self.second, self.first, number)
        if self.lateral:
            return (
                np.concatenate((ways[0][0], ways[1][0])),
                np.concatenate((ways[0][1], ways[1][1])),
                np.concatenate((number, number)),
            )
        return ways[0] if slot == 1 else ways[1]

    def table(self, source: Region, target: Region, slot: int) -> tuple[Index, Index]:
        """For each target site the places of its neighbours within `source` and the bonds to them, `[target sites, degree]`.

        Rows are filled up with one past the last place and bond, where a zero stands.
        """
        sites, targets, bonds = self._into(slot)
        keep = np.isin(sites, source.sites) & np.isin(targets, target.sites)
        sites, targets, bonds = sites[keep], targets[keep], bonds[keep]
        order = np.argsort(targets, kind="stable")
        sites, targets, bonds = sites[order], np.searchsorted(target.sites, targets[order]), bonds[order]
        degree = np.bincount(targets, minlength=target.sites.size)
        column = np.arange(targets.size) - np.repeat(np.cumsum(degree) - degree, degree)
        shape = (int(target.sites.size), max(int(degree.max(initial=0)), 1))
        place, bond = np.full(shape, source.sites.size), np.full(shape, self.count)
        place[targets, column], bond[targets, column] = np.searchsorted(source.sites, sites), bonds
        return place.astype(np.int64), bond.astype(np.int64)

    def field(self, g: Emitter, weight: Expr, matrix: bool, piece: Piece, target: Region, slot: int) -> Expr:
        """The field on the target sites from one piece, `[chains, target.size]`.

        `weight` holds a number a bond, `[bonds]`, or a matrix a bond, `[bonds, width of first, width of second]`.
        """
        place, bond = self.table(piece.region, target, slot)
        count, degree = place.shape
        width = piece.region.variable.family.width
        flat = (place[:, :, None] * width + np.arange(width)).reshape(-1)
        neighbours = torch.index_select(torch.nn.functional.pad(piece.value, (0, width)), 1, g.constant(flat))
        neighbours = neighbours.reshape(-1, count, degree, width)
        padded = torch.cat([weight, torch.zeros_like(weight[:1])])
        weights = torch.index_select(padded, 0, g.constant(bond.reshape(-1)))
        if not matrix:
            return (neighbours * weights.reshape(count, degree, 1)).sum(2).flatten(1)
        matrices = weights.reshape(count, degree, *self._matrix(piece, target, slot))
        equation = "npda,pdab->npb" if slot == 1 else "npdb,pdab->npa"
        return torch.einsum(equation, neighbours, matrices).flatten(1)

    def _matrix(self, piece: Piece, target: Region, slot: int) -> tuple[int, int]:
        here, there = target.variable.family.width, piece.region.variable.family.width
        return (there, here) if slot == 1 else (here, there)

    def products(self, g: Emitter, values: tuple[Expr, Expr], widths: tuple[int, int], matrix: bool) -> Expr:
        """What a bond's weight multiplies: the inner product of its ends, `[chains, bonds]`, or their outer one, `[chains, bonds, a, b]`."""
        a = torch.index_select(values[0].unflatten(1, (-1, widths[0])), 1, g.constant(self.first))
        b = torch.index_select(values[1].unflatten(1, (-1, widths[1])), 1, g.constant(self.second))
        return a.unsqueeze(3) * b.unsqueeze(2) if matrix else (a * b).sum(2)
