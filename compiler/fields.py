"""Fields: the natural parameter of each site, given its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from operator import add
from typing import Any

import torch

from gmc.compiler.emitter import Emitter
from gmc.compiler.family import Law
from gmc.compiler.gains import Scale, full
from gmc.compiler.graph import FactorGraph, Term, family, head_bias
from gmc.compiler.region import Piece, Region
from gmc.dsl.model import Variable

Known = Mapping[str, Sequence[Piece]]
"""What is known of each variable: states of regions that do not overlap."""


def emit_law(g: Emitter, region: Region) -> Law:
    """The law of a region's sites, with the family's own parameters as inputs of the graph."""
    variable, kind = region.variable, family(region.variable)
    theta = {}
    for suffix in kind.own(variable.shape):
        flat = g.input(f"{variable.name}.{suffix}", fixed=True).reshape(variable.sites)
        theta[suffix] = g.take(flat, region.sites, 0, variable.sites)
    with g.at(variable.span):
        return kind.at(theta)


def emit_sent(g: Emitter, piece: Piece) -> Piece:
    """The statistics of a piece, which go along edges."""
    law = emit_law(g, piece.region)
    with g.at(piece.region.variable.span):
        return Piece(law.sent(piece.value), piece.region)


def emit_field(
    g: Emitter, graph: FactorGraph, target: Region, known: Known, scale: Scale = full, kernel: str | None = None
) -> Any:
    """The field of the target sites, `[chains, target.size]`: the bias and a message from every piece along every term, scaled.

    A neighbour of which no piece is known sends nothing. `kernel`: the recognition edge that draws the target, whose head has a bias of its own.
    """
    messages = emit_messages(g, graph, target, known, scale)
    bias = emit_bias(g, target.variable) if kernel is None else emit_head_bias(g, graph, target.variable, kernel)
    with g.at(target.variable.span):
        own = None if bias is None else g.select(bias, target, 0)
        if not messages:
            blank = g.input("blank", fixed=True).expand(-1, target.size)
            return blank if own is None else blank + own
        total = reduce(add, messages)
        return total if own is None else total + own


def emit_messages(g: Emitter, graph: FactorGraph, target: Region, known: Known, scale: Scale = full) -> list[Any]:
    """The messages that the target sites are sent, each `[chains, target.size]`: from every piece along every term, scaled."""
    messages = []
    for term, slot in graph.touching(target.name):
        strength = scale(term, slot)
        if strength is not None:
            messages += emit_message(g, term, slot, target, known, strength)
    return messages


def emit_message(g: Emitter, term: Term, slot: int, target: Region, known: Known, strength: Any = 1.0) -> list[Any]:
    """The messages along one term into one of its ends: one from each choice of a piece of each other end."""
    others = [n for n in range(len(term.ends)) if n != slot]
    theta = parameters(g, term)
    pieces = [known.get(term.ends[n].name, ()) for n in others]
    # what a head sees are values, whatever statistics the joint has of them
    sent = pieces if term.targets else [[emit_sent(g, piece) for piece in each] for each in pieces]
    with g.at(term.edge.span):
        found = [
            term.factor.field(g, theta, term.ends, dict(zip(others, combination, strict=True)), target, slot)
            for combination in product(*sent)
        ]
        return [f if isinstance(strength, float) and strength == 1.0 else f * strength for f in found]


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


def emit_head_bias(g: Emitter, graph: FactorGraph, variable: Variable, kernel: str) -> Any:
    """The bias of a recognition edge's head along the flat statistic of what it draws, `[size]`."""
    term = graph.term(kernel)
    with g.at(term.edge.span):
        return g.input(head_bias(term), fixed=True).reshape(variable.size)


def _channels(variable: Variable) -> int:
    return variable.shape[0] if variable.shape else 1
