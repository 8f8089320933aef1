"""The factor graph: variables and the terms of the energy, with their parameters, as a networkx graph."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
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
    """A learned array: `VAR.bias`, `EDGE.weight`, `VAR.log_precision`; `EDGE.bias`, that of a recognition edge's head."""

    name: str
    owner: str
    shape: tuple[int, ...]
    role: Literal["weight", "bias", "own"]
    span: Span


@dataclass(frozen=True, slots=True)
class Term:
    """A factor over its ends, in the order of the edge whose parameters it has, its `owner`; tied edges share one.

    An undirected edge's is a term of minus the energy, and sends all its ends messages. Those of directed and recognition edges send their `targets` messages, the fields that they
    are drawn at, from the values of the other ends.
    """

    edge: Edge
    ends: tuple[Variable, ...]
    factor: Factor
    owner: str
    targets: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The edge's name."""
        return self.edge.name

    @property
    def recognition(self) -> bool:
        """Whether it is no part of the joint."""
        return self.edge.kind == "recognition"

    def into(self, slot: int) -> bool:
        """Whether the joint's field of an end reads it."""
        return not self.recognition and (not self.targets or slot in self.targets)

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

    @property
    def normalised(self) -> tuple[Variable, ...]:
        """The variables whose law given their sources has a normaliser in closed form: the targets of directed edges that no undirected edge joins to anything."""
        drawn = {t.ends[slot].name for t in self.terms if not t.recognition for slot in t.targets}
        joined = {end.name for t in self.terms if not t.targets for end in t.ends}
        return tuple(v for v in self.variables if v.name in drawn - joined)

    def only(self, names: Collection[str]) -> FactorGraph:
        """The graph of some variables, with the terms all of whose ends are among them, and the parameters of both and of what these are tied to."""
        if len(names) == len(self.variables):
            return self
        terms = tuple(t for t in self.terms if all(end.name in names for end in t.ends))
        kept = {*names, *(t.name for t in terms), *(t.owner for t in terms)}
        variables = tuple(v for v in self.variables if v.name in names)
        edges = tuple(t.edge for t in terms)
        net: Net = self.net.subgraph([*names, *(("factor", t.name) for t in terms)])
        parameters = tuple(p for p in self.parameters if p.owner in kept)
        return FactorGraph(replace(self.model, variables=variables, edges=edges), terms, parameters, net)

    def touching(self, variable: str) -> tuple[tuple[Term, int], ...]:
        """The terms of a variable, whether they send it messages or not, with the end at which it stands; a lateral term once, at its second end."""
        found = []
        for term in self.terms:
            slots = [n for n, end in enumerate(term.ends) if end.name == variable]
            found += [(term, slots[-1])] if slots else []
        return tuple(found)

    def term(self, name: str) -> Term:
        """The term of the edge of that name (KeyError if there is none)."""
        return {t.name: t for t in self.terms}[name]

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name (KeyError if there is none)."""
        return {p.name: p for p in self.parameters}[name]


def family(variable: Variable) -> Family:
    """The variable's family as the compiler knows it."""
    assert isinstance(variable.family, Family)
    return variable.family


def bias_shape(variable: Variable) -> tuple[int, ...] | None:
    """The shape of `VAR.bias`; None where none is learned."""
    shape = site_shape(variable)
    match variable.family.bias:
        case "site":
            return shape
        case "channel":
            return variable.shape[:1] + shape[len(variable.shape) :]
        case _:
            return None


def site_shape(variable: Variable) -> tuple[int, ...]:
    """The shape of a number for each statistic of a variable: its own, and the width if that is not one."""
    width = variable.family.width
    return variable.shape + ((width,) if width > 1 else ())


def head_bias(term: Term) -> str:
    """The name of the bias of a recognition edge's head, which no edge shares."""
    return f"{term.name}.bias"


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
        if term.recognition:
            (target,) = (term.ends[slot] for slot in term.targets)
            parameters.append(Parameter(head_bias(term), term.name, site_shape(target), "bias", term.edge.span))
    net: Net = nx.MultiGraph(name=model.name)
    net.add_nodes_from((v.name, {"variable": v}) for v in model.variables)
    for term in terms:
        net.add_node(("factor", term.name), term=term)
        net.add_edges_from((end.name, ("factor", term.name), {"slot": n}) for n, end in enumerate(term.ends))
    return FactorGraph(model, terms, tuple(parameters), net)


def _term(model: Model, edge: Edge) -> Term:
    owner, ends = edge, edge.ends
    while isinstance(owner.factor, Tied):
        other = model.edge(owner.factor.to)
        if edge.targets and _opposite(model, ends, other.ends):
            ends = ends[::-1]
        owner = other
    assert isinstance(owner.factor, Factor)
    targets = tuple(slot for slot, name in enumerate(ends) if name in edge.targets)
    return Term(edge, tuple(model.variable(name) for name in ends), owner.factor, owner.name, targets)


def _opposite(model: Model, ends: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one edge is the transpose of another: where they join the same variables in the opposite order, or types and shapes fit only so."""
    if ends == other or ends == other[::-1]:
        return ends != other
    here, there = (
        [(v.family.word, v.family.width, v.shape) for v in map(model.variable, names)] for names in (ends, other)
    )
    return here != there
