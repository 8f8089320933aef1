"""Sparse factors: weights on a list of pairs of sites, read from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from gmc.compiler.bonds import Bonds
from gmc.compiler.factor import Factor, Pairs, is_lateral
from gmc.dsl.model import Variable
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.emitter import Emitter
    from gmc.compiler.factor import Normal, Structure, Theta
    from gmc.compiler.family import Expr
    from gmc.compiler.region import Piece, Region


@VOCABULARY.register("sparse")
class Sparse(Factor):
    """f = sum over listed pairs (i, j) of T_i' W_ij T_j.

    `path`: an .npz archive of two integer arrays of one length, `i` (sites of the first end) and `j` (sites of the second), sites numbered
    row-major over the shape; in a lateral edge i and j differ. No pair twice. `init`: the standard deviation of first weights.
    """

    separate: ClassVar[bool] = True
    path: Path
    init: float = Field(default=0.01, ge=0.0)

    @cached_property
    def _lists(self) -> tuple[np.ndarray, np.ndarray] | str:
        """The two lists, or what is wrong with the file."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                if missing := {"i", "j"} - set(archive.files):
                    return f"{self.path} has no array {' and '.join(sorted(missing))}"
                first, second = archive["i"], archive["j"]
        except FileNotFoundError:
            return f"there is no file {self.path}"
        except (OSError, ValueError, EOFError) as error:
            return f"{self.path} cannot be read as an .npz archive of plain arrays ({type(error).__name__})"
        if first.ndim != 1 or first.shape != second.shape or first.size == 0:
            return f"i and j of {self.path} must be lists of one length, not of shapes {first.shape} and {second.shape}"
        if first.dtype.kind not in "iu" or second.dtype.kind not in "iu":
            return f"i and j of {self.path} must be whole numbers"
        return first.astype(np.int64), second.astype(np.int64)

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        """The file must be there and its sites exist."""
        lists = self._lists
        if isinstance(lists, str):
            return lists
        for name, sites, end in zip("ij", lists, ends, strict=True):
            if sites.min() < 0 or sites.max() >= end.sites:
                return f"{name} of {self.path} names sites {sites.min()} to {sites.max()}, but {end.name} has 0 to {end.sites - 1}"
        pairs = np.stack(lists, 1)
        if is_lateral(ends):
            if (lists[0] == lists[1]).any():
                return f"{self.path} pairs site {lists[0][lists[0] == lists[1]][0]} with itself"
            pairs = np.sort(pairs, axis=1)
        if np.unique(pairs, axis=0).shape[0] != pairs.shape[0]:
            return f"{self.path} lists a pair twice"
        return None

    def identity(self) -> str:
        """The pairs themselves, wherever the file lies."""
        lists = self._lists
        return f"sparse {lists if isinstance(lists, str) else hashlib.blake2b(np.stack(lists).tobytes()).hexdigest()}"

    def bonds(self, ends: Sequence[Variable]) -> Bonds:
        """The pairs."""
        lists = self._lists
        if isinstance(lists, str):
            raise ValueError(lists)
        return Bonds(lists[0], lists[1], lateral=is_lateral(ends))

    def parameters(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """`weight`: a number a pair, or a matrix where an end has more than one statistic a site."""
        count = self.bonds(ends).count
        widths = tuple(v.family.width for v in ends)
        return {"weight": (count, *widths) if _matrix(ends) else (count,)}

    def initial(self, ends: Sequence[Variable], normal: Normal) -> dict[str, Tensor]:
        """Normal weights."""
        return {name: normal(shape) * self.init for name, shape in self.parameters(ends).items()}

    def structure(self, ends: Sequence[Variable]) -> Structure:
        """The pairs."""
        bonds = self.bonds(ends)
        return Pairs(bonds.first, bonds.second)

    def energy(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> Expr:
        """The weights times the products."""
        products = self.bonds(ends).products(g, (values[0], values[1]), _widths(ends), _matrix(ends))
        return (products * theta["weight"]).flatten(1).sum(1)

    def field(
        self, g: Emitter, theta: Theta, ends: Sequence[Variable], pieces: Mapping[int, Piece], target: Region, slot: int
    ) -> Expr:
        """The neighbours' statistics, gathered."""
        (piece,) = pieces.values()
        bonds = self.bonds(ends)
        if bonds.lateral and _matrix(ends):
            # a lateral bond is walked both ways, the second time through the transposed matrix
            ways = (Bonds(bonds.first, bonds.second, False), Bonds(bonds.second, bonds.first, False))
            there = ways[0].field(g, theta["weight"], True, piece, target, 1)
            return there + ways[1].field(g, theta["weight"].transpose(1, 2), True, piece, target, 1)
        return bonds.field(g, theta["weight"], _matrix(ends), piece, target, slot)

    def gradient(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> dict[str, Expr]:
        """The mean products."""
        return {"weight": self.bonds(ends).products(g, (values[0], values[1]), _widths(ends), _matrix(ends)).mean(0)}


def _widths(ends: Sequence[Variable]) -> tuple[int, int]:
    return ends[0].family.width, ends[1].family.width


def _matrix(ends: Sequence[Variable]) -> bool:
    return any(v.family.width > 1 for v in ends)
