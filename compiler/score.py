"""What a temperature scales in a chain's graphs.

At inverse temperature b the law of the free sites is proportional to

    exp(b score(x) + <rest, T(x)> + base measures),    score = sum <bias - rest, T> + sum f(T),

so that every field is (1 - b) rest + b (bias + messages) with the base measure whole. `rest` is the family's field at rest: 0, or, where a field of 0 leaves no law, as for a gamma, one that does. Biases are
scaled along with the edges: in trained models they hold weights in balance, and a model of which edges alone were weakened would be all off. At b = 0 the sites are independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any

from gmc.compiler.emitter import Emitter
from gmc.compiler.family import Expr
from gmc.compiler.fields import emit_field, emit_sent
from gmc.compiler.gains import Scale
from gmc.compiler.graph import FactorGraph, family
from gmc.compiler.holding import Holding
from gmc.compiler.region import Piece, Region
from gmc.compiler.schedule import Schedule


def cooled(region: Region, eta: Expr, beta: Expr) -> Expr:
    """Fields at an inverse temperature."""
    rest = _rest(region)
    return eta * beta if rest == 0.0 else eta * beta + (1.0 - beta) * rest


def emit_score(
    g: Emitter, graph: FactorGraph, schedule: Schedule, holding: Holding, state: Mapping[str, Piece], scale: Scale
) -> Any:
    """The part of minus the energy that temperatures scale, `[chains]`, but for what clamped sites have among themselves.

    The regions of a sweep are added one by one: each has its field from what is clamped and from those before it, so that every term counts once, at the last of its ends.
    """
    known = holding.clamped(g)
    parts = []
    for region in parted(schedule):
        eta = emit_field(g, graph, region, known, scale)
        piece = Piece(g.assemble([state[region.name]], region), region)
        sent = emit_sent(g, piece)
        with g.at(region.variable.span):
            rest = _rest(region)
            parts.append(((eta if rest == 0.0 else eta - rest) * sent.value).sum(1))
        known.setdefault(region.name, []).append(piece)
    return reduce(add, parts) if parts else g.input("blank", fixed=True)[:, 0]


def parted(schedule: Schedule) -> list[Region]:
    """The sites that sweeps draw, each in one region; no two of a region meet."""
    left = dict(schedule.active)
    found = []
    for region in (r for block in schedule.blocks for r in block):
        rest = left[region.name]
        here = rest.without(rest.without(region))
        if here.sites.size:
            found.append(here)
            left[region.name] = rest.without(here)
    return found


def _rest(region: Region) -> float:
    return family(region.variable).rest
