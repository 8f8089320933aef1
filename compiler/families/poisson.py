"""Poisson sites: counts, statistic x, base measure -log x!."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gmc.compiler.family import Expr, Family, flat
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias, Tail

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_COUNT = 1 << 24
"""Up to here float32, in which states are held, counts exactly."""
LEAST_MEAN = 1e-3
"""The least mean that a bias begins at."""


@VOCABULARY.register("poisson")
class Poisson(Family):
    """A count of 0, 1, 2 and so on, at most 2^24; p(x) is proportional to exp(eta x) / x!, so that the rate is exp(eta).

    A rate above 2^23 is drawn as 2^23, since states are float32 numbers, which count exactly to 2^24 and no further. Noise is Poisson of rate 1. `bias`:
    `site` (one a site), `channel` (one for each index of the first axis), `none`, or a number that stays fixed.
    """

    bias: Bias = "site"

    @property
    def support(self) -> str:
        """The values in words."""
        return "a whole number from 0 to 2^24"

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and no greatest: the end of float32 is none of the law's."""
        return (0.0, math.inf)

    @property
    def tail(self) -> Tail:
        """That of 1 / x!."""
        return "factorial"

    def contains(self, value: float) -> bool:
        """Whether the value is a whole number from 0 to 2^24."""
        return 0 <= value <= LARGEST_COUNT and value == int(value)

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """By inversion at small rates, by rejection at large ones."""
        from gmc.compiler import rejection

        return rejection.poisson(eta, key, site, sweep)

    def mean(self, eta: Expr) -> Expr:
        """exp(eta)."""
        return torch.exp(eta)

    def mode(self, eta: Expr) -> Expr:
        """The rate rounded down: where it is whole, the greater of two modes."""
        return torch.floor(torch.exp(eta))

    def log_partition(self, eta: Expr) -> Expr:
        """exp(eta)."""
        return torch.exp(eta)

    def base_measure(self, state: Expr) -> Expr | None:
        """-log x!."""
        return -torch.lgamma(state + 1.0)

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Poisson of rate 1, which is the law at the field 0."""
        return self.draw(torch.zeros_like(like), key, site, sweep)

    def encode(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return flat(values)

    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """int64 counts."""
        return state.to(torch.int64).reshape(state.shape[0], *shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        """The log of the mean, which is kept above `LEAST_MEAN`."""
        return mean.clamp(min=LEAST_MEAN).log()

    def unclaimed(self, values: Tensor) -> Tensor:
        """All but whole numbers from 0 to 2^24."""
        wide = values.to(torch.float64)  # a small type of whole numbers cannot be compared with 2^24
        return ~((wide == wide.round()) & (wide >= 0) & (wide <= LARGEST_COUNT))
