"""Exact partition functions: which sites sum out in closed form, which must be enumerated, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import fx

from gmc.compiler.colouring import Block, certify, colour
from gmc.compiler.energy import free_energy
from gmc.compiler.factor import Complete
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.region import Index, Region

LIMIT = 25.0
"""Bits of states that are enumerated at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Marginal:
    """How log Z given the clamped sites is computed: -log sum over `enumerated` of exp(-free_energy), with `summed` in closed form.

    `refusal` says why it cannot be done, if it cannot.
    """

    graph: FactorGraph
    clamped: Mapping[str, Region]
    summed: Block
    enumerated: Block
    module: fx.GraphModule
    refusal: str | None

    @property
    def bits(self) -> float:
        """The base-2 logarithm of the number of states to enumerate."""
        return sum((_bits(r) for r in self.enumerated), 0.0)

    def reason(self, limit: float = LIMIT) -> str | None:
        """Why it cannot be summed, with at most `limit` bits of states; None where it can."""
        if self.refusal is not None:
            return self.refusal
        return f"{self}: more than {limit:g} bits" if self.bits > limit else None

    def __str__(self) -> str:
        summed = ", ".join(map(str, self.summed)) or "nothing"
        listed = ", ".join(map(str, self.enumerated)) or "nothing"
        return f"summed out in closed form: {summed}; enumerated: {listed} ({self.bits:.1f} bits)"


def build_marginal(graph: FactorGraph, clamped: Mapping[str, Region]) -> Marginal:
    """The cheapest way found: sums out the independent set of free sites that would cost most to enumerate.

    Free descendants along directed edges integrate to one and are left out; what directed edges come from enters the normalisers of what they draw, and is enumerated.
    """
    unclosed = _without_normaliser(graph, clamped)
    graph = without_free_descendants(graph, clamped)
    free = {v.name: Region.whole_of(v) for v in graph.variables}
    free = {name: r.without(clamped[name]) if name in clamped else r for name, r in free.items()}
    free = {name: r for name, r in free.items() if r.sites.size}
    # the last is for what cannot be listed: it may be of several colours and yet meet none of its kind
    loose = {name: region for name, region in free.items() if name not in _sources(graph)}
    candidates = [_extended(graph, loose, block) for block in (*colour(graph, loose), ())]
    summed = max(candidates, key=lambda block: sum(_bits(r) for r in block), default=())
    certify(graph, [summed])
    out = {r.name: r for r in summed}
    enumerated = tuple(r.without(out[n]) if n in out else r for n, r in free.items())
    enumerated = tuple(r for r in enumerated if r.sites.size)
    endless = [str(r) for r in enumerated if r.variable.family.states is None]
    refusal = unclosed
    if endless and refusal is None:
        refusal = f"{' and '.join(endless)} cannot be listed and {'is' if len(endless) == 1 else 'are'} coupled, so no closed form sums it out"
    return Marginal(graph, clamped, summed, enumerated, free_energy(graph, summed), refusal)


def without_free_descendants(graph: FactorGraph, clamped: Collection[str]) -> FactorGraph:
    """The graph without the normalised variables that are wholly free and below which along directed edges nothing is left: these integrate to one."""
    while True:
        idle = {v.name for v in graph.normalised} - set(clamped) - _sources(graph)
        if not idle:
            return graph
        graph = graph.only([v.name for v in graph.variables if v.name not in idle])


def _sources(graph: FactorGraph) -> set[str]:
    """The variables that directed edges come from."""
    return {name for t in graph.terms if not t.recognition for name in t.edge.sources}


def _without_normaliser(graph: FactorGraph, clamped: Mapping[str, Region]) -> str | None:
    """Why the law of what directed edges draw has no closed form, if so: undirected edges join it, and its normaliser changes with sources that are not given."""
    simple = {v.name for v in graph.normalised}
    for term in graph.terms:
        drawn = [name for name in term.edge.targets if name not in simple]
        loose = [name for name in term.edge.sources if name not in clamped or not clamped[name].whole]
        if not term.recognition and drawn and loose:
            return f"{drawn[0]} is drawn from {loose[0]} together with what it is joined to, by a law whose normaliser changes with {loose[0]}"
    return None


def _bits(region: Region) -> float:
    """What listing a region would cost; a continuous one more than any finite one."""
    states = region.variable.family.states
    return float(region.sites.size) * (math.log2(states) if states else 1e6)


def _extended(graph: FactorGraph, free: Mapping[str, Region], block: Block) -> Block:
    """A block with every further free site that meets none of it, costliest variables first."""
    chosen = {r.name: set(r.sites.tolist()) for r in block}
    for name in sorted(free, key=lambda n: (-_bits(free[n]) / free[n].sites.size, n)):
        for site in free[name].sites.tolist():
            if site not in chosen.get(name, ()) and not _touches(graph, name, site, chosen):
                chosen.setdefault(name, set()).add(site)
    order = [v for v in graph.variables if v.name in chosen]
    return tuple(Region(v, np.array(sorted(chosen[v.name]), dtype=np.int64)) for v in order)


def _touches(graph: FactorGraph, name: str, site: int, chosen: Mapping[str, set[int]]) -> bool:
    return any(_term_touches(term, name, site, chosen) for term in graph.terms)


def _term_touches(term: Term, name: str, site: int, chosen: Mapping[str, set[int]]) -> bool:
    structure = term.factor.structure(term.ends)
    names = [end.name for end in term.ends]
    if name not in names:
        return False
    if isinstance(structure, Complete):
        return any(chosen.get(other) for other in names if other != name or term.edge.lateral)
    ways: Sequence[tuple[int, Index, Index]] = (
        (0, structure.first, structure.second),
        (1, structure.second, structure.first),
    )
    return any(
        names[slot] == name and not set(there[here == site].tolist()).isdisjoint(chosen.get(names[1 - slot], ()))
        for slot, here, there in ways
    )
