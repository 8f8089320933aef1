"""Normal sites: real numbers; statistic beta x, base measure -beta x^2 / 2, with the precision beta fixed or learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gmc.compiler.family import Expr, Family, Law, flat
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias, Tail

if TYPE_CHECKING:
    from torch import Tensor

LOG_PRECISION = "log_precision"
"""The last part of the name of a learned precision, which is kept as its logarithm so that no step makes it negative."""
LEAST_VARIANCE = 1e-3
"""The variance from which a learned precision begins at least: a site that hardly varies over the rows would begin all but certain."""


@dataclass(frozen=True)
class Gaussian(Law):
    """N(eta, 1 / beta) at each site; `beta` is a number or one a site, `[sites]`. The state is x."""

    beta: Any

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Normal numbers of mean eta."""
        from gmc.compiler import draws

        return draws.normal(eta, key, site, sweep, self.beta)

    def mean(self, eta: Expr) -> Expr:
        """eta."""
        return eta

    def mode(self, eta: Expr) -> Expr:
        """eta."""
        return eta

    def log_partition(self, eta: Expr) -> Expr:
        """beta eta^2 / 2 + log(2 pi / beta) / 2."""
        log_beta = math.log(self.beta) if isinstance(self.beta, float) else self.beta.log()
        return eta * eta * (0.5 * self.beta) + (0.5 * math.log(2 * math.pi) - 0.5 * log_beta)

    def base_measure(self, state: Expr) -> Expr | None:
        """-beta x^2 / 2."""
        return state * state * (-0.5 * self.beta)

    def sent(self, state: Expr) -> Expr:
        """beta x."""
        return state if isinstance(self.beta, float) and self.beta == 1.0 else state * self.beta

    def slopes(self, eta: Expr, mean: Expr, value: Expr, spread: Expr | None) -> dict[str, Expr]:
        """By log beta: beta x (eta - x / 2), with x^2 from the draws, or the square of the mean plus 1 / beta where that is all there is."""
        found = (mean * eta - value * value * 0.5) * self.beta
        return {LOG_PRECISION: found if spread is None else found - spread * 0.5}


@VOCABULARY.register("normal")
class Normal(Family):
    """A real number; given its neighbours N(eta, 1 / precision), with the mean eta = b + W h (Deep Learning, eq. 20.42).

    `precision`: above 0, fixed, or `learned` (one a site, kept as `VAR.log_precision`). `bias`: `site` (one a site), `channel` (one for each index of
    the first axis), `none`, or a number that stays fixed.
    """

    precision: Annotated[float, Field(gt=0.0)] | Literal["learned"] = 1.0
    bias: Bias = "site"

    def unheaded(self, recognition: bool) -> str | None:
        """The log precision, on `~>` edges and where it is learned."""
        if recognition:
            return "a `~>` edge into a normal variable, whose head gives the log precision too,"
        return (
            "a `->` edge into a learned precision, which its head gives too," if self.precision == "learned" else None
        )

    @property
    def support(self) -> str:
        """The values in words."""
        return "a finite number"

    @property
    def bounds(self) -> tuple[float, float]:
        """None."""
        return (-math.inf, math.inf)

    def contains(self, value: float) -> bool:
        """Whether the value is finite."""
        return math.isfinite(value)

    def own(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The logarithm of a learned precision."""
        return {LOG_PRECISION: shape} if self.precision == "learned" else {}

    @property
    def tail(self) -> Tail:
        """That of exp(-beta x^2 / 2)."""
        return "quadratic"

    def initial(self, shape: tuple[int, ...], variance: Tensor | None) -> dict[str, Tensor]:
        """The precision of the data, but no variance below `LEAST_VARIANCE`; 1 without data."""
        if variance is None:
            return {suffix: torch.zeros(size, dtype=torch.float64) for suffix, size in self.own(shape).items()}
        first = -variance.clamp(min=LEAST_VARIANCE).log()
        return {suffix: first.reshape(size).clone() for suffix, size in self.own(shape).items()}

    def at(self, theta: Mapping[str, Expr]) -> Law:
        """N(eta, 1 / precision)."""
        return Gaussian(theta[LOG_PRECISION].exp() if isinstance(self.precision, str) else self.precision)

    def _fixed(self) -> Gaussian:
        """The law where it needs no parameters."""
        if isinstance(self.precision, str):
            raise TypeError("a normal with a learned precision has no law without it")
        return Gaussian(self.precision)

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Normal numbers of mean eta; only with a fixed precision."""
        return self._fixed().draw(eta, key, site, sweep)

    def mean(self, eta: Expr) -> Expr:
        """eta."""
        return eta

    def mode(self, eta: Expr) -> Expr:
        """eta."""
        return eta

    def log_partition(self, eta: Expr) -> Expr:
        """See `Gaussian`; only with a fixed precision."""
        return self._fixed().log_partition(eta)

    def base_measure(self, state: Expr) -> Expr | None:
        """See `Gaussian`; only with a fixed precision."""
        return self._fixed().base_measure(state)

    def sent(self, state: Expr) -> Expr:
        """See `Gaussian`; only with a fixed precision."""
        return self._fixed().sent(state)

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """N(0, 1), whatever the precision."""
        from gmc.compiler import draws

        return draws.normal(torch.zeros_like(like), key, site, sweep, 1.0)

    def encode(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return flat(values)

    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The values themselves."""
        return state.reshape(state.shape[0], *shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        """The mean."""
        return mean
