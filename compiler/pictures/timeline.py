"""A schedule unrolled in time: what stands in which column, and which values each draw reads.

Groups are `given` (clamped values and starts), pass 0, the sweeps that are shown, what is carried over those that are not, the last sweep, and what is drawn
after it. A long run of blocks over the same variables is folded into one column, with one node a variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Literal

import numpy as np

from gmc.compiler.colouring import Block
from gmc.compiler.factor import Complete
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.pictures.names import clamp_source, start_source
from gmc.compiler.region import Index, Region, sites_of
from gmc.compiler.schedule import Schedule

Phase = Literal["clamped", "start", "pass", "sweep", "carried", "after"]

LONGEST_RUN = 3
"""Blocks over the same variables that still stand in columns of their own."""
MOST_COLUMNS = 12
"""Columns of a sweep; a sweep of more is one column."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value in time. `sizes` has the sites of each block that a folded node stands for; `source` is where a value comes from."""

    number: int
    phase: Phase
    region: Region
    sizes: tuple[int, ...] = ()
    source: str = ""

    @property
    def folded(self) -> bool:
        """Whether it stands for several draws in turn."""
        return len(self.sizes) > 1


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """What is drawn at once or, folded, in turn."""

    title: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A pass: its columns in order."""

    title: str
    phase: Phase
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What a draw reads along a term: for each other end the values that hold it. `once`: computed before the sweeps, since all is clamped."""

    term: Term
    target: Node
    sources: tuple[tuple[Node, ...], ...]
    once: bool


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The groups from left to right, the messages, and which nodes stand for earlier ones (`carried`)."""

    groups: tuple[Group, ...]
    messages: tuple[Message, ...]
    carried: tuple[tuple[Node, Node], ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, from left to right."""
        return tuple(node for group in self.groups for column in group.columns for node in column.nodes)


def unroll(graph: FactorGraph, schedule: Schedule, shown: int = 2) -> Timeline:
    """The timeline of a chain, with its first `shown` sweeps and the last one."""
    walk = _Walk(graph, schedule)
    count = None if not schedule.chain.sweeps.constant else round(schedule.chain.sweeps.start)
    walk.given(alone=count == 0)
    if schedule.pass_0:
        walk.run("pass 0", "pass", schedule.pass_0)
    if schedule.blocks and count != 0:
        first = count if count is not None and count <= shown + 1 else shown
        for number in range(1, first + 1):
            walk.run(f"sweep {number}", "sweep", schedule.blocks)
        if count is None or count > first:
            walk.carry()
            walk.run("last sweep" if count is None else f"sweep {count}", "sweep", schedule.blocks)
    deferred = schedule.deferred
    if count == 0:
        deferred = tuple(region for region in deferred if region.name not in schedule.supplied)
    if deferred:
        walk.run("after the sweeps" if schedule.blocks and count != 0 else "drawn once", "after", (deferred,))
    return walk.timeline()


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

    def read(self, target: Region) -> Iterator[tuple[Term, tuple[Index, ...]]]:
        """For each term of a region the nodes it reads, one array for each other end; terms with an end that nothing holds send nothing."""
        for term, slot in self._graph.touching(target.name):
            others = tuple(
                self.get(Region(term.ends[end], meets(term, slot, end, target)))
                for end in range(len(term.ends))
                if end != slot
            )
            if all(found.size for found in others):
                yield term, others


def meets(term: Term, slot: int, other: int, target: Region) -> Index:
    """The sites of end `other` that some site of the target, at end `slot`, meets along the term."""
    there = term.ends[other]
    structure = term.factor.structure(term.ends)
    if isinstance(structure, Complete):
        every = Region.whole_of(there)
        # certified blocks hold one site of such a variable at most, and a site has no weight to itself
        return every.without(target).sites if term.edge.lateral else every.sites
    chosen = np.zeros(target.variable.sites, dtype=bool)
    chosen[target.sites] = True
    first, second = structure.first, structure.second
    if term.edge.lateral:
        return np.unique(np.concatenate([second[chosen[first]], first[chosen[second]]]))
    ours, theirs = (first, second) if slot < other else (second, first)
    return np.unique(theirs[chosen[ours]])


class _Walk:
    """Goes through a chain in time."""

    def __init__(self, graph: FactorGraph, schedule: Schedule) -> None:
        self.graph, self.schedule = graph, schedule
        self.holders = Holders(graph)
        self.nodes: list[Node] = []
        self.groups: list[Group] = []
        self.links: list[tuple[Node, Node]] = []
        self.reads: dict[tuple[int, str, tuple[bool, ...]], list[dict[int, None]]] = {}

    def node(self, phase: Phase, region: Region, sizes: Sequence[int] = (), source: str = "") -> Node:
        self.nodes.append(Node(len(self.nodes), phase, region, tuple(sizes), source))
        return self.nodes[-1]

    def given(self, alone: bool) -> None:
        """What is clamped and what starts supply; pass 0 `alone` also takes from a start what no sweep would read."""
        chain = self.schedule.chain
        place = {v.name: n for n, v in enumerate(self.graph.variables)}
        found = []
        for clamp in chain.clamps:
            variable = self.graph.model.variable(clamp.variable)
            region = Region(variable, sites_of(variable, clamp.part))
            found.append(self.node("clamped", region, source=clamp_source(clamp)))
        for name in self.schedule.supplied:
            start = chain.start(name)
            regions = self.schedule.free if alone else self.schedule.active
            if start is not None and name in regions:
                found.append(self.node("start", regions[name], source=start_source(start)))
        for node in found:
            self.holders.put(node.region, node.number)
        if found:
            ordered = tuple(sorted(found, key=lambda n: place[n.region.name]))
            self.groups.append(Group("given", "clamped", (Column("", ordered),)))

    def run(self, title: str, phase: Phase, blocks: Sequence[Block]) -> None:
        """Draws blocks in turn."""
        columns, first = [], 1
        for run in fold(blocks):
            names = [v.name for v in self.graph.variables if any(r.name == v.name for block in run for r in block)]
            nodes = {name: self._joined(phase, [r for block in run for r in block if r.name == name]) for name in names}
            for block in run:
                for region in block:
                    self._read(region, nodes[region.name])
                for region in block:
                    self.holders.put(region, nodes[region.name].number)
            last = first + len(run) - 1
            number = f"block {first}" if len(run) == 1 else f"blocks {first} to {last}"
            columns.append(Column("" if phase == "after" else number, tuple(nodes.values())))
            first = last + 1
        self.groups.append(Group(title, phase, tuple(columns)))

    def _joined(self, phase: Phase, regions: Sequence[Region]) -> Node:
        sites = np.unique(np.concatenate([r.sites for r in regions]))
        return self.node(phase, Region(regions[0].variable, sites), [int(r.sites.size) for r in regions])

    def _read(self, region: Region, target: Node) -> None:
        for term, others in self.holders.read(region):
            halves = [
                [(fixed, part) for fixed in (True, False) if len(part := self._of_kind(found, fixed))]
                for found in others
            ]
            for choice in product(*halves):
                key = (target.number, term.name, tuple(fixed for fixed, _ in choice))
                kept = self.reads.setdefault(key, [{} for _ in choice])
                for seen, (_, part) in zip(kept, choice, strict=True):
                    seen.update(dict.fromkeys(part))

    def _of_kind(self, numbers: Index, clamped: bool) -> list[int]:
        return [n for n in numbers.tolist() if (self.nodes[n].phase == "clamped") is clamped]

    def carry(self) -> None:
        """Stands a node for each value that is held after sweeps that are not shown."""
        nodes = []
        for region in self.schedule.active.values():
            for number in self.holders.get(region).tolist():
                node = self.node("carried", self.holders.part(region, number))
                self.links.append((self.nodes[number], node))
                nodes.append(node)
        for node in nodes:
            self.holders.put(node.region, node.number)
        self.groups.append(Group("", "carried", (Column("", tuple(nodes)),)))

    def timeline(self) -> Timeline:
        """What was walked, without carried nodes that nothing reads."""
        terms = {term.name: term for term in self.graph.terms}
        messages = tuple(
            Message(
                terms[name],
                self.nodes[number],
                tuple(tuple(self.nodes[n] for n in sorted(seen)) for seen in kept),
                all(fixed),
            )
            for (number, name, fixed), kept in self.reads.items()
        )
        read = {n.number for message in messages for end in message.sources for n in end}
        groups = [self._without_unread(group, read) if group.phase == "carried" else group for group in self.groups]
        links = tuple((a, b) for a, b in self.links if b.number in read)
        return Timeline(tuple(groups), messages, links)

    def _without_unread(self, group: Group, read: set[int]) -> Group:
        columns = tuple(Column(c.title, tuple(n for n in c.nodes if n.number in read)) for c in group.columns)
        return Group(group.title, group.phase, columns)


def fold(blocks: Sequence[Block]) -> list[tuple[Block, ...]]:
    """Blocks by column: one each, but long runs over the same variables together, and all together where columns are still too many."""
    columns: list[tuple[Block, ...]] = []
    for _, run in groupby(blocks, key=_names):
        found = tuple(run)
        columns += [found] if len(found) > LONGEST_RUN else [(block,) for block in found]
    return columns if len(columns) <= MOST_COLUMNS else [tuple(blocks)]


def _names(block: Block) -> tuple[str, ...]:
    return tuple(region.name for region in block)
