"""What an objective means to the compiler: a descent, which gives the loss of a step's rows and its gradient.

An objective says of what it is made once the file is compiled (`build`); what comes out runs once a step of training and asks the step for all that it needs:
chains that are run, sums over states, keys for draws, and a memory that checkpoints hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gmc.dsl.vocabulary import ObjectiveWord

if TYPE_CHECKING:
    import torch
    from torch import Tensor, fx

    from gmc.compiler.driver import Compiled
    from gmc.compiler.emission import Want
    from gmc.compiler.outcome import Outcome, States, Sum


@dataclass(frozen=True, slots=True)
class Slope:
    """The loss of a step's rows, a scalar in nats a row, float64, and its gradient by parameter; parameters that it does not reach are left out.

    `means`: of a descent that asks for centred steps, the mean statistics of its positive phase, `[size]` by variable, as far as they are known.
    """

    loss: Tensor
    gradient: Mapping[str, Tensor]
    means: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Step(Protocol):
    """What a step of training offers to what it descends."""

    @property
    def params(self) -> Mapping[str, Tensor]:
        """The parameters by name."""
        ...

    @property
    def rows(self) -> States:
        """Whole statistics of the step's rows, `[count, size]` by observed variable; NaN where a value is missing."""
        ...

    @property
    def count(self) -> int:
        """How many rows there are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """That of the chains."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    @property
    def progress(self) -> float:
        """Where the stage stands, in [0, 1]."""
        ...

    @property
    def phase(self) -> int:
        """Which of the descent's phases it is, from 0 on."""
        ...

    @property
    def memory(self) -> MutableMapping[str, Tensor]:
        """What the descent keeps from step to step, by names of its own; checkpoints hold it."""
        ...

    def run(self, chain: str) -> Outcome:
        """How a chain ends on the rows; it is run once a step, whoever asks."""
        ...

    def unrolled(self, chain: str, params: Mapping[str, Tensor], rows: States) -> Outcome:
        """A chain's run on other rows, with gradients by `params` through its mean-field updates."""
        ...

    def conditioned(self, chain: str) -> dict[str, Tensor]:
        """Whole statistics of what a chain clamps in each row, NaN where it clamps nothing."""
        ...

    def log_partition(self, given: States, chain: str | None = None) -> Sum:
        """log Z, under a chain of the file that errors name, of each row given whole statistics `[count, size]`, of which NaN is summed out, with the gradient of its mean over the rows."""
        ...

    def keys(self, purpose: str) -> tuple[Tensor, int]:
        """Keys for draws, int32 `[count, 2]`, a row of data each, of a stream of that name, and a sweep number that no other step has."""
        ...

    def inside(
        self,
        name: str,
        compiled: Compiled,
        params: Mapping[str, Tensor],
        rows: States,
        wants: Mapping[str, Collection[Want]],
    ) -> Step:
        """A step on the same rows of another model, whose chains keep their states under that name; `wants` is what is read of each."""
        ...


class Descent(ABC):
    """A term of an objective, compiled."""

    @property
    def phases(self) -> int:
        """How many times over a stage that descends it runs its epochs, each time for another part of the model."""
        return 1

    @property
    def centring(self) -> float | None:
        """The rate at which the offsets of centred steps follow `Slope.means`; None where steps are plain. See `gmc.compiler.centring`."""
        return None

    @property
    @abstractmethod
    def wants(self) -> Mapping[str, Collection[Want]]:
        """What it reads of each chain that it has run."""

    @property
    @abstractmethod
    def graphs(self) -> Mapping[str, fx.GraphModule]:
        """Its graphs, by what they compute."""

    @abstractmethod
    def slope(self, step: Step) -> Slope:
        """Loss and gradient on a step's rows."""

    def tie(self, phase: int, params: Mapping[str, Tensor], names: Collection[str]) -> None:
        """After a step of the optimiser: brings those of the parameters `names` that follow from others into line, in place."""
        return


class Objective(ObjectiveWord):
    """A registered objective."""

    @abstractmethod
    def build(self, compiled: Compiled) -> Descent:
        """The term over a compiled file."""
