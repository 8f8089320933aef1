"""`surprise(v)`: how unlikely a variable's clamped sites are given their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gmc.compiler.condition import Condition
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from gmc.compiler.emitter import Emitter
    from gmc.compiler.family import Expr
    from gmc.compiler.fields import Known
    from gmc.compiler.graph import FactorGraph
    from gmc.compiler.region import Piece


@VOCABULARY.register("surprise")
class Surprise(Condition):
    """The mean of -log p(site | its neighbours) over the clamped sites of a variable, in nats a site, at full gain; 0 where none is clamped."""

    def emit(self, g: Emitter, graph: FactorGraph, held: Piece, known: Known, observed: Expr | None) -> Expr:
        """The negative log conditionals, averaged over those of the held sites that are observed."""
        from gmc.compiler.fields import emit_field, emit_law, emit_sent

        width = held.region.variable.family.width
        eta = emit_field(g, graph, held.region, known)
        law = emit_law(g, held.region)
        statistic = emit_sent(g, held).value
        minus = law.log_partition(eta) - (eta * statistic).unflatten(1, (-1, width)).sum(2)
        base = law.base_measure(held.value)
        minus = minus if base is None else minus - base
        if observed is None:
            return minus.mean(1)
        there = observed.unflatten(1, (-1, width)).select(2, 0)
        count = there.sum(1)
        return torch.where(there, minus, torch.zeros_like(minus)).sum(1) / count.clamp(min=1)
