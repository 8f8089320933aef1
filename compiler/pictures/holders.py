"""Which value in time holds each site of each variable."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gmc.compiler.factor import Complete
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.region import Index, Region

Found = tuple[Index, ...]


class Holders:
    """Which node holds each site of each variable; -1 where none does."""

    def __init__(self, graph: FactorGraph) -> None:
        self._graph = graph
        self._of = {v.name: np.full(v.sites, -1, dtype=np.int64) for v in graph.variables}

    def put(self, region: Region, number: int) -> None:
        """The node of that number now holds the region."""
        self._of[region.name][region.sites] = number

    def get(self, region: Region) -> Index:
        """The numbers of the nodes that hold a region, each once."""
        found = np.unique(self._of[region.name][region.sites])
        return found[found >= 0]

    def part(self, region: Region, number: int) -> Region:
        """What of a region a node holds."""
        return Region(region.variable, region.sites[self._of[region.name][region.sites] == number])

    def read(self, target: Region, silent: Callable[[Term, int], bool]) -> Iterator[tuple[Term, int, Found]]:
        """For each term of a region, with the end that it is at, the nodes it reads, one array for each other end.

        Terms with an end that nothing holds, and those that are `silent` into the region, send nothing.
        """
        for term, slot in self._graph.touching(target.name):
            others = tuple(
                self.get(Region(term.ends[end], meets(term, slot, end, target)))
                for end in range(len(term.ends))
                if end != slot
            )
            if all(found.size for found in others) and not silent(term, slot):
                yield term, slot, others


def meets(term: Term, slot: int, other: int, target: Region) -> Index:
    """The sites of end `other` that some site of the target, at end `slot`, meets along the term."""
    there = term.ends[other]
    structure = term.factor.structure(term.ends)
    if isinstance(structure, Complete):
        every = Region.whole_of(there)
        # a site has no weight to itself, but one of several meets the others
        return every.without(target).sites if term.edge.lateral and target.sites.size == 1 else every.sites
    chosen = np.zeros(target.variable.sites, dtype=bool)
    chosen[target.sites] = True
    first, second = structure.first, structure.second
    if term.edge.lateral:
        return np.unique(np.concatenate([second[chosen[first]], first[chosen[second]]]))
    ours, theirs = (first, second) if slot < other else (second, first)
    return np.unique(theirs[chosen[ours]])
