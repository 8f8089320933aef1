"""Emits the graphs of one chain: pass 0, sweeps and what comes out of the last one. See `gmc.compiler.program` for inputs and outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from gmc.compiler.colouring import Block
from gmc.compiler.drawing import Drawing, Drawings, Drawn, Late, over, put, waiting
from gmc.compiler.emitter import Emitter
from gmc.compiler.ending import Ending, joined
from gmc.compiler.ending import Want as Want
from gmc.compiler.exchange import exchange
from gmc.compiler.gains import Scale
from gmc.compiler.gating import emit_gate, emit_scale
from gmc.compiler.graph import FactorGraph
from gmc.compiler.region import Piece
from gmc.compiler.schedule import Schedule
from gmc.compiler.score import emit_score
from gmc.compiler.tempering import tempering


class Emission:
    """Emits one chain's graphs. Draws are numbered: starts by noise, pass 0, pass 0 anew, sweeps, what is deferred."""

    def __init__(self, graph: FactorGraph, schedule: Schedule, want: tuple[Want, ...]) -> None:
        self.graph, self.schedule, self.want = graph, schedule, want
        self.tempered = tempering(schedule.chain)
        rows = self.tempered is not None and self.tempered.exchanges
        self.drawing = Drawing(graph, schedule, "rows" if rows else "none")
        self.holding = self.drawing.holding
        most = sum(int(r.sites.size) for r in schedule.active.values())
        self.first_opening = len(graph.variables)
        self.first_fresh = self.first_opening + most
        self.first_sweep = self.first_fresh + most
        in_sweep = [region for block in schedule.blocks for region in block]
        self.first_deferred = self.first_sweep + len(in_sweep)
        late = [region for block in schedule.deferred for region in block]
        self.drawn = dict(enumerate((*in_sweep, *late), self.first_sweep))
        self.first_tempered = self.first_deferred + len(late)

    # ---- pass 0

    def _begin(self, g: Emitter, blocks: Sequence[Block], anew: Sequence[str], smooth: bool = False) -> Drawings:
        """Pass 0: active regions as starts supply them or as `blocks` draw them, at the gains that the chain begins with."""
        scale = self.schedule.potency.first
        done = Drawings({}, {}, scale)
        for name in self.schedule.supplied:
            if name in self.schedule.active and name not in anew:
                done.state[name] = done.smooth[name] = self.drawing.supply(g, self.schedule.active[name])
        # until it is drawn, a variable that rows hold in part is there with what they have; the rest, being zero, sends nothing
        left = {n: r for n, r in waiting(self.schedule).items() if n not in done.state}
        parts: dict[str, list[Drawn]] = {}
        first = self.first_fresh if anew else self.first_opening
        for site, region in enumerate((r for block in blocks for r in block), first):
            held = {n: Piece(self.holding.given(g, r), r) for n, r in left.items() if r.sites.size}
            known = self.holding.known(g, done.state, held)
            for name, drawn in parts.items():
                known.setdefault(name, []).extend(each.value for each in drawn)
            parts.setdefault(region.name, []).append(self.drawing.update(g, region, known, scale, site, smooth))
            if region.name in left:
                left[region.name] = left[region.name].without(region)
        for name, drawn in parts.items():
            active = self.schedule.active[name]
            done.state[name] = Piece(g.assemble([each.value for each in drawn], active), active)
            done.field[name] = [each.field for each in drawn]
            if smooth:
                done.smooth[name] = Piece(g.assemble([each.mean for each in drawn], active), active)
        return done

    def opening(self) -> fx.GraphModule:
        """Pass 0 where sweeps follow: what they read."""
        g = Emitter()
        state = self._begin(g, self.schedule.begun, ()).state
        return g.module(_values(state, self.schedule.read), "Opening")

    def fresh(self, blocks: Sequence[Block], anew: Sequence[str]) -> fx.GraphModule:
        """Pass 0 with the variables `anew` drawn by `blocks`, not supplied; it gives whole free regions."""
        g = Emitter()
        done = self._begin(g, blocks, anew)
        late = self._late(g, done, self.schedule.deferred)
        return g.module(joined(g, self.schedule.free, {}, done.state, late.drawn), "Fresh")

    # ---- sweeps

    def _states(self, g: Emitter) -> dict[str, Piece]:
        """The states that sweeps read."""
        return {
            name: Piece(g.input(f"state.{name}", fixed=False), region)
            for name, region in self.schedule.active.items()
            if name in self.schedule.read
        }

    def _swept(self, g: Emitter, smooth: bool = False) -> Drawings:
        """The active pieces after one sweep."""
        state = self._states(g)
        done = Drawings(state, dict(state), self.schedule.potency.first)
        opened = {}
        for gate in self.schedule.gates:
            number, is_open, opened[gate] = emit_gate(g, self.graph, self.holding, gate, self.holding.known(g, state))
            done.measured[gate.measure], done.open[str(gate)] = number, is_open
        done.scale = emit_scale(g, self.schedule.potency, opened)
        if self.tempered is not None and self.tempered.exchanges:
            self._exchange(g, done, self.tempered.ladder)
        site = self.first_sweep
        for block in self.schedule.blocks:
            for region in block:
                known = self.holding.known(g, state)
                drawn = self.drawing.update(g, region, known, done.scale, site, smooth, old=state.get(region.name))
                if self.drawing.rule.stops:
                    drawn = self._stopped(g, done, drawn)
                state[region.name] = put(g, state.get(region.name), drawn.value)
                done.field[region.name] = over(g, done.field.get(region.name, ()), drawn.field)
                if smooth:
                    done.smooth[region.name] = put(g, done.smooth.get(region.name), drawn.mean)
                site += 1
        return done

    def _exchange(self, g: Emitter, done: Drawings, ladder: tuple[float, ...]) -> None:
        """Exchanges states between neighbouring temperatures."""
        score = emit_score(g, self.graph, self.schedule, self.holding, done.state, done.scale)
        key, sweep = g.input("key", fixed=False), g.input("sweep", fixed=False)
        found = exchange(score, key, self.first_tempered, sweep, ladder)
        order, done.accepted = found.select(1, 0), found.select(1, 1)
        done.state |= {n: Piece(torch.index_select(p.value, 0, order), p.region) for n, p in done.state.items()}

    def _stopped(self, g: Emitter, done: Drawings, drawn: Drawn) -> Drawn:
        """A region as it stands after an update in which chains that have stopped take no part; how far it would move enters `done.change`."""
        region = drawn.value.region
        old = g.assemble([done.state[region.name]], region)
        with g.at(region.variable.span):
            change = (drawn.value.value - old).abs().amax(1)
            done.change = change if done.change is None else torch.maximum(done.change, change)
            piece = Piece(torch.where(g.input("live", fixed=False), drawn.value.value, old), region)
        return Drawn(piece, piece, drawn.field)

    def sweep(self) -> fx.GraphModule:
        """One sweep: the states, and, where chains stop by themselves, also the largest change in each."""
        g = Emitter()
        done = self._swept(g)
        state = _values(done.state, self.schedule.active)
        return g.module(state if done.change is None else {"state": state, "change": done.change}, "Sweep")

    def climb(self) -> fx.GraphModule:
        """A sweep at the inverse temperature `beta`: the states, and the score of those before it."""
        g = Emitter()
        state, scale = self._states(g), emit_scale(g, self.schedule.potency, {})
        score = emit_score(g, self.graph, self.schedule, self.holding, state, scale)
        state = self._heated(g, state, scale, self.schedule.blocks, self.first_tempered)
        return g.module({"state": _values(state, self.schedule.active), "score": score}, "Climb")

    def descend(self) -> fx.GraphModule:
        """The same sweep in reverse: the states, and the score of those after it."""
        g = Emitter()
        state, scale = self._states(g), emit_scale(g, self.schedule.potency, {})
        first = self.first_tempered + sum(map(len, self.schedule.blocks))
        state = self._heated(g, state, scale, self.schedule.blocks[::-1], first)
        score = emit_score(g, self.graph, self.schedule, self.holding, state, scale)
        return g.module({"state": _values(state, self.schedule.active), "score": score}, "Descend")

    def _heated(
        self, g: Emitter, state: Mapping[str, Piece], scale: Scale, blocks: Sequence[Block], site: int
    ) -> dict[str, Piece]:
        """The states after blocks were drawn at an inverse temperature; draws are numbered from `site` on."""
        drawing, found = Drawing(self.graph, self.schedule, "sweeps"), dict(state)
        for number, region in enumerate((r for block in blocks for r in block), site):
            drawn = drawing.update(g, region, self.holding.known(g, found), scale, number)
            found[region.name] = put(g, found[region.name], drawn.value)
        return found

    def last(self) -> fx.GraphModule:
        """The last sweep, with what is deferred."""
        g = Emitter()
        smooth = "smooth" in self.want
        done = self._swept(g, smooth)
        late = self._late(g, done, self.schedule.deferred, smooth)
        return g.module(self._finish(g, done, late, self.schedule.blocks[-1:]), "Last")

    def alone(self) -> fx.GraphModule:
        """Pass 0 where no sweep follows: what a start supplies stays, whether it is read or not."""
        g = Emitter()
        smooth = "smooth" in self.want
        done = self._begin(g, self.schedule.opening, (), smooth)
        late = self._late(g, done, self.schedule.deferred, smooth, started=True)
        return g.module(self._finish(g, done, late, self.schedule.opening[-1:]), "Alone")

    def _finish(self, g: Emitter, done: Drawings, late: Late, last: Sequence[Block]) -> dict[str, Any]:
        return Ending(self.drawing, self.want).finish(g, done, late, last)

    # ---- after the sweeps

    def _late(
        self, g: Emitter, done: Drawings, blocks: Sequence[Block], smooth: bool = False, started: bool = False
    ) -> Late:
        """Draws what is deferred, a block after the other, from the states that `done` has come to; with `started`, what a start supplies stays."""
        late = Late()
        site = self.first_deferred
        for number, block in enumerate(blocks):
            known = self.holding.known(g, done.state)
            for name, pieces in late.drawn.items():
                known.setdefault(name, []).extend(pieces)
            for region in block:
                if started and region.name in self.schedule.supplied:
                    value = end = mean = self.drawing.supply(g, region)
                else:
                    drawn = self.drawing.update(g, region, known, done.scale, site, smooth)
                    value, mean = drawn.value, drawn.mean
                    late.field.setdefault(region.name, []).append(drawn.field)
                    wanted = "mean" in self.want and number == len(blocks) - 1
                    end = self.drawing.mean(g, region, known, done.scale) if wanted else value
                late.drawn.setdefault(region.name, []).append(value)
                late.smooth.setdefault(region.name, []).append(mean)
                late.last.setdefault(region.name, []).append(end)
                site += 1
        return late


def _values(state: Mapping[str, Piece], names: Collection[str]) -> dict[str, Any]:
    return {name: piece.value for name, piece in state.items() if name in names}
