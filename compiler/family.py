"""What a family of distributions means to the compiler: statistic, base measure, mean, sampler, log-partition.

States are statistics, flat: `[chains, sites * width]` floats, in site order, row-major. The formulas are plain torch code: called with tensors they
compute, called with torch.fx proxies they emit nodes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from gmc.dsl.vocabulary import FamilyWord

if TYPE_CHECKING:
    from torch import Tensor

    Expr = Tensor
    """A tensor, or a proxy for one in a graph under construction."""
else:
    Expr = Any


class Family(FamilyWord):
    """An exponential family `p(x) = exp(<eta, T(x)> + base(x) - A(eta))` for each site."""

    @abstractmethod
    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Statistics drawn at the fields `eta` [chains, sites * width], by the keys [chains, 2]."""

    @abstractmethod
    def mean(self, eta: Expr) -> Expr:
        """The mean statistic at the fields, in the shape of `eta`."""

    @abstractmethod
    def log_partition(self, eta: Expr) -> Expr:
        """A(eta) of each site, `[chains, sites]`, in nats."""

    def base_measure(self, statistic: Expr) -> Expr | None:
        """The base measure's logarithm summed over the sites, `[chains]`; None where it is zero."""
        return None

    @abstractmethod
    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """Statistics of the uniform law, or of N(0, 1) if continuous; `like` gives the shape, its values do not matter."""

    @abstractmethod
    def encode(self, values: Tensor) -> Tensor:
        """Statistics `[n, sites * width]`, float32 at least, of values `[n, *shape]` as a user writes them."""

    @abstractmethod
    def decode(self, statistic: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Values `[n, *shape]` as a user reads them, of statistics that are draws."""

    def decode_mean(self, statistic: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Mean values `[n, *shape]` (for a categorical probabilities `[n, *shape, k]`) of mean statistics."""
        return statistic.reshape(statistic.shape[0], *shape)

    @abstractmethod
    def bias_for(self, mean: Tensor) -> Tensor:
        """The field at which the mean statistic is `mean` (`[sites * width]`), kept away from the ends of the support."""

    def values(self) -> Tensor:
        """The statistic of each value a site can take, `[states, width]` in float64; finite families only."""
        raise TypeError(f"{self.word} has no finite list of values")

    def unclaimed(self, values: Tensor) -> Tensor:
        """Which of `values` are outside the support, as a bool tensor of their shape."""
        import torch

        return ~torch.isfinite(values)


def flat(values: Tensor) -> Tensor:
    """Values `[n, *shape]` as `[n, sites]` floats, of float32 at least."""
    import torch

    rows = values.reshape(values.shape[0], -1)
    return rows if rows.is_floating_point() else rows.to(torch.float32)
