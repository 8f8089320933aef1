"""Sets of sites of a variable, and tensors that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gmc.dsl.model import Variable

if TYPE_CHECKING:
    from gmc.compiler.family import Expr

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Some sites of a variable, in increasing order, numbered row-major over its shape."""

    variable: Variable
    sites: Index

    @classmethod
    def whole_of(cls, variable: Variable) -> Region:
        """All sites of a variable."""
        return cls(variable, np.arange(variable.sites, dtype=np.int64))

    @property
    def name(self) -> str:
        """The variable's name."""
        return self.variable.name

    @property
    def whole(self) -> bool:
        """Whether it holds every site."""
        return self.sites.size == self.variable.sites

    @property
    def columns(self) -> Index:
        """Where its statistics stand in the variable's flat statistic."""
        return columns(self.sites, self.variable.family.width)

    @property
    def size(self) -> int:
        """Numbers in its statistic."""
        return int(self.sites.size) * self.variable.family.width

    def within(self, outer: Region) -> Index:
        """Where its sites stand among those of `outer`, which holds them all."""
        return np.searchsorted(outer.sites, self.sites).astype(np.int64)

    def without(self, other: Region) -> Region:
        """The sites that `other` does not hold."""
        return Region(self.variable, np.setdiff1d(self.sites, other.sites, assume_unique=True))

    def __str__(self) -> str:
        return self.name if self.whole else f"{self.name}[{describe(self.sites)}]"


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The statistics of a region, `[chains, region.size]`."""

    value: Expr
    region: Region


def columns(sites: Index, width: int) -> Index:
    """The flat positions of the statistics of `sites`."""
    if width == 1:
        return sites
    return (sites[:, None] * width + np.arange(width)).reshape(-1)


def sites_of(variable: Variable, part: tuple[tuple[int, int], ...] | None) -> Index:
    """The site numbers of a part: half-open ranges along the axes of the shape; None is the whole variable."""
    grid = np.arange(variable.sites, dtype=np.int64).reshape(variable.shape)
    return grid.ravel() if part is None else grid[tuple(slice(*ends) for ends in part)].ravel()


def describe(sites: Index) -> str:
    """Sites as a short text: `0:8`, `0:64:2`, `3`, or the first few and how many more."""
    if sites.size == 1:
        return str(int(sites[0]))
    steps = np.unique(np.diff(sites))
    if steps.size == 1:
        first, last, step = int(sites[0]), int(sites[-1]), int(steps[0])
        return f"{first}:{last + 1}" if step == 1 else f"{first}:{last + 1}:{step}"
    head = ", ".join(str(int(s)) for s in sites[:4])
    return head if sites.size <= 4 else f"{head}, ... {sites.size} sites"
