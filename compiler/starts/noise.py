"""`start noise`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gmc.compiler.start import DrawnStart
from gmc.dsl.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from gmc.compiler.family import Expr, Family


@VOCABULARY.register("noise")
class Noise(DrawnStart):
    """The uniform law over a finite support, N(0, 1) over the real numbers; the model plays no part."""

    def draw(self, family: Family, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """The family's noise."""
        return family.noise(like, key, site, sweep)
