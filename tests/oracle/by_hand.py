"""Models built without the parser and without the compiler's words, for the oracle's own tests."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.model import Edge, Model, Variable
from gmc.dsl.source import Source, Span
from gmc.dsl.vocabulary import FactorWord, FamilyWord

NOWHERE = Span(Source("by_hand.gm", ""), 0, 0)


class HandFamily(FamilyWord):
    """A family known by its name alone; what a checker would ask of it is not needed here."""

    k: int = 1
    precision: float = 1.0
    bias: str | float = "site"

    @property
    def width(self) -> int:
        return self.k

    @property
    def states(self) -> int | None:
        return None if self.word == "normal" else max(self.k, 2)

    @property
    def support(self) -> str:
        return "by hand"

    def contains(self, value: float) -> bool:
        return value == value


class HandFactor(FactorWord):
    """A factor known by its name alone."""

    boundary: str = "open"
    coupling: str | float = "shared"
    k: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    edge: str = ""

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        return None


FAMILIES = {word: type(word, (HandFamily,), {"word": word}) for word in ("bernoulli", "spin", "categorical", "normal")}
FACTORS = {word: type(word, (HandFactor,), {"word": word}) for word in ("dense", "lattice", "lowrank", "conv", "tied")}


def variable(name: str, family: str, *shape: int, observed: bool = True, **arguments: object) -> Variable:
    """A variable of a family by its word."""
    return Variable(name, observed, FAMILIES[family](**arguments), shape, NOWHERE)


def edge(*ends: str, factor: str = "dense", name: str = "", **arguments: object) -> Edge:
    """An edge of a factor by its word, called by its ends unless named."""
    return Edge(name or "_".join(ends), ends, FACTORS[factor](**arguments), NOWHERE)


def model(variables: Sequence[Variable], *edges: Edge) -> Model:
    """A model of those."""
    return Model("by_hand", tuple(variables), edges, NOWHERE)
