"""What `~>` edges draw given rows, as torch.fx graphs: draws from q, and log q of states.

q is the product of the conditionals of the `~>` edges, each source drawn before its targets (the wake phase of Hinton, Dayan, Frey and Neal, Science 268, 1995).

Inputs: the parameters by name; `clamped.VAR`; `blank`, zeros `[rows, 1]`; `key` and `sweep` for draws; `state.VAR`, whole statistics of what q draws, for log q.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import fx

from gmc.compiler.emitter import Emitter
from gmc.compiler.fields import emit_field, emit_law, emit_sent
from gmc.compiler.gains import Potency
from gmc.compiler.graph import FactorGraph
from gmc.compiler.passes import DEFAULT, Pass, run_passes
from gmc.compiler.precedence import sources_first
from gmc.compiler.region import Piece, Region
from gmc.compiler.split import Split, split
from gmc.dsl.kernels import find_kernels


@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """q given what is clamped.

    `drawn`: the regions that it draws, sources first. `draw` gives states by variable, `log_q` their log-density, base measures included, float64 `[rows]`. `refusal` says which free
    variable nothing could draw, if there is one.
    """

    drawn: tuple[Region, ...]
    draw: Split
    log_q: Split
    refusal: str | None


def build_recognition(
    graph: FactorGraph, clamped: Mapping[str, Region], passes: Sequence[Pass] = DEFAULT
) -> Recognition:
    """The recognition law of a graph given what is clamped."""
    free = {v.name for v in graph.variables if v.sites and not (v.name in clamped and clamped[v.name].whole)}
    kernels = find_kernels(graph.model, clamped, free)
    emit = _Recognition(graph, clamped, Potency((), {name: edge.name for name, edge in kernels.by.items()}))

    def finish(module: fx.GraphModule) -> Split:
        return split(module, run_passes(module, passes))

    refusal = None
    if kernels.missing:
        missing = kernels.missing[0]
        why = "more than one `~>` edge could draw it" if missing.choices else missing.reasons[0][1].replace("`", "")
        refusal = f"nothing draws {missing.variable} given the data: {why}"
    return Recognition(emit.drawn, finish(emit.draw()), finish(emit.log_q()), refusal)


@dataclass(frozen=True, slots=True)
class _Recognition:
    """Emits the graphs."""

    graph: FactorGraph
    clamped: Mapping[str, Region]
    potency: Potency

    @property
    def drawn(self) -> tuple[Region, ...]:
        """What is drawn, sources first; a variable that is clamped in part is drawn in the rest."""
        order = [v.name for v in self.graph.variables if v.name in self.potency.kernels]
        found = []
        for name in sources_first(self.graph, order, self.potency):
            whole = Region.whole_of(self.graph.model.variable(name))
            found.append(whole.without(self.clamped[name]) if name in self.clamped else whole)
        return tuple(found)

    def _clamped(self, g: Emitter) -> dict[str, list[Piece]]:
        return {name: [Piece(g.input(f"clamped.{name}", fixed=True), region)] for name, region in self.clamped.items()}

    def _field(self, g: Emitter, region: Region, known: Mapping[str, Sequence[Piece]]) -> Any:
        return emit_field(g, self.graph, region, known, self.potency.first, self.potency.kernels[region.name])

    def draw(self) -> fx.GraphModule:
        """States drawn one variable after the other."""
        g = Emitter()
        known, out = self._clamped(g), {}
        for site, region in enumerate(self.drawn):
            eta, law = self._field(g, region, known), emit_law(g, region)
            with g.at(region.variable.span):
                value = law.draw(eta, g.input("key", fixed=False), site, g.input("sweep", fixed=False))
            out[region.name] = value
            known.setdefault(region.name, []).append(Piece(value, region))
        return g.module(out, "Recognition")

    def log_q(self) -> fx.GraphModule:
        """Each variable's part, at states that are given."""
        g = Emitter()
        known, parts = self._clamped(g), []
        for region in self.drawn:
            eta, law = self._field(g, region, known), emit_law(g, region)
            piece = Piece(g.input(f"state.{region.name}", fixed=False), region)
            sent = emit_sent(g, piece).value
            with g.at(region.variable.span):
                parts.append((eta * sent).sum(1) - law.log_partition(eta).sum(1))
                base = law.base_measure(piece.value)
                parts += [] if base is None else [base.sum(1)]
            known.setdefault(region.name, []).append(piece)
        total = reduce(add, parts) if parts else g.input("blank", fixed=True)[:, 0]
        return g.module(total.to(torch.float64), "LogQ")
