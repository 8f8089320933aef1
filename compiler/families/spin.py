"""Spin sites: -1 or +1, statistic x."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gmc.compiler.family import Expr, Family, flat
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias

if TYPE_CHECKING:
    from torch import Tensor


@VOCABULARY.register("spin")
class Spin(Family):
    """Minus or plus one, as in the Ising model; P(+1) = sigmoid(2 eta).

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
        return "-1 or +1"

    @property
    def bounds(self) -> tuple[float, float]:
        """-1 to +1."""
        return (-1.0, 1.0)

    def contains(self, value: float) -> bool:
        """Whether the value is -1 or +1."""
        return value in (-1, 1)

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """+1 where a uniform number is below sigmoid(2 eta), else -1."""
        from gmc.compiler import draws

        return draws.spin(eta, key, site, sweep)

    def mean(self, eta: Expr) -> Expr:
        """tanh(eta)."""
        return torch.tanh(eta)

    def mode(self, eta: Expr) -> Expr:
        """The field's sign, -1 where it is zero."""
        return (eta > 0).to(eta.dtype) * 2.0 - 1.0

    def log_partition(self, eta: Expr) -> Expr:
        """log(2 cosh(eta))."""
        return torch.logaddexp(eta, -eta)

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Fair signs."""
        return self.draw(torch.zeros_like(like), key, site, sweep)

    def encode(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return flat(values)

    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """int8 signs."""
        return state.to(torch.int8).reshape(state.shape[0], *shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        """The inverse hyperbolic tangent of the mean, which is kept within [-0.998, 0.998]."""
        return torch.atanh(mean.clamp(-0.998, 0.998))

    def values(self) -> Tensor:
        """-1, +1."""
        return torch.tensor([[-1.0], [1.0]], dtype=torch.float64)

    def unclaimed(self, values: Tensor) -> Tensor:
        """All but -1 and +1."""
        return values.abs() != 1
