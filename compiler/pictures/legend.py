"""What stands above the picture of a schedule: the chain, whether its energy is stationary, what the signs mean, what is not drawn."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures import style
from gmc.compiler.pictures.looks import LOCK, PARTLY
from gmc.compiler.pictures.names import gain_text, sweeps_text
from gmc.compiler.pictures.pruned import idle_starts, left_out, unsent
from gmc.compiler.pictures.timeline import Timeline
from gmc.compiler.schedule import Schedule
from gmc.compiler.stationary import stationarity

DOT = "  \N{MIDDLE DOT}  "
LETTER = 4.9
"""The width of a letter of 10 points, in points, generously."""
LEAST = 420.0
"""The width that lines of text may always have."""


def title(graph: FactorGraph, schedule: Schedule, timeline: Timeline, width: float) -> str:
    """HTML-like markup, in lines no longer than a picture of that width, in points."""
    head = f'<font point-size="18">{style.bold(f"chain {schedule.chain.name}")}</font>  {style.soft(f"of model {graph.model.name}", 14)}'
    room = max(width, LEAST)
    lines = [head]
    for said, points in (
        (_facts(schedule, timeline), 12),
        ([stationarity(graph, schedule).text], 12),
        (_signs(schedule, timeline), 10),
        (list(_absent(graph, schedule)), 10),
    ):
        lines += [style.soft(line, points) for line in _filled(said, int(room / (LETTER * points / 10)))]
    return "".join(f'{line}<br align="left"/>' for line in [*lines, style.soft(" ", 8)])


def _filled(said: list[str], room: int) -> list[str]:
    """Facts in lines of at most `room` letters, none broken but one that is itself longer."""
    lines: list[str] = []
    for fact in said:
        if lines and len(lines[-1]) + len(DOT) + len(fact) <= room:
            lines[-1] += DOT + fact
        else:
            lines += wrap(fact, room)
    return lines


def _facts(schedule: Schedule, timeline: Timeline) -> list[str]:
    chain = schedule.chain
    update = f"update {chain.rule} ({chain.rule.title})"
    if not schedule.blocks:
        return [update, "nothing to sweep: each draw reads only what is drawn before it", *map(gain_text, chain.gains)]
    sources = dict.fromkeys(n.source for n in timeline.nodes if n.phase == "start")
    starts = [f"{', '.join(_started(timeline, source))} from {source}" for source in sources]
    begin = f"starts: {'; '.join(starts)}" if starts else "starts with pass 0" if schedule.pass_0 else ""
    return [update, sweeps_text(chain.sweeps), *([begin] if begin else []), *map(gain_text, chain.gains)]


def _started(timeline: Timeline, source: str) -> list[str]:
    return [n.region.name for n in timeline.nodes if n.phase == "start" and n.source == source]


def _signs(schedule: Schedule, timeline: Timeline) -> list[str]:
    """What the signs mean, those that occur."""
    messages = timeline.messages
    phases = {node.phase for node in timeline.nodes}
    signs = {
        "column: drawn at once": True,
        "arrow: a message": bool(messages),
        f"{LOCK} grey: clamped, never drawn": "clamped" in phases,
        f"{PARTLY} half grey: held where a row has a value, drawn elsewhere": any(node.held for node in timeline.nodes),
        "dashed border: a start": "start" in phases,
        "small grey box, thin arrows: computed once a run, read in each sweep": "once" in phases,
        "weight of an arrow and its number: the gain": any(m.gain for m in messages),
        "diamond: a gate, which looks at what the thin lines bring as a sweep starts": "gate" in phases,
        "dashed arrow: sent where the gate is open": any(m.gates for m in messages),
        "three borders: blocks drawn one after another": any(node.folded for node in timeline.nodes),
        "small square: product of what it joins": any(m.joined and not m.gates for m in messages),
    }
    return [sign for sign, occurs in signs.items() if occurs]


def _absent(graph: FactorGraph, schedule: Schedule) -> Iterator[str]:
    """What is not drawn, in either sense."""
    silent = [str(message) for message in unsent(graph, schedule)]
    if silent:
        yield f"gain 0, never sent: {', '.join(silent)}"
    idle = [f"{name} in pass 0" for name in left_out(schedule)]
    idle += [f"the start of {name}" for name in idle_starts(graph, schedule)]
    if idle:
        yield f"left out, since nothing reads it before it is drawn again: {', '.join(idle)}"
