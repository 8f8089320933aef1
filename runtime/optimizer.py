"""What descends an objective: named parameters, their gradients, and a state that a file can hold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import OptimizerWord


class Stepper:
    """An optimiser at work on some parameters.

    Its state is a tensor for each parameter and slot, such as the momentum buffer of `v.bias`, under `v.bias/momentum_buffer`. A slot
    appears with the first step that needs it, so a state that is loaded goes on exactly where the stored one stopped.
    """

    def __init__(self, optimizer: Optimizer, params: Mapping[str, torch.Tensor], decayed: Collection[str]) -> None:
        self._optimizer = optimizer
        self._params = dict(params)
        self._decayed = frozenset(decayed)
        self._state: dict[str, dict[str, torch.Tensor]] = {name: {} for name in params}

    def step(self, grads: Mapping[str, torch.Tensor], progress: float) -> None:
        """One descent step in place, the ramps at `progress` in [0, 1] of the stage.

        Parameters without a gradient stay as they are, with their state. Weight decay reaches the decayed names only.

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

    def state(self) -> dict[str, torch.Tensor]:
        """The state as flat tensors, `NAME/SLOT`; not copied."""
        return {f"{name}/{slot}": value for name, slots in self._state.items() for slot, value in slots.items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a state that `state` gave, in place of its own.

        Raises:
            KeyError: a name or slot that it does not have.
            ValueError: a tensor of another shape.
        """
        fresh: dict[str, dict[str, torch.Tensor]] = {name: {} for name in self._params}
        for key, value in state.items():
            name, _, slot = key.rpartition("/")
            if name not in fresh or slot not in self._optimizer.slots:
                raise KeyError(f"{key} is no state of this optimiser")
            param = self._params[name]
            if value.dim() and value.shape != param.shape:
                raise ValueError(f"{key} has shape {tuple(value.shape)}, its parameter {tuple(param.shape)}")
            # counts are scalars that torch keeps on the CPU
            fresh[name][slot] = value.clone() if slot == "step" else value.to(param.device, param.dtype, copy=True)
        self._state = fresh


class Optimizer(OptimizerWord):
    """A registered optimiser."""

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

    def build(self, params: Mapping[str, torch.Tensor], decayed: Collection[str]) -> Stepper:
        """Itself at work on `params`, with weight decay on those named in `decayed`."""
        return Stepper(self, params, decayed)
