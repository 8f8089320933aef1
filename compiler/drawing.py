"""How a chain draws a region, in its graphs: from its field, by the chain's update, with what rows hold left in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as entry
from typing import Any, Literal

import numpy as np
import torch

from gmc.compiler.emitter import Emitter
from gmc.compiler.fields import emit_field, emit_law
from gmc.compiler.gains import Scale
from gmc.compiler.graph import FactorGraph, family
from gmc.compiler.holding import Holding, Pieces
from gmc.compiler.region import Piece, Region, columns
from gmc.compiler.schedule import Schedule
from gmc.compiler.score import cooled
from gmc.compiler.start import DrawnStart
from gmc.compiler.update import Update

Heat = Literal["none", "rows", "sweeps"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A region as it was updated: what came of it, the mean of the law that it was drawn from, and that law's natural parameters."""

    value: Piece
    mean: Piece
    field: Piece


@dataclass(slots=True)
class Drawings:
    """What a pass has drawn so far: the pieces of active regions, the means and the fields of the laws they were drawn from, and, for gates, numbers and outcomes.

    `change` is the largest change of a site in each chain, where the chain asks for it, and `accepted` which states were exchanged between temperatures.
    """

    state: dict[str, Piece]
    smooth: dict[str, Piece]
    scale: Scale
    field: Pieces = entry(default_factory=dict)
    measured: dict[str, Any] = entry(default_factory=dict)
    open: dict[str, Any] = entry(default_factory=dict)
    change: Any = None
    accepted: Any = None


@dataclass(slots=True)
class Late:
    """What was drawn after the sweeps, the means and the fields of the laws that it was drawn from, and what of the last block may stand at its mean."""

    drawn: Pieces = entry(default_factory=dict)
    smooth: Pieces = entry(default_factory=dict)
    field: Pieces = entry(default_factory=dict)
    last: Pieces = entry(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drawing:
    """Draws the regions of one chain; `heat` says whether rows, or whole sweeps, have inverse temperatures, the input `beta`."""

    graph: FactorGraph
    schedule: Schedule
    heat: Heat = "none"

    @property
    def holding(self) -> Holding:
        """What the chain holds."""
        return Holding(self.schedule)

    @property
    def rule(self) -> Update:
        """The chain's update."""
        rule = self.schedule.chain.rule
        assert isinstance(rule, Update)
        return rule

    def field(self, g: Emitter, region: Region, known: Mapping[str, Sequence[Piece]], scale: Scale) -> Any:
        """The natural parameters of the law that the chain draws a region from."""
        eta = emit_field(g, self.graph, region, known, scale, self.schedule.potency.kernels.get(region.name))
        strength = self.schedule.strength.get(region.name, 1.0)
        with g.at(region.variable.span):
            eta = eta if strength == 1.0 else eta * strength
            return eta if self.heat == "none" else cooled(region, eta, g.input("beta", fixed=self.heat == "rows"))

    def update(
        self,
        g: Emitter,
        region: Region,
        known: Mapping[str, Sequence[Piece]],
        scale: Scale,
        site: int,
        smooth: bool = False,
        old: Piece | None = None,
    ) -> Drawn:
        """A region as the chain updates it (a draw, a mean or a mode), and, with `smooth`, its mean given its neighbours, else the same again.

        `old` is where it stands, if anywhere; an update that is inert reads it.
        """
        eta = self.field(g, region, known, scale)
        law = emit_law(g, region)
        before = None if old is None else g.assemble([old], region)
        with g.at(region.variable.span):
            value = self.rule.emit(
                law,
                eta,
                before,
                lambda: law.draw(eta, g.input("key", fixed=False), site, g.input("sweep", fixed=False)),
            )
            drawn = Piece(self.holding.kept(g, region, value), region)
            if not smooth or self.rule.holds_means:
                return Drawn(drawn, drawn, Piece(eta, region))
            mean = Piece(self.holding.kept(g, region, law.mean(eta)), region)
            return Drawn(drawn, mean, Piece(eta, region))

    def mean(self, g: Emitter, region: Region, known: Mapping[str, Sequence[Piece]], scale: Scale) -> Piece:
        """A region's mean given its neighbours."""
        eta = self.field(g, region, known, scale)
        law = emit_law(g, region)
        with g.at(region.variable.span):
            return Piece(self.holding.kept(g, region, law.mean(eta)), region)

    def supply(self, g: Emitter, region: Region) -> Piece:
        """What a start gives a free region of a variable: a draw made here, or states that the caller has."""
        free = self.schedule.free[region.name]
        start = self.schedule.chain.start(region.name)
        if start is not None and isinstance(start.source, DrawnStart):
            like = g.input("blank", fixed=True).expand(-1, free.size)
            site = [v.name for v in self.graph.variables].index(region.name)
            key, sweep = g.input("key", fixed=False), g.input("sweep", fixed=False)
            given = start.source.draw(family(region.variable), like, key, site, sweep)
        else:
            given = g.input(f"start.{region.name}", fixed=False)
        return Piece(self.holding.kept(g, region, g.assemble([Piece(given, free)], region)), region)


def put(g: Emitter, whole: Piece | None, part: Piece) -> Piece:
    """`whole` with `part` in its place; a new value, since graphs are pure."""
    if whole is None or part.region.sites.size == whole.region.sites.size:
        return part
    index = columns(part.region.within(whole.region), part.region.variable.family.width)
    return Piece(torch.index_copy(whole.value, 1, g.constant(index), part.value), whole.region)


def over(g: Emitter, pieces: Sequence[Piece], part: Piece) -> list[Piece]:
    """Pieces with another laid over them: of each what does not lie under it, and it."""
    found = []
    for piece in pieces:
        rest = piece.region.without(part.region)
        if rest.sites.size:
            found.append(Piece(g.assemble([piece], rest), rest))
    return [*found, part]


def waiting(schedule: Schedule) -> dict[str, Region]:
    """The active sites that rows may hold."""
    return {
        name: Region(r.variable, np.intersect1d(r.sites, schedule.active[name].sites))
        for name, r in schedule.masked.items()
        if name in schedule.active
    }
