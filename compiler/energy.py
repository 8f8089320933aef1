"""Energy, free energy and sufficient statistics as graphs.

Inputs are the parameters and `value.VAR`, the whole state of each variable, `[chains, size]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import fx

from gmc.compiler.colouring import Block
from gmc.compiler.emitter import Emitter
from gmc.compiler.fields import emit_bias, emit_field, emit_law, emit_sent, parameters
from gmc.compiler.graph import FactorGraph, Term, family
from gmc.compiler.region import Piece, Region
from gmc.dsl.model import Variable


def emit_terms(g: Emitter, graph: FactorGraph, values: Mapping[str, Any]) -> Any:
    """The parametrised part of minus the energy, sum of <b, T> and all f, `[chains]`, but for what directed conditionals are normalised by.

    Variables without a value count as zero: since every term is multilinear, those that they are in are left out. Recognition edges are no part of it.
    """
    parts = []
    sent = _sent(g, graph, values)
    for variable in (v for v in graph.variables if v.name in values):
        bias = emit_bias(g, variable)
        if bias is not None:
            with g.at(variable.span):
                parts.append(torch.mv(sent[variable.name], bias))
    for term in graph.terms:
        if term.recognition or any(v.name not in values for v in term.ends):
            continue
        with g.at(term.edge.span):
            ends = _ends(term, sent, values)
            parts.append(term.factor.energy(g, parameters(g, term), term.ends, ends))
    return reduce(add, parts) if parts else g.input("blank", fixed=True)[:, 0]


def emit_base(g: Emitter, graph: FactorGraph, values: Mapping[str, Any], but: Mapping[str, Region]) -> list[Any]:
    """The base measures of all sites but those of `but`, each `[chains]`."""
    parts = []
    for variable in (v for v in graph.variables if v.name in values):
        region = Region.whole_of(variable)
        if variable.name in but:
            region = region.without(but[variable.name])
        if region.sites.size:
            law = emit_law(g, region)
            with g.at(variable.span):
                base = law.base_measure(g.select(values[variable.name], region))
                parts += [] if base is None else [base.sum(1)]
    return parts


def emit_normalisers(g: Emitter, graph: FactorGraph, values: Mapping[str, Any]) -> list[Any]:
    """The log-partitions of what directed edges draw, given their sources, each `[chains]`: -log p of such a variable is minus its part of minus the energy, plus this.

    Variables without a value count as zero.
    """
    parts = []
    for variable in (v for v in graph.normalised if v.sites):
        whole = Region.whole_of(variable)
        eta = emit_field(g, graph, whole, _whole(graph, values))
        law = emit_law(g, whole)
        with g.at(variable.span):
            parts.append(law.log_partition(eta).sum(1))
    return parts


def energy(graph: FactorGraph) -> fx.GraphModule:
    """E, base measures and the normalisers of directed conditionals included, `[chains]`, in nats."""
    g = Emitter()
    values = _values(g, graph)
    parts = [emit_terms(g, graph, values), *emit_base(g, graph, values, {})]
    parts += [-each for each in emit_normalisers(g, graph, values)]
    return g.module(-reduce(add, parts), "Energy")


def free_energy(graph: FactorGraph, summed: Block) -> fx.GraphModule:
    """-log of the sum (or integral) of exp(-E) over the sites of `summed`, `[chains]`, in nats.

    No two of those sites may meet, and none may be a source of a directed edge, so that each sums out in closed form: with T = 0 put in their place E leaves their terms out, since it is
    multilinear, and their log-partitions at their fields stand for them. What `value.VAR` holds at those sites does not matter.
    """
    g = Emitter()
    values = _values(g, graph)
    out = {region.name: region for region in summed}
    pieces = {}
    for variable in graph.variables:
        rest = Region.whole_of(variable)
        if variable.name in out:
            rest = rest.without(out[variable.name])
        if rest.sites.size:
            pieces[variable.name] = [Piece(g.select(values[variable.name], rest), rest)]
    zeroed = {name: g.embed(parts[0]) for name, parts in pieces.items()}
    parts = [emit_terms(g, graph, zeroed), *emit_base(g, graph, zeroed, out)]
    parts += [-each for each in emit_normalisers(g, graph, zeroed)]
    for region in summed:
        eta = emit_field(g, graph, region, pieces)
        law = emit_law(g, region)
        with g.at(region.variable.span):
            parts.append(law.log_partition(eta).sum(1))
    return g.module(-reduce(add, parts), "FreeEnergy")


def gradient(graph: FactorGraph) -> fx.GraphModule:
    """The mean over the chains of d(-E)/dtheta for every parameter, a dictionary by name: the sufficient statistics.

    Symmetric weights have the derivative of their pair in both places.
    """
    g = Emitter()
    values = _values(g, graph)
    return g.module(emit_gradient(g, graph, values, values, {}), "Gradient")


def emit_gradient(
    g: Emitter,
    graph: FactorGraph,
    means: Mapping[str, Any],
    values: Mapping[str, Any],
    spread: Mapping[str, Any],
) -> dict[str, Any]:
    """The mean derivatives of minus the energy at whole states, by parameter.

    What directed edges draw counts less its mean given their sources as drawn, since its conditional is normalised. `means`: states with means where they are known;
    `values`: the same as drawn, for what is not linear in a state. `spread`: one at the numbers that stand at means, `[chains, size]`, so that the variance is missing
    from `values`; variables that have none are left out.
    """
    found: dict[str, Any] = {}
    sent = _sent(g, graph, means)
    for variable in (v for v in graph.normalised if v.sites):
        sent[variable.name] = sent[variable.name] - _expected(g, graph, variable, values)
    for variable in graph.variables:
        if isinstance(variable.family.bias, str) and variable.family.bias != "none":
            with g.at(variable.span):
                found[f"{variable.name}.bias"] = _bias_gradient(graph, variable.name, sent[variable.name])
        if family(variable).own(variable.shape):
            found |= _own_gradient(g, graph, variable, means, values, spread.get(variable.name))
    for term in (t for t in graph.terms if not t.recognition):
        with g.at(term.edge.span):
            ends = _ends(term, sent, values)
            for suffix, value in term.factor.gradient(g, parameters(g, term), term.ends, ends).items():
                name = term.parameter(suffix)
                found[name] = found[name] + value if name in found else value
    return found


def _own_gradient(
    g: Emitter,
    graph: FactorGraph,
    variable: Variable,
    means: Mapping[str, Any],
    values: Mapping[str, Any],
    spread: Any,
) -> dict[str, Any]:
    """The mean derivatives by a family's own parameters, which need the fields."""
    whole = Region.whole_of(variable)
    eta = emit_field(g, graph, whole, _whole(graph, means))
    law = emit_law(g, whole)
    with g.at(variable.span):
        slopes = law.slopes(eta, means[variable.name], values[variable.name], spread)
        return {f"{variable.name}.{suffix}": slope.mean(0).reshape(variable.shape) for suffix, slope in slopes.items()}


def _expected(g: Emitter, graph: FactorGraph, variable: Variable, values: Mapping[str, Any]) -> Any:
    """The mean statistic of a variable given the sources that it is drawn from, `[chains, size]`."""
    whole = Region.whole_of(variable)
    eta = emit_field(g, graph, whole, _whole(graph, values))
    law = emit_law(g, whole)
    with g.at(variable.span):
        mean = law.mean(eta)
    return emit_sent(g, Piece(mean, whole)).value


def _ends(term: Term, sent: Mapping[str, Any], values: Mapping[str, Any]) -> list[Any]:
    """What a term takes of its ends: statistics, but the values of a directed edge's sources, as they were drawn."""
    if not term.targets:
        return [sent[v.name] for v in term.ends]
    return [(sent if slot in term.targets else values)[v.name] for slot, v in enumerate(term.ends)]


def _whole(graph: FactorGraph, values: Mapping[str, Any]) -> dict[str, list[Piece]]:
    """Whole states as what is known of variables."""
    return {v.name: [Piece(values[v.name], Region.whole_of(v))] for v in graph.variables if v.size and v.name in values}


def _sent(g: Emitter, graph: FactorGraph, values: Mapping[str, Any]) -> dict[str, Any]:
    """The statistics of whole states."""
    return {
        v.name: emit_sent(g, Piece(values[v.name], Region.whole_of(v))).value
        for v in graph.variables
        if v.name in values
    }


def _bias_gradient(graph: FactorGraph, name: str, value: Any) -> Any:
    variable = graph.model.variable(name)
    shape = graph.parameter(f"{name}.bias").shape
    mean = value.mean(0)
    if variable.family.bias == "channel":
        width = variable.family.width
        channels = variable.shape[0] if variable.shape else 1
        mean = mean.reshape(channels, -1, width).sum(1)
    return mean.reshape(shape)


def _values(g: Emitter, graph: FactorGraph) -> dict[str, Any]:
    return {v.name: g.input(f"value.{v.name}", fixed=False) for v in graph.variables}
