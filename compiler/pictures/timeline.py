"""A schedule unrolled in time: what stands in which column, and which values each draw reads.

Groups are `given` (what is clamped, held by rows or supplied by starts, and what it sends once a run), pass 0, the sweeps that are shown, what is carried over
those that are not, the last sweep, and what is drawn after it. A long run of blocks over the same variables is folded into one column, with one node
a variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from gmc.compiler.colouring import Block
from gmc.compiler.graph import Term
from gmc.compiler.pictures.strength import FULL, Strength
from gmc.compiler.region import Region
from gmc.dsl.model import Gate

Phase = Literal["clamped", "held", "start", "once", "gate", "pass", "sweep", "carried", "after"]

LONGEST_RUN = 3
"""Blocks over the same variables that still stand in columns of their own."""
MOST_COLUMNS = 12
"""Columns of a sweep; a sweep of more is one column."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value in time. `sizes` has the sites of each block that a folded node stands for; `source` is where a value comes from.

    `held`: a row may hold some of its sites, which are then not drawn. A node of phase `once` is a message along `term`, computed once a run; `anchor` is the
    value it stands beside. One of phase `gate` is the outcome of `gate`, whose condition is of the clamped sites of the region.
    """

    number: int
    phase: Phase
    region: Region
    sizes: tuple[int, ...] = ()
    source: str = ""
    held: bool = False
    term: Term | None = None
    anchor: Node | None = None
    gate: Gate | None = None

    @property
    def folded(self) -> bool:
        """Whether it stands for several draws in turn."""
        return len(self.sizes) > 1


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """What is drawn at once or, folded, in turn."""

    title: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A pass: its columns in order."""

    title: str
    phase: Phase
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What a draw reads along a term: for each other end the values that hold it.

    `once`: it was computed before the sweeps, and its only source is a node of phase `once`. `gates` are the outcomes that let it through. `progress` is the
    place in the sweeps, in [0, 1], where gains that run over them stand; None where it is not known.
    """

    term: Term
    target: Node
    sources: tuple[tuple[Node, ...], ...]
    once: bool = False
    strength: Strength = FULL
    progress: float | None = None
    gates: tuple[Node, ...] = ()

    @property
    def joined(self) -> bool:
        """Whether several things must come together for it."""
        return len(self.sources) + len(self.gates) > 1

    @property
    def origins(self) -> tuple[Node, ...]:
        """Everything it comes from."""
        return (*(node for end in self.sources for node in end), *self.gates)

    @property
    def gain(self) -> str:
        """What scales it, in words; '' where nothing does."""
        return self.strength.text(self.progress)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The groups from left to right, the messages, which values each gate looks at, and which nodes stand for earlier ones (`carried`)."""

    groups: tuple[Group, ...]
    messages: tuple[Message, ...]
    tests: tuple[tuple[Node, Node], ...]
    carried: tuple[tuple[Node, Node], ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, from left to right."""
        return tuple(node for group in self.groups for column in group.columns for node in column.nodes)


def fold(blocks: Sequence[Block]) -> list[tuple[Block, ...]]:
    """Blocks by column: one each, but long runs over the same variables together, and all together where columns are still too many."""
    columns: list[tuple[Block, ...]] = []
    for _, run in groupby(blocks, key=_names):
        found = tuple(run)
        columns += [found] if len(found) > LONGEST_RUN else [(block,) for block in found]
    return columns if len(columns) <= MOST_COLUMNS else [tuple(blocks)]


def _names(block: Block) -> tuple[str, ...]:
    return tuple(region.name for region in block)
