"""What the condition of a gate means to the compiler: a number a chain, measured as a sweep starts."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from gmc.dsl.vocabulary import ConditionWord

if TYPE_CHECKING:
    from gmc.compiler.emitter import Emitter
    from gmc.compiler.family import Expr
    from gmc.compiler.fields import Known
    from gmc.compiler.graph import FactorGraph
    from gmc.compiler.region import Piece


class Condition(ConditionWord):
    """A number a chain, of the variable `of` and of the neighbours that it has at full gain."""

    @abstractmethod
    def emit(self, g: Emitter, graph: FactorGraph, held: Piece, known: Known, observed: Expr | None) -> Expr:
        """The number, `[chains]`, as a sweep starts.

        `held`: the sites of the variable that the chain clamps. `known`: the pieces of all variables. `observed`: which of the held sites a chain clamps,
        bool `[chains, held.size]`, where that differs from chain to chain.
        """
