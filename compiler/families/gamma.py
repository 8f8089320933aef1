"""Gamma sites: numbers above zero, statistic x, base measure (shape - 1) log x."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from gmc.compiler.family import GREATEST_FIELD, Expr, Family, flat
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias, Tail

if TYPE_CHECKING:
    from torch import Tensor

LEAST_MEAN = 1e-6
"""The least mean that a bias begins at."""


@VOCABULARY.register("gamma")
class Gamma(Family):
    """A number above zero; p(x) is proportional to x^(shape - 1) exp(eta x), so that the rate is -eta: the field must stay below zero.

    Training keeps it below -0.001, at all values of the neighbours. `shape`: above 0, fixed; 1 is the exponential law. Noise is Gamma(shape, 1). `bias`: `site`
    (one a site), `channel` (one for each index of the first axis), or a number below zero that stays fixed.
    """

    shape: float = Field(default=1.0, gt=0.0)
    bias: Bias = "site"

    @field_validator("bias")
    @classmethod
    def _below_zero(cls, bias: Bias) -> Bias:
        if bias == "none" or (not isinstance(bias, str) and bias >= 0):
            raise ValueError("must be `site`, `channel` or a number below 0, since the rate is minus the field")
        return bias

    @property
    def support(self) -> str:
        """The values in words."""
        return "a finite number above 0"

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and no greatest."""
        return (0.0, math.inf)

    @property
    def tail(self) -> Tail:
        """That of exp(-x)."""
        return "exponential"

    @property
    def modeless(self) -> str | None:
        """The density of a shape of at most 1 is greatest towards zero, which is no value."""
        if self.shape > 1.0:
            return None
        return f"the density of a gamma of shape {self.shape:g} has no maximum above 0"

    @property
    def rest(self) -> float:
        """-1: rate 1."""
        return -1.0

    def contains(self, value: float) -> bool:
        """Whether the value is finite and above 0."""
        return math.isfinite(value) and value > 0

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """By rejection."""
        from gmc.compiler import rejection

        return rejection.gamma(eta, key, site, sweep, self.shape)

    def mean(self, eta: Expr) -> Expr:
        """shape / rate."""
        return -self.shape / eta

    def mode(self, eta: Expr) -> Expr:
        """(shape - 1) / rate, for shapes above 1."""
        if self.modeless:
            raise TypeError(self.modeless)
        return (1.0 - self.shape) / eta

    def log_partition(self, eta: Expr) -> Expr:
        """log Gamma(shape) - shape log(-eta)."""
        return math.lgamma(self.shape) - torch.log(-eta) * self.shape

    def base_measure(self, state: Expr) -> Expr | None:
        """(shape - 1) log x."""
        return None if self.shape == 1.0 else torch.log(state) * (self.shape - 1.0)

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Gamma(shape, 1), which is the law at the field -1."""
        return self.draw(torch.full_like(like, -1.0), key, site, sweep)

    def encode(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return flat(values)

    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The values themselves."""
        return state.reshape(state.shape[0], *shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        """-shape / mean, with the mean kept above `LEAST_MEAN` and the field below `GREATEST_FIELD`."""
        return (-self.shape / mean.clamp(min=LEAST_MEAN)).clamp(max=GREATEST_FIELD)

    def unclaimed(self, values: Tensor) -> Tensor:
        """All but finite numbers above 0."""
        return ~(torch.isfinite(values) & (values > 0))
