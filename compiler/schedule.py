"""What a chain draws, when and from what: clamped and free regions, pass 0, the blocks of a sweep, what is drawn last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
import numpy.typing as npt

from gmc.compiler.colouring import Block, certify, colour, meet
from gmc.compiler.factor import Complete
from gmc.compiler.gains import FULL, Potency
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.precedence import in_tiers, sources_first
from gmc.compiler.region import Region, sites_of
from gmc.compiler.tempering import tempering
from gmc.dsl.kernels import find_kernels
from gmc.dsl.model import Chain, Clamp, Gain, Gate

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The schedule of a chain.

    `clamped` and `free` part the sites of every variable; `masked` are those of the free ones that a row may clamp, by what it has, `active` and `deferred`
    part the free ones by when they are drawn. A sweep draws `blocks`, which cover `active`, in order. Nothing that is drawn in a sweep reads what is deferred, nor
    does a gate: it is drawn once, after the last sweep, a block after the other. `opening` is pass 0: the active regions that no start supplies, in the order in which they are
    drawn, each from the neighbours that then have a value. Sweeps read the states of `read` before they draw them; where sweeps follow, pass 0
    draws no more than these need. `potency` says how strong messages are, and `strength` what the whole field of a variable, its bias included, is multiplied by; no
    statement of a file gives one.
    """

    chain: Chain
    clamped: Mapping[str, Region]
    masked: Mapping[str, Region]
    free: Mapping[str, Region]
    active: Mapping[str, Region]
    supplied: tuple[str, ...]
    opening: tuple[Block, ...]
    blocks: tuple[Block, ...]
    deferred: tuple[Block, ...]
    read: frozenset[str]
    needed: frozenset[str]
    potency: Potency
    strength: Mapping[str, float] = field(default_factory=dict)

    @property
    def begun(self) -> tuple[Block, ...]:
        """What pass 0 draws where sweeps follow: `needed` is what these read, or what they in turn were drawn from."""
        return tuple(block for block in self.opening if block[0].name in self.needed)

    @property
    def pass_0(self) -> tuple[Block, ...]:
        """What pass 0 draws in this chain as it is written."""
        return self.begun if self.chain.sweeps.end or not self.chain.sweeps.constant else self.opening

    @property
    def ramps(self) -> tuple[tuple[int, Gain], ...]:
        """The gains that run over the sweeps, with their numbers."""
        return tuple((n, gain) for n, gain in enumerate(self.potency.gains) if not gain.value.constant)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates of the chain, each once."""
        return tuple(dict.fromkeys(gain.unless for gain in self.potency.gains if gain.unless is not None))


def build_schedule(graph: FactorGraph, chain: Chain) -> Schedule:
    """The schedule of a chain over a graph, written or derived; no block of it holds an edge."""
    clamped = _regions(graph, [c for c in chain.clamps if not c.observed])
    masked = _regions(graph, [c for c in chain.clamps if c.observed])
    free = {v.name: Region.whole_of(v) for v in graph.variables}
    free = {name: r.without(clamped[name]) if name in clamped else r for name, r in free.items()}
    free = {name: region for name, region in free.items() if region.sites.size}
    kernels = find_kernels(graph.model, {**clamped, **masked}, free, dict(chain.by))
    assert not kernels.missing, kernels.missing
    potency = Potency(chain.gains, {name: edge.name for name, edge in kernels.by.items()})
    active, deferred = split_free(graph, chain, free, potency)
    blocks = _written(graph, chain, active, potency) if chain.sweep is not None else _derived(graph, active, potency)
    supplied = tuple(name for name in free if chain.start(name) is not None)
    opening = build_opening(graph, {**masked, **clamped}, active, supplied, potency)
    certify(graph, (*blocks, *opening, *deferred), potency)
    read = frozenset(active) if _looks_back(chain) else _read(graph, active, blocks, potency)
    needed = _needed(graph, read, opening, supplied, potency)
    return Schedule(
        chain=chain,
        clamped=clamped,
        masked=masked,
        free=free,
        active=active,
        supplied=supplied,
        opening=opening,
        blocks=blocks,
        deferred=deferred,
        read=read,
        needed=needed,
        potency=potency,
    )


def _looks_back(chain: Chain) -> bool:
    """Whether a sweep reads the old state of all that it draws."""
    return chain.rule.inert or chain.rule.stops > 0.0 or tempering(chain) is not None


def _regions(graph: FactorGraph, clamps: Sequence[Clamp]) -> dict[str, Region]:
    """The sites that clamps hold, by variable."""
    found = {}
    for variable in graph.variables:
        parts = [sites_of(variable, c.part) for c in clamps if c.variable == variable.name]
        if parts and variable.sites:
            found[variable.name] = Region(variable, np.unique(np.concatenate(parts)))
    return found


def split_free(
    graph: FactorGraph, chain: Chain, free: Mapping[str, Region], potency: Potency
) -> tuple[dict[str, Region], tuple[Block, ...]]:
    """The free regions that sweeps must draw, and those that are drawn once, after the last sweep, in that order.

    What no draw and no gate reads need not be drawn in every sweep; then what only that reads need not be either. In a written sweep a draw is left to
    the end only where it comes after all draws of what it reads, so that it reads the same there.
    """
    left, after = dict(free), list[Block]()
    gated = {name for gate in potency.conditions for name in neighbours(graph, gate)}
    while True:
        read = {name: np.zeros(region.variable.sites, dtype=bool) for name, region in left.items()}
        for name in gated & left.keys():
            read[name][:] = True
        for term in graph.terms:
            for a, b in permutations(range(len(term.ends)), 2):
                if term.ends[a].name in left and term.ends[b].name in left and not potency.silent(term, b):
                    _mark(term, a, b, left, read[term.ends[a].name])
        idle = [Region(r.variable, r.sites[~read[name][r.sites]]) for name, r in left.items()]
        idle = [r for r in idle if r.sites.size and _comes_last(graph, chain, r.name, free, potency)]
        if not idle:
            return left, tuple(reversed(after))
        after.append(tuple(idle))
        for region in idle:
            rest = left.pop(region.name).without(region)
            if rest.sites.size:
                left[region.name] = rest
        left = {name: left[name] for name in free if name in left}


def _comes_last(graph: FactorGraph, chain: Chain, name: str, free: Mapping[str, Region], potency: Potency) -> bool:
    """Whether a sweep, if it is written, draws a variable after all draws of the free ones that it reads."""
    if chain.sweep is None:
        return True
    last = {each: n for n, block in enumerate(chain.sweep) for each in block}
    return all(last[other] < last[name] for other in potency.read_by(graph, name) - {name} if other in free)


def reads(graph: FactorGraph, potency: Potency, reader: Region, read: Region) -> bool:
    """Whether the draw of a region reads a site of another."""
    return any(
        term.ends[n].name == read.name and meet(term, slot, n, reader, read)
        for term, slot in graph.touching(reader.name)
        if not potency.silent(term, slot)
        for n in range(len(term.ends))
        if n != slot
    )


def neighbours(graph: FactorGraph, name: str) -> frozenset[str]:
    """The variables that meet a variable, itself among them where it has a lateral edge."""
    return FULL.read_by(graph, name)


def _mark(term: Term, a: int, b: int, free: Mapping[str, Region], read: Flags) -> None:
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


def _derived(graph: FactorGraph, active: Mapping[str, Region], potency: Potency) -> tuple[Block, ...]:
    """The blocks of a derived sweep: what directed and recognition edges come from is drawn before what they draw."""
    tiers = in_tiers(graph, active, potency)
    return tuple(block for names in tiers for block in colour(graph, {name: active[name] for name in names}, potency))


def _written(graph: FactorGraph, chain: Chain, active: Mapping[str, Region], potency: Potency) -> tuple[Block, ...]:
    """The blocks of a written sweep; what has lateral edges runs colour by colour."""
    blocks: list[Block] = []
    for names in chain.sweep or ():
        blocks += colour(graph, {name: active[name] for name in names if name in active}, potency)
    return tuple(blocks)


def build_opening(
    graph: FactorGraph,
    held: Mapping[str, Region],
    active: Mapping[str, Region],
    supplied: tuple[str, ...],
    potency: Potency,
) -> tuple[Block, ...]:
    """Pass 0: by distance from what is clamped, held where observed, or supplied, as declared where that ties, colour by colour.

    What directed and recognition edges come from is drawn before what they draw.
    """
    distance = _distances(graph, held, active, supplied, potency)
    order = [v.name for v in graph.variables if v.name in active and v.name not in supplied]
    order.sort(key=lambda name: distance.get(name, len(graph.variables)))
    order = sources_first(graph, order, potency)
    return tuple(block for name in order for block in colour(graph, {name: active[name]}, potency))


def _read(
    graph: FactorGraph, active: Mapping[str, Region], blocks: Iterable[Block], potency: Potency
) -> frozenset[str]:
    """The variables whose states a sweep, or a gate as it starts, reads before it has drawn all of their sites."""
    left = {name: int(region.sites.size) for name, region in active.items()}
    read = {name for of in potency.conditions for name in (*neighbours(graph, of), of)} & active.keys()
    for block in blocks:
        for region in block:
            read |= {n for n in potency.read_by(graph, region.name) if left.get(n, 0) > 0}
            # a variable drawn in parts is put together from the old state
            read |= {region.name} if 0 < region.sites.size < active[region.name].sites.size else set()
        for region in block:
            left[region.name] -= int(region.sites.size)
    return frozenset(read)


def _needed(
    graph: FactorGraph, read: frozenset[str], opening: tuple[Block, ...], supplied: tuple[str, ...], potency: Potency
) -> frozenset[str]:
    """What pass 0 must draw for the states that are read: these, and what they are drawn from, if it is drawn before."""
    order = list(dict.fromkeys(block[0].name for block in opening))
    needed = set(read)
    for place in range(len(order) - 1, -1, -1):
        if order[place] in needed:
            needed |= potency.read_by(graph, order[place]) & set(order[:place])
    return frozenset(needed - set(supplied))


def _distances(
    graph: FactorGraph,
    held: Mapping[str, Region],
    active: Mapping[str, Region],
    supplied: tuple[str, ...],
    potency: Potency,
) -> dict[str, int]:
    """How many messages of pass 0 each free variable is from a clamped or supplied one; the clamped part of a variable is a node of its own."""
    distance: dict[str, int] = dict.fromkeys(supplied, 0)
    frontier, reached = set(held) | set(supplied), 0
    while frontier:
        reached += 1
        met = {
            name
            for name in active
            if name not in distance
            for term, slot in graph.touching(name)
            if not potency.silent_at_first(term, slot)
            if {end.name for n, end in enumerate(term.ends) if n != slot} & frontier
        }
        distance |= dict.fromkeys(met, reached)
        frontier = met
    return distance
