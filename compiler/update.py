"""What an update means to the compiler: what becomes of sites, given their law."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from gmc.compiler.family import Expr, Law
from gmc.dsl.vocabulary import UpdateWord


class Update(UpdateWord):
    """A registered update of a block's sites."""

    @abstractmethod
    def emit(self, law: Law, eta: Expr, old: Expr | None, draw: Callable[[], Expr]) -> Expr:
        """The new states at the fields `eta` `[chains, sites * width]`; `old` are the sites' states so far (None: they have none), `draw` gives a draw of the law."""
