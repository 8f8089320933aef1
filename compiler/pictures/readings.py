"""What each draw of a schedule reads: one list for pass 0, one for a sweep, one for what is drawn last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from gmc.compiler.colouring import Block
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.pictures.holders import meets
from gmc.compiler.pictures.strength import Strength, strength
from gmc.compiler.region import Region
from gmc.compiler.schedule import Schedule

Pass = Literal["opening", "sweep", "deferred"]
Kind = Literal["clamped", "held", "state"]
"""Values that are clamped, those that rows have and that are not drawn yet, and states of the chain."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A part of a variable that is read."""

    region: Region
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A message: a term into a region, with the part of each other end that it reads, and what scales it."""

    term: Term
    sources: tuple[Source, ...]
    strength: Strength

    @property
    def once(self) -> bool:
        """Whether all that is read is clamped, so that the message never changes."""
        return all(source.kind == "clamped" for source in self.sources)


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """A region drawn in a block of a pass, with the messages it gets. `progress`: where gains stand that run over the sweeps, None if that changes."""

    where: Pass
    block: int
    region: Region
    readings: tuple[Reading, ...]
    progress: float | None


def draws(graph: FactorGraph, schedule: Schedule) -> Iterator[Draw]:
    """Every draw, in the order of time; a sweep once."""
    teller = _Teller(graph, schedule)
    known = {name: schedule.active[name] for name in schedule.supplied if name in schedule.active}
    waiting = {name: region for name, region in schedule.masked.items() if name not in schedule.supplied}
    for number, block in enumerate(schedule.pass_0):
        yield from teller.draws("opening", number, block, {"held": waiting, "state": known})
        for region in block:
            known[region.name] = _with(known.get(region.name), region)
            if region.name in waiting:
                waiting[region.name] = waiting[region.name].without(region)
    for number, block in enumerate(schedule.blocks):
        yield from teller.draws("sweep", number, block, {"state": schedule.active})
    known = dict(schedule.active)
    for number, block in enumerate(schedule.deferred):
        yield from teller.draws("deferred", number, block, {"state": known})
        for region in block:
            known[region.name] = _with(known.get(region.name), region)


def _with(held: Region | None, more: Region) -> Region:
    return more if held is None else Region(held.variable, np.union1d(held.sites, more.sites))


@dataclass(frozen=True, slots=True, eq=False)
class _Teller:
    """Tells what draws of a schedule read."""

    graph: FactorGraph
    schedule: Schedule

    def draws(
        self, where: Pass, number: int, block: Block, known: Mapping[Kind, Mapping[str, Region]]
    ) -> Iterator[Draw]:
        """The draws of a block, where beside what is clamped the regions of `known` have values."""
        unswept = where == "opening" or (self.schedule.chain.sweeps.constant and not self.schedule.chain.sweeps.end)
        progress = 0.0 if unswept else 1.0 if where == "deferred" else None
        every: dict[Kind, Mapping[str, Region]] = {"clamped": self.schedule.clamped}
        every.update(known)
        for region in block:
            readings = tuple(self._readings(region, every, first=unswept))
            yield Draw(where, number, region, readings, progress)

    def _readings(
        self, target: Region, known: Mapping[Kind, Mapping[str, Region]], *, first: bool
    ) -> Iterator[Reading]:
        potency = self.schedule.potency
        silent = potency.silent_at_first if first else potency.silent
        for term, slot in self.graph.touching(target.name):
            if silent(term, slot):
                continue
            ends = []
            for end, variable in enumerate(term.ends):
                if end == slot:
                    continue
                reach = meets(term, slot, end, target)
                held: list[tuple[Kind, Region]] = [
                    (kind, regions[variable.name]) for kind, regions in known.items() if variable.name in regions
                ]
                parts = [Source(Region(variable, np.intersect1d(reach, region.sites)), kind) for kind, region in held]
                ends.append([part for part in parts if part.region.sites.size])
            for choice in product(*ends):
                yield Reading(term, choice, strength(potency, term, slot))
