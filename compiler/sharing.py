"""Gradients by autograd: of losses in parameters of which some entries are one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gmc.compiler.graph import FactorGraph
from gmc.compiler.objective import Slope


def differentiate(
    graph: FactorGraph, params: Mapping[str, Tensor], loss: Callable[[Mapping[str, Tensor]], Tensor]
) -> Slope:
    """The value of a loss of the parameters, a scalar in nats a row, and its gradient."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    value = loss(leaves)
    if not value.requires_grad:
        return Slope(value.to(torch.float64), {})
    found: Sequence[Tensor | None] = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    slopes = {name: slope for name, slope in zip(leaves, found, strict=True) if slope is not None}
    return Slope(value.detach().to(torch.float64), shared(graph, slopes))


def shared(graph: FactorGraph, slopes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Autograd sees every entry of a weight as a number of its own; factors know which entries are one."""
    found = dict(slopes)
    for term in graph.terms:
        names = {suffix: term.parameter(suffix) for suffix in term.factor.parameters(term.ends)}
        if term.owner == term.name and all(name in slopes for name in names.values()):
            own = term.factor.shared(term.ends, {suffix: slopes[name] for suffix, name in names.items()})
            found |= {names[suffix]: value for suffix, value in own.items()}
    return found
