"""The variational lower bound of log Z given what is clamped, and its coordinate ascent, as torch.fx graphs.

The free sites are taken as independent, each with its family's law at a field eta, q(x) = prod exp(<eta, T> + base - A(eta)). Every term of the energy is multilinear, so that

    log Z(clamped) >= sum <b, T> + sum f(T) + base measures of clamped sites + sum over free sites of A(eta) - <eta, E T>,

with the free statistics at their means under q: -E(v, mu) + H(mu) for discrete sites (Deep Learning, eq. 19.7), and the same with base measures for any family. A
block of sites that do not meet is best at its field given the means of the others, so that a pass over the blocks never lowers the bound, and cannot oscillate; nor does one
that goes only part of the way, in eta.

Inputs: the parameters by name; `clamped.VAR`; `blank`, zeros `[rows, 1]`; `eta.VAR`, fields of the free region, `[rows, size]`; `damping`, the share of the old
eta that stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import fx

from gmc.compiler.colouring import colour
from gmc.compiler.drawing import put
from gmc.compiler.emitter import Emitter
from gmc.compiler.energy import emit_base, emit_terms
from gmc.compiler.fields import emit_field, emit_law
from gmc.compiler.graph import FactorGraph
from gmc.compiler.marginal import without_free_descendants
from gmc.compiler.passes import DEFAULT, Pass, run_passes
from gmc.compiler.region import Piece, Region
from gmc.compiler.split import Split, split


@dataclass(frozen=True, slots=True, eq=False)
class Variational:
    """The graphs of a bound.

    `first` gives fields `eta` from what is clamped alone; `climb` one pass over the blocks, and `change`, the most that any mean changed, `[rows]`; `bound` the bound,
    float64 `[rows]`; `draw` states drawn from q (`state`, by the key and the sweep) and their log q, base measures included.
    """

    clamped: Mapping[str, Region]
    free: Mapping[str, Region]
    first: Split
    climb: Split
    bound: Split
    draw: Split

    def graphs(self) -> dict[str, Split]:
        """All graphs by name."""
        return {name: getattr(self, name) for name in ("first", "climb", "bound", "draw")}


def build_variational(
    graph: FactorGraph, clamped: Mapping[str, Region], drawn: Mapping[str, Region], passes: Sequence[Pass] = DEFAULT
) -> Variational:
    """The bound given what is clamped; `drawn` are the free regions that `draw` draws. Free descendants along directed edges integrate to one and are left out."""
    graph = without_free_descendants(graph, clamped)
    free = {v.name: Region.whole_of(v) for v in graph.variables}
    free = {name: r.without(clamped[name]) if name in clamped else r for name, r in free.items()}
    free = {name: r for name, r in free.items() if r.sites.size}
    emit = _Ascent(graph, clamped, free)

    def finish(module: fx.GraphModule) -> Split:
        return split(module, run_passes(module, passes))

    return Variational(
        clamped, free, finish(emit.first()), finish(emit.climb()), finish(emit.bound()), finish(emit.draw(drawn))
    )


@dataclass(frozen=True, slots=True)
class _Ascent:
    """Emits the graphs."""

    graph: FactorGraph
    clamped: Mapping[str, Region]
    free: Mapping[str, Region]

    def _clamped(self, g: Emitter) -> dict[str, Piece]:
        return {name: Piece(g.input(f"clamped.{name}", fixed=True), region) for name, region in self.clamped.items()}

    def _eta(self, g: Emitter) -> dict[str, Piece]:
        return {name: Piece(g.input(f"eta.{name}", fixed=False), region) for name, region in self.free.items()}

    def _mean(self, g: Emitter, eta: Piece) -> Piece:
        law = emit_law(g, eta.region)
        with g.at(eta.region.variable.span):
            return Piece(law.mean(eta.value), eta.region)

    def _field(self, g: Emitter, region: Region, means: Mapping[str, Piece]) -> Any:
        known: dict[str, list[Piece]] = {}
        for each in (self._clamped(g), means):
            for name, piece in each.items():
                known.setdefault(name, []).append(piece)
        return emit_field(g, self.graph, region, known)

    def first(self) -> fx.GraphModule:
        """The fields of all free sites from their biases and what is clamped."""
        g = Emitter()
        return g.module({name: self._field(g, region, {}) for name, region in self.free.items()}, "First")

    def climb(self) -> fx.GraphModule:
        """One pass over the blocks."""
        g = Emitter()
        eta, damping = self._eta(g), g.input("damping", fixed=True)
        means = {name: self._mean(g, piece) for name, piece in eta.items()}
        before = dict(means)
        for region in (r for block in colour(self.graph, self.free) for r in block):
            aim = self._field(g, region, means)
            with g.at(region.variable.span):
                new = Piece(torch.lerp(aim, g.assemble([eta[region.name]], region), damping), region)
            eta[region.name] = put(g, eta[region.name], new)
            means[region.name] = put(g, means[region.name], self._mean(g, new))
        changes = [(means[name].value - before[name].value).abs().amax(1) for name in means]
        change = reduce(torch.maximum, changes) if changes else g.input("blank", fixed=True)[:, 0]
        return g.module({"eta": {n: piece.value for n, piece in eta.items()}, "change": change}, "Climb")

    def bound(self) -> fx.GraphModule:
        """The bound at the fields."""
        g = Emitter()
        eta = self._eta(g)
        means = {name: self._mean(g, piece) for name, piece in eta.items()}
        values = _whole(g, self.graph, self._clamped(g), means)
        parts = [emit_terms(g, self.graph, values).to(torch.float64)]
        parts += [each.to(torch.float64) for each in emit_base(g, self.graph, values, self.free)]
        for name, piece in eta.items():
            law = emit_law(g, piece.region)
            with g.at(piece.region.variable.span):
                entropy = law.log_partition(piece.value).sum(1) - (piece.value * law.sent(means[name].value)).sum(1)
            parts.append(entropy.to(torch.float64))
        return g.module(reduce(add, parts), "Bound")

    def draw(self, drawn: Mapping[str, Region]) -> fx.GraphModule:
        """States of some regions from q, and their log q."""
        g = Emitter()
        key, sweep = g.input("key", fixed=False), g.input("sweep", fixed=False)
        states, parts = {}, [g.input("blank", fixed=True)[:, 0].to(torch.float64)]
        for number, (name, region) in enumerate(drawn.items()):
            eta = g.assemble([self._eta(g)[name]], region)
            law = emit_law(g, region)
            with g.at(region.variable.span):
                states[name] = state = law.draw(eta, key, number, sweep)
                base = law.base_measure(state)
                each = (eta * law.sent(state)).sum(1) - law.log_partition(eta).sum(1)
                parts.append((each if base is None else each + base.sum(1)).to(torch.float64))
        return g.module({"state": states, "log_q": reduce(add, parts)}, "Draw")


def _whole(g: Emitter, graph: FactorGraph, *known: Mapping[str, Piece]) -> dict[str, Any]:
    """Whole variables from pieces that cover them."""
    found = {}
    for variable in graph.variables:
        pieces = [each[variable.name] for each in known if variable.name in each]
        if pieces:
            found[variable.name] = g.assemble(pieces, Region.whole_of(variable))
    return found
