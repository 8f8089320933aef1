"""Starts that lead a chain through higher temperatures, and when a chain can be tempered. What a temperature scales is in `gmc.compiler.score`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from gmc.dsl.model import Chain, Model
from gmc.dsl.vocabulary import KeptWord, Problem, StartWord


class TemperedStart(KeptWord):
    """A start that keeps the states of a chain and moves them by way of higher temperatures."""

    temperatures: Annotated[int, Field(ge=2)] = 10
    least: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @property
    def ladder(self) -> tuple[float, ...]:
        """The inverse temperatures, equally spaced from `least` to 1."""
        last = self.temperatures - 1
        return (*(self.least + (1.0 - self.least) * (n / last) for n in range(last)), 1.0)

    @property
    @abstractmethod
    def exchanges(self) -> bool:
        """Whether each chain has a replica at each temperature, rather than one state that is led through them."""

    def problems(self, chain: Chain, model: Model) -> Iterator[Problem]:
        """What a chain cannot be tempered with."""
        others = [s.source for s in chain.starts if isinstance(s.source, StartWord) and s.source.keeps]
        if len(others) > 1:
            yield Problem("a tempered chain keeps all its states by one start", help=f"write `start {self}` alone")
        if chain.update != "sample":
            what = f"a tempered chain draws samples, and `{chain.name}` is {chain.rule.title}"
            yield Problem(what, help=f"let {chain.name} `update sample`")
        gate = next((g for g in chain.gains if g.unless is not None), None)
        if gate is not None:
            related = ((gate.span, "this gate opens and closes"),)
            yield Problem("a chain with a gate has no law to be tempered", related=related)
        elif chain.update == "sample":
            yield from _lawless(chain, model)


def _lawless(chain: Chain, model: Model) -> Iterator[Problem]:
    """Gains and edges that leave no energy to be scaled."""
    if not chain.gains and not any(edge.targets for edge in model.edges):
        return
    from gmc.compiler.graph import build_graph
    from gmc.compiler.schedule import build_schedule
    from gmc.compiler.stationary import stationarity

    graph = build_graph(model)
    schedule = build_schedule(graph, chain)
    found = stationarity(graph, schedule)
    if not found.holds:
        related = () if found.span is None else ((found.span, found.text),)
        yield Problem(f"`{chain.name}` has no known energy that a temperature could scale", related=related)
    for term in graph.terms:
        drawn = [end.name for n, end in enumerate(term.ends) if n in term.targets and end.name in schedule.active]
        sources = [end.name for n, end in enumerate(term.ends) if n not in term.targets]
        if drawn and any(name in schedule.active for name in sources):
            related = ((term.edge.span, f"{drawn[0]} is drawn from it in every sweep"),)
            yield Problem("temperatures scale an energy, and a directed edge has none", related=related)


def tempering(chain: Chain) -> TemperedStart | None:
    """The start that tempers a chain, if one does."""
    return next((s.source for s in chain.starts if isinstance(s.source, TemperedStart)), None)
