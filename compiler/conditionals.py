"""log p(site | rest of the data) of sites of rows, as graphs; what the data do not hold is summed out.

Where no latent variable meets a site, its field tells. Where those that do sum out in closed form, a change of the site changes their fields by as much as the site
sends them, which is a row of a table of responses: no message is computed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import fx

from gmc.compiler.colouring import Block
from gmc.compiler.emitter import Emitter
from gmc.compiler.fields import emit_field, emit_law, emit_message, parameters
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.marginal import build_marginal
from gmc.compiler.passes import DEFAULT, run_passes
from gmc.compiler.region import Piece, Region
from gmc.dsl.model import Variable


@dataclass(frozen=True, slots=True)
class Ways:
    """How the conditionals of each observed variable's sites are found: from the `field` alone, by `change` of the fields of what is summed out, or by a `sum` of its own."""

    field: tuple[Variable, ...]
    change: tuple[Variable, ...]
    sum: tuple[Variable, ...]
    summed: Block


def find_ways(graph: FactorGraph) -> Ways:
    """The cheapest way for each observed variable that has sites."""
    data = [v for v in graph.variables if v.observed and v.sites]
    rest = build_marginal(graph, {v.name: Region.whole_of(v) for v in data})
    closed = rest.reason() is None and not rest.enumerated and not any(t.targets for t in graph.terms)
    by_field = [v for v in data if _apart(graph, v)]
    by_change = [v for v in data if v not in by_field and closed and v.family.states is not None and _paired(graph, v)]
    by_sum = [v for v in data if v not in by_field and v not in by_change]
    return Ways(tuple(by_field), tuple(by_change), tuple(by_sum), rest.summed if by_change else ())


def _apart(graph: FactorGraph, variable: Variable) -> bool:
    """Whether a variable meets observed ones alone, along undirected edges."""
    terms = [term for term, _ in graph.touching(variable.name) if not term.recognition]
    return all(not term.targets and all(end.observed or not end.sites for end in term.ends) for term in terms)


def _paired(graph: FactorGraph, variable: Variable) -> bool:
    """Whether what a variable sends to one end of a term does not depend on a third."""
    return all(len(term.ends) == 2 for term, _ in graph.touching(variable.name))


def log_densities(graph: FactorGraph, variables: Sequence[Variable]) -> fx.GraphModule:
    """log p(site | its neighbours) of whole states, `[rows, sites]` by variable; takes the parameters, `value.VAR` and `blank`."""
    g = Emitter()
    known = _known(g, graph)
    found = {}
    for variable in variables:
        whole = Region.whole_of(variable)
        found[variable.name] = emit_log_density(
            g, variable, emit_field(g, graph, whole, known), known[variable.name][0].value
        )
    return _finished(g, found, "LogDensities")


def emit_log_density(g: Emitter, variable: Variable, eta: Any, value: Any) -> Any:
    """log p(value) of each site at its field, `[rows, sites]`."""
    law = emit_law(g, Region.whole_of(variable))
    with g.at(variable.span):
        inner = eta * law.sent(value)
        if variable.family.width > 1:
            inner = inner.unflatten(1, (-1, variable.family.width)).sum(2)
        base = law.base_measure(value)
        total = inner - law.log_partition(eta)
        return total if base is None else total + base


def fields(graph: FactorGraph, ways: Ways) -> fx.GraphModule:
    """What changes of sites are computed from, by name; takes the parameters, `value.VAR` and `blank`.

    `field.S` [rows, size of S]: the fields of what is summed out. `own.V` [rows, size of V]: those of sites, without what is summed out. `response.V.S` [size of V, size of S]:
    what each statistic of V sends.
    """
    g = Emitter()
    known = _known(g, graph)
    found = {f"field.{s.name}": emit_field(g, graph, s, known) for s in ways.summed}
    for variable in ways.change:
        whole = Region.whole_of(variable)
        found[f"own.{variable.name}"] = emit_field(g, graph, whole, known)
        for region in ways.summed:
            responses = [_response(g, term, slot, region, variable) for term, slot in _between(graph, region, variable)]
            if responses:
                found[f"response.{variable.name}.{region.name}"] = reduce(add, responses)
    return _finished(g, found, "Fields")


def _between(graph: FactorGraph, region: Region, variable: Variable) -> list[tuple[Term, int]]:
    """The terms that join a variable to a region, with the end at which the region stands."""
    return [(t, n) for t, n in graph.touching(region.name) if variable.name in (end.name for end in t.ends)]


def _response(g: Emitter, term: Term, slot: int, region: Region, variable: Variable) -> Any:
    """What each statistic of a variable sends a region along a term of both, `[size of the variable, size of the region]`."""
    weights = term.factor.couplings(term.ends, parameters(g, term))
    if weights is not None:
        return g.select(weights.T if slot == 0 else weights, region)
    whole = Region.whole_of(variable)
    units = g.constant(torch.eye(variable.size, dtype=torch.uint8)).to(g.input("blank", fixed=True))
    return reduce(add, emit_message(g, term, slot, region, {variable.name: [Piece(units, whole)]}))


def change(graph: FactorGraph, ways: Ways, variable: Variable) -> fx.GraphModule:
    """By how much the unnormalised log-probability of rows changes with some of their sites, `[rows, sites, ways to change]`, in nats.

    Takes the parameters, `delta` [rows, sites, ways, width], the changes of the sites' statistics; `own` [rows, sites, width], their fields; and of each S that is summed out
    `field.S` [rows, size] and `response.S` [rows or 1, sites, width, size].
    """
    g = Emitter()
    delta = g.input("delta", fixed=False)
    parts = [torch.matmul(delta, g.input("own", fixed=False).unsqueeze(3)).squeeze(3)]
    for region in ways.summed:
        if not _between(graph, region, variable):
            continue
        law = emit_law(g, region)
        with g.at(region.variable.span):
            field = g.input(f"field.{region.name}", fixed=False)
            moved = torch.matmul(delta, g.input(f"response.{region.name}", fixed=False))
            moved = moved + field.unsqueeze(1).unsqueeze(1)
            after = law.log_partition(moved.flatten(0, 2)).sum(1).reshape_as(parts[0])
            before = law.log_partition(field).sum(1)
            parts.append(after - before.unsqueeze(1).unsqueeze(1))
    return _finished(g, reduce(add, parts), "Change")


def _known(g: Emitter, graph: FactorGraph) -> dict[str, list[Piece]]:
    """The whole observed variables."""
    return {
        v.name: [Piece(g.input(f"value.{v.name}", fixed=False), Region.whole_of(v))]
        for v in graph.variables
        if v.observed and v.sites
    }


def _finished(g: Emitter, outputs: Any, name: str) -> fx.GraphModule:
    return run_passes(g.module(outputs, name), DEFAULT)
