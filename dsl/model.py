"""The checked model: what a .gm file means, names resolved, shapes and values known, spans kept.

Everything here is frozen and free of torch. The compiler starts from `Checked`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeVar

from gmc.dsl.source import Source, Span
from gmc.dsl.vocabulary import (
    ConditionWord,
    ExpectationWord,
    FactorWord,
    FamilyWord,
    MetricWord,
    ObjectiveWord,
    OptimizerWord,
    Ramp,
    SourceWord,
    StartWord,
    StopWord,
    TransformWord,
    UpdateWord,
)

Split = Literal["train", "valid", "test"]
Operator = Literal[">", ">=", "<", "<="]
EdgeKind = Literal["undirected", "directed", "recognition"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the file, with the value it has in this compilation."""

    name: str
    value: float | int
    low: float | None
    high: float | None
    span: Span
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """A node of the graph: an array of sites of one family."""

    name: str
    observed: bool
    family: FamilyWord
    shape: tuple[int, ...]
    span: Span
    doc: str | None = None

    @property
    def sites(self) -> int:
        """How many sites it has; no shape is one site."""
        return prod(self.shape)

    @property
    def size(self) -> int:
        """Numbers in its statistic: sites times the family's width."""
        return self.sites * self.family.width


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between two or three variables.

    An undirected one is a term of the energy; a lateral one names its variable twice. A directed one draws its `targets` from its other ends in the joint, a recognition edge does so
    outside it. `ends` are in the order written, the `targets` last.
    """

    name: str
    ends: tuple[str, ...]
    factor: FactorWord
    span: Span
    doc: str | None = None
    kind: EdgeKind = "undirected"
    targets: tuple[str, ...] = ()

    @property
    def lateral(self) -> bool:
        """Whether it joins a variable to itself."""
        return len(set(self.ends)) == 1

    @property
    def sources(self) -> tuple[str, ...]:
        """What the targets of a directed or a recognition edge are drawn from."""
        return self.ends[: len(self.ends) - len(self.targets)] if self.targets else ()

    def speaks(self, receiver: str) -> bool:
        """Whether it sends an end messages, where the draw of that end reads it at all."""
        return receiver in (self.targets or self.ends)

    @property
    def arrow(self) -> str:
        """The sign between its ends."""
        return {"undirected": "--", "directed": "->", "recognition": "~>"}[self.kind]

    def __str__(self) -> str:
        """Its ends as a .gm file writes them: `h1 -> v`."""
        if not self.targets:
            return f" {self.arrow} ".join(self.ends)
        sides = (
            ", ".join(names) if len(names) == 1 else f"({', '.join(names)})" for names in (self.sources, self.targets)
        )
        return f" {self.arrow} ".join(sides)


@dataclass(frozen=True, slots=True)
class Model:
    """The graph, in the order of declaration."""

    name: str
    variables: tuple[Variable, ...]
    edges: tuple[Edge, ...]
    span: Span
    doc: str | None = None

    def variable(self, name: str) -> Variable:
        """The variable of that name (KeyError if there is none)."""
        return _by_name(self.variables, name)

    def edge(self, name: str) -> Edge:
        """The edge of that name (KeyError if there is none)."""
        return _by_name(self.edges, name)

    def ends(self, edge: Edge) -> tuple[Variable, ...]:
        """The variables an edge joins, in its order."""
        return tuple(self.variable(name) for name in edge.ends)

    @property
    def observed(self) -> tuple[Variable, ...]:
        """The observed variables."""
        return tuple(v for v in self.variables if v.observed)


@dataclass(frozen=True, slots=True)
class Step:
    """One transform of a column's pipe."""

    transform: TransformWord
    span: Span


@dataclass(frozen=True, slots=True)
class Binding:
    """`[valid|test] VAR = COLUMN | TRANSFORM ...`."""

    split: Split
    variable: str
    column: str
    steps: tuple[Step, ...]
    span: Span
    column_span: Span


@dataclass(frozen=True, slots=True)
class Data:
    """The data source and what it gives each variable."""

    source: SourceWord
    bindings: tuple[Binding, ...]
    span: Span
    source_span: Span

    def binding(self, split: Split, variable: str) -> Binding | None:
        """What a split gives a variable, if anything."""
        return next((b for b in self.bindings if b.split == split and b.variable == variable), None)


@dataclass(frozen=True, slots=True)
class Clamp:
    """A part of a variable that is never drawn.

    `part` is None for the whole variable, else half-open ranges, one an axis of its shape, normalised and within it.
    The value comes from `chain` (where it ended), from `constant`, or, with both None, from the data or the command line.
    With `observed` only those of its sites are clamped that a row has; which these are differs from row to row, and the rest is drawn.
    """

    variable: str
    part: tuple[tuple[int, int], ...] | None
    span: Span
    constant: float | None = None
    chain: str | None = None
    observed: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Where variables start: `source` is a registered start, or the name of a chain."""

    variables: tuple[str, ...]
    source: StartWord | str
    span: Span


@dataclass(frozen=True, slots=True)
class Gate:
    """`CONDITION > t`: tested for each chain as a sweep starts; where it holds, the gain that it stands with is 1."""

    condition: ConditionWord
    operator: Operator
    threshold: float
    span: Span

    @property
    def measure(self) -> str:
        """What is measured, as a .gm file writes it."""
        return f"{self.condition.word}({self.condition.of})"

    def __str__(self) -> str:
        return f"{self.measure} {self.operator} {self.threshold:g}"


@dataclass(frozen=True, slots=True)
class Gain:
    """What scales messages: all that `variable` sends, those that it sends `target`, or, both ways, those of the term of `edge`.

    Either `variable` or `edge` is given. The ramp runs over the sweeps of the chain. With `unless`, the gain is 1 for the chains whose gate is open.
    Gains on one message multiply.
    """

    variable: str | None
    target: str | None
    edge: str | None
    value: Ramp
    span: Span
    unless: Gate | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: what is clamped, where it starts, how potent each variable is, how it sweeps and how long.

    `sweep` is the written schedule, blocks of variable names, or None where it is to be derived; `by` are the edges that it names, by variable. Each variable that
    is not wholly clamped, or is so only where observed, is in at most one of `starts`.
    """

    name: str
    clamps: tuple[Clamp, ...]
    starts: tuple[Start, ...]
    sweep: tuple[tuple[str, ...], ...] | None
    sweeps: Ramp
    rule: UpdateWord
    span: Span
    doc: str | None = None
    gains: tuple[Gain, ...] = ()
    by: tuple[tuple[str, str], ...] = ()

    @property
    def update(self) -> str:
        """The name of its update: `sample`, `mean` or `mode`."""
        return self.rule.word

    def start(self, variable: str) -> Start | None:
        """What supplies a variable's first state, if anything does."""
        return next((s for s in self.starts if variable in s.variables), None)

    @property
    def needs(self) -> tuple[str, ...]:
        """The chains that must run before it on the same rows, each once."""
        names = [c.chain for c in self.clamps if c.chain is not None]
        names += [s.source for s in self.starts if isinstance(s.source, str)]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Term:
    """A weighted call of a registered objective."""

    weight: Ramp
    objective: ObjectiveWord
    span: Span


@dataclass(frozen=True, slots=True)
class Objective:
    """A weighted sum of objectives."""

    name: str
    terms: tuple[Term, ...]
    span: Span
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class Minimize:
    """One `minimize` line; `of` is empty where it takes all that its objective reaches and no other line names."""

    objective: str
    of: tuple[str, ...]
    optimizer: OptimizerWord
    times: int
    span: Span


@dataclass(frozen=True, slots=True)
class Stage:
    """A `train` statement."""

    name: str
    minimize: tuple[Minimize, ...]
    batch: int
    epochs: int
    watch: tuple[MetricWord, ...]
    every: int
    span: Span
    doc: str | None = None
    stop: StopWord | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole file that holds no mistake."""

    source: Source
    params: tuple[Param, ...]
    model: Model
    data: Data | None
    chains: tuple[Chain, ...]
    objectives: tuple[Objective, ...]
    stages: tuple[Stage, ...]
    doc: str | None = None

    def chain(self, name: str) -> Chain:
        """The chain of that name (KeyError if there is none)."""
        return _by_name(self.chains, name)

    def objective(self, name: str) -> Objective:
        """The objective of that name (KeyError if there is none)."""
        return _by_name(self.objectives, name)

    def with_needs(self, names: Iterable[str]) -> tuple[Chain, ...]:
        """The chains of those names and all that they need, directly or not, each once."""
        found = list(dict.fromkeys(names))
        for each in found:
            found += [name for name in self.chain(each).needs if name not in found]
        return tuple(self.chain(name) for name in found)


Named = TypeVar("Named", Variable, Edge, Chain, Objective)


def chain_of(use: ExpectationWord | str) -> str:
    """The chain that an argument such as `positive = NAME` or `positive = exact(NAME)` names."""
    return use if isinstance(use, str) else use.under


def _by_name(items: tuple[Named, ...], name: str) -> Named:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(name)
