"""Fields: the natural parameter of each site, given its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from operator import add
from typing import Any

import torch

from gmc.compiler.emitter import Emitter
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.region import Piece, Region
from gmc.dsl.model import Variable

Pieces = Mapping[str, Sequence[Piece]]
"""What is known of each variable: statistics of regions that do not overlap."""


def emit_field(g: Emitter, graph: FactorGraph, target: Region, pieces: Pieces) -> Any:
    """The field of the target sites, `[chains, target.size]`: the bias and a message from every piece along every term.

    A neighbour of which no piece is known sends nothing.
    """
    messages = [
        message for term, slot in graph.touching(target.name) for message in _messages(g, term, slot, target, pieces)
    ]
    bias = emit_bias(g, target.variable)
    with g.at(target.variable.span):
        own = None if bias is None else g.select(bias, target, 0)
        if not messages:
            blank = g.input("blank", fixed=True).expand(-1, target.size)
            return blank if own is None else blank + own
        total = reduce(add, messages)
        return total if own is None else total + own


def _messages(g: Emitter, term: Term, slot: int, target: Region, pieces: Pieces) -> list[Any]:
    others = [n for n in range(len(term.ends)) if n != slot]
    theta = parameters(g, term)
    with g.at(term.edge.span):
        return [
            term.factor.field(g, theta, term.ends, dict(zip(others, combination, strict=True)), target, slot)
            for combination in product(*(pieces.get(term.ends[n].name, ()) for n in others))
        ]


def parameters(g: Emitter, term: Term) -> dict[str, Any]:
    """A term's parameters as inputs of the graph, by suffix."""
    suffixes = term.factor.parameters(term.ends)
    return {suffix: g.input(term.parameter(suffix), fixed=True) for suffix in suffixes}


def emit_bias(g: Emitter, variable: Variable) -> Any:
    """The bias along the flat statistic, `[size]`; None where there is none."""
    width, bias = variable.family.width, variable.family.bias
    if bias == "none" or bias == 0:
        return None
    with g.at(variable.span):
        if not isinstance(bias, str):
            return torch.full_like(g.input("blank", fixed=True)[0, :1], bias).expand(variable.size)
        flat = g.input(f"{variable.name}.bias", fixed=True)
        if bias == "channel":
            return (
                flat.reshape(-1, 1, width).expand(-1, variable.size // (_channels(variable) * width), width).flatten()
            )
        return flat.flatten() if variable.shape != () or width > 1 else flat.reshape(1)


def _channels(variable: Variable) -> int:
    return variable.shape[0] if variable.shape else 1
