"""Which sites may be drawn at once: colourings of the graph that a chain leaves free.

The nodes are clumps: a variable whose sites are alike to all their neighbours is one clump, one whose sites meet each other, or meet single sites
elsewhere, has a clump a site. Two colours where the graph is bipartite, else greedy by saturation (Brelaz 1979).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from gmc.compiler.factor import Complete, Pairs
from gmc.compiler.gains import FULL, Potency
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.region import Index, Region

Block = tuple[Region, ...]


@dataclass(slots=True)
class _Clumps:
    """The induced graph: clumps of sites, and which of them meet."""

    owners: list[str] = field(default_factory=list)
    sites: list[Index] = field(default_factory=list)
    neighbours: list[set[int]] = field(default_factory=list)
    of: dict[str, list[int]] = field(default_factory=dict)

    def add(self, variable: str, sites: Index) -> None:
        self.of.setdefault(variable, []).append(len(self.owners))
        self.owners.append(variable)
        self.sites.append(sites)
        self.neighbours.append(set())

    def join(self, a: int, b: int) -> None:
        self.neighbours[a].add(b)
        self.neighbours[b].add(a)


def colour(graph: FactorGraph, free: Mapping[str, Region], potency: Potency = FULL) -> tuple[Block, ...]:
    """Blocks that cover the free sites and hold no edge, those with an observed variable first, else as declared.

    A message that is never sent is no edge; what is sent one way is one.
    """
    clumps = _clumps(graph, free, potency)
    colours = _two_colours(clumps, graph) or _saturation(clumps)
    blocks = []
    for shade in range(max(colours, default=-1) + 1):
        members: dict[str, list[Index]] = {}
        for clump, own in enumerate(colours):
            if own == shade:
                members.setdefault(clumps.owners[clump], []).append(clumps.sites[clump])
        block = tuple(Region(v, np.sort(np.concatenate(members[v.name]))) for v in graph.variables if v.name in members)
        blocks.append(block)
    certify(graph, blocks, potency)
    place = {v.name: n for n, v in enumerate(graph.variables)}
    return tuple(sorted(blocks, key=lambda block: _precedence(block, place)))


def certify(graph: FactorGraph, blocks: Sequence[Block], potency: Potency = FULL) -> None:
    """Proves that no block holds an edge, site by site, from the factors' structures alone.

    Raises:
        AssertionError: one does, which is a bug in the colouring.
    """
    for block in blocks:
        inside = {region.name: region for region in block}
        for term in graph.terms:
            for a, b in _ends(term, potency):
                first, second = term.ends[a].name, term.ends[b].name
                if first not in inside or second not in inside:
                    continue
                assert not meet(term, a, b, inside[first], inside[second]), f"{term.name} lies within a block"


def meet(term: Term, a: int, b: int, first: Region, second: Region) -> bool:
    """Whether a site of `first`, at end `a` of a term, meets one of `second`, at end `b`."""
    match term.factor.structure(term.ends):
        case Pairs(i, j):
            ours, theirs = (i, j) if a < b else (j, i)
            both = np.isin(ours, first.sites) & np.isin(theirs, second.sites)
            return bool(both.any())
        case _:
            return first.name != second.name or first.sites.size > 1


def _ends(term: Term, potency: Potency) -> list[tuple[int, int]]:
    """The pairs of ends of which one reads the other."""
    return [(a, b) for a, b in combinations(range(len(term.ends)), 2) if potency.meet(term, a, b)]


def _precedence(block: Block, place: Mapping[str, int]) -> tuple[bool, int, int]:
    first = min(block, key=lambda region: place[region.name])
    return (not any(r.variable.observed for r in block), place[first.name], int(first.sites[0]))


def _clumps(graph: FactorGraph, free: Mapping[str, Region], potency: Potency) -> _Clumps:
    structures = [(term, term.factor.structure(term.ends)) for term in graph.terms if _ends(term, potency)]
    apart = {
        end.name
        for term, structure in structures
        for end in term.ends
        if isinstance(structure, Pairs) or term.edge.lateral
    }
    clumps = _Clumps()
    for variable in graph.variables:
        if variable.name not in free or free[variable.name].sites.size == 0:
            continue
        sites = free[variable.name].sites
        for part in np.split(sites, sites.size) if variable.name in apart else [sites]:
            clumps.add(variable.name, part)
    for term, structure in structures:
        for a, b in _ends(term, potency):
            first, second = term.ends[a].name, term.ends[b].name
            if first in clumps.of and second in clumps.of:
                _join(clumps, structure, free[first], free[second])
    return clumps


def _join(clumps: _Clumps, structure: Complete | Pairs, first: Region, second: Region) -> None:
    here, there = clumps.of[first.name], clumps.of[second.name]
    if isinstance(structure, Complete):
        for a in here:
            for b in there:
                if a != b:
                    clumps.join(a, b)
        return
    both = np.isin(structure.first, first.sites) & np.isin(structure.second, second.sites)
    places = (
        np.searchsorted(first.sites, structure.first[both]).tolist(),
        np.searchsorted(second.sites, structure.second[both]).tolist(),
    )
    for a, b in zip(*places, strict=True):
        clumps.join(here[a], there[b])


def _two_colours(clumps: _Clumps, graph: FactorGraph) -> list[int] | None:
    """A colouring by two colours, or by one where nothing meets; None where the graph has an odd circle."""
    observed = {v.name for v in graph.variables if v.observed}
    colours = [-1] * len(clumps.owners)
    for start in range(len(colours)):
        if colours[start] >= 0:
            continue
        colours[start] = 0
        component, queue = [start], deque([start])
        while queue:
            here = queue.popleft()
            for there in clumps.neighbours[here]:
                if colours[there] < 0:
                    colours[there] = 1 - colours[here]
                    component.append(there)
                    queue.append(there)
                elif colours[there] == colours[here]:
                    return None
        seen = [colours[n] for n in component if clumps.owners[n] in observed]
        if seen and 0 not in seen:
            for n in component:
                colours[n] = 1 - colours[n]
    return colours


def _saturation(clumps: _Clumps) -> list[int]:
    """Colours the clump whose neighbours show most colours next, ties by degree, then as declared."""
    count = len(clumps.owners)
    colours = [-1] * count
    shown: list[set[int]] = [set() for _ in range(count)]
    heap = [(0, -len(clumps.neighbours[n]), n) for n in range(count)]
    heapq.heapify(heap)
    while heap:
        saturation, _, here = heapq.heappop(heap)
        if colours[here] >= 0 or -saturation != len(shown[here]):
            continue
        colours[here] = next(c for c in range(count) if c not in shown[here])
        for there in clumps.neighbours[here]:
            if colours[there] < 0 and colours[here] not in shown[there]:
                shown[there].add(colours[here])
                heapq.heappush(heap, (-len(shown[there]), -len(clumps.neighbours[there]), there))
    return colours
