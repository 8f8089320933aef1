"""The factor graph: variables and the terms of the energy, with their parameters, as a networkx graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import networkx as nx

from gmc.compiler.factor import Factor
from gmc.compiler.factors.tied import Tied
from gmc.compiler.family import Family
from gmc.dsl.model import Edge, Model, Variable
from gmc.dsl.source import Span

if TYPE_CHECKING:
    Net = nx.MultiGraph[str | tuple[str, str]]
else:
    Net = nx.MultiGraph


@dataclass(frozen=True, slots=True)
class Parameter:
    """A learned array: `VAR.bias`, `EDGE.weight`, `VAR.log_precision`."""

    name: str
    owner: str
    shape: tuple[int, ...]
    role: Literal["weight", "bias", "own"]
    span: Span


@dataclass(frozen=True, slots=True)
class Term:
    """A term of minus the energy: a factor over its ends. `owner` is the edge whose parameters it has; tied edges share one."""

    edge: Edge
    ends: tuple[Variable, ...]
    factor: Factor
    owner: str

    @property
    def name(self) -> str:
        """The edge's name."""
        return self.edge.name

    def parameter(self, suffix: str) -> str:
        """The full name of one of its parameters."""
        return f"{self.owner}.{suffix}"


@dataclass(frozen=True, slots=True, eq=False)
class FactorGraph:
    """A model's graph; `net` has a node for each variable and each term, and an edge for each end of a term."""

    model: Model
    terms: tuple[Term, ...]
    parameters: tuple[Parameter, ...]
    net: Net = field(repr=False)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables, as declared."""
        return self.model.variables

    def touching(self, variable: str) -> tuple[tuple[Term, int], ...]:
        """The terms of a variable with the end at which it stands; a lateral term once, at its second end."""
        found = []
        for term in self.terms:
            slots = [n for n, end in enumerate(term.ends) if end.name == variable]
            found += [(term, slots[-1])] if slots else []
        return tuple(found)

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name (KeyError if there is none)."""
        return {p.name: p for p in self.parameters}[name]


def family(variable: Variable) -> Family:
    """The variable's family as the compiler knows it."""
    assert isinstance(variable.family, Family)
    return variable.family


def bias_shape(variable: Variable) -> tuple[int, ...] | None:
    """The shape of `VAR.bias`; None where none is learned."""
    width = variable.family.width
    tail = (width,) if width > 1 else ()
    match variable.family.bias:
        case "site":
            return variable.shape + tail
        case "channel":
            return variable.shape[:1] + tail
        case _:
            return None


def build_graph(model: Model) -> FactorGraph:
    """The factor graph of a model: ties resolved, parameters listed in the order of declaration."""
    terms = tuple(_term(model, edge) for edge in model.edges)
    parameters = [
        Parameter(f"{v.name}.bias", v.name, shape, "bias", v.span)
        for v in model.variables
        if (shape := bias_shape(v)) is not None
    ]
    parameters += [
        Parameter(f"{v.name}.{suffix}", v.name, shape, "own", v.span)
        for v in model.variables
        for suffix, shape in family(v).own(v.shape).items()
    ]
    for term in terms:
        if term.owner == term.name:
            shapes = term.factor.parameters(term.ends).items()
            parameters += [
                Parameter(term.parameter(s), term.name, shape, "weight", term.edge.span) for s, shape in shapes
            ]
    net: Net = nx.MultiGraph(name=model.name)
    net.add_nodes_from((v.name, {"variable": v}) for v in model.variables)
    for term in terms:
        net.add_node(("factor", term.name), term=term)
        net.add_edges_from((end.name, ("factor", term.name), {"slot": n}) for n, end in enumerate(term.ends))
    return FactorGraph(model, terms, tuple(parameters), net)


def _term(model: Model, edge: Edge) -> Term:
    owner = edge
    while isinstance(owner.factor, Tied):
        owner = model.edge(owner.factor.to)
    assert isinstance(owner.factor, Factor)
    return Term(edge, model.ends(edge), owner.factor, owner.name)
