"""From a checked model to everything that is executed, a stage a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from torch import fx

from gmc.compiler.emission import Want
from gmc.compiler.energy import energy, gradient
from gmc.compiler.graph import FactorGraph, build_graph
from gmc.compiler.marginal import Marginal, build_marginal
from gmc.compiler.objective import Descent, Objective
from gmc.compiler.passes import DEFAULT, Pass
from gmc.compiler.program import ALL, Program, build_program
from gmc.compiler.region import Region
from gmc.compiler.schedule import Schedule, build_schedule
from gmc.dsl.model import Chain, Checked


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A compiled file: the factor graph, and each chain's schedule. Programs are emitted when they are first asked for."""

    checked: Checked
    graph: FactorGraph
    schedules: dict[str, Schedule]
    energy: fx.GraphModule
    gradient: fx.GraphModule
    passes: tuple[Pass, ...]
    _programs: dict[tuple[str, tuple[Want, ...]], Program] = field(default_factory=dict)

    def program(self, chain: str, want: Sequence[Want] = ALL) -> Program:
        """A chain's graphs, with the outputs that are wanted."""
        outputs: tuple[Want, ...] = tuple(w for w in get_args(Want) if w in want)
        key = (chain, outputs)
        if key not in self._programs:
            self._programs[key] = build_program(self.graph, self.schedules[chain], key[1], self.passes)
        return self._programs[key]

    def with_chain(self, chain: Chain) -> Compiled:
        """The same model with a chain in place of the one of its name."""
        chains = tuple(chain if each.name == chain.name else each for each in self.checked.chains)
        schedule = replace(build_schedule(self.graph, chain), strength=self.schedules[chain.name].strength)
        schedules = {**self.schedules, chain.name: schedule}
        programs = {key: program for key, program in self._programs.items() if key[0] != chain.name}
        return replace(self, checked=replace(self.checked, chains=chains), schedules=schedules, _programs=programs)

    def marginal(self, clamped: dict[str, Region]) -> Marginal:
        """How the model is summed over all that is not clamped."""
        return build_marginal(self.graph, clamped)

    def descents(self, objective: str) -> tuple[Descent, ...]:
        """The terms of an objective, compiled."""
        terms = self.checked.objective(objective).terms
        this: Any = self  # a type checker that looks at the folder, not at the link in the package, takes `Compiled` for two classes
        return tuple(t.objective.build(this) for t in terms if isinstance(t.objective, Objective))


def compile_checked(checked: Checked, passes: Sequence[Pass] = DEFAULT) -> Compiled:
    """All stages but the text's."""
    graph = build_graph(checked.model)
    schedules = {chain.name: build_schedule(graph, chain) for chain in checked.chains}
    return Compiled(checked, graph, schedules, energy(graph), gradient(graph), tuple(passes))
