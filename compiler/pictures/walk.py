"""Goes through a chain in time, and notes what is drawn when and what each draw reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from gmc.compiler.colouring import Block
from gmc.compiler.gains import Potency
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.pictures.holders import Holders
from gmc.compiler.pictures.names import clamp_source, start_source
from gmc.compiler.pictures.pruned import idle_starts
from gmc.compiler.pictures.strength import Strength, strength
from gmc.compiler.pictures.timeline import Column, Group, Message, Node, Phase, Timeline, fold
from gmc.compiler.region import Index, Region, sites_of
from gmc.compiler.schedule import Schedule
from gmc.dsl.model import Gate


def unroll(graph: FactorGraph, schedule: Schedule, shown: int = 2) -> Timeline:
    """The timeline of a chain, with its first `shown` sweeps and the last one."""
    count = None if not schedule.chain.sweeps.constant else round(schedule.chain.sweeps.start)
    walk = _Walk(graph, schedule, count)
    walk.given()
    if schedule.pass_0:
        walk.run("pass 0", "pass", schedule.pass_0)
    if count != 0:
        walk.swept = True
    if schedule.blocks and count != 0:
        first = count if count is not None and count <= shown + 1 else shown
        for number in range(1, first + 1):
            walk.sweep(f"sweep {number}", number)
        if count is None or count > first:
            walk.carry()
            walk.sweep("last sweep" if count is None else f"sweep {count}", count)
    deferred = schedule.deferred
    if count == 0:
        kept = [tuple(region for region in block if region.name not in schedule.supplied) for block in deferred]
        deferred = tuple(block for block in kept if block)
    if deferred:
        walk.after("after the sweeps" if schedule.blocks and count != 0 else "drawn once", deferred)
    return walk.timeline()


@dataclass(slots=True)
class _Heard:
    """A message as it is put together: the nodes at each other end, in the order in which they were met."""

    term: Term
    target: Node
    ends: list[dict[int, None]]
    once: bool
    strength: Strength
    progress: float | None
    gates: tuple[Node, ...]


class _Walk:
    """What was met so far. Until `swept`, gains that run stand at their start and gates are closed."""

    def __init__(self, graph: FactorGraph, schedule: Schedule, count: int | None) -> None:
        self.graph, self.schedule, self.count = graph, schedule, count
        self.place = {v.name: n for n, v in enumerate(graph.variables)}
        self.holders = Holders(graph)
        self.nodes: list[Node] = []
        self.groups: list[Group] = []
        self.links: list[tuple[Node, Node]] = []
        self.tests: list[tuple[Node, Node]] = []
        self.heard: dict[tuple[int, str, tuple[bool, ...]], _Heard] = {}
        self.once: dict[tuple[str, str], Node] = {}
        self.gates: dict[Gate, Node] = {}
        self.swept = False
        self.progress: float | None = 0.0

    def node(self, phase: Phase, region: Region, **more: Any) -> Node:
        """A new node, with the next number."""
        masked = self.schedule.masked.get(region.name)
        drawn = phase in ("held", "start", "pass", "sweep", "after")
        held = drawn and masked is not None and bool(np.isin(region.sites, masked.sites).any())
        self.nodes.append(Node(len(self.nodes), phase, region, held=held, **more))
        return self.nodes[-1]

    # ---- before the sweeps

    def given(self) -> None:
        """What is clamped, what rows may hold, what starts supply and is read, and what clamped values send once a run."""
        idle = idle_starts(self.graph, self.schedule)
        fixed, held, starts = self._clamps(), self._held(idle), self._starts(idle)
        found = [*fixed, *held, *starts]
        for node in found:
            # what no one reads may have a value that no one has
            if node.region.name not in idle or node.phase == "clamped":
                self.holders.put(node.region, node.number)
        if found:
            columns = [Column("", self._ordered(found))]
            once = self._once(fixed)
            columns += [Column("once a run", once)] if once else []
            self.groups.append(Group("given", "clamped", tuple(columns)))

    def _ordered(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        return tuple(sorted(nodes, key=lambda n: self.place[n.region.name]))

    def _clamps(self) -> list[Node]:
        found = []
        for clamp in self.schedule.chain.clamps:
            variable = self.graph.model.variable(clamp.variable)
            region = Region(variable, sites_of(variable, clamp.part))
            if not clamp.observed and region.sites.size:
                found.append(self.node("clamped", region, source=clamp_source(clamp)))
        return found

    def _held(self, idle: Collection[str]) -> list[Node]:
        """What rows have, where no start that is read covers it."""
        sources = {c.variable: clamp_source(c) for c in self.schedule.chain.clamps if c.observed}
        covered = set(self.schedule.supplied).difference(idle)
        found = [(name, region) for name, region in self.schedule.masked.items() if name not in covered]
        return [self.node("held", region, source=sources[name]) for name, region in found]

    def _starts(self, idle: Collection[str]) -> list[Node]:
        """What starts supply; with no sweep after pass 0 also what no sweep would read."""
        regions = self.schedule.free if self.count == 0 else self.schedule.active
        found = []
        for name in self.schedule.supplied:
            start = self.schedule.chain.start(name)
            if start is not None and name in regions and name not in idle:
                found.append(self.node("start", regions[name], source=start_source(start)))
        return found

    def _once(self, fixed: Sequence[Node]) -> tuple[Node, ...]:
        """A node for each message that draws of sweeps read and that comes from clamped values alone."""
        if self.count == 0:
            return ()
        holders = Holders(self.graph)
        for node in fixed:
            holders.put(node.region, node.number)
        for region in (region for block in self.schedule.blocks for region in block):
            for term, _, others in holders.read(region, self.schedule.potency.silent):
                key = region.name, term.name
                if key not in self.once:
                    anchor = self.nodes[min(others[0].tolist())]
                    whole = Region.whole_of(region.variable)
                    self.once[key] = self.node("once", whole, term=term, anchor=anchor)
                self._note(term, self.once[key], (True,) * len(others), [set(found.tolist()) for found in others])
        return tuple(self.once.values())

    # ---- passes

    def sweep(self, title: str, number: int | None) -> None:
        """A sweep: its gates, then its blocks. `number` is None where it is the last of a length that is not known."""
        if number is None or number == self.count:
            self.progress = 1.0
        else:
            # of a length that is not known the place is not known either
            self.progress = None if self.count is None else (number - 1) / (self.count - 1)
        self.run(title, "sweep", self.schedule.blocks, self._tested())

    def after(self, title: str, blocks: Sequence[Block]) -> None:
        """What is drawn last, at the gains of the last sweep."""
        columns: tuple[Column, ...] = ()
        if self.swept:
            self.progress = 1.0
            columns = () if self.schedule.blocks else self._tested()
        self.run(title, "after", blocks, columns)

    def run(self, title: str, phase: Phase, blocks: Sequence[Block], before: tuple[Column, ...] = ()) -> None:
        """Draws blocks in turn."""
        columns, first = list(before), 1
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
            columns.append(Column("" if phase == "after" and len(blocks) == 1 else number, tuple(nodes.values())))
            first = last + 1
        self.groups.append(Group(title, phase, tuple(columns)))

    def _joined(self, phase: Phase, regions: Sequence[Region]) -> Node:
        sites = np.unique(np.concatenate([r.sites for r in regions]))
        return self.node(phase, Region(regions[0].variable, sites), sizes=tuple(int(r.sites.size) for r in regions))

    def _tested(self) -> tuple[Column, ...]:
        """A column of gates, each of which looks at its clamped sites and at their neighbours as a sweep starts."""
        self.gates = {gate: self._gate(gate) for gate in self.schedule.gates}
        return (Column("as it starts", tuple(self.gates.values())),) if self.gates else ()

    def _gate(self, gate: Gate) -> Node:
        name = gate.condition.of
        parts = [regions[name].sites for regions in (self.schedule.clamped, self.schedule.masked) if name in regions]
        region = Region(self.graph.model.variable(name), np.unique(np.concatenate(parts)))
        node = self.node("gate", region, gate=gate)
        seen = set(self.holders.get(region).tolist())
        # neighbours count at full gain, also those of which the variable else hears nothing
        for _, _, others in self.holders.read(region, Potency().silent):
            seen |= {number for found in others for number in found.tolist()}
        self.tests += [(self.nodes[number], node) for number in sorted(seen)]
        return node

    def _read(self, region: Region, target: Node) -> None:
        potency = self.schedule.potency
        silent = potency.silent if self.swept else potency.silent_at_first
        for term, slot, others in self.holders.read(region, silent):
            halves = [
                [(fixed, part) for fixed in (True, False) if (part := self._of_kind(found, clamped=fixed))]
                for found in others
            ]
            for choice in product(*halves):
                kinds = tuple(fixed for fixed, _ in choice)
                once = self.once.get((region.name, term.name)) if all(kinds) else None
                ends = [{once.number}] if once is not None else [part for _, part in choice]
                heard = self._note(term, target, kinds, ends, once=once is not None)
                heard.strength = strength(potency, term, slot)
                heard.gates = tuple(self.gates[gate] for gate in heard.strength.gates)

    def _note(
        self, term: Term, target: Node, kinds: tuple[bool, ...], ends: Sequence[set[int]], *, once: bool = False
    ) -> _Heard:
        """Adds to the message of a term into a node."""
        empty: list[dict[int, None]] = [{} for _ in ends]
        new = _Heard(term, target, empty, once, Strength(), self.progress, ())
        heard = self.heard.setdefault((target.number, term.name, kinds), new)
        for seen, end in zip(heard.ends, ends, strict=True):
            seen.update(dict.fromkeys(sorted(end)))
        return heard

    def _of_kind(self, numbers: Index, *, clamped: bool) -> set[int]:
        return {n for n in numbers.tolist() if (self.nodes[n].phase == "clamped") is clamped}

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

    # ---- what was walked

    def timeline(self) -> Timeline:
        """All of it, without carried nodes that nothing reads."""
        messages = tuple(
            Message(
                heard.term,
                heard.target,
                tuple(tuple(self.nodes[n] for n in sorted(end)) for end in heard.ends),
                heard.once,
                heard.strength,
                heard.progress,
                heard.gates,
            )
            for heard in self.heard.values()
        )
        read = {n.number for message in messages for n in message.origins}
        read |= {node.number for node, _ in self.tests}
        groups = tuple(_without_unread(group, read) for group in self.groups)
        links = tuple((a, b) for a, b in self.links if b.number in read)
        return Timeline(groups, messages, tuple(self.tests), links)


def _without_unread(group: Group, read: set[int]) -> Group:
    columns = [
        replace(column, nodes=tuple(n for n in column.nodes if n.phase != "carried" or n.number in read))
        for column in group.columns
    ]
    return replace(group, columns=tuple(columns))
