"""First values of the parameters."""

from __future__ import annotations

from functools import partial
from math import prod

import torch
from torch import Tensor

from gmc.compiler.draws import gaussian, row_keys
from gmc.compiler.graph import FactorGraph, bias_shape, family
from gmc.dsl.model import Variable
from gmc.runtime.examples import Examples


def initial_parameters(graph: FactorGraph, seed: int, data: Examples | None) -> dict[str, Tensor]:
    """Weights as their factors say, biases of observed variables at the data's mean, the others zero; float64.

    A variable's bias is the field at which its mean is that of the training rows (for a Bernoulli the logit, kept within 0.001 of the ends), so
    that a model without weights already has the right means. Each array has its own stream of the seed.
    """
    values: dict[str, Tensor] = {}
    for variable in graph.variables:
        shape = bias_shape(variable)
        if shape is not None:
            known = data is not None and variable.name in data.variables
            values[f"{variable.name}.bias"] = (
                _bias(variable, shape, data.mean(variable.name))
                if known and data is not None
                else torch.zeros(shape, dtype=torch.float64)
            )
    for term in graph.terms:
        if term.owner == term.name:
            first = term.factor.initial(term.ends, partial(standard_normal, seed=seed, name=term.name))
            values |= {term.parameter(suffix): value.to(torch.float64) for suffix, value in first.items()}
    return {p.name: values[p.name] for p in graph.parameters}


def standard_normal(shape: tuple[int, ...], seed: int, name: str) -> Tensor:
    """Normal numbers of a shape from the stream of a name; the shape is part of the stream."""
    rows, columns = shape[0], prod(shape[1:])
    keys = row_keys(seed, f"initial/{name}/{shape}", torch.arange(rows))
    return gaussian(keys, 0, 0, columns, torch.float64).reshape(shape)


def _bias(variable: Variable, shape: tuple[int, ...], mean: Tensor) -> Tensor:
    if variable.family.bias == "channel":
        channels = variable.shape[0] if variable.shape else 1
        mean = mean.reshape(channels, -1, variable.family.width).mean(1).flatten()
    return family(variable).bias_for(mean.cpu()).reshape(shape)
