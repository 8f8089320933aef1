"""Emits the graphs of one chain: pass 0, sweeps and what comes out of the last one. See `gmc.compiler.program` for inputs and outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import fx

from gmc.compiler.colouring import Block
from gmc.compiler.emitter import Emitter
from gmc.compiler.fields import emit_field
from gmc.compiler.graph import FactorGraph, family
from gmc.compiler.region import Piece, Region, columns
from gmc.compiler.schedule import Schedule
from gmc.dsl.vocabulary import StartWord

Want = Literal["state", "value", "mean"]


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
        self.drawn = dict(enumerate((*in_sweep, *schedule.deferred), self.first_sweep))

    def _clamped(self, g: Emitter) -> dict[str, list[Piece]]:
        return {
            name: [Piece(g.input(f"clamped.{name}", fixed=True), region)]
            for name, region in self.schedule.clamped.items()
        }

    def _update(self, g: Emitter, region: Region, pieces: Mapping[str, Sequence[Piece]], site: int) -> Piece:
        """A region's draw, or its mean in a mean-field chain."""
        eta = emit_field(g, self.graph, region, pieces)
        kind = family(region.variable)
        with g.at(region.variable.span):
            if self.schedule.chain.update == "mean":
                return Piece(kind.mean(eta), region)
            return Piece(kind.draw(eta, g.input("key", fixed=False), site, g.input("sweep", fixed=False)), region)

    def _supply(self, g: Emitter, region: Region) -> Piece:
        """What a start gives a free region of a variable: noise drawn here, or statistics that the caller has."""
        free = self.schedule.free[region.name]
        start = self.schedule.chain.start(region.name)
        if start is not None and isinstance(start.source, StartWord) and start.source.drawn:
            like = g.input("blank", fixed=True).expand(-1, free.size)
            site = [v.name for v in self.graph.variables].index(region.name)
            given = family(region.variable).noise(
                like, g.input("key", fixed=False), site, g.input("sweep", fixed=False)
            )
        else:
            given = g.input(f"start.{region.name}", fixed=False)
        return Piece(g.assemble([Piece(given, free)], region), region)

    def _begin(self, g: Emitter, blocks: Sequence[Block], anew: Sequence[str]) -> dict[str, list[Piece]]:
        """The pieces of all variables after pass 0."""
        pieces = self._clamped(g)
        for name in self.schedule.supplied:
            if name in self.schedule.active and name not in anew:
                pieces.setdefault(name, []).append(self._supply(g, self.schedule.active[name]))
        first = self.first_fresh if anew else self.first_opening
        for site, region in enumerate((r for block in blocks for r in block), first):
            drawn = self._update(g, region, pieces, site)
            pieces.setdefault(region.name, []).append(drawn)
        return pieces

    def _state(self, g: Emitter, pieces: Mapping[str, Sequence[Piece]], names: Collection[str]) -> dict[str, Any]:
        """The active region of each named variable."""
        clamped = self.schedule.clamped
        return {
            name: g.assemble([p for p in pieces[name] if p.region is not clamped.get(name)], region)
            for name, region in self.schedule.active.items()
            if name in names
        }

    def opening(self) -> fx.GraphModule:
        """Pass 0 where sweeps follow: what they read."""
        g = Emitter()
        return g.module(self._state(g, self._begin(g, self.schedule.begun, ()), self.schedule.read), "Opening")

    def fresh(self, blocks: Sequence[Block], anew: Sequence[str]) -> fx.GraphModule:
        """Pass 0 with the variables `anew` drawn by `blocks`, not supplied; it gives whole free regions."""
        g = Emitter()
        state = self._pieces(self._state(g, self._begin(g, blocks, anew), self.schedule.active))
        known = self._known(g, state)
        rest = {
            r.name: self._update(g, r, known, self.first_deferred + n) for n, r in enumerate(self.schedule.deferred)
        }
        return g.module(self._joined(g, self.schedule.free, {}, state, rest), "Fresh")

    def _pieces(self, state: Mapping[str, Any]) -> dict[str, Piece]:
        return {name: Piece(value, self.schedule.active[name]) for name, value in state.items()}

    def _known(self, g: Emitter, state: Mapping[str, Piece]) -> dict[str, list[Piece]]:
        clamped = self._clamped(g)
        return {
            n: [*clamped.get(n, ()), *([state[n]] if n in state else [])] for n in dict.fromkeys((*clamped, *state))
        }

    def _swept(self, g: Emitter) -> dict[str, Piece]:
        """The active pieces after one sweep."""
        state = {
            name: Piece(g.input(f"state.{name}", fixed=False), region)
            for name, region in self.schedule.active.items()
            if name in self.schedule.read
        }
        site = self.first_sweep
        for block in self.schedule.blocks:
            for region in block:
                drawn = self._update(g, region, self._known(g, state), site)
                state[region.name] = _put(g, state.get(region.name), drawn)
                site += 1
        return state

    def sweep(self) -> fx.GraphModule:
        """One sweep."""
        g = Emitter()
        return g.module({name: piece.value for name, piece in self._swept(g).items()}, "Sweep")

    def last(self) -> fx.GraphModule:
        """The last sweep, with what is deferred."""
        g = Emitter()
        state = self._swept(g)
        return g.module(self._finish(g, state, {}, self.schedule.blocks[-1:], self.schedule.deferred), "Last")

    def alone(self) -> fx.GraphModule:
        """Pass 0 where no sweep follows: what a start supplies stays, whether it is read or not."""
        g = Emitter()
        pieces = self._begin(g, self.schedule.opening, ())
        state = {
            name: Piece(value, self.schedule.active[name])
            for name, value in self._state(g, pieces, self.schedule.active).items()
        }
        given = {r.name: self._supply(g, r) for r in self.schedule.deferred if r.name in self.schedule.supplied}
        drawn = tuple(r for r in self.schedule.deferred if r.name not in given)
        return g.module(self._finish(g, state, given, self.schedule.opening[-1:], drawn), "Alone")

    def _finish(
        self,
        g: Emitter,
        state: Mapping[str, Piece],
        given: Mapping[str, Piece],
        last: Sequence[Block],
        deferred: Block,
    ) -> dict[str, Any]:
        """What is wanted of the end of a chain whose active pieces are `state` and whose last block was `last`."""
        known = self._known(g, state)
        number = {r.name: n for n, r in enumerate(self.schedule.deferred, self.first_deferred)}
        drawn = {r.name: self._update(g, r, known, number[r.name]) for r in deferred}
        rest = {**given, **drawn}
        out: dict[str, Any] = {}
        if "state" in self.want:
            out["state"] = self._joined(g, self.schedule.free, {}, state, rest)
        if "value" in self.want:
            out["value"] = self._joined(g, self._all(), self._clamped(g), state, rest)
        if "mean" in self.want:
            if self.schedule.chain.update == "mean":
                out["mean"] = self._joined(g, self._all(), self._clamped(g), state, rest)
            else:
                smooth = dict(state)
                for region in (r for block in last for r in block):
                    smooth[region.name] = _put(g, smooth.get(region.name), self._mean(g, region, known))
                rest = {**given, **{r.name: self._mean(g, r, known) for r in deferred}}
                out["mean"] = self._joined(g, self._all(), self._clamped(g), smooth, rest)
        return out

    def _mean(self, g: Emitter, region: Region, known: Mapping[str, Sequence[Piece]]) -> Piece:
        eta = emit_field(g, self.graph, region, known)
        with g.at(region.variable.span):
            return Piece(family(region.variable).mean(eta), region)

    def _all(self) -> dict[str, Region]:
        return {v.name: Region.whole_of(v) for v in self.graph.variables}

    def _joined(
        self,
        g: Emitter,
        targets: Mapping[str, Region],
        clamped: Mapping[str, Sequence[Piece]],
        state: Mapping[str, Piece],
        rest: Mapping[str, Piece],
    ) -> dict[str, Any]:
        """The statistics of the targets, put together from what is clamped, active and deferred."""
        out = {}
        for n, target in targets.items():
            pieces = [*clamped.get(n, ()), *([state[n]] if n in state else []), *([rest[n]] if n in rest else [])]
            # a variable without sites, as a layer that a parameter leaves out, has no pieces
            out[n] = g.assemble(pieces, target) if pieces else g.input("blank", fixed=True)[:, :0]
        return out


def _put(g: Emitter, whole: Piece | None, part: Piece) -> Piece:
    """`whole` with `part` in its place; a new value, since graphs are pure."""
    if whole is None or part.region.sites.size == whole.region.sites.size:
        return part
    index = columns(part.region.within(whole.region), part.region.variable.family.width)
    return Piece(torch.index_copy(whole.value, 1, g.constant(index), part.value), whole.region)
