"""Categorical sites: one of k states, an integer outside, one-hot inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from gmc.compiler.family import Expr, Family
from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import VOCABULARY, Bias

if TYPE_CHECKING:
    from torch import Tensor


@VOCABULARY.register("categorical")
class Categorical(Family):
    """One of `k` states, 0 to k - 1; P(j) = softmax(eta)_j.

    `bias`: `site` (one a site and state), `channel` (for each index of the first axis), `none`, or a number that stays fixed.
    """

    k: int = Field(ge=2)
    bias: Bias = "site"

    @property
    def width(self) -> int:
        """k numbers a site."""
        return self.k

    @property
    def states(self) -> int | None:
        """k."""
        return self.k

    @property
    def support(self) -> str:
        """The values in words."""
        return f"a whole number from 0 to {self.k - 1}"

    @property
    def bounds(self) -> tuple[float, float]:
        """Each of the k numbers is 0 or 1."""
        return (0.0, 1.0)

    def contains(self, value: float) -> bool:
        """Whether the value is the number of a state."""
        return value == int(value) and 0 <= value < self.k

    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """One-hot draws by inversion."""
        from gmc.compiler import draws

        return draws.categorical(eta, key, site, sweep, self.k)

    def mean(self, eta: Expr) -> Expr:
        """softmax(eta)."""
        return torch.softmax(eta.unflatten(1, (-1, self.k)), dim=2).flatten(1)

    def mode(self, eta: Expr) -> Expr:
        """The state of the largest field, the first of several."""
        best = eta.unflatten(1, (-1, self.k)).argmax(dim=2)
        return torch.nn.functional.one_hot(best, self.k).to(eta.dtype).flatten(1)

    def log_partition(self, eta: Expr) -> Expr:
        """The log of the sum of exp(eta)."""
        return torch.logsumexp(eta.unflatten(1, (-1, self.k)), dim=2)

    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """All states alike."""
        return self.draw(torch.zeros_like(like), key, site, sweep)

    def encode(self, values: Tensor) -> Tensor:
        """One-hot rows."""
        dtype = values.dtype if values.is_floating_point() else torch.float32
        return torch.nn.functional.one_hot(values.reshape(values.shape[0], -1).long(), self.k).to(dtype).flatten(1)

    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """int64 state numbers."""
        return state.unflatten(1, (-1, self.k)).argmax(dim=2).reshape(state.shape[0], *shape)

    def decode_mean(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Probabilities `[n, *shape, k]`."""
        return state.reshape(state.shape[0], *shape, self.k)

    def bias_for(self, mean: Tensor) -> Tensor:
        """The log of the frequencies, kept above 0.001, centred on each site since a constant changes nothing."""
        logs = mean.clamp(1e-3, 1.0).log().unflatten(0, (-1, self.k))
        return (logs - logs.mean(dim=1, keepdim=True)).flatten()

    def values(self) -> Tensor:
        """The rows of the identity."""
        return torch.eye(self.k, dtype=torch.float64)

    def unclaimed(self, values: Tensor) -> Tensor:
        """All but the numbers of states."""
        return (values != values.round()) | (values < 0) | (values >= self.k)
