"""What descends an objective: named parameters, their gradients, and a state that a file can hold."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import OptimizerWord

MaxNorm = Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None
"""The greatest norm of the incoming weights of a unit; None bounds none."""
Average = Annotated[float, Field(ge=0.0, lt=1.0)]
"""The share of a moving average of the parameters that a step keeps; at 0 there is none."""

AVERAGE, COUNT = "average", "averaged"
"""The slots of a parameter's average, and of how many values are in it."""


class Stepper:
    """An optimiser at work on some parameters.

    Its state is a tensor for each parameter and slot, such as the momentum buffer of `v.bias`, under `v.bias/momentum_buffer`. A slot
    appears with the first step that needs it, so a state that is loaded goes on exactly where the stored one stopped.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        params: Mapping[str, torch.Tensor],
        decayed: Collection[str],
        fan_in: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._optimizer = optimizer
        self._params = dict(params)
        self._decayed = frozenset(decayed)
        self._fan_in = dict(fan_in)
        self._state: dict[str, dict[str, torch.Tensor]] = {name: {} for name in params}
        self._averages: dict[str, dict[str, torch.Tensor]] = {name: {} for name in params}

    @property
    def names(self) -> Collection[str]:
        """The parameters that it steps."""
        return self._params.keys()

    def step(self, grads: Mapping[str, torch.Tensor], progress: float) -> None:
        """One descent step in place, the ramps at `progress` in [0, 1] of the stage.

        Parameters without a gradient stay as they are, with their state. Weight decay reaches the decayed names only. Then each unit whose incoming weights
        have a norm above `max_norm` has them scaled down to it.

        Raises:
            KeyError: a gradient of something else.
        """
        if stray := grads.keys() - self._params.keys():
            raise KeyError(f"gradients of {sorted(stray)}, which this optimiser does not hold")
        for decays in (True, False):
            names = [name for name in self._params if name in grads and (name in self._decayed) == decays]
            if names:
                params = [self._params[name] for name in names]
                state = [self._state[name] for name in names]
                with torch.no_grad():
                    self._optimizer.update(params, [grads[name] for name in names], state, decays, progress)
        most = self._optimizer.max_norm
        if most is not None:
            for name in (name for name in self._fan_in if name in grads):
                _bound(self._params[name], self._fan_in[name], most)

    def average(self) -> None:
        """Takes the parameters as they stand into their averages, if the optimiser keeps any.

        a_t = a_{t-1} + (1 - d) / (1 - d^t) (w_t - a_{t-1}): the moving average with share d, corrected for its beginning, so that the first is w_1 itself.
        """
        keep = self._optimizer.average
        if not keep:
            return
        for name, param in self._params.items():
            slots = self._averages[name]
            if not slots:
                slots[AVERAGE], slots[COUNT] = torch.zeros_like(param), torch.zeros((), dtype=torch.int64)
            slots[COUNT] += 1
            rate = (1.0 - keep) / -math.expm1(int(slots[COUNT]) * math.log(keep))
            slots[AVERAGE].lerp_(param, rate)

    @property
    def averages(self) -> dict[str, torch.Tensor]:
        """The averages of the parameters, those of which there is one yet; not copied."""
        return {name: slots[AVERAGE] for name, slots in self._averages.items() if slots}

    def state(self) -> dict[str, torch.Tensor]:
        """The state as flat tensors, `NAME/SLOT`; not copied."""
        both = (self._state, self._averages)
        return {f"{name}/{slot}": v for each in both for name, slots in each.items() for slot, v in slots.items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a state that `state` gave, in place of its own.

        Raises:
            KeyError: a name or slot that it does not have.
            ValueError: a tensor of another shape.
        """
        fresh: dict[str, dict[str, torch.Tensor]] = {name: {} for name in self._params}
        averages: dict[str, dict[str, torch.Tensor]] = {name: {} for name in self._params}
        kept = (AVERAGE, COUNT) if self._optimizer.average else ()
        for key, value in state.items():
            name, _, slot = key.rpartition("/")
            if name not in fresh or slot not in (*self._optimizer.slots, *kept):
                raise KeyError(f"{key} is no state of this optimiser")
            param = self._params[name]
            if value.dim() and value.shape != param.shape:
                raise ValueError(f"{key} has shape {tuple(value.shape)}, its parameter {tuple(param.shape)}")
            # counts are scalars that torch keeps on the CPU
            counts = slot in {"step", COUNT}
            into = averages if slot in kept else fresh
            into[name][slot] = value.clone() if counts else value.to(param.device, param.dtype, copy=True)
        self._state, self._averages = fresh, averages


class Optimizer(OptimizerWord):
    """A registered optimiser.

    Each declares `max_norm: MaxNorm = None` and `average: Average = 0.0` itself, last, and leaves them to its `Stepper`.
    """

    if TYPE_CHECKING:
        # an inherited field would come before an optimiser's own arguments
        max_norm: MaxNorm
        average: Average

    @property
    def bounds_units(self) -> bool:
        """Whether there is a greatest norm."""
        return self.max_norm is not None

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """What it may keep for a parameter, by name."""

    @abstractmethod
    def update(
        self,
        params: list[torch.Tensor],
        grads: list[torch.Tensor],
        state: list[dict[str, torch.Tensor]],
        decays: bool,
        progress: float,
    ) -> None:
        """One step of the parameters and their states in place; `decays` is whether weight decay holds for them."""

    def build(
        self,
        params: Mapping[str, torch.Tensor],
        decayed: Collection[str],
        fan_in: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Stepper:
        """Itself at work on `params`, with weight decay on those named in `decayed`.

        `fan_in`: the axes of a weight along which the incoming weights of a unit lie, by name; those that are not there have no bound.
        """
        return Stepper(self, params, decayed, fan_in or {})


def _bound(weight: torch.Tensor, axes: tuple[int, ...], most: float) -> None:
    """Scales a weight in place, so that the norm along `axes` is at most `most` for each unit."""
    norm = weight.square().sum(axes, keepdim=True).sqrt()
    weight.mul_((most / norm).clamp(max=1.0))
