"""The stack of a model: its layers from the data up, each an RBM that greedy pretraining trains in a phase of its own.

Every `--` and every `->` edge belongs to the layer of its upper end. Observed variables are at the bottom. Of the two ends of a `->` edge its source is the upper one, of those of a `--` edge the
latent one, or, of two latent ones, the one that is declared later. A latent variable is one layer above the highest of those that it is the upper end to. So labels
that are joined to the top, branches that meet further up, and edges that skip a layer all fall out.

**Doubling.** Greedy training fits each RBM as if it were alone, but a variable between two layers is drawn in the whole model from both at once, and so would be told twice what it should be
told once. Each RBM therefore multiplies the whole field of a variable, its bias included, by the number of layers that the variable has a part in: the copies stand for the
input that is missing. In a deep Boltzmann machine this doubles the middle layers and leaves the data and the top as they are: up from the data with 2W and down with W, up and down with 2W between, down
from the top with 2W (Salakhutdinov & Hinton, Deep Boltzmann machines, AISTATS 2009, section 3.1; An efficient learning procedure for deep Boltzmann machines, Neural Computation 24, 2012). The
field of the whole model is then the sum of the layers' fields, and so is its bias the sum of theirs.

In a deep belief network nothing is told twice: a `~>` edge draws the upper end of `->` edges from below alone, and the joint draws what these lead to from above alone. So only `--` edges and
incoming `->` edges count. The upper end's bias in such a layer is that of its `~>` edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from gmc.dsl.model import Edge, Model


@dataclass(frozen=True)
class Layer:
    """The RBM of a phase.

    `lower` and `upper` are its visible and its hidden variables, as declared. `strength` multiplies the field of each. `kernels` are the `~>` edges, by the upper variables that they draw.
    """

    edges: tuple[Edge, ...]
    lower: tuple[str, ...]
    upper: tuple[str, ...]
    strength: Mapping[str, int]
    kernels: Mapping[str, Edge]

    def __str__(self) -> str:
        """Its edges, and the fields that are multiplied: `v -- h1 (field of h1 x2)`."""
        notes = [f"field of {name} x{times}" for name, times in self.strength.items() if times > 1]
        notes += [f"{name} is drawn by {edge}" for name, edge in self.kernels.items()]
        joined = ", ".join(map(str, self.edges))
        return f"{joined} ({'; '.join(notes)})" if notes else joined


@dataclass(frozen=True)
class Stack:
    """The layers of a model, as far as it has a stack; `gmc.compiler.stacking` says what is wrong where it has none."""

    model: Model

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """What can be trained layer by layer: `--` edges between different variables and `->` edges, but for those of variables without sites."""
        return tuple(
            edge
            for edge in self.model.edges
            if edge.kind != "recognition"
            and len(edge.ends) == 2
            and not edge.lateral
            and all(v.sites for v in self.model.ends(edge))
            and any(not v.observed for v in self.model.ends(edge))
        )

    def top(self, edge: Edge) -> str:
        """The upper end of an edge."""
        if edge.targets:
            return edge.sources[0]
        ends = self.model.ends(edge)
        return max(ends, key=lambda v: (not v.observed, self.model.variables.index(v))).name

    def bottom(self, edge: Edge) -> str:
        """The lower end of an edge."""
        (name,) = (end for end in edge.ends if end != self.top(edge))
        return name

    @cached_property
    def depth(self) -> dict[str, int]:
        """How many layers each variable is above the data; latent ones with nothing below them are in none, at zero."""
        found: dict[str, int] = {}

        def fill(name: str) -> int:
            if name not in found:
                below = [self.bottom(edge) for edge in self.edges if self.top(edge) == name]
                found[name] = max((1 + fill(other) for other in below), default=0)
            return found[name]

        for variable in self.model.variables:
            fill(variable.name)
        return found

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers from the data up."""
        return tuple(self._layer(number) for number in range(1, 1 + max(self.depth.values(), default=0)))

    def _layer(self, number: int) -> Layer:
        edges = self._within(number)
        kernels = {name: edge for name in self._named(map(self.top, edges)) if (edge := self.kernel(name)) is not None}
        upper, lower = self._named(map(self.top, edges)), self._named(map(self.bottom, edges))
        strength = {name: 1 if name in kernels else len(self.parts(name)) for name in self._named((*lower, *upper))}
        return Layer(edges, lower, upper, strength, kernels)

    def _within(self, number: int) -> tuple[Edge, ...]:
        return tuple(edge for edge in self.edges if self.depth[self.top(edge)] == number)

    def _named(self, names: Iterable[str]) -> tuple[str, ...]:
        """Each once, as declared."""
        wanted = set(names)
        return tuple(v.name for v in self.model.variables if v.name in wanted)

    def kernel(self, name: str) -> Edge | None:
        """The `~>` edge that draws a variable, the source of `->` edges, from a target of them."""
        below = {self.bottom(edge) for edge in self.edges if edge.targets and edge.sources[0] == name}
        found = (e for e in self.model.edges if e.kind == "recognition" and name in e.targets)
        return next((edge for edge in found if below.intersection(edge.sources)), None)

    def parts(self, name: str) -> tuple[int, ...]:
        """The numbers, from zero, of the layers that the field of a variable in the whole model has parts from."""
        met = [edge for edge in self.edges if name in (edge.targets or edge.ends)]
        return tuple(sorted({self.depth[self.top(edge)] - 1 for edge in met}))
