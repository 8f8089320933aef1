"""`update mean`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field

from gmc.compiler.family import Expr, Law
from gmc.compiler.update import Update
from gmc.dsl.vocabulary import VOCABULARY


@VOCABULARY.register("mean")
class Mean(Update):
    """Mean field: each site takes its mean given the means of its neighbours.

    With `damping` d a sweep leaves a site at (1 - d) times that and d times its mean so far, which helps means that swing from sweep to sweep. With `tolerance` a chain stops after a
    sweep in which no site changes by as much, and `sweeps` is the most that it takes; each chain stops by itself, so that where it ends does not hang on the others.
    """

    title = "mean field"
    holds_means: ClassVar[bool] = True
    damping: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    tolerance: Annotated[float, Field(ge=0.0)] = 0.0

    @property
    def inert(self) -> bool:
        """Where it is damped."""
        return self.damping > 0.0

    @property
    def stops(self) -> float:
        """The tolerance."""
        return self.tolerance

    def emit(self, law: Law, eta: Expr, old: Expr | None, draw: Callable[[], Expr]) -> Expr:
        """The mean, and some of the old one; pass 0, which has none, is not damped."""
        mean = law.mean(eta)
        return mean if old is None or not self.inert else mean * (1.0 - self.damping) + old * self.damping
