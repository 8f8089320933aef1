"""A schedule as data."""

from __future__ import annotations

from typing import Any

from gmc.compiler.colouring import Block
from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures.names import part_name, start_source
from gmc.compiler.pictures.pruned import idle_starts, left_out, unsent
from gmc.compiler.pictures.readings import Draw, Reading, Source, draws
from gmc.compiler.pictures.telling import schedule_text as schedule_text
from gmc.compiler.region import Region, sites_of
from gmc.compiler.schedule import Schedule, neighbours
from gmc.compiler.stationary import stationarity
from gmc.dsl.model import Clamp, Gain, Gate, Start
from gmc.dsl.vocabulary import Ramp, StartWord


def schedule_json(graph: FactorGraph, schedule: Schedule) -> dict[str, Any]:
    """The schedule as plain data. Sites are numbered row-major over the shape of their variable.

    `opening` (pass 0), `blocks` (a sweep) and `deferred` (drawn once, after the last sweep) are lists of blocks, drawn in turn. `messages` says what each draw
    reads: `pass` and `block` place it; `once` holds where all that is read is clamped; `gain` is what scales it in the first sweep and in the last, where
    its `gates` are open; `gains` are numbers of those that do so. `pruned` has what is left out.
    """
    chain = schedule.chain
    law = stationarity(graph, schedule)
    return {
        "model": graph.model.name,
        "chain": chain.name,
        "update": str(chain.rule),
        "sweeps": _ramp(chain.sweeps),
        "stationary": law.holds,
        "why": law.text,
        "variables": [
            {"name": v.name, "observed": v.observed, "family": str(v.family), "shape": list(v.shape)}
            for v in graph.variables
        ],
        "clamped": [_clamp(graph, clamp) for clamp in chain.clamps],
        "starts": [_start(start) for start in chain.starts],
        "gains": [_gain(gain) for gain in schedule.potency.gains],
        "gates": [_gate(graph, gate) for gate in schedule.gates],
        "opening": _blocks(schedule.pass_0),
        "blocks": _blocks(schedule.blocks),
        "deferred": _blocks(schedule.deferred),
        "messages": [_message(schedule, draw, r) for draw in draws(graph, schedule) for r in draw.readings],
        "pruned": {
            "messages": [
                {"edge": m.term.name, "from": list(m.senders), "to": m.receiver} for m in unsent(graph, schedule)
            ],
            "opening": list(left_out(schedule)),
            "starts": list(idle_starts(graph, schedule)),
        },
    }


def _ramp(ramp: Ramp) -> dict[str, Any]:
    return {"start": ramp.start, "end": ramp.end, "shape": ramp.shape}


def _blocks(blocks: tuple[Block, ...]) -> list[list[dict[str, Any]]]:
    return [[_region(region) for region in block] for block in blocks]


def _region(region: Region) -> dict[str, Any]:
    return {"variable": region.name, "part": part_name(region), "sites": region.sites.tolist()}


def _clamp(graph: FactorGraph, clamp: Clamp) -> dict[str, Any]:
    variable = graph.model.variable(clamp.variable)
    region = Region(variable, sites_of(variable, clamp.part))
    kind = "chain" if clamp.chain is not None else "data" if clamp.constant is None else "constant"
    value = clamp.chain if clamp.chain is not None else clamp.constant
    return {**_region(region), "from": kind, "value": value, "where_observed": clamp.observed}


def _start(start: Start) -> dict[str, Any]:
    kept = isinstance(start.source, StartWord) and start.source.keeps
    return {"variables": list(start.variables), "from": start_source(start), "kept": kept}


def _gain(gain: Gain) -> dict[str, Any]:
    unless = None if gain.unless is None else str(gain.unless)
    sender = {"variable": gain.variable, "target": gain.target, "edge": gain.edge}
    return {**sender, **_ramp(gain.value), "unless": unless}


def _gate(graph: FactorGraph, gate: Gate) -> dict[str, Any]:
    """A gate, and the variables that it looks at as a sweep starts."""
    looked = {gate.condition.of, *neighbours(graph, gate.condition.of)}
    return {
        "test": str(gate),
        "measure": gate.measure,
        "threshold": gate.threshold,
        "reads": [v.name for v in graph.variables if v.name in looked],
    }


def _message(schedule: Schedule, draw: Draw, reading: Reading) -> dict[str, Any]:
    ends = (0.0, 1.0) if draw.progress is None else (draw.progress, draw.progress)
    gains = schedule.potency.gains
    return {
        "pass": draw.where,
        "block": draw.block,
        "variable": draw.region.name,
        "edge": reading.term.name,
        "reads": [_source(source) for source in reading.sources],
        "once": reading.once,
        "gain": [reading.strength.at(end) for end in ends],
        "gains": [gains.index(gain) for gain in reading.strength.gains],
        "gates": [str(gate) for gate in reading.strength.gates],
    }


def _source(source: Source) -> dict[str, Any]:
    return {**_region(source.region), "clamped": source.kind == "clamped", "held": source.kind == "held"}
