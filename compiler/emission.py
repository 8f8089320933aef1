"""Emits the graphs of one chain: pass 0, sweeps and what comes out of the last one. See `gmc.compiler.program` for inputs and outputs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import fx

from gmc.compiler.colouring import Block
from gmc.compiler.condition import Condition
from gmc.compiler.emitter import Emitter
from gmc.compiler.fields import emit_field, emit_law
from gmc.compiler.gains import Scale
from gmc.compiler.graph import FactorGraph, Term, family
from gmc.compiler.region import Piece, Region, columns
from gmc.compiler.schedule import Schedule, reads
from gmc.compiler.start import DrawnStart
from gmc.dsl.model import Gate, Variable

Want = Literal["state", "value", "mean", "smooth", "spread"]
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(slots=True)
class _Pass:
    """What a pass has drawn so far: the pieces of active regions, the means of the laws they were drawn from, and, for gates, numbers and outcomes."""

    state: dict[str, Piece]
    smooth: dict[str, Piece]
    scale: Scale
    measured: dict[str, Any] = field(default_factory=dict)
    open: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Late:
    """What was drawn after the sweeps, the means of the laws that it was drawn from, and what of the last block may stand at its mean."""

    drawn: dict[str, list[Piece]] = field(default_factory=dict)
    smooth: dict[str, list[Piece]] = field(default_factory=dict)
    last: dict[str, list[Piece]] = field(default_factory=dict)


class Emission:
    """Emits one chain's graphs. Draws are numbered: starts by noise, pass 0, pass 0 anew, sweeps, what is deferred."""

    def __init__(self, graph: FactorGraph, schedule: Schedule, want: tuple[Want, ...]) -> None:
        self.graph, self.schedule, self.want = graph, schedule, want
        most = sum(int(r.sites.size) for r in schedule.active.values())
        self.first_opening = len(graph.variables)
        self.first_fresh = self.first_opening + most
        self.first_sweep = self.first_fresh + most
        in_sweep = [region for block in schedule.blocks for region in block]
        self.first_deferred = self.first_sweep + len(in_sweep)
        late = [region for block in schedule.deferred for region in block]
        self.drawn = dict(enumerate((*in_sweep, *late), self.first_sweep))

    # ---- what is known of the variables

    def _clamped(self, g: Emitter) -> dict[str, list[Piece]]:
        return {
            name: [Piece(g.input(f"clamped.{name}", fixed=True), region)]
            for name, region in self.schedule.clamped.items()
        }

    def _known(self, g: Emitter, *parts: Mapping[str, Piece]) -> dict[str, list[Piece]]:
        """The clamped pieces, and others that do not overlap them."""
        known = self._clamped(g)
        for part in parts:
            for name, piece in part.items():
                known.setdefault(name, []).append(piece)
        return known

    def _observed(self, g: Emitter, region: Region) -> Any:
        """Which of a region's statistics a row has; None where none of its sites are held by rows."""
        masked = self.schedule.masked.get(region.name)
        if masked is None or masked.without(region).sites.size == masked.sites.size:
            return None
        return self._of_free(g, f"observed.{region.name}", region)

    def _given(self, g: Emitter, region: Region) -> Any:
        """What rows have of a region, zero where they have nothing."""
        return self._of_free(g, f"given.{region.name}", region)

    def _of_free(self, g: Emitter, name: str, region: Region) -> Any:
        """A region's part of an input over its variable's free sites."""
        free = self.schedule.free[region.name]
        return g.assemble([Piece(g.input(name, fixed=True), free)], region)

    def _held(self, g: Emitter, region: Region, value: Any) -> Any:
        """A value, with what rows have in its place."""
        observed = self._observed(g, region)
        return value if observed is None else torch.where(observed, self._given(g, region), value)

    # ---- draws

    def _update(
        self,
        g: Emitter,
        region: Region,
        known: Mapping[str, Sequence[Piece]],
        scale: Scale,
        site: int,
        smooth: bool = False,
    ) -> tuple[Piece, Piece]:
        """A region as the chain updates it (a draw, a mean or a mode), and, with `smooth`, its mean given its neighbours, else the same again."""
        eta = emit_field(g, self.graph, region, known, scale)
        law = emit_law(g, region)
        with g.at(region.variable.span):
            update = self.schedule.chain.update
            if update == "sample":
                value = law.draw(eta, g.input("key", fixed=False), site, g.input("sweep", fixed=False))
            else:
                value = law.mean(eta) if update == "mean" else law.mode(eta)
            drawn = Piece(self._held(g, region, value), region)
            if not smooth or update == "mean":
                return drawn, drawn
            return drawn, Piece(self._held(g, region, law.mean(eta)), region)

    def _mean(self, g: Emitter, region: Region, known: Mapping[str, Sequence[Piece]], scale: Scale) -> Piece:
        eta = emit_field(g, self.graph, region, known, scale)
        law = emit_law(g, region)
        with g.at(region.variable.span):
            return Piece(self._held(g, region, law.mean(eta)), region)

    def _supply(self, g: Emitter, region: Region) -> Piece:
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
        return Piece(self._held(g, region, g.assemble([Piece(given, free)], region)), region)

    # ---- pass 0

    def _begin(self, g: Emitter, blocks: Sequence[Block], anew: Sequence[str], smooth: bool = False) -> _Pass:
        """Pass 0: active regions as starts supply them or as `blocks` draw them, at the gains that the chain begins with."""
        scale = self.schedule.potency.first
        done = _Pass({}, {}, scale)
        for name in self.schedule.supplied:
            if name in self.schedule.active and name not in anew:
                done.state[name] = done.smooth[name] = self._supply(g, self.schedule.active[name])
        # until it is drawn, a variable that rows hold in part is there with what they have; the rest, being zero, sends nothing
        waiting = {n: r for n, r in self._waiting().items() if n not in done.state}
        parts: dict[str, list[tuple[Piece, Piece]]] = {}
        first = self.first_fresh if anew else self.first_opening
        for site, region in enumerate((r for block in blocks for r in block), first):
            held = {n: Piece(self._given(g, r), r) for n, r in waiting.items() if r.sites.size}
            known = self._known(g, done.state, held)
            for name, pairs in parts.items():
                known.setdefault(name, []).extend(piece for piece, _ in pairs)
            drawn = self._update(g, region, known, scale, site, smooth)
            parts.setdefault(region.name, []).append(drawn)
            if region.name in waiting:
                waiting[region.name] = waiting[region.name].without(region)
        for name, pairs in parts.items():
            active = self.schedule.active[name]
            done.state[name] = Piece(g.assemble([piece for piece, _ in pairs], active), active)
            if smooth:
                done.smooth[name] = Piece(g.assemble([mean for _, mean in pairs], active), active)
        return done

    def _waiting(self) -> dict[str, Region]:
        """The active sites that rows may hold."""
        return {
            name: Region(r.variable, np.intersect1d(r.sites, self.schedule.active[name].sites))
            for name, r in self.schedule.masked.items()
            if name in self.schedule.active
        }

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
        return g.module(self._joined(g, self.schedule.free, {}, done.state, late.drawn), "Fresh")

    # ---- sweeps

    def _swept(self, g: Emitter, smooth: bool = False) -> _Pass:
        """The active pieces after one sweep."""
        state = {
            name: Piece(g.input(f"state.{name}", fixed=False), region)
            for name, region in self.schedule.active.items()
            if name in self.schedule.read
        }
        done = _Pass(state, dict(state), self.schedule.potency.first)
        open_gates = {gate: self._gate(g, gate, done) for gate in self.schedule.gates}
        done.scale = self._scale(g, open_gates)
        site = self.first_sweep
        for block in self.schedule.blocks:
            for region in block:
                drawn = self._update(g, region, self._known(g, state), done.scale, site, smooth)
                state[region.name] = _put(g, state.get(region.name), drawn[0])
                if smooth:
                    done.smooth[region.name] = _put(g, done.smooth.get(region.name), drawn[1])
                site += 1
        return done

    def _gate(self, g: Emitter, gate: Gate, done: _Pass) -> Any:
        """Whether a gate is open as a sweep starts, zero or one `[chains, 1]`; the numbers are noted."""
        assert isinstance(gate.condition, Condition)
        with g.at(gate.span):
            known = self._known(g, done.state)
            held, observed = self._clamped_of(g, gate.condition.of)
            number = gate.condition.emit(g, self.graph, held, known, observed)
            opened = COMPARE[gate.operator](number, gate.threshold)
            done.measured[gate.measure], done.open[str(gate)] = number, opened
            return opened.to(held.value.dtype).unsqueeze(1)

    def _clamped_of(self, g: Emitter, name: str) -> tuple[Piece, Any]:
        """All sites of a variable that the chain may clamp, and which of them each row holds (None: all)."""
        region = self.schedule.clamped.get(name)
        fixed = [] if region is None else [Piece(g.input(f"clamped.{name}", fixed=True), region)]
        masked = self.schedule.masked.get(name)
        if masked is None:
            return fixed[0], None
        pieces = [*fixed, Piece(self._given(g, masked), masked)]
        target = Region(masked.variable, np.sort(np.concatenate([p.region.sites for p in pieces])))
        observed = Piece(self._of_free(g, f"observed.{name}", masked), masked)
        flags = [Piece(torch.ones_like(p.value, dtype=torch.bool), p.region) for p in fixed]
        return Piece(g.assemble(pieces, target), target), g.assemble([*flags, observed], target)

    def _scale(self, g: Emitter, open_gates: Mapping[Gate, Any]) -> Scale:
        """What scales messages in a sweep: constants, inputs for the gains that run over the sweeps, and gates."""
        potency = self.schedule.potency

        def scale(term: Term, slot: int) -> Any:
            if potency.silent(term, slot):
                return None
            found: Any = 1.0
            for n in potency.on(term, slot):
                gain = potency.gains[n]
                with g.at(gain.span):
                    value: Any = gain.value.start if gain.value.constant else g.input(f"gain.{n}", fixed=False)
                    if gain.unless is not None:
                        opened = open_gates[gain.unless]
                        closed = isinstance(value, float) and value == 0.0
                        value = opened if closed else opened + (1.0 - opened) * value
                    found = value if isinstance(found, float) and found == 1.0 else found * value
            return found

        return scale

    def sweep(self) -> fx.GraphModule:
        """One sweep."""
        g = Emitter()
        return g.module(_values(self._swept(g).state, self.schedule.active), "Sweep")

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

    # ---- what comes out

    def _late(
        self, g: Emitter, done: _Pass, blocks: Sequence[Block], smooth: bool = False, started: bool = False
    ) -> _Late:
        """Draws what is deferred, a block after the other, from the states that `done` has come to; with `started`, what a start supplies stays."""
        late = _Late()
        site = self.first_deferred
        for number, block in enumerate(blocks):
            known = self._known(g, done.state)
            for name, pieces in late.drawn.items():
                known.setdefault(name, []).extend(pieces)
            for region in block:
                if started and region.name in self.schedule.supplied:
                    drawn = end = mean = self._supply(g, region)
                else:
                    drawn, mean = self._update(g, region, known, done.scale, site, smooth)
                    wanted = "mean" in self.want and number == len(blocks) - 1
                    end = self._mean(g, region, known, done.scale) if wanted else drawn
                late.drawn.setdefault(region.name, []).append(drawn)
                late.smooth.setdefault(region.name, []).append(mean)
                late.last.setdefault(region.name, []).append(end)
                site += 1
        return late

    def _finish(self, g: Emitter, done: _Pass, late: _Late, last: Sequence[Block]) -> dict[str, Any]:
        """What is wanted of the end of a chain whose last block was `last`."""
        everything, clamped = {v.name: Region.whole_of(v) for v in self.graph.variables}, self._clamped(g)
        out: dict[str, Any] = {}
        if "state" in self.want:
            out["state"] = self._joined(g, self.schedule.free, {}, done.state, late.drawn)
        if "value" in self.want:
            out["value"] = self._joined(g, everything, clamped, done.state, late.drawn)
        if "mean" in self.want and self.schedule.chain.update == "mean":
            out["mean"] = self._joined(g, everything, clamped, done.state, late.drawn)
        elif "mean" in self.want:
            out["mean"] = self._joined(g, everything, clamped, self._means(g, done, last), late.last)
        if "smooth" in self.want:
            out["smooth"] = self._joined(g, everything, clamped, done.smooth, late.smooth)
        if "spread" in self.want:
            out["spread"] = {v.name: self._spread(g, v) for v in self.graph.variables if family(v).own(v.shape)}
        if done.open:
            out["measured"], out["open"] = done.measured, done.open
        return out

    def _means(self, g: Emitter, done: _Pass, last: Sequence[Block]) -> dict[str, Piece]:
        """The active pieces, with the means of the last block, unless something that is drawn after it reads it."""
        means = dict(done.state)
        block = [region for each in last for region in each]
        late = [region for each in self.schedule.deferred for region in each]
        if not any(reads(self.graph, self.schedule.potency, a, b) for a in late for b in block):
            for region in block:
                mean = self._mean(g, region, self._known(g, done.state), done.scale)
                means[region.name] = _put(g, means.get(region.name), mean)
        return means

    def _spread(self, g: Emitter, variable: Variable) -> Any:
        """One at the numbers that a mean-field chain has at the mean of their law, zero at those that it holds; `[chains, size]`."""
        blank, name = g.input("blank", fixed=True), variable.name
        pieces = []
        if name in self.schedule.clamped:
            region = self.schedule.clamped[name]
            pieces.append(Piece(blank.expand(-1, region.size), region))
        if name in self.schedule.free:
            region = self.schedule.free[name]
            observed = self._observed(g, region)
            ones = blank.expand(-1, region.size) + 1.0
            pieces.append(Piece(ones if observed is None else 1.0 - observed.to(ones.dtype), region))
        return g.assemble(pieces, Region.whole_of(variable)) if pieces else blank[:, :0]

    def _joined(
        self,
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


def _values(state: Mapping[str, Piece], names: Collection[str]) -> dict[str, Any]:
    return {name: piece.value for name, piece in state.items() if name in names}


def _put(g: Emitter, whole: Piece | None, part: Piece) -> Piece:
    """`whole` with `part` in its place; a new value, since graphs are pure."""
    if whole is None or part.region.sites.size == whole.region.sites.size:
        return part
    index = columns(part.region.within(whole.region), part.region.variable.family.width)
    return Piece(torch.index_copy(whole.value, 1, g.constant(index), part.value), whole.region)
