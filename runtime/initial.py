"""First values of the parameters."""

from __future__ import annotations

from functools import partial
from math import prod

import torch
from torch import Tensor

from gmc.compiler.draws import gaussian, row_keys
from gmc.compiler.graph import FactorGraph, bias_shape, family, head_bias, site_shape
from gmc.compiler.proper import build_proper
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Variable
from gmc.runtime import run_errors
from gmc.runtime.examples import Examples


def initial_parameters(graph: FactorGraph, seed: int, data: Examples | None) -> dict[str, Tensor]:
    """Weights as their factors say, biases of observed variables at the data's mean, their families' own parameters by its variance; float64.

    A variable's bias is the field at which its mean is that of the training rows that have a value (for a Bernoulli the logit, kept within 0.001 of
    the ends), so that a model without weights already has the right means. Latent variables, and those of which no row has anything, begin where their
    family rests, most of them at zero. Each array has its own stream of the seed. Where values are unbounded all is changed as `gmc.compiler.proper` has
    it, so that there is a law.

    Raises:
        GmcError: couplings that are fixed leave none.
    """
    values: dict[str, Tensor] = {}
    for variable in graph.variables:
        shape, kind = bias_shape(variable), family(variable)
        known = data if data is not None and variable.name in data.variables else None
        if shape is not None:
            mean = None if known is None else _known(known.mean(variable.name))
            rest = torch.full(shape, kind.rest, dtype=torch.float64)
            values[f"{variable.name}.bias"] = rest if mean is None else _bias(variable, shape, mean)
        if kind.own(variable.shape):
            variance = None if known is None else _known(known.variance(variable.name))
            own = kind.initial(variable.shape, variance)
            values |= {f"{variable.name}.{suffix}": value for suffix, value in own.items()}
    for term in graph.terms:
        if term.owner == term.name:
            first = term.factor.initial(term.ends, partial(standard_normal, seed=seed, name=term.name))
            values |= {term.parameter(suffix): value.to(torch.float64) for suffix, value in first.items()}
        if term.recognition:
            (target,) = (term.ends[slot] for slot in term.targets)
            values[head_bias(term)] = torch.full(site_shape(target), family(target).rest, dtype=torch.float64)
    found = {p.name: values[p.name] for p in graph.parameters}
    proper = build_proper(graph)
    if proper is not None:
        proper.project(found)
        if flaws := proper.check(found):
            raise GmcError([run_errors.improper(graph.model.span, None, flaws)])
    return found


def standard_normal(shape: tuple[int, ...], seed: int, name: str) -> Tensor:
    """Normal numbers of a shape from the stream of a name; the shape is part of the stream."""
    rows, columns = shape[0], prod(shape[1:])
    keys = row_keys(seed, f"initial/{name}/{shape}", torch.arange(rows))
    return gaussian(keys, 0, 0, columns, torch.float64).reshape(shape)


def _known(moment: Tensor) -> Tensor | None:
    """A moment of data on the CPU, unless no row has a value."""
    return None if bool(moment.isnan().any()) else moment.cpu()


def _bias(variable: Variable, shape: tuple[int, ...], mean: Tensor) -> Tensor:
    if variable.family.bias == "channel":
        channels = variable.shape[0] if variable.shape else 1
        mean = mean.reshape(channels, -1, variable.family.width).mean(1).flatten()
    return family(variable).bias_for(mean).reshape(shape)
