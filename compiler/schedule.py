"""What a chain draws, when and from what: clamped and free regions, pass 0, the blocks of a sweep, what is drawn last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gmc.compiler.colouring import Block, certify, colour
from gmc.compiler.factor import Complete
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.region import Region, sites_of
from gmc.dsl.model import Chain, Clamp, Variable


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The schedule of a chain.

    `clamped` and `free` part the sites of every variable, `active` and `deferred` the free ones. A sweep draws `blocks`, which cover `active`, in order.
    Nothing reads what is deferred, since all its neighbours are clamped: it is drawn once, after the last sweep. `opening` is pass 0: the active regions
    that no start supplies, in the order in which they are drawn, each from the neighbours that then have a value. Sweeps read the states of `read`
    before they draw them; where sweeps follow, pass 0 draws no more than these need.
    """

    chain: Chain
    clamped: Mapping[str, Region]
    free: Mapping[str, Region]
    active: Mapping[str, Region]
    supplied: tuple[str, ...]
    opening: tuple[Block, ...]
    blocks: tuple[Block, ...]
    deferred: Block
    read: frozenset[str]
    needed: frozenset[str]

    @property
    def begun(self) -> tuple[Block, ...]:
        """What pass 0 draws where sweeps follow: `needed` is what these read, or what they in turn were drawn from."""
        return tuple(block for block in self.opening if block[0].name in self.needed)

    @property
    def pass_0(self) -> tuple[Block, ...]:
        """What pass 0 draws in this chain as it is written."""
        return self.begun if self.chain.sweeps.end or not self.chain.sweeps.constant else self.opening


def build_schedule(graph: FactorGraph, chain: Chain) -> Schedule:
    """The schedule of a chain over a graph, written or derived; no block of it holds an edge."""
    clamped = {v.name: _clamped(v, chain.clamps) for v in graph.variables}
    free = {v.name: Region.whole_of(v).without(clamped[v.name]) for v in graph.variables}
    clamped = {name: region for name, region in clamped.items() if region.sites.size}
    free = {name: region for name, region in free.items() if region.sites.size}
    active, deferred = _split(graph, free)
    blocks = _written(graph, chain, active) if chain.sweep is not None else colour(graph, active)
    supplied = tuple(name for name in free if chain.start(name) is not None)
    opening = build_opening(graph, clamped, active, supplied)
    certify(graph, (*blocks, *opening, deferred))
    read = _read(graph, active, blocks)
    needed = _needed(graph, read, opening, supplied)
    return Schedule(chain, clamped, free, active, supplied, opening, blocks, deferred, read, needed)


def _clamped(variable: Variable, clamps: Iterable[Clamp]) -> Region:
    parts = [sites_of(variable, c.part) for c in clamps if c.variable == variable.name]
    return Region(variable, np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64))


def _split(graph: FactorGraph, free: Mapping[str, Region]) -> tuple[dict[str, Region], Block]:
    """The free regions that some free region reads, and those that none does."""
    read = {name: np.zeros(region.variable.sites, dtype=bool) for name, region in free.items()}
    for term in graph.terms:
        for a in range(len(term.ends)):
            for b in range(len(term.ends)):
                if a != b and term.ends[a].name in free and term.ends[b].name in free:
                    _mark(term, a, b, free, read[term.ends[a].name])
    active = {name: Region(r.variable, r.sites[read[name][r.sites]]) for name, r in free.items()}
    idle = tuple(Region(r.variable, r.sites[~read[name][r.sites]]) for name, r in free.items())
    return {n: r for n, r in active.items() if r.sites.size}, tuple(r for r in idle if r.sites.size)


def _mark(term: Term, a: int, b: int, free: Mapping[str, Region], read: np.ndarray) -> None:
    """Marks the free sites of end `a` that meet a free site of end `b`."""
    here, there = free[term.ends[a].name], free[term.ends[b].name]
    structure = term.factor.structure(term.ends)
    if isinstance(structure, Complete):
        if not term.edge.lateral or here.sites.size > 1:
            read[here.sites] = True
        return
    ours, theirs = (structure.first, structure.second) if a < b else (structure.second, structure.first)
    meets = np.isin(ours, here.sites) & np.isin(theirs, there.sites)
    read[ours[meets]] = True


def _written(graph: FactorGraph, chain: Chain, active: Mapping[str, Region]) -> tuple[Block, ...]:
    """The blocks of a written sweep; what has lateral edges runs colour by colour."""
    blocks: list[Block] = []
    for names in chain.sweep or ():
        blocks += colour(graph, {name: active[name] for name in names if name in active})
    return tuple(blocks)


def build_opening(
    graph: FactorGraph, clamped: Mapping[str, Region], active: Mapping[str, Region], supplied: tuple[str, ...]
) -> tuple[Block, ...]:
    """Pass 0: by distance from what is clamped or supplied, as declared where that ties, colour by colour."""
    distance = _distances(graph, clamped, active, supplied)
    order = [v.name for v in graph.variables if v.name in active and v.name not in supplied]
    order.sort(key=lambda name: distance.get(name, len(graph.variables)))
    return tuple(block for name in order for block in colour(graph, {name: active[name]}))


def _neighbours(graph: FactorGraph, name: str) -> set[str]:
    """The variables that a variable's field reads, itself among them where it has a lateral edge."""
    found: set[str] = set()
    for term, slot in graph.touching(name):
        found |= {end.name for n, end in enumerate(term.ends) if n != slot}
    return found


def _read(graph: FactorGraph, active: Mapping[str, Region], blocks: Iterable[Block]) -> frozenset[str]:
    """The variables whose states a sweep reads before it has drawn all of their sites."""
    left = {name: int(region.sites.size) for name, region in active.items()}
    read: set[str] = set()
    for block in blocks:
        for region in block:
            read |= {n for n in _neighbours(graph, region.name) if left.get(n, 0) > 0}
            # a variable drawn in parts is put together from the old state
            read |= {region.name} if 0 < region.sites.size < active[region.name].sites.size else set()
        for region in block:
            left[region.name] -= int(region.sites.size)
    return frozenset(read)


def _needed(
    graph: FactorGraph, read: frozenset[str], opening: tuple[Block, ...], supplied: tuple[str, ...]
) -> frozenset[str]:
    """What pass 0 must draw for the states that are read: these, and what they are drawn from, if it is drawn before."""
    order = list(dict.fromkeys(block[0].name for block in opening))
    needed = set(read)
    for place in range(len(order) - 1, -1, -1):
        if order[place] in needed:
            needed |= _neighbours(graph, order[place]) & set(order[:place])
    return frozenset(needed - set(supplied))


def _distances(
    graph: FactorGraph, clamped: Mapping[str, Region], active: Mapping[str, Region], supplied: tuple[str, ...]
) -> dict[str, int]:
    """How many edges each free variable is from a clamped or supplied one; the clamped part of a variable is a node of its own."""
    distance: dict[str, int] = dict.fromkeys(supplied, 0)
    edge_of = [{end.name for end in term.ends} for term in graph.terms]
    sources = set(clamped) | set(supplied)
    frontier, reached = sources, 0
    while frontier:
        reached += 1
        met = {
            name
            for term, ends in zip(graph.terms, edge_of, strict=True)
            for name in ends
            if name in active and name not in distance and _meets(term, name, ends, frontier)
        }
        distance |= dict.fromkeys(met, reached)
        frontier = met
    return distance


def _meets(term: Term, name: str, ends: set[str], frontier: set[str]) -> bool:
    """Whether a term joins a variable to another of the frontier, or, if lateral, to its own clamped part."""
    return bool((ends - {name} if not term.edge.lateral else ends) & frontier)
