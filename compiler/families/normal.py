"""Normal sites: real numbers of a fixed precision beta; statistic beta x, base measure -beta x^2 / 2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from gmc.compiler.family import Expr, Family, flat
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias

if TYPE_CHECKING:
    from torch import Tensor


@VOCABULARY.register("normal")
class Normal(Family):
    """A real number; given its neighbours N(eta, 1 / precision), with the mean eta = b + W h (Deep Learning, eq. 20.42).

    `precision`: above 0, fixed. `bias`: `site` (one a site), `channel` (one for each index of the first axis), `none`, or a number that stays fixed.
    """

    precision: float = Field(default=1.0, gt=0.0)
    bias: Bias = "site"

    @property
    def width(self) -> int:
        """One number a site."""
        return 1

    @property
    def states(self) -> int | None:
        """Not finite."""
        return None

    @property
    def support(self) -> str:
        """The values in words."""
        return "a finite number"

    def contains(self, value: float) -> bool:
        """Whether the value is finite."""
        return math.isfinite(value)

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Normal numbers of mean eta."""
        from gmc.compiler import draws

        return draws.normal(eta, key, site, sweep, self.precision)

    def mean(self, eta: Expr) -> Expr:
        """beta eta."""
        return eta * self.precision

    def log_partition(self, eta: Expr) -> Expr:
        """beta eta^2 / 2 + log(2 pi / beta) / 2."""
        return eta * eta * (0.5 * self.precision) + 0.5 * math.log(2 * math.pi / self.precision)

    def base_measure(self, statistic: Expr) -> Expr | None:
        """-beta x^2 / 2, which is -T^2 / (2 beta)."""
        return (statistic * statistic).sum(1) * (-0.5 / self.precision)

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """N(0, 1), whatever the precision."""
        from gmc.compiler import draws

        return draws.normal(torch.zeros_like(like), key, site, sweep, 1.0) * self.precision

    def encode(self, values: Tensor) -> Tensor:
        """beta x."""
        return flat(values) * self.precision

    def decode(self, statistic: Tensor, shape: tuple[int, ...]) -> Tensor:
        """x = T / beta."""
        return (statistic / self.precision).reshape(statistic.shape[0], *shape)

    def decode_mean(self, statistic: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The mean of x."""
        return self.decode(statistic, shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        """The mean of x."""
        return mean / self.precision
