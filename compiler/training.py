"""Objectives as graphs: the loss of a comparison of chains and its gradient, by sufficient statistics.

The energy is linear in the parameters (or, for factored weights, differentiated by hand in the factor), so no gradient passes through draws and none
needs autograd: it is the difference of the mean statistics of the two sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import fx

from gmc.compiler.emitter import Emitter
from gmc.compiler.energy import emit_base, emit_gradient, emit_terms
from gmc.compiler.graph import FactorGraph, family
from gmc.compiler.objective import Objective
from gmc.compiler.passes import DEFAULT, run_passes
from gmc.compiler.schedule import Schedule
from gmc.dsl.model import chain_of
from gmc.dsl.vocabulary import ExpectationWord

Side = Literal["positive", "negative"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingGraph:
    """One term of an objective.

    `sides` are those whose chains are run. The graph takes the parameters and, for each of them, `SIDE.mean.VAR` and `SIDE.value.VAR` [chains, size], and, of
    mean-field sides, `SIDE.spread.VAR`; it gives `loss`, their mean energies' difference, and `gradient`, a dictionary by parameter. Exact sides add their share to both.
    """

    objective: Objective
    sides: tuple[Side, ...]
    exact: tuple[Side, ...]
    raw: fx.GraphModule
    module: fx.GraphModule

    def chain(self, side: Side) -> str:
        """The chain of a side."""
        return chain_of(self.objective.positive if side == "positive" else self.objective.negative)


def build_training(graph: FactorGraph, objective: Objective, schedules: Mapping[str, Schedule]) -> TrainingGraph:
    """The training graph of one objective term, over chains with these schedules."""
    uses: dict[Side, str | ExpectationWord] = {"positive": objective.positive, "negative": objective.negative}
    sides: tuple[Side, ...] = tuple(side for side, use in uses.items() if isinstance(use, str))
    exact: tuple[Side, ...] = tuple(side for side, use in uses.items() if not isinstance(use, str))
    g = Emitter()
    loss: Any = 0.0
    total: dict[str, Any] = {}
    for side in sides:
        spread = {
            v.name: g.input(f"{side}.spread.{v.name}", fixed=False)
            for v in graph.variables
            if schedules[chain_of(uses[side])].chain.update == "mean" and family(v).own(v.shape)
        }
        means = {v.name: g.input(f"{side}.mean.{v.name}", fixed=False) for v in graph.variables}
        values = {v.name: g.input(f"{side}.value.{v.name}", fixed=False) for v in graph.variables}
        minus_energy = emit_terms(g, graph, means).mean()
        for base in emit_base(g, graph, values, {}):
            minus_energy = minus_energy + base.mean()
        statistics = emit_gradient(g, graph, means, values, spread)
        if side == "positive":
            loss = loss - minus_energy
            total = {name: -value for name, value in statistics.items()}
        else:
            loss = loss + minus_energy
            total = {name: total[name] + value if name in total else value for name, value in statistics.items()}
    raw = g.module({"loss": loss, "gradient": total}, "Training")
    return TrainingGraph(objective, sides, exact, raw, run_passes(raw, DEFAULT))
