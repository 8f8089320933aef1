"""Bernoulli sites: 0 or 1, statistic x."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gmc.compiler.family import Expr, Family, flat
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias

if TYPE_CHECKING:
    from torch import Tensor


@VOCABULARY.register("bernoulli")
class Bernoulli(Family):
    """Zero or one; P(1) = sigmoid(eta).

    `bias`: `site` (one a site), `channel` (one for each index of the first axis), `none`, or a number that stays fixed.
    """

    bias: Bias = "site"

    @property
    def states(self) -> int | None:
        """Two."""
        return 2

    @property
    def support(self) -> str:
        """The values in words."""
        return "0 or 1"

    @property
    def bounds(self) -> tuple[float, float]:
        """0 to 1."""
        return (0.0, 1.0)

    def contains(self, value: float) -> bool:
        """Whether the value is 0 or 1."""
        return value in (0, 1)

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """A one where a uniform number is below sigmoid(eta)."""
        from gmc.compiler import draws

        return draws.bernoulli(eta, key, site, sweep)

    def mean(self, eta: Expr) -> Expr:
        """sigmoid(eta)."""
        return torch.sigmoid(eta)

    def mode(self, eta: Expr) -> Expr:
        """One where the field is above zero."""
        return (eta > 0).to(eta.dtype)

    def log_partition(self, eta: Expr) -> Expr:
        """log(1 + exp(eta))."""
        # Not torch's softplus: beyond 20 it returns its argument, which is wrong by 2e-9 and shows in float64.
        return torch.logaddexp(eta, torch.zeros_like(eta))

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Fair coins."""
        return self.draw(torch.zeros_like(like), key, site, sweep)

    def encode(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return flat(values)

    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """uint8 zeros and ones."""
        return state.to(torch.uint8).reshape(state.shape[0], *shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        """The logit of the mean, which is kept within [0.001, 0.999]."""
        return torch.logit(mean.clamp(1e-3, 1 - 1e-3))

    def values(self) -> Tensor:
        """0, 1."""
        return torch.tensor([[0.0], [1.0]], dtype=torch.float64)

    def unclaimed(self, values: Tensor) -> Tensor:
        """All but 0 and 1."""
        return (values != 0) & (values != 1)
