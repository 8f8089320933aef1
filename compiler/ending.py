"""What comes out of a chain's last pass, in its graphs. See `gmc.compiler.program` for what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gmc.compiler.colouring import Block
from gmc.compiler.drawing import Drawing, Drawings, Late, put
from gmc.compiler.emitter import Emitter
from gmc.compiler.graph import family
from gmc.compiler.region import Piece, Region
from gmc.compiler.schedule import reads
from gmc.dsl.model import Variable

Want = Literal["state", "value", "mean", "smooth", "spread", "field", "settled"]


@dataclass(frozen=True, slots=True)
class Ending:
    """Puts together what is wanted."""

    drawing: Drawing
    want: tuple[Want, ...]

    def finish(self, g: Emitter, done: Drawings, late: Late, last: Sequence[Block]) -> dict[str, Any]:
        """What is wanted of the end of a chain whose last block was `last`."""
        graph, schedule = self.drawing.graph, self.drawing.schedule
        everything, clamped = {v.name: Region.whole_of(v) for v in graph.variables}, self.drawing.holding.clamped(g)
        out: dict[str, Any] = {}
        if "state" in self.want:
            out["state"] = joined(g, schedule.free, {}, done.state, late.drawn)
        if "value" in self.want:
            out["value"] = joined(g, everything, clamped, done.state, late.drawn)
        if "mean" in self.want and self.drawing.rule.holds_means:
            out["mean"] = joined(g, everything, clamped, done.state, late.drawn)
        elif "mean" in self.want:
            out["mean"] = joined(g, everything, clamped, self._means(g, done, last), late.last)
        if "smooth" in self.want:
            out["smooth"] = joined(g, everything, clamped, done.smooth, late.smooth)
        if "spread" in self.want:
            out["spread"] = {v.name: self._spread(g, v) for v in graph.variables if family(v).own(v.shape)}
        if "field" in self.want:
            out["field"] = {v.name: self._field(g, v, done, late) for v in graph.variables}
        if "settled" in self.want:
            out["settled"] = self._settled(g, done, late)
        if done.open:
            out["measured"], out["open"] = done.measured, done.open
        if done.change is not None:
            out["change"] = done.change
        if done.accepted is not None:
            out["accepted"] = done.accepted
        return out

    def _means(self, g: Emitter, done: Drawings, last: Sequence[Block]) -> dict[str, Piece]:
        """The active pieces, with the means of the last block, unless something that is drawn after it reads it."""
        graph, schedule = self.drawing.graph, self.drawing.schedule
        means = dict(done.state)
        block = [region for each in last for region in each]
        late = [region for each in schedule.deferred for region in each]
        if not any(reads(graph, schedule.potency, a, b) for a in late for b in block):
            for region in block:
                mean = self.drawing.mean(g, region, self.drawing.holding.known(g, done.state), done.scale)
                means[region.name] = put(g, means.get(region.name), mean)
        return means

    def _settled(self, g: Emitter, done: Drawings, late: Late) -> dict[str, Any]:
        """Whole variables after a mean-field pass over the free latent ones, block by block, from the states as drawn; observed ones stay draws.

        Each mean takes the place of the draw for those after it (Salakhutdinov & Hinton, Deep Boltzmann machines, AISTATS 2009, in their code).
        """
        schedule, graph = self.drawing.schedule, self.drawing.graph
        free = joined(g, schedule.free, {}, done.state, late.drawn)
        means = {n: Piece(value, schedule.free[n]) for n, value in free.items()}
        for block in (*schedule.blocks, *schedule.deferred):
            known = self.drawing.holding.known(g, means)
            for region in (r for r in block if not r.variable.observed):
                mean = self.drawing.mean(g, region, known, done.scale)
                means[region.name] = put(g, means[region.name], mean)
        everything = {v.name: Region.whole_of(v) for v in graph.variables}
        return joined(g, everything, self.drawing.holding.clamped(g), means, {})

    def _field(self, g: Emitter, variable: Variable, done: Drawings, late: Late) -> Any:
        """The natural parameters from which each site was last updated, zero where none was; `[chains, size]`."""
        blank = g.input("blank", fixed=True)
        pieces = [*done.field.get(variable.name, ()), *late.field.get(variable.name, ())]
        rest = Region.whole_of(variable)
        for piece in pieces:
            rest = rest.without(piece.region)
        if rest.sites.size:
            pieces.append(Piece(blank.expand(-1, rest.size), rest))
        return g.assemble(pieces, Region.whole_of(variable)) if pieces else blank[:, :0]

    def _spread(self, g: Emitter, variable: Variable) -> Any:
        """One at the numbers that a mean-field chain has at the mean of their law, zero at those that it holds; `[chains, size]`."""
        schedule = self.drawing.schedule
        blank, name = g.input("blank", fixed=True), variable.name
        pieces = []
        if name in schedule.clamped:
            region = schedule.clamped[name]
            pieces.append(Piece(blank.expand(-1, region.size), region))
        if name in schedule.free:
            region = schedule.free[name]
            observed = self.drawing.holding.observed(g, region)
            ones = blank.expand(-1, region.size) + 1.0
            pieces.append(Piece(ones if observed is None else 1.0 - observed.to(ones.dtype), region))
        return g.assemble(pieces, Region.whole_of(variable)) if pieces else blank[:, :0]


def joined(
    g: Emitter,
    targets: Mapping[str, Region],
    clamped: Mapping[str, Sequence[Piece]],
    state: Mapping[str, Piece],
    rest: Mapping[str, Sequence[Piece]],
) -> dict[str, Any]:
    """The states of the targets, put together from what is clamped, active and deferred."""
    out = {}
    for n, target in targets.items():
        pieces = [*clamped.get(n, ()), *([state[n]] if n in state else []), *rest.get(n, ())]
        # a variable without sites, as a layer that a parameter leaves out, has no pieces
        out[n] = g.assemble(pieces, target) if pieces else g.input("blank", fixed=True)[:, :0]
    return out
