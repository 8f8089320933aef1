"""What directed and recognition edges put in order: sources are drawn before targets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import networkx as nx

from gmc.compiler.gains import Potency
from gmc.compiler.graph import FactorGraph


def in_tiers(graph: FactorGraph, names: Collection[str], potency: Potency) -> tuple[tuple[str, ...], ...]:
    """The variables in tiers, each of which reads along directed and recognition edges only what is in those before it, or in a circle within it.

    Variables that `--` edges join are in one tier; without directed and recognition edges there is one.
    """
    order: nx.DiGraph[str] = nx.DiGraph()
    order.add_nodes_from(v.name for v in graph.variables if v.name in names)
    for source, target in _arrows(graph, names, potency):
        order.add_edge(source, target)
    for term in graph.terms:
        if not term.targets:
            inside = [end.name for end in term.ends if end.name in names]
            order.add_edges_from((a, b) for a in inside for b in inside if a != b)
    whole = nx.condensation(order)
    depth: dict[int, int] = {}
    for group in nx.topological_sort(whole):
        depth[group] = 1 + max((depth[before] for before in whole.predecessors(group)), default=-1)
    tiers: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    place: dict[str, int] = whole.graph["mapping"]
    for name in order.nodes:
        tiers[depth[place[name]]].append(name)
    return tuple(map(tuple, tiers))


def sources_first(graph: FactorGraph, order: Sequence[str], potency: Potency) -> list[str]:
    """The variables in their order, but that each waits for what directed and recognition edges draw it from; of a circle the first goes first."""
    waits: dict[str, set[str]] = {name: set() for name in order}
    for source, target in _arrows(graph, order, potency):
        waits[target].add(source)
    left, found = list(order), list[str]()
    while left:
        ready = next((name for name in left if not waits[name] & set(left)), left[0])
        left.remove(ready)
        found.append(ready)
    return found


def _arrows(graph: FactorGraph, names: Collection[str], potency: Potency) -> Iterator[tuple[str, str]]:
    """The sources and targets, both among the names, of the messages along directed and recognition edges."""
    for term in graph.terms:
        for slot in term.targets:
            target = term.ends[slot].name
            if target in names and not potency.silent(term, slot):
                yield from (
                    (end.name, target) for n, end in enumerate(term.ends) if n not in term.targets and end.name in names
                )
