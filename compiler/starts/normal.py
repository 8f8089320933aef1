"""`start ... from normal(mean, std)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from gmc.compiler.lazy import torch
from gmc.compiler.start import DrawnStart
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from gmc.compiler.family import Expr, Family
    from gmc.dsl.model import Variable


@VOCABULARY.register("normal")
class NormalStart(DrawnStart):
    """A normal number at each site, of that mean and standard deviation; for variables that take any number."""

    mean: float = 0.0
    std: float = Field(default=1.0, gt=0.0)

    def misfit(self, variable: Variable) -> str | None:
        """It must take every number."""
        kind = variable.family
        if kind.width == 1 and all(kind.contains(self.mean + q * self.std) for q in (-1e3, -0.37, 1e3)):
            return None
        return f"a site takes {kind.support}, and a normal law gives any number"

    def draw(self, family: Family, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """N(mean, std^2)."""
        from gmc.compiler import draws

        return draws.normal(torch.full_like(like, self.mean), key, site, sweep, self.std**-2.0)
