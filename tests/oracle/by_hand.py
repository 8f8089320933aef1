"""Models built without the parser and without the compiler's words, for the oracle's own tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gmc.dsl.model import Edge, Model, Variable
from gmc.dsl.source import Source, Span
from gmc.dsl.vocabulary import Bias, FactorWord, FamilyWord
from tests.oracle.tails import UNBOUNDED

EXACT = 1e-11
"""What rounding may add up to."""
NOWHERE = Span(Source("by_hand.gm", ""), 0, 0)


class HandFamily(FamilyWord):
    """A family known by its name alone; what a checker would ask of it is not needed here."""

    k: int = 1
    precision: float = 1.0
    shape: float = 1.0
    bias: Bias = "site"

    @property
    def width(self) -> int:
        return self.k

    @property
    def states(self) -> int | None:
        return None if self.word in UNBOUNDED else max(self.k, 2)

    @property
    def support(self) -> str:
        return "by hand"

    def contains(self, value: float) -> bool:
        return math.isfinite(value)


class HandFactor(FactorWord):
    """A factor known by its name alone."""

    boundary: str = "open"
    coupling: str | float = "shared"
    k: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    to: str = ""

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        return None


FAMILIES = {
    word: type(word, (HandFamily,), {"word": word}) for word in ("bernoulli", "spin", "categorical", *UNBOUNDED)
}
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


def close(a: Tensor | float, b: Tensor | float) -> bool:
    """Equal to rounding."""
    return torch.allclose(
        torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64), rtol=EXACT, atol=EXACT
    )


def rbm() -> Model:
    """Four visible units on a grid, three hidden."""
    return model((variable("v", "bernoulli", 2, 2), variable("h", "bernoulli", 3)), edge("v", "h"))


def boltzmann() -> Model:
    """Four spins all joined, and three hidden units."""
    pair = (variable("v", "spin", 4), variable("h", "bernoulli", 3))
    return model(pair, edge("v", "v"), edge("v", "h"))


def dbm() -> Model:
    """Two layers above four visible units; the last is categorical."""
    layers = (variable("v", "bernoulli", 4), variable("a", "bernoulli", 3), variable("b", "categorical", 2, k=3))
    return model(layers, edge("v", "a"), edge("a", "b"))


def gaussian() -> Model:
    """Three normals and four hidden units."""
    return model((variable("x", "normal", 3, precision=2.5), variable("h", "bernoulli", 4)), edge("x", "h"))
