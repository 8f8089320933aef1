"""What a family of distributions means to the compiler: statistic, base measure, mean, sampler, log-partition.

States are flat: `[chains, sites * width]` floats, in site order, row-major. A state is the statistic T, up to a factor that the model may learn: `sent` gives T of a state.
The formulas are plain torch code: called with tensors they compute, called with torch.fx proxies they emit nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gmc.dsl.vocabulary import FamilyWord

if TYPE_CHECKING:
    from torch import Tensor

    Expr = Tensor
    """A tensor, or a proxy for one in a graph under construction."""
else:
    Expr = Any


GREATEST_FIELD = -1e-3
"""The greatest field that training leaves a site whose field must stay below zero, whatever its neighbours are: for a gamma a mean of 1000 times the shape."""


class Law(ABC):
    """The law of sites given their fields: an exponential family `p(x) = exp(<eta, T(x)> + base(x) - A(eta))` for each."""

    @abstractmethod
    def draw(self, eta: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """States drawn at the fields `eta` [chains, sites * width], by the keys [chains, 2]."""

    @abstractmethod
    def mean(self, eta: Expr) -> Expr:
        """The mean state at the fields, in the shape of `eta`."""

    @abstractmethod
    def mode(self, eta: Expr) -> Expr:
        """The most probable state at the fields, in the shape of `eta`."""

    @abstractmethod
    def log_partition(self, eta: Expr) -> Expr:
        """A(eta) of each site, `[chains, sites]`, in nats."""

    def base_measure(self, state: Expr) -> Expr | None:
        """The base measure's logarithm at each site, `[chains, sites]`; None where it is zero."""
        return None

    def sent(self, state: Expr) -> Expr:
        """The statistics T of states, which go along edges and meet biases; linear in the state."""
        return state

    def slopes(self, eta: Expr, mean: Expr, value: Expr, spread: Expr | None) -> dict[str, Expr]:
        """The derivatives of minus the energy by the family's own parameters at each site, `[chains, sites]` each, by the last part of their names.

        `eta`: the fields, and `mean`: the states, with means where they are known; `value`: the states as drawn. `spread` is one at the numbers of a
        mean-field chain that stand at the mean of their law, where the law's variance belongs to the expectation; None where there are none.
        """
        return {}


class Family(FamilyWord, Law):
    """A family as a .gm file names it. One without parameters of its own is its own law."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number in a statistic; infinite where there is none."""

    def own(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters, besides the bias, that a variable of that shape has, one number a site, by the last part of their names."""
        return {}

    def initial(self, shape: tuple[int, ...], variance: Tensor | None) -> dict[str, Tensor]:
        """First values of the family's own parameters, float64.

        `variance`: that of the states over the rows of data, float64 `[sites * width]`; None without data.
        """
        return {}

    @property
    def rest(self) -> float:
        """The first value of biases without data: a field at which there is a law."""
        return 0.0

    def at(self, theta: Mapping[str, Expr]) -> Law:
        """The law, given the family's own parameters at some sites, `[sites]` each."""
        return self

    @abstractmethod
    def noise(self, like: Expr, key: Expr, site: int, sweep: Any) -> Expr:
        """States of the uniform law, or of N(0, 1) if continuous; `like` gives the shape, its values do not matter."""

    @abstractmethod
    def encode(self, values: Tensor) -> Tensor:
        """States `[n, sites * width]`, float32 at least, of values `[n, *shape]` as a user writes them."""

    @abstractmethod
    def decode(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Values `[n, *shape]` as a user reads them, of states that are draws."""

    def decode_mean(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Mean values `[n, *shape]` (for a categorical probabilities `[n, *shape, k]`) of mean states."""
        return state.reshape(state.shape[0], *shape)

    @abstractmethod
    def bias_for(self, mean: Tensor) -> Tensor:
        """The field at which the mean state is `mean` (`[sites * width]`), kept away from the ends of the support."""

    def values(self) -> Tensor:
        """The state of each value a site can take, `[states, width]` in float64; finite families only."""
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
