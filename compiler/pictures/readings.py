"""What each draw of a schedule reads: one list for pass 0, one for a sweep, one for what is drawn last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from gmc.compiler.colouring import Block
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.pictures.timeline import meets
from gmc.compiler.region import Region
from gmc.compiler.schedule import Schedule

Pass = Literal["opening", "sweep", "deferred"]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A message: a term into a region, with the part of each other end that it reads and whether that is clamped."""

    term: Term
    sources: tuple[tuple[Region, bool], ...]

    @property
    def once(self) -> bool:
        """Whether all that is read is clamped, so that the message never changes."""
        return all(clamped for _, clamped in self.sources)


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """A region drawn in a block of a pass, with the messages it gets."""

    where: Pass
    block: int
    region: Region
    readings: tuple[Reading, ...]


def draws(graph: FactorGraph, schedule: Schedule) -> Iterator[Draw]:
    """Every draw, in the order of time; a sweep once."""
    known = {name: schedule.active[name] for name in schedule.supplied if name in schedule.active}
    for number, block in enumerate(schedule.pass_0):
        yield from _block(graph, schedule, "opening", number, block, known)
        for region in block:
            held = known.get(region.name, region)
            known[region.name] = Region(region.variable, np.union1d(held.sites, region.sites))
    for number, block in enumerate(schedule.blocks):
        yield from _block(graph, schedule, "sweep", number, block, schedule.active)
    yield from _block(graph, schedule, "deferred", 0, schedule.deferred, schedule.active)


def _block(
    graph: FactorGraph, schedule: Schedule, where: Pass, number: int, block: Block, known: Mapping[str, Region]
) -> list[Draw]:
    return [Draw(where, number, region, tuple(_readings(graph, schedule, region, known))) for region in block]


def _readings(graph: FactorGraph, schedule: Schedule, target: Region, known: Mapping[str, Region]) -> Iterator[Reading]:
    """The messages into a region when, beside what is clamped, the regions of `known` have values."""
    for term, slot in graph.touching(target.name):
        ends = []
        for end, variable in enumerate(term.ends):
            if end == slot:
                continue
            reach = meets(term, slot, end, target)
            held = [
                (regions[variable.name], fixed)
                for regions, fixed in ((schedule.clamped, True), (known, False))
                if variable.name in regions
            ]
            parts = [(Region(variable, np.intersect1d(reach, region.sites)), fixed) for region, fixed in held]
            ends.append([(part, fixed) for part, fixed in parts if part.sites.size])
        for choice in product(*ends):
            yield Reading(term, choice)
