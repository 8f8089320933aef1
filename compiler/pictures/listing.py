"""A schedule as data and as text."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from gmc.compiler.colouring import Block
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
from gmc.compiler.pictures.readings import Draw, Reading, draws
from gmc.compiler.pictures.timeline import fold
from gmc.compiler.region import Region, sites_of
from gmc.compiler.schedule import Schedule
from gmc.dsl.model import Clamp
from gmc.dsl.vocabulary import StartWord


def schedule_json(graph: FactorGraph, schedule: Schedule) -> dict[str, Any]:
    """The schedule as plain data. Sites are numbered row-major over the shape of their variable.

    `opening` (pass 0) and `blocks` (a sweep) are lists of blocks; `deferred` is drawn once, after the last sweep. `messages` says what each draw reads: `pass` and
    `block` place it; `once` holds where all that is read is clamped.
    """
    chain = schedule.chain
    return {
        "model": graph.model.name,
        "chain": chain.name,
        "update": chain.update,
        "sweeps": {"start": chain.sweeps.start, "end": chain.sweeps.end, "shape": chain.sweeps.shape},
        "variables": [
            {"name": v.name, "observed": v.observed, "family": str(v.family), "shape": list(v.shape)}
            for v in graph.variables
        ],
        "clamped": [_clamp(graph, clamp) for clamp in chain.clamps],
        "starts": [
            {
                "variables": list(start.variables),
                "from": start_source(start),
                "kept": isinstance(start.source, StartWord) and start.source.keeps,
            }
            for start in chain.starts
        ],
        "opening": [_block(block) for block in schedule.pass_0],
        "blocks": [_block(block) for block in schedule.blocks],
        "deferred": _block(schedule.deferred),
        "messages": [_message(draw, reading) for draw in draws(graph, schedule) for reading in draw.readings],
    }


def _block(block: Block) -> list[dict[str, Any]]:
    return [_region(region) for region in block]


def _region(region: Region) -> dict[str, Any]:
    return {"variable": region.name, "part": part_name(region), "sites": region.sites.tolist()}


def _clamp(graph: FactorGraph, clamp: Clamp) -> dict[str, Any]:
    kind = "chain" if clamp.chain is not None else "data" if clamp.constant is None else "constant"
    value = clamp.chain if clamp.chain is not None else clamp.constant
    return {**_region(_clamped(graph, clamp)), "from": kind, "value": value}


def _clamped(graph: FactorGraph, clamp: Clamp) -> Region:
    variable = graph.model.variable(clamp.variable)
    return Region(variable, sites_of(variable, clamp.part))


def _message(draw: Draw, reading: Reading) -> dict[str, Any]:
    return {
        "pass": draw.where,
        "block": draw.block,
        "variable": draw.region.name,
        "edge": reading.term.name,
        "reads": [{**_region(part), "clamped": fixed} for part, fixed in reading.sources],
        "once": reading.once,
    }


_HEADS = {"opening": "pass 0", "sweep": "sweep", "deferred": "after"}


def schedule_text(graph: FactorGraph, schedule: Schedule) -> str:
    """The schedule for a terminal, a line a draw; ends with a newline."""
    chain = schedule.chain
    lines = [f"chain {chain.name} of {graph.model.name}: {sweeps_text(chain.sweeps)}, update {chain.update}"]
    for clamp in chain.clamps:
        region = _clamped(graph, clamp)
        source = clamp_source(clamp) if clamp.constant is not None else f"from {clamp_source(clamp)}"
        lines.append(_line("clamp", part_name(region), f"{source}; {type_text(region.variable)}, {count_text(region)}"))
    lines += [_line("start", ", ".join(start.variables), f"from {start_source(start)}") for start in chain.starts]
    for where, found in groupby(draws(graph, schedule), key=lambda draw: draw.where):
        if where == "deferred" and not schedule.blocks:
            lines.append(_line("sweep", "nothing", "no free site has a free neighbour"))
        blocks = [tuple(block) for _, block in groupby(found, key=lambda draw: draw.block)]
        lines += _pass(_HEADS[where], blocks)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _line(head: str, what: str, rest: str) -> str:
    return f"  {head:<8} {what:<24} {rest}"


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
    texts = [_reading(reading, len(found) > 1) for draw in found for reading in draw.readings]
    return f"reads {', '.join(dict.fromkeys(texts))}" if texts else "at its bias"


def _reading(reading: Reading, folded: bool) -> str:
    parts = [part.name if folded else part_name(part) for part, _ in reading.sources]
    return f"{' * '.join(parts)}{' (once)' if reading.once else ''}"
