"""`update sample`."""

from __future__ import annotations

from collections.abc import Callable

from gmc.compiler.family import Expr, Law
from gmc.compiler.update import Update
from gmc.dsl.vocabulary import VOCABULARY


@VOCABULARY.register("sample")
class Sample(Update):
    """Gibbs sampling: each site is drawn given its neighbours. The default."""

    title = "Gibbs sampling"

    def emit(self, law: Law, eta: Expr, old: Expr | None, draw: Callable[[], Expr]) -> Expr:
        """A draw."""
        return draw()
