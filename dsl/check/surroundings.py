"""What the items of a chain stand on: the file's graph and data, and what the chain's clamps leave free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmc.dsl import model, syntax
from gmc.dsl.check import parts
from gmc.dsl.check.context import Context
from gmc.dsl.source import Span


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all chains stand on: the graph, whether all of it is right, and the variables with training rows.

    `columns` is None where the data are wrong.
    """

    graph: model.Model
    whole: bool
    columns: frozenset[str] | None

    def variable(self, context: Context, name: syntax.Name) -> model.Variable | None:
        """The variable of that name; None with a diagnostic, or without one where its declaration is wrong."""
        if not context.scope.is_a(name, "variable"):
            return None
        return next((v for v in self.graph.variables if v.name == name.text), None)


@dataclass(frozen=True, slots=True)
class Held:
    """What the clamps of a chain leave: the variables of which a site or more is drawn, or may be; `sure` where no clamp is wrong."""

    chain: str
    clamps: tuple[model.Clamp, ...]
    free: frozenset[str]
    sure: bool

    @property
    def clamped(self) -> tuple[str, ...]:
        """The variables of which a site or more is clamped, or may be."""
        return tuple(dict.fromkeys(clamp.variable for clamp in self.clamps))

    @property
    def gaps(self) -> dict[str, Span]:
        """The variables of which sites are clamped only where they are observed, and where the chain says so."""
        return {clamp.variable: clamp.span for clamp in reversed(self.clamps) if clamp.observed}


def free_variables(clamps: Sequence[model.Clamp], graph: model.Model) -> frozenset[str]:
    """The variables of which a site or more is drawn, or may be in a row that lacks it."""
    sure = [clamp for clamp in clamps if not clamp.observed]
    return frozenset(
        v.name for v in graph.variables if not parts.covered(v, [clamp for clamp in sure if clamp.variable == v.name])
    )
