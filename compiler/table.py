"""The unnormalised log-probabilities of rows together with listed states, as one graph that computes each row's messages and each state's only once.

Inputs are the parameters, `held.VAR` [rows, size of the clamped region], `listed.VAR` [states, size of the enumerated region] and zeros: `blank` [rows, 1] and
`rank` [states, 1]. What sums out in closed form is summed out. Minus the energy is multilinear, so that it is a part of the rows', one of the states' and products
between both; the fields of what is summed out are sums in the same way, but for terms of third order with an end in each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import product
from operator import add
from typing import Any

import torch
from torch import Tensor, fx

from gmc.compiler.emitter import Emitter, inputs
from gmc.compiler.energy import emit_terms
from gmc.compiler.fields import emit_bias, emit_field, emit_law, emit_message, emit_messages, emit_sent
from gmc.compiler.graph import Term, family
from gmc.compiler.marginal import Marginal
from gmc.compiler.passes import DEFAULT, run_passes
from gmc.compiler.region import Piece, Region

Pieces = Mapping[str, Piece]


def build_table(marginal: Marginal) -> fx.GraphModule | None:
    """The graph, which gives `[rows, states]` in nats; None for models with directed edges, whose normalisers are not multilinear."""
    if any(term.targets for term in marginal.graph.terms):
        return None
    return run_passes(_Table(marginal).module(), DEFAULT)


def evaluate(
    module: fx.GraphModule, params: Mapping[str, Tensor], held: Mapping[str, Tensor], listed: Mapping[str, Tensor]
) -> Tensor:
    """The table of some rows and states, `[rows, states]`; whole statistics and those of the enumerated regions."""
    values: dict[str, Tensor] = {**params, **{f"held.{n}": v for n, v in held.items()}}
    values |= {f"listed.{n}": v for n, v in listed.items()}
    like = next(iter(held.values()))
    values["blank"] = torch.zeros(like.shape[0], 1, dtype=like.dtype, device=like.device)
    values["rank"] = torch.zeros(count(listed), 1, dtype=like.dtype, device=like.device)
    found: Tensor = module(*(values[name] for name in inputs(module)))
    return found


def count(listed: Mapping[str, Tensor]) -> int:
    """How many states there are: one where nothing is enumerated."""
    return next(iter(listed.values())).shape[0] if listed else 1


def every(marginal: Marginal, dtype: torch.dtype) -> dict[str, Tensor]:
    """All states of what a marginal enumerates, `[states, region.size]` by variable."""
    tables = [(r.name, family(r.variable).values().to(dtype)) for r in marginal.enumerated for _ in r.sites]
    if not tables:
        return {}
    digits = torch.cartesian_prod(*(torch.arange(len(t)) for _, t in tables)).reshape(-1, len(tables))
    parts: dict[str, list[Tensor]] = {}
    for column, (name, table) in enumerate(tables):
        parts.setdefault(name, []).append(table[digits[:, column]])
    return {name: torch.cat(found, 1) for name, found in parts.items()}


class _Table:
    """Emits the graph of a marginal."""

    def __init__(self, marginal: Marginal) -> None:
        self.graph, self.summed, self.g = marginal.graph, marginal.summed, Emitter()
        g = self.g
        # whole statistics come in, of which only what is clamped is read
        self.held = {n: Piece(g.select(g.input(f"held.{n}", fixed=False), r), r) for n, r in marginal.clamped.items()}
        self.listed = {r.name: Piece(g.input(f"listed.{r.name}", fixed=False), r) for r in marginal.enumerated}
        self.pair = g.input("blank", fixed=False) + g.input("rank", fixed=False).T

    def module(self) -> fx.GraphModule:
        """The finished graph."""
        parts = [self.pair]
        for side, axis in ((self.held, 1), (self.listed, 0)):
            parts += [part.unsqueeze(axis) for part in self._own(side)]
        for term in self.graph.terms:
            with self.g.at(term.edge.span):
                parts += self._between(term)
        parts += [self._summed_out(region) for region in self.summed]
        return self.g.module(reduce(add, parts), "Table")

    def _own(self, pieces: Pieces) -> Iterator[Any]:
        """What either side has of minus the energy by itself, base measures included, `[rows]` or `[states]`."""
        g = self.g
        for piece in pieces.values():
            base = emit_law(g, piece.region).base_measure(piece.value)
            if base is not None:
                yield base.sum(1)
        biased = any(emit_bias(g, piece.region.variable) is not None for piece in pieces.values())
        if biased or any(all(v.name in pieces for v in term.ends) for term in self.graph.terms):
            yield emit_terms(g, self.graph, {n: g.embed(p) for n, p in pieces.items()})

    def _between(self, term: Term) -> Iterator[Any]:
        """The products of a term with an end or more on either side, `[rows, states]`: the message to the only end of a side, times its statistic."""
        for sides in product((self.held, self.listed), repeat=len(term.ends)):
            ends = [side.get(v.name) for side, v in zip(sides, term.ends, strict=True)]
            known = [end for end in ends if end is not None]
            states = [slot for slot, side in enumerate(sides) if side is self.listed]
            # of a lateral term the two orders are the same pair
            if len(known) < len(ends) or not 0 < len(states) < len(ends) or (term.edge.lateral and states != [1]):
                continue
            alone = states[0] if len(states) == 1 else next(n for n in range(len(ends)) if n not in states)
            others = {n: emit_sent(self.g, end) for n, end in enumerate(known) if n != alone}
            theta = {s: self.g.input(term.parameter(s), fixed=True) for s in term.factor.parameters(term.ends)}
            message = term.factor.field(self.g, theta, term.ends, others, known[alone].region, alone)
            own = emit_sent(self.g, known[alone]).value
            yield torch.mm(message, own.T) if alone in states else torch.mm(own, message.T)

    def _summed_out(self, region: Region) -> Any:
        """The log-partitions of a region that is summed out, at the field that row and state give it together."""
        g = self.g
        law = emit_law(g, region)
        field = emit_field(g, self.graph, region, {n: [p] for n, p in self.held.items()})
        more = emit_messages(g, self.graph, region, {n: [p] for n, p in self.listed.items()})
        mixed = list(self._mixed(region))
        with g.at(region.variable.span):
            if not more and not mixed:
                return law.log_partition(field).sum(1).unsqueeze(1)
            eta = field.unsqueeze(1)
            if more:
                eta = eta + reduce(add, more).unsqueeze(0)
            if not more:
                eta = eta.expand_as(self.pair.unsqueeze(2).expand(-1, -1, region.size))
            flat = reduce(add, mixed, eta.flatten(0, 1))
            return law.log_partition(flat).sum(1).reshape_as(self.pair)

    def _mixed(self, region: Region) -> Iterator[Any]:
        """The messages of terms of third order with one end in the row and one in the state, `[rows * states, region.size]`."""
        for term, slot in self.graph.touching(region.name):
            others = [v.name for n, v in enumerate(term.ends) if n != slot]
            if len(others) == 2:
                for a, b in (others, others[::-1]):
                    if a in self.held and b in self.listed:
                        known = {a: [self._across(self.held[a], 1)], b: [self._across(self.listed[b], 0)]}
                        yield from emit_message(self.g, term, slot, region, known)

    def _across(self, piece: Piece, axis: int) -> Piece:
        """A side's piece for every row with every state, `[rows * states, size]`."""
        wide = piece.value.unsqueeze(axis) + self.pair.unsqueeze(2)
        return Piece(wide.flatten(0, 1), piece.region)
