"""What a start means to the compiler, where it is drawn in the graph."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from gmc.dsl.vocabulary import StartWord

if TYPE_CHECKING:
    from gmc.compiler.family import Expr, Family


class DrawnStart(StartWord):
    """A start that is drawn, without looking at the model or at data."""

    drawn: ClassVar[bool] = True

    @abstractmethod
    def draw(self, family: Family, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """States of a variable of that family; `like` gives the shape `[chains, size]` and the dtype, its values do not matter."""
