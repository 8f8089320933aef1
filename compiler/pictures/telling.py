"""A schedule as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures.names import (
    blocks_text,
    clamp_source,
    count_text,
    part_name,
    start_source,
    sweeps_text,
    type_text,
)
from gmc.compiler.pictures.pruned import idle_starts, left_out, unsent
from gmc.compiler.pictures.readings import Draw, Reading, draws
from gmc.compiler.pictures.timeline import fold
from gmc.compiler.region import Region, sites_of
from gmc.compiler.schedule import Schedule, neighbours
from gmc.compiler.stationary import stationarity
from gmc.compiler.tempering import tempering
from gmc.dsl.model import Chain, Clamp, Gain

_HEADS = {"opening": "pass 0", "sweep": "sweep", "deferred": "after"}


def schedule_text(graph: FactorGraph, schedule: Schedule) -> str:
    """The schedule for a terminal, a line a draw; ends with a newline."""
    chain = schedule.chain
    most = "at most " if chain.rule.stops else ""
    lines = [f"chain {chain.name} of {graph.model.name}: {most}{sweeps_text(chain.sweeps)}, update {chain.rule}"]
    lines.append(f"  {'law':<8} {stationarity(graph, schedule).text}")
    lines += [_clamp(graph, clamp) for clamp in chain.clamps]
    lines += [_line("start", ", ".join(start.variables), f"from {start_source(start)}") for start in chain.starts]
    lines += _tempered(chain)
    lines += [_gain(gain) for gain in chain.gains]
    for gate in schedule.gates:
        looked = {gate.condition.of, *neighbours(graph, gate.condition.of)}
        names = ", ".join(v.name for v in graph.variables if v.name in looked)
        lines.append(_line("gate", str(gate), f"reads {names} as a sweep starts, each chain for itself"))
    for where, found in groupby(draws(graph, schedule), key=lambda draw: draw.where):
        if where == "deferred" and not schedule.blocks:
            lines.append(_line("sweep", "nothing", "each draw reads only what is drawn before it"))
        blocks = [tuple(block) for _, block in groupby(found, key=lambda draw: draw.block)]
        lines += _pass(_HEADS[where], blocks)
    lines += _pruned(graph, schedule)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _line(head: str, what: str, rest: str) -> str:
    return f"  {head:<8} {what:<24} {rest}"


def _clamp(graph: FactorGraph, clamp: Clamp) -> str:
    variable = graph.model.variable(clamp.variable)
    region = Region(variable, sites_of(variable, clamp.part))
    source = clamp_source(clamp) if clamp.constant is not None else f"from {clamp_source(clamp)}"
    drawn = ", the rest is drawn" if clamp.observed else ""
    return _line("clamp", part_name(region), f"{source}{drawn}; {type_text(variable)}, {count_text(region)}")


def _tempered(chain: Chain) -> list[str]:
    """How temperatures move a chain, if they do."""
    start = tempering(chain)
    if start is None:
        return []
    what = f"{start.temperatures} from {start.least:g} to 1"
    how = "neighbours exchange states before each sweep" if start.exchanges else "led up and down before each sweep"
    return [_line("tempered", what, f"inverse temperatures; {how}")]


def _gain(gain: Gain) -> str:
    what = gain.edge or (gain.variable if gain.target is None else f"{gain.variable} -> {gain.target}") or ""
    unless = "" if gain.unless is None else f" unless {gain.unless}"
    if gain.value.constant and not gain.value.start:
        return _line("impotent", what, ("sends nothing" if gain.edge is None else "the term is left out") + unless)
    runs = "" if gain.value.constant else " over the sweeps"
    means = "the term" if gain.edge is not None else "what it sends"
    return _line("potent", what, f"{means} times {gain.value}{runs}{unless}")


def _pass(head: str, blocks: list[tuple[Draw, ...]]) -> list[str]:
    lines: list[str] = []
    first = 0
    for run in fold([tuple(draw.region for draw in block) for block in blocks]):
        last = first + len(run)
        number = f"{first + 1}." if len(run) == 1 else f"{first + 1}-{last}."
        of: dict[str, list[Draw]] = {}
        for draw in (draw for block in blocks[first:last] for draw in block):
            of.setdefault(draw.region.name, []).append(draw)
        for name, found in of.items():
            what = part_name(found[0].region) if len(found) == 1 else name
            told = [] if len(found) == 1 else [blocks_text([int(draw.region.sites.size) for draw in found])]
            text = "; ".join([*told, _read(found)])
            lines.append(_line(head if not lines else "", f"{number:<5} {what}", text))
            number = ""
        first = last
    return lines


def _read(found: list[Draw]) -> str:
    texts = [_reading(draw, reading, len(found) > 1) for draw in found for reading in draw.readings]
    return f"reads {', '.join(dict.fromkeys(texts))}" if texts else "at its bias"


def _reading(draw: Draw, reading: Reading, folded: bool) -> str:
    parts = [s.region.name if folded else part_name(s.region) for s in reading.sources]
    gain = reading.strength.text(draw.progress)
    notes = [
        *(["what is observed"] if any(s.kind == "held" for s in reading.sources) else []),
        *(["once"] if reading.once else []),
        *([f"times {gain}"] if gain else []),
        *(f"if {gate}" for gate in reading.strength.gates),
    ]
    return " * ".join(parts) + (f" ({', '.join(notes)})" if notes else "")


def _pruned(graph: FactorGraph, schedule: Schedule) -> Iterator[str]:
    for message in unsent(graph, schedule):
        what = f"{' * '.join(message.senders)} -> {message.receiver}"
        yield _line("left out", what, f"gain 0: never sent along {message.term.name}")
    for name in left_out(schedule):
        yield _line("left out", f"{name} in pass 0", "drawn again before anything reads it")
    for name in idle_starts(graph, schedule):
        yield _line("left out", f"start of {name}", "drawn again before anything reads it")
