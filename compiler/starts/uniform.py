"""`start ... from uniform(low, high)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from gmc.compiler.lazy import torch
from gmc.compiler.start import DrawnStart
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from gmc.compiler.family import Expr, Family
    from gmc.dsl.model import Variable


@VOCABULARY.register("uniform")
class UniformStart(DrawnStart):
    """A uniform number at each site, between `low` and `high` and neither; for variables that take all of these."""

    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> UniformStart:
        if not self.low < self.high:
            raise ValueError("`low` must be below `high`")
        return self

    def misfit(self, variable: Variable) -> str | None:
        """It must take every number between the two."""
        kind, inside = variable.family, (2.0**-24, 0.37, 1 - 2.0**-24)
        if kind.width == 1 and all(kind.contains(self.low + q * (self.high - self.low)) for q in inside):
            return None
        return f"a site takes {kind.support}, and this law gives any number between {self.low:g} and {self.high:g}"

    def draw(self, family: Family, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """low + (high - low) u."""
        from gmc.compiler import draws

        return draws.between(torch.full_like(like, self.low), key, site, sweep, self.high - self.low)
