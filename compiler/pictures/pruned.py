"""What a schedule leaves out: messages that are never sent, draws and starts that nothing would read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.pictures.readings import draws
from gmc.compiler.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Unsent:
    """A message that is never sent: along a term, from all its other ends."""

    term: Term
    senders: tuple[str, ...]
    receiver: str

    def __str__(self) -> str:
        return f"{' * '.join(self.senders)} \N{RIGHTWARDS ARROW} {self.receiver}"


def unsent(graph: FactorGraph, schedule: Schedule) -> Iterator[Unsent]:
    """The messages of gain 0 that some draw would read."""
    for receiver in graph.variables:
        for term, slot in graph.touching(receiver.name):
            heard = schedule.potency.heard(term, slot) and receiver.name in schedule.free
            if heard and schedule.potency.muted(term, slot):
                senders = tuple(end.name for n, end in enumerate(term.ends) if n != slot)
                yield Unsent(term, senders, receiver.name)


def left_out(schedule: Schedule) -> tuple[str, ...]:
    """The variables that pass 0 need not draw, since they are drawn again before anything reads them."""
    drawn = {region.name for block in schedule.pass_0 for region in block}
    whole = (region.name for block in schedule.opening for region in block)
    return tuple(dict.fromkeys(name for name in whole if name not in drawn))


def idle_starts(graph: FactorGraph, schedule: Schedule) -> tuple[str, ...]:
    """The variables that a start supplies although they are drawn before anything reads them."""
    sweeps = schedule.chain.sweeps
    if sweeps.constant and not sweeps.end:
        return ()
    read = set(schedule.read)
    for draw in draws(graph, schedule):
        if draw.where == "opening":
            read |= {source.region.name for reading in draw.readings for source in reading.sources}
    return tuple(name for name in schedule.supplied if name not in read)
