"""`start ... from bernoulli(p)`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gmc.compiler.lazy import torch
from gmc.compiler.start import DrawnStart
from gmc.dsl.vocabulary import VOCABULARY, Probability

if TYPE_CHECKING:
    from gmc.compiler.family import Expr, Family
    from gmc.dsl.model import Variable


@VOCABULARY.register("bernoulli")
class BernoulliStart(DrawnStart):
    """One with the chance `p` at each site, else zero; for variables that take both."""

    p: Probability = 0.5

    def misfit(self, variable: Variable) -> str | None:
        """It must take 0 and 1, as they stand."""
        kind = variable.family
        if kind.width == 1 and kind.contains(0.0) and kind.contains(1.0):
            return None
        if kind.width > 1:
            return "a site has states, and a bernoulli law gives 0 and 1"
        return f"a site takes {kind.support}, and a bernoulli law gives 0 and 1"

    def draw(self, family: Family, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """A one where a uniform number is below p."""
        from gmc.compiler import draws

        field = math.log(self.p / (1.0 - self.p)) if 0.0 < self.p < 1.0 else math.copysign(math.inf, self.p - 0.5)
        return draws.bernoulli(torch.full_like(like, field), key, site, sweep)
