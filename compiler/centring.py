"""Centred coordinates: what a step holds still where it moves the weights.

A pair term f(T_a, T_b; theta) gives both ends a field even where their neighbour stands at its mean, so that a step of theta moves biases too, and the gradients of
both fight. In the centred coordinates (theta, b_c) this part belongs to the bias,

    b_c,a = b_a + sum over the pair terms of a of df/dT_a at (T_b = mu_b; theta),

with an offset mu_b near the mean of T_b. The law is that of theta and b whatever the offsets are; only the direction of descent changes. By the chain rule

    dL/db_c = dL/db,    dL/dtheta at b_c = dL/dtheta at b - d/dtheta sum over terms of [f(g_a, mu_b; theta) + f(mu_a, g_b; theta)],    g = dL/db,

which for f = T_a' W T_b is the covariance-like <(T_a - mu_a)(T_b - mu_b)'> of both phases (Montavon and Mueller, 2012; Melchior, Fischer and Wiskott, 2016).

A bias that all sites of a channel share takes the mean of the field over them, which is as good a coordinate: exact wherever the field is the same at all of them. A
variable without a learned bias takes nothing, so that its neighbours are not centred in what they send it; nor are terms of third order, whose centred form has pairs that the
model does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from gmc.compiler.emitter import Emitter
from gmc.compiler.fields import emit_sent, parameters
from gmc.compiler.graph import FactorGraph, Term, bias_shape
from gmc.compiler.passes import DEFAULT, run_passes
from gmc.compiler.region import Piece, Region
from gmc.dsl.model import Variable


@dataclass(frozen=True, slots=True, eq=False)
class Centring:
    """The graphs of a model's centred coordinates, of one row each.

    `shift` takes the weights and `offset.VAR` `[1, size]` and gives b_c - b in the shapes of the biases, by the bias' name. `correction` takes `slope.VAR` too, dL/db in the bias'
    shape, and gives what the gradient of each weight loses. `statistics` takes `state.VAR` `[1, size]` and gives their statistics.
    """

    shift: fx.GraphModule
    correction: fx.GraphModule
    statistics: fx.GraphModule
    biased: tuple[Variable, ...]
    """The variables whose biases take a shift."""

    def to(self, device: torch.device) -> None:
        """Moves the graphs' constants."""
        for module in (self.shift, self.correction, self.statistics):
            module.to(device)


def build_centring(graph: FactorGraph) -> Centring:
    """The centred coordinates of a graph."""
    pairs = [t for t in graph.terms if not t.targets and len(t.ends) == 2 and all(end.size for end in t.ends)]
    joined = {end.name for term in pairs for end in term.ends}
    biased = tuple(v for v in graph.variables if v.name in joined and bias_shape(v) is not None)
    names = frozenset(v.name for v in biased)
    shift, correction = _shift(pairs, names), _correction(pairs, names)
    return Centring(
        run_passes(shift, DEFAULT), run_passes(correction, DEFAULT), run_passes(_statistics(graph), DEFAULT), biased
    )


def _shift(pairs: list[Term], biased: frozenset[str]) -> fx.GraphModule:
    g = Emitter()
    found: dict[str, Any] = {}
    for term in pairs:
        with g.at(term.edge.span):
            for slot in (1,) if term.edge.lateral else (0, 1):
                target, other = term.ends[slot], term.ends[1 - slot]
                if target.name not in biased:
                    continue
                piece = Piece(_offset(g, other), Region.whole_of(other))
                sent = {1 - slot: piece}
                field = term.factor.field(g, parameters(g, term), term.ends, sent, Region.whole_of(target), slot)
                name, share = f"{target.name}.bias", _gathered(target, field)
                found[name] = found[name] + share if name in found else share
    return g.module(found, "Shift")


def _correction(pairs: list[Term], biased: frozenset[str]) -> fx.GraphModule:
    """By the terms' own gradients at one row, in which the slope stands for the statistic of an end: they are linear in each end."""
    g = Emitter()
    found: dict[str, Any] = {}
    for term in pairs:
        with g.at(term.edge.span):
            for slot in (0, 1):
                target, other = term.ends[slot], term.ends[1 - slot]
                if target.name not in biased:
                    continue
                row = _spread(target, g.input(f"slope.{target.name}", fixed=True)), _offset(g, other)
                values = row if slot == 0 else row[::-1]
                for suffix, value in term.factor.gradient(g, parameters(g, term), term.ends, values).items():
                    name = term.parameter(suffix)
                    found[name] = found[name] + value if name in found else value
    return g.module(found, "Correction")


def _statistics(graph: FactorGraph) -> fx.GraphModule:
    g = Emitter()
    states = {v.name: Piece(g.input(f"state.{v.name}", fixed=True), Region.whole_of(v)) for v in graph.variables}
    return g.module({name: emit_sent(g, piece).value for name, piece in states.items()}, "Statistics")


def _offset(g: Emitter, variable: Variable) -> Any:
    return g.input(f"offset.{variable.name}", fixed=True)


def _gathered(variable: Variable, field: Any) -> Any:
    """A field of all sites, `[1, size]`, in the shape of the bias: its mean over the sites that share one."""
    shape = bias_shape(variable)
    assert shape is not None
    if variable.family.bias == "channel":
        channels, width = _channels(variable), variable.family.width
        return field.reshape(channels, -1, width).mean(1).reshape(shape)
    return field.reshape(shape)


def _spread(variable: Variable, slope: Any) -> Any:
    """The transpose of `_gathered`."""
    if variable.family.bias == "channel":
        channels, width = _channels(variable), variable.family.width
        shared = variable.size // (channels * width)
        return (slope.reshape(channels, 1, width) / shared).expand(-1, shared, -1).reshape(1, variable.size)
    return slope.reshape(1, variable.size)


def _channels(variable: Variable) -> int:
    return variable.shape[0] if variable.shape else 1
