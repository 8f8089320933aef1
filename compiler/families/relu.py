"""Rectified sites: numbers from zero on, statistic x, base measure -x^2 / 2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gmc.compiler.family import Expr, Family, flat
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias, Tail

if TYPE_CHECKING:
    from torch import Tensor

LEAST_MEAN = 1e-3
"""The least mean that a bias begins at: it belongs to the field -1000."""


@VOCABULARY.register("relu")
class Relu(Family):
    """A number from zero on: N(eta, 1) cut off below zero, p(x) proportional to exp(eta x - x^2 / 2). Its mode is max(0, eta), whence the name.

    Its mean is eta + phi(eta) / Phi(eta), a smooth rectifier; noise is |N(0, 1)|. `bias`: `site` (one a site), `channel` (one for each index of the first
    axis), `none`, or a number that stays fixed.
    """

    bias: Bias = "site"

    @property
    def support(self) -> str:
        """The values in words."""
        return "a finite number of at least 0"

    @property
    def bounds(self) -> tuple[float, float]:
        """0 and no greatest."""
        return (0.0, math.inf)

    @property
    def tail(self) -> Tail:
        """That of exp(-x^2 / 2)."""
        return "quadratic"

    def contains(self, value: float) -> bool:
        """Whether the value is finite and not below 0."""
        return math.isfinite(value) and value >= 0

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """By inversion."""
        from gmc.compiler import truncated

        return truncated.relu(eta, key, site, sweep)

    def mean(self, eta: Expr) -> Expr:
        """eta + phi(eta) / Phi(eta)."""
        from gmc.compiler import truncated

        return truncated.mean(eta)

    def mode(self, eta: Expr) -> Expr:
        """max(0, eta)."""
        return torch.relu(eta)

    def log_partition(self, eta: Expr) -> Expr:
        """eta^2 / 2 + log(Phi(eta)) + log(2 pi) / 2."""
        from gmc.compiler import truncated

        return truncated.log_partition(eta)

    def base_measure(self, state: Expr) -> Expr | None:
        """-x^2 / 2."""
        return state * state * -0.5

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """|N(0, 1)|, which is the law at the field 0."""
        return self.draw(torch.zeros_like(like), key, site, sweep)

    def encode(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return flat(values)

    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The values themselves."""
        return state.reshape(state.shape[0], *shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        """The field with that mean, which is kept above `LEAST_MEAN`."""
        from gmc.compiler import truncated

        return truncated.field_of(mean.clamp(min=LEAST_MEAN))

    def unclaimed(self, values: Tensor) -> Tensor:
        """All but finite numbers of at least 0."""
        return ~(torch.isfinite(values) & (values >= 0))
