"""What a factor means to the compiler: parameters, energy, fields, gradients, and which sites it ties together.

A factor adds `f(T_a, T_b, ...)` to minus the energy, multilinear in the statistics of its ends. Like families, factors are plain torch code
that computes on tensors and emits nodes on proxies; index tables are constants of the graph, made by the emitter `g`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gmc.dsl.model import Variable
from gmc.dsl.vocabulary import FactorWord

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.emitter import Emitter
    from gmc.compiler.family import Expr
    from gmc.compiler.region import Index, Piece, Region

    Theta = Mapping[str, Expr]
    Normal = Callable[[tuple[int, ...]], Tensor]
    """Standard normal numbers of a shape, float64."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Every site of one end meets every site of the other (in a lateral edge: every other site)."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Site `first[n]` of one end meets site `second[n]` of the other."""

    first: Index
    second: Index


Structure = Complete | Pairs


class Factor(FactorWord):
    """A term of the energy. `ends` are its variables; a lateral one has its variable twice."""

    @abstractmethod
    def parameters(self, ends: Sequence[Variable]) -> dict[str, tuple[int, ...]]:
        """The shapes of its parameters by the last part of their names: `weight` is `EDGE.weight`."""

    @abstractmethod
    def initial(self, ends: Sequence[Variable], normal: Normal) -> dict[str, Tensor]:
        """First values of the parameters."""

    def structure(self, ends: Sequence[Variable]) -> Structure:
        """Which sites of any two ends meet."""
        return Complete()

    @abstractmethod
    def energy(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> Expr:
        """`f` of whole statistics, `[chains]`: a term of minus the energy."""

    @abstractmethod
    def field(
        self, g: Emitter, theta: Theta, ends: Sequence[Variable], pieces: Mapping[int, Piece], target: Region, slot: int
    ) -> Expr:
        """df/dT of the target sites of end `slot`, `[chains, target.size]`, from one piece of each other end.

        A piece holds part of its end; since f is multilinear, the fields from the parts add up.
        """

    def shared(self, ends: Sequence[Variable], slopes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The derivatives by the numbers that entries share, in every place that holds one, from the derivatives by each entry alone."""
        return dict(slopes)

    def flaw(self, ends: Sequence[Variable], values: Mapping[str, Tensor]) -> str | None:
        """What is wrong with values of the parameters, of the right shapes, as parameters of this factor; None if nothing is."""
        return None

    def degree(self, ends: Sequence[Variable]) -> int:
        """How couplings grow with the parameters: with all of these times s, f is f times s**degree."""
        return 1

    def couplings(self, ends: Sequence[Variable], theta: Mapping[str, Tensor]) -> Tensor | None:
        """All couplings, an axis an end; None where they are no array at hand, and are found from fields."""
        return None

    @abstractmethod
    def gradient(self, g: Emitter, theta: Theta, ends: Sequence[Variable], values: Sequence[Expr]) -> dict[str, Expr]:
        """The mean over the chains of df/dtheta for whole statistics, in the parameters' shapes: the sufficient statistics.

        Linear in each of `values`, also where the ends are one variable: two different ones of a lateral edge are those of its bilinear form.
        """


def is_lateral(ends: Sequence[Variable]) -> bool:
    """Whether the ends are one variable."""
    return len({v.name for v in ends}) == 1
