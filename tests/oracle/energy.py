"""The energy, word for word from the language's definition: `E = - sum_v <b_v, T_v> - sum_edges f_e(T)` and the base measures.

What `->` edges draw counts with -log of its conditional, normaliser and all; `~>` edges are no part of the joint.

Statistics are lists of columns, terms are sums in loops over sites. Slow on purpose: there is nothing here to get wrong in
the way that a kernel can.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from gmc.dsl.model import Edge, Model, Variable
from tests.oracle.sites import Site
from tests.oracle.tails import UNBOUNDED, base, precisions
from tests.oracle.terms import term

Weights = Mapping[str, Tensor]


def statistic(variable: Variable, values: Tensor, weights: Weights | None = None) -> Tensor:
    """The statistic of each site: values `[n, sites]` of one variable to `[n, sites, width]`; a learned precision is looked up in `weights`.

    Raises:
        NotImplementedError: the oracle does not know the family.
    """
    match variable.family.word:
        case "bernoulli" | "spin" | "relu" | "poisson" | "gamma":
            return values.unsqueeze(2)
        case "categorical":
            return torch.stack([(values == state).to(values.dtype) for state in range(variable.family.width)], dim=2)
        case "normal":
            return (values * precisions(variable, weights or {})).unsqueeze(2)
        case word:
            raise NotImplementedError(f"the oracle does not know the family {word!r}")


def precision(variable: Variable) -> float:
    """The precision of a normal variable, where it is fixed."""
    return float(variable.family.precision)  # type: ignore[attr-defined]


def bias(variable: Variable, weights: Weights) -> Tensor:
    """The bias of each site, `[sites, width]`: one a site, one for each index of the first axis, a fixed number, or nothing."""
    shape = (variable.sites, variable.family.width)
    match variable.family.bias:
        case "none":
            return torch.zeros(shape, dtype=torch.float64)
        case "site":
            return weights[f"{variable.name}.bias"].reshape(shape)
        case "channel":
            channels = weights[f"{variable.name}.bias"].reshape(-1, variable.family.width)
            each = variable.sites // channels.shape[0]
            return torch.stack([channels[site // each] for site in range(variable.sites)])
        case number:
            return torch.full(shape, float(number), dtype=torch.float64)


def energy(model: Model, weights: Weights, values: Tensor, silent: Collection[Site] = ()) -> Tensor:
    """E of each row of a table of values `[n, sites]`, in nats, `[n]`; differentiable in the weights.

    The base measure counts as energy: `beta x^2 / 2` for a normal. Silent sites send nothing: their statistic, and their base measure, count as 0.
    """
    parts = values.split([v.sites for v in model.variables], dim=1)
    statistics = statistics_of(model, values, silent, weights)
    total = torch.zeros(values.shape[0], dtype=torch.float64)
    for variable, part in zip(model.variables, parts, strict=True):
        t = statistics[variable.name]
        b = bias(variable, weights)
        for site, component in itertools.product(range(variable.sites), range(variable.family.width)):
            total = total - b[site, component] * t[:, site, component]
        if variable.family.word in UNBOUNDED:
            ear = torch.tensor([Site(variable.name, i) not in silent for i in range(variable.sites)])
            total = total - torch.where(ear, base(variable, part, precisions(variable, weights)), 0.0).sum(1)
    for edge in (e for e in model.edges if e.kind == "undirected"):
        total = total - term(model, tied_to(model, edge), edge, weights, statistics)
    return total + _directed(model, weights, values, silent, statistics)


def _directed(
    model: Model, weights: Weights, values: Tensor, silent: Collection[Site], statistics: Mapping[str, Tensor]
) -> Tensor:
    """What `->` edges add to E: their terms, and the normalisers of what they draw, unless undirected edges join it to more."""
    from tests.oracle.directed import head, log_normaliser, values_of

    total = torch.zeros(values.shape[0], dtype=torch.float64)
    arrows = [edge for edge in model.edges if edge.kind == "directed"]
    seen = values_of(model, values, silent) if arrows else {}
    for edge in arrows:
        total = total - head(model, weights, edge, seen[edge.sources[0]], statistics[edge.targets[0]])
    joined = {end for edge in model.edges if edge.kind == "undirected" for end in edge.ends}
    for name in {edge.targets[0] for edge in arrows} - joined:
        total = total + log_normaliser(model, weights, model.variable(name), values, silent)
    return total


def statistics_of(
    model: Model, values: Tensor, silent: Collection[Site] = (), weights: Weights | None = None
) -> dict[str, Tensor]:
    """The statistics `VAR` -> `[n, sites, width]` of a table of values `[n, sites]`; those of silent sites are 0."""
    found = {}
    for variable, part in zip(model.variables, values.split([v.sites for v in model.variables], dim=1), strict=True):
        heard = torch.tensor([Site(variable.name, i) not in silent for i in range(variable.sites)], dtype=values.dtype)
        found[variable.name] = statistic(variable, part, weights) * heard.unsqueeze(1)
    return found


def tied_to(model: Model, edge: Edge) -> Edge:
    """The edge whose weights and factor an edge has: itself, unless it is tied to another (or that one in turn)."""
    while edge.factor.word == "tied":
        edge = model.edge(edge.factor.to)  # type: ignore[attr-defined]
    return edge
