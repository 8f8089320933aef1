"""Greedy pretraining: the layers of a stack as models of their own, and the descent that trains one after the other.

Each layer is compiled as an RBM over the model's own weights, so that its gradients are the model's. A variable's bias in the whole model is the sum of its biases in the
layers that its field has parts from, at every instant: as a phase begins, what the layers before it gave is set aside in the step's memory, and what the phase adds is the bias of its RBM.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from gmc.compiler.comparison import Comparison, build_comparison
from gmc.compiler.divergence import NEGATIVE, POSITIVE, Divergence, word
from gmc.compiler.driver import Compiled, compile_checked
from gmc.compiler.factors.tied import Tied
from gmc.compiler.graph import FactorGraph, head_bias
from gmc.compiler.objective import Descent, Slope, Step
from gmc.compiler.outcome import States
from gmc.compiler.stack import Layer, Stack
from gmc.compiler.stacking import sent
from gmc.dsl.model import Chain, Clamp, Edge, Model, Variable
from gmc.dsl.vocabulary import Ramp, UpdateWord

if TYPE_CHECKING:
    from gmc.compiler.emission import Want

UP = "up"
"""The chain that draws the upper variables of a layer from the lower ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """The RBM of a layer, compiled, with the comparison that trains it.

    `biases` are the names in the model of the biases of its variables, by variable. `untrained` are parameters that it only reads.
    """

    layer: Layer
    compiled: Compiled
    comparison: Comparison
    biases: Mapping[str, str]
    untrained: frozenset[str]

    @property
    def wants(self) -> dict[str, Collection[Want]]:
        """What is read of its chains."""
        drawn: tuple[Want, ...] = ("value",)
        return {**self.comparison.wants, UP: drawn}

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the RBM's parameters."""
        return tuple(p.name for p in self.compiled.graph.parameters)

    def only(self, rows: States) -> States:
        """The rows of its lower variables."""
        return {name: rows[name] for name in self.layer.lower}


@dataclass(frozen=True, slots=True, eq=False)
class Pretraining(Descent):
    """A phase for each layer, from the data up."""

    stack: Stack
    each: tuple[Phase, ...]
    copies: tuple[tuple[Copy, ...], ...]

    @property
    def phases(self) -> int:
        """As many as there are layers."""
        return len(self.each)

    @property
    def wants(self) -> Mapping[str, Collection[Want]]:
        """Nothing of the file's chains."""
        return {}

    @property
    def graphs(self) -> dict[str, fx.GraphModule]:
        """The comparison of each phase."""
        return {f"phase{n}": phase.comparison.module for n, phase in enumerate(self.each, 1)}

    def slope(self, step: Step) -> Slope:
        """That of the phase's RBM on what the layers below make of the rows; nothing where all phases are over."""
        if step.phase >= self.phases:
            return Slope(torch.zeros((), dtype=torch.float64, device=step.device), {})
        self._set_aside(step)
        rows = dict(step.rows)
        for number in range(step.phase):
            ended = self._inside(step, number, rows).run(UP)
            rows |= {name: ended.value[name] for name in self.each[number].layer.upper}
        phase = self.each[step.phase]
        found = phase.comparison.slope(self._inside(step, step.phase, rows))
        names = {f"{variable}.bias": bias for variable, bias in phase.biases.items()}
        kept = {name: value for name, value in found.gradient.items() if name not in phase.untrained}
        return Slope(found.loss, {names.get(name, name): value for name, value in kept.items()})

    def tie(self, phase: int, params: Mapping[str, Tensor], names: Collection[str]) -> None:
        """Recognition weights follow the weights of the phase that they are the transpose of."""
        for copy in self.copies[phase] if phase < self.phases else ():
            if copy.into in names:
                copy.make(params)

    def _inside(self, step: Step, number: int, rows: States) -> Step:
        """A step of a layer's RBM."""
        phase = self.each[number]
        biases = {f"{variable}.bias": self._bias(step, number, variable) for variable in phase.biases}
        params = {name: biases[name] if name in biases else step.params[name] for name in phase.parameters}
        return step.inside(f"phase{number + 1}", phase.compiled, params, phase.only(rows), phase.wants)

    def _set_aside(self, step: Step) -> None:
        """As a phase begins: the biases that the layers below gave to variables which it has a part in."""
        if step.phase == 0:
            # what an earlier stage has left
            step.memory.clear()
        for variable in self.each[step.phase].biases:
            key = _key(step.phase, variable)
            if self._earlier(step.phase, variable) and key not in step.memory:
                step.memory[key] = step.params[self.each[step.phase].biases[variable]].clone()

    def _earlier(self, number: int, variable: str) -> bool:
        """Whether a layer below has a part in the bias of a variable."""
        kernels = self.each[number].layer.kernels
        return variable not in kernels and min(self.stack.parts(variable)) < number

    def _bias(self, step: Step, number: int, variable: str) -> Tensor:
        """The bias of a variable in the RBM of a layer: what it has now, or had when the next layer began, less what it had when this one did."""
        found = step.params[self.each[number].biases[variable]]
        if variable in self.each[number].layer.kernels:
            return found
        later = [n for n in self.stack.parts(variable) if number < n <= step.phase]
        if later:
            found = step.memory[_key(later[0], variable)]
        return found - step.memory[_key(number, variable)] if self._earlier(number, variable) else found


@dataclass(frozen=True, slots=True)
class Copy:
    """The weights of a recognition edge from the transposed ones of a directed edge.

    What the undirected RBM hears of a lower variable is its statistic, what a head sees is its value, so `sent`, the one over the other, is part of the weights.
    """

    of: str
    into: str
    sent: float

    def make(self, params: Mapping[str, Tensor]) -> None:
        """Copies, in place."""
        params[self.into].copy_(params[self.of].T * self.sent)


def _key(number: int, variable: str) -> str:
    return f"phase{number + 1}.{variable}.bias"


def build_pretraining(compiled: Compiled, each: Divergence) -> Pretraining:
    """The phases of a model that is a stack."""
    stack = Stack(compiled.checked.model)
    phases = tuple(_phase(compiled, layer, stack, n, each) for n, layer in enumerate(stack.layers))
    copies = tuple(tuple(_copies(compiled.graph, stack, layer)) for layer in stack.layers)
    return Pretraining(stack, phases, copies)


def _phase(compiled: Compiled, layer: Layer, stack: Stack, number: int, each: Divergence) -> Phase:
    """The RBM of a layer, with the fields of its variables multiplied."""
    model = rbm(compiled.graph, stack, number)
    up = Chain(
        UP,
        tuple(Clamp(name, None, model.span) for name in layer.lower),
        (),
        None,
        Ramp(0.0, 0.0),
        word(UpdateWord, "sample"),
        model.span,
    )
    checked = replace(
        compiled.checked, model=model, chains=(*each.sides(model), up), data=None, objectives=(), stages=()
    )
    plain = compile_checked(checked, compiled.passes)
    strength = {name: float(times) for name, times in layer.strength.items() if times > 1}
    schedules = {name: replace(schedule, strength=strength) for name, schedule in plain.schedules.items()}
    found = replace(plain, schedules=schedules)
    comparison = build_comparison(found, {"positive": POSITIVE, "negative": NEGATIVE})
    learned = {p.owner for p in found.graph.parameters if p.role == "bias"}
    biases = {
        v.name: head_bias(compiled.graph.term(layer.kernels[v.name].name))
        if v.name in layer.kernels
        else f"{v.name}.bias"
        for v in model.variables
        if v.name in learned
    }
    # the fields that a family's own parameters are differentiated at are those of the whole model
    untrained = frozenset(p.name for p in found.graph.parameters if p.role == "own" and p.owner in strength)
    return Phase(layer, found, comparison, biases, untrained)


def rbm(graph: FactorGraph, stack: Stack, number: int) -> Model:
    """A layer as a model: its lower variables observed, its upper ones latent, all its edges undirected, with the names of the whole model."""
    layer = stack.layers[number]
    variables = tuple(
        _variable(v, layer, stack, number) for v in stack.model.variables if v.name in (*layer.lower, *layer.upper)
    )
    return replace(stack.model, variables=variables, edges=tuple(_edges(graph, layer)))


def _variable(variable: Variable, layer: Layer, stack: Stack, number: int) -> Variable:
    bias = variable.family.bias
    if variable.name in layer.kernels:
        bias = "site"  # that of the recognition edge's head
    elif not isinstance(bias, str) and min(stack.parts(variable.name)) < number:
        bias = "none"  # a fixed one is in the lowest layer alone
    kind = variable.family.model_copy(update={"bias": bias})
    return replace(variable, observed=variable.name in layer.lower, family=kind)


def _edges(graph: FactorGraph, layer: Layer) -> Iterator[Edge]:
    """The edges of a layer, undirected; of those that share weights, which may be those of an edge elsewhere, the first has them."""
    owners: set[str] = set()
    for term in (graph.term(edge.name) for edge in layer.edges):
        ends = tuple(v.name for v in term.ends)
        first = term.owner not in owners
        owners.add(term.owner)
        name, factor = (term.owner, term.factor) if first else (f"{term.owner}.{term.name}", Tied(to=term.owner))
        yield Edge(name, ends, factor, term.edge.span, term.edge.doc)


def _copies(graph: FactorGraph, stack: Stack, layer: Layer) -> Iterator[Copy]:
    """The recognition edges of a layer that have weights of their own."""
    for edge in (e for e in layer.edges if e.targets):
        down, up = graph.term(edge.name), graph.term(layer.kernels[edge.sources[0]].name)
        if up.owner != down.owner:
            visible = stack.model.variable(edge.targets[0])
            yield Copy(down.parameter("weight"), up.parameter("weight"), sent(visible))
