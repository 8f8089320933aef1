"""`update mode`."""

from __future__ import annotations

from collections.abc import Callable

from gmc.compiler.family import Expr, Law
from gmc.compiler.update import Update
from gmc.dsl.vocabulary import VOCABULARY


@VOCABULARY.register("mode")
class Mode(Update):
    """Iterated conditional modes: each site takes its most probable value given its neighbours."""

    title = "iterated conditional modes"

    def emit(self, law: Law, eta: Expr, old: Expr | None, draw: Callable[[], Expr]) -> Expr:
        """The mode."""
        return law.mode(eta)
