"""How parameters are stepped: by each line's optimiser, in centred coordinates where its objective asks for them, kept to where there is a law, and averaged."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.proper import build_proper
from gmc.dsl.model import Minimize, Stage
from gmc.runtime.centring import CentredSteps
from gmc.runtime.examples import Examples
from gmc.runtime.optimizer import Optimizer, Stepper


class Stepping:
    """Steps a model's parameters in place, with a state that checkpoints hold."""

    def __init__(self, compiled: Compiled, train: Examples, params: dict[str, Tensor]) -> None:
        self.compiled, self.params = compiled, params
        self.steppers: dict[str, Stepper] = {}
        self.centred = CentredSteps(compiled.graph, train, params)
        self.proper = build_proper(compiled.graph)

    def step(self, stage: Stage, number: int, gradient: Mapping[str, Tensor], progress: float) -> None:
        """One step of a stage's line down a gradient, of the parameters that it takes, kept to where there is a law.

        The optimiser bounds norms while biases are centred, so that they make up for that too.
        """
        line = stage.minimize[number]
        stepper = self._stepper(stage, number)
        taken = {name: g for name, g in gradient.items() if name in stepper.names}
        with self.centred.around(line.objective, taken) as slopes:
            stepper.step(slopes, progress)
        if self.proper is not None:
            self.proper.project(self.params)

    def average(self, stage: Stage, number: int) -> None:
        """Takes what came of a line's step into its averages."""
        self._stepper(stage, number).average()

    def names(self, stage: Stage, number: int) -> Collection[str]:
        """The parameters that a line takes."""
        return self._stepper(stage, number).names

    @property
    def shown(self) -> dict[str, Tensor]:
        """The parameters, or their averages where an optimiser keeps any: what is watched and written, and what a stage ends with. Not to be changed."""
        averages = {n: a for stepper in self.steppers.values() for n, a in stepper.averages.items()}
        if not averages:
            return self.params
        shown = self.params | averages
        if self.proper is not None:
            # what has a law need not be convex, as with factored weights
            shown = {name: value.clone() for name, value in shown.items()}
            self.proper.project(shown)
        return shown

    def adopt(self, params: Mapping[str, Tensor]) -> None:
        """Goes on from these parameters, with optimisers that start anew."""
        for name, value in params.items():
            if value is not self.params[name]:
                self.params[name].copy_(value)
        self.steppers = {}

    def state(self) -> dict[str, Tensor]:
        """The optimisers' states and the offsets by name; not copied."""
        tensors = {
            f"optimizer/{n}:{key}": v for n, stepper in self.steppers.items() for key, v in stepper.state().items()
        }
        for objective, offsets in self.centred.offsets.items():
            tensors |= {f"offset/{objective}:{variable}": value for variable, value in offsets.items()}
        return tensors

    def restore(self, stage: Stage | None, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` gave in a stage; None where all have run.

        Raises:
            KeyError: it is of another one.
            ValueError: a tensor has another shape.
        """
        states: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            owner, _, slot = name.rpartition(":")
            if kind == "optimizer":
                states.setdefault(owner, {})[slot] = value
            else:
                like = next(iter(self.params.values()))
                self.centred.offsets.setdefault(owner, {})[slot] = value.to(like.device, like.dtype)
        if stage is not None:
            for number in range(len(stage.minimize)):
                self._stepper(stage, number).load(states.pop(_name(stage, number), {}))
        if states:
            raise KeyError(f"{sorted(states)} is no state of an optimiser of this stage")

    def _stepper(self, stage: Stage, number: int) -> Stepper:
        """What descends a line."""
        name, line = _name(stage, number), stage.minimize[number]
        if name not in self.steppers:
            names = taken(self.compiled, stage, line)
            assert isinstance(line.optimizer, Optimizer)
            decayed = {p.name for p in self.compiled.graph.parameters if p.role == "weight"}
            params = {n: self.params[n] for n in sorted(names)}
            self.steppers[name] = line.optimizer.build(params, decayed & names, self._fan_in(names))
        return self.steppers[name]

    def _fan_in(self, names: set[str]) -> dict[str, tuple[int, ...]]:
        """The axes of the incoming weights of a unit, of the parameters that have them."""
        owners = [term for term in self.compiled.graph.terms if term.owner == term.name]
        found = {t.parameter(suffix): axes for t in owners for suffix, axes in t.factor.fan_in(t.ends).items()}
        return {name: axes for name, axes in found.items() if name in names}


def taken(compiled: Compiled, stage: Stage, line: Minimize) -> set[str]:
    """The parameters that a line descends: those of what it names, else all that no other line names."""
    owners = {p.name: p.owner for p in compiled.graph.parameters}
    if line.of:
        return {name for name, owner in owners.items() if owner in line.of}
    others = {name for other in stage.minimize if other is not line for name in other.of}
    return {name for name, owner in owners.items() if owner not in others}


def _name(stage: Stage, number: int) -> str:
    return f"{stage.name}/{number}"
