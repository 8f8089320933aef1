"""Directed edges, word for word: `->` draws its target from p(target | sources) = exp(<b + head, T> + base) / Z(sources), and `~>` from its own head, outside the joint.

Sites of a target are independent given the sources, so Z is a product of sums over the values of a site, which are listed (or integrated).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from gmc.dsl.model import Edge, Model, Variable
from tests.oracle import energy as joint
from tests.oracle.sites import Site, support
from tests.oracle.tails import log_integral, precisions
from tests.oracle.terms import term

Weights = Mapping[str, Tensor]


def incoming(model: Model, name: str) -> list[Edge]:
    """The `->` edges into a variable."""
    return [edge for edge in model.edges if edge.kind == "directed" and edge.targets == (name,)]


def values_of(model: Model, table: Tensor, silent: Collection[Site] = ()) -> dict[str, Tensor]:
    """What heads see: `VAR` -> `[n, sites, width]`, values (one-hot where states are numbered), nothing of silent sites."""
    found = joint.statistics_of(model, table, silent)
    for v, x in zip(model.variables, table.split([v.sites for v in model.variables], dim=1), strict=True):
        if v.family.word == "normal":
            heard = torch.tensor([Site(v.name, i) not in silent for i in range(v.sites)], dtype=table.dtype)
            found[v.name] = (x * heard).unsqueeze(2)
    return found


def head(model: Model, weights: Weights, edge: Edge, source: Tensor, target: Tensor) -> Tensor:
    """<head(source), T> of each row, from a source's values and a target's statistics, each `[n, sites, width]`."""
    owner = joint.tied_to(model, edge)
    ends = edge.ends
    if owner is not edge and owner.ends != ends:
        shapes = [[(model.variable(n).family.width, model.variable(n).shape) for n in e.ends] for e in (edge, owner)]
        ends = ends[::-1] if owner.ends == ends[::-1] or shapes[0] != shapes[1] else ends
    statistics = {edge.sources[0]: source, edge.targets[0]: target}
    return term(model, owner, replace(edge, ends=ends, kind="undirected", targets=()), weights, statistics)


def log_normaliser(
    model: Model, weights: Weights, variable: Variable, table: Tensor, silent: Collection[Site] = ()
) -> Tensor:
    """log Z(sources) of what `->` edges draw, over its sites that are not silent, `[n]`; each site's values are listed, all other sites of it apart."""
    seen = values_of(model, table, silent)
    edges = incoming(model, variable.name)

    def local(site: int, value: float) -> Tensor:
        one = torch.zeros(len(table), variable.sites, dtype=torch.float64)
        one[:, site] = value
        t = joint.statistic(variable, one, weights) * (torch.arange(variable.sites) == site).unsqueeze(1)
        found = (joint.bias(variable, weights) * t).sum((1, 2))
        return found + sum(head(model, weights, e, seen[e.sources[0]], t) for e in edges)

    return sum(
        (
            _summed(variable, site, local, weights)
            for site in range(variable.sites)
            if Site(variable.name, site) not in silent
        ),
        torch.zeros(len(table), dtype=torch.float64),
    )


def _summed(variable: Variable, site: int, local, weights: Weights) -> Tensor:  # type: ignore[no-untyped-def]
    values = support(variable)
    if values is not None:
        return torch.logsumexp(torch.stack([local(site, value) for value in values]), 0)
    beta = precisions(variable, weights)[site]
    one, two = (local(site, x) for x in (1.0, 2.0))
    return log_integral(variable, two - one, beta) + 2 * one - two


def recognition(model: Model, weights: Weights, edge: Edge, source: Tensor) -> Tensor:
    """P(value) of each site of a finite target of a `~>` edge given its source's values `[n, sites of the source]`, `[n, sites, values]`."""
    start, target = model.variable(edge.sources[0]), model.variable(edge.targets[0])
    values = support(target)
    assert values is not None
    seen = joint.statistic(start, source) if start.family.word != "normal" else source.unsqueeze(2)
    own = weights[f"{edge.name}.bias"].reshape(target.sites, target.family.width)
    logits = torch.zeros(len(source), target.sites, len(values), dtype=torch.float64)
    for site in range(target.sites):
        for n, value in enumerate(values):
            one = torch.zeros(len(source), target.sites, dtype=torch.float64)
            one[:, site] = value
            t = joint.statistic(target, one) * (torch.arange(target.sites) == site).unsqueeze(1)
            logits[:, site, n] = head(model, weights, edge, seen, t) + (own * t).sum((1, 2))
    return torch.softmax(logits, dim=2)
