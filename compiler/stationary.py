"""Whether the sweeps of a chain leave the law of a known energy as it is.

Gibbs sampling of the joint does, if what directed edges draw is drawn after what it comes from. It still does where the gains of a chain only rescale terms of the energy: a gain on a whole edge scales its term, and a gain on messages out of clamped sites scales
what the free ones see of these. Where one of two free ends hears less of the other than the other hears of it, where a gain runs over the sweeps or hangs on a
gate, no energy is known of which the sweeps would leave the law as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from gmc.compiler.colouring import meet
from gmc.compiler.factor import Complete
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.schedule import Schedule
from gmc.dsl.model import Gain
from gmc.dsl.source import Span


@dataclass(frozen=True, slots=True)
class Stationarity:
    """Whether a chain has a stationary energy, why in words, and, where it has none, the item of the chain that is to blame."""

    holds: bool
    text: str
    span: Span | None = None


def stationarity(graph: FactorGraph, schedule: Schedule) -> Stationarity:
    """Decides it from the gains of the messages between free sites, and into them."""
    chain = schedule.chain
    if chain.update != "sample":
        what = "mean field draws" if chain.update == "mean" else "iterated conditional modes draw"
        return Stationarity(False, f"no stationary law: {what} nothing")
    if not schedule.free:
        return Stationarity(True, "nothing is drawn: everything is clamped")
    for span, why in (*_departures(graph, schedule), *_disturbances(graph, schedule)):
        return Stationarity(False, f"no stationary energy: {why}", span)
    scaled = [_text(gain) for n, gain in enumerate(chain.gains) if _matters(graph, schedule, n)]
    text = f"stationary energy: that of the model{', with ' if scaled else ''}{' and '.join(scaled)}"
    return Stationarity(True, f"{text}, given what is clamped" if schedule.clamped or schedule.masked else text)


def is_model_law(graph: FactorGraph, schedule: Schedule) -> bool:
    """Whether no gain other than 1 reaches a free site, so that the chain's law, if it has one, is the model's own given what is clamped."""
    return not any(_matters(graph, schedule, n) for n in range(len(schedule.chain.gains)))


def _departures(graph: FactorGraph, schedule: Schedule) -> Iterator[tuple[Span, str]]:
    """The edges along which draws do not follow the joint, and why."""
    for name, edge in schedule.potency.kernels.items():
        yield graph.term(edge).edge.span, f"{name} is drawn by {edge}, which is no part of the joint"
    last = {v.name: np.full(v.sites, -1) for v in graph.variables}
    for number, block in enumerate((*schedule.blocks, *schedule.deferred)):
        for region in block:
            last[region.name][region.sites] = number
    normalised = {v.name for v in graph.normalised}
    for term in (t for t in graph.terms if t.edge.kind == "directed"):
        for source, target in product(term.edge.sources, term.edge.targets):
            if source not in schedule.free or target not in schedule.free:
                continue
            if target not in normalised:
                why = f"{target} is drawn from {source} together with what it is joined to, by a law whose normaliser changes with {source}"
                yield term.edge.span, why
            elif last[target][schedule.free[target].sites].min() <= last[source][schedule.free[source].sites].max():
                yield term.edge.span, f"{target} is drawn before {source}, from which it comes, is drawn again"


def _disturbances(graph: FactorGraph, schedule: Schedule) -> Iterator[tuple[Span, str]]:
    """The gains that leave no stationary energy, and why."""
    potency = schedule.potency
    for term in graph.terms:
        for free in _patterns(term, schedule):
            heard = _heard(term, free, schedule)
            for slot in heard:
                for n in potency.on(term, slot):
                    gain = potency.gains[n]
                    if gain.unless is not None:
                        yield (
                            gain.span,
                            f"what {gain.variable} sends hangs on {gain.unless}, which changes from sweep to sweep",
                        )
                    elif not gain.value.constant:
                        yield gain.span, f"the gain of {gain.edge or gain.variable} runs over the sweeps"
            strength = {slot: potency.first(term, slot) or 0.0 for slot in heard}
            if len(set(strength.values())) > 1:
                weak = min(heard, key=lambda slot: strength[slot])
                blamed = next(potency.gains[n] for n in potency.on(term, weak) if potency.gains[n].edge is None)
                others = [term.ends[slot].name for slot in heard if slot != weak]
                heard_of = " and ".join(dict.fromkeys(others))
                loud = max(strength.values())
                why = f"{term.ends[weak].name} hears {heard_of} along {term.name} at {strength[weak]:g}, and is heard at {loud:g}"
                yield blamed.span, why


def _heard(term: Term, free: tuple[bool, ...], schedule: Schedule) -> list[int]:
    """The ends, of those that are free, that read a term where no gain silences it."""
    return [slot for slot, is_free in enumerate(free) if is_free and schedule.potency.heard(term, slot)]


def _patterns(term: Term, schedule: Schedule) -> Iterator[tuple[bool, ...]]:
    """Which ends of a term may be free at once: each end has free sites, clamped ones, or both. Sites that rows may clamp are free in some."""
    ways = []
    for end in term.ends:
        here = [True] if end.name in schedule.free else []
        held = end.name in schedule.clamped or end.name in schedule.masked
        ways.append([*here, *([False] if held else [])])
    structure = term.factor.structure(term.ends)
    for free in product(*ways):
        if not any(free):
            continue
        if isinstance(structure, Complete) or sum(free) < 2 or _any_pair(term, schedule):
            yield free


def _any_pair(term: Term, schedule: Schedule) -> bool:
    """Whether two free sites meet along a term of pairs."""
    first, second = (schedule.free[end.name] for end in term.ends)
    return meet(term, 0, 1, first, second)


def _matters(graph: FactorGraph, schedule: Schedule, number: int) -> bool:
    """Whether a gain other than 1 scales a message that a free site hears."""
    gain = schedule.chain.gains[number]
    if gain.value.constant and gain.value.start == 1.0:
        return False
    return any(
        number in schedule.potency.on(term, slot)
        for term in graph.terms
        for free in _patterns(term, schedule)
        for slot in _heard(term, free, schedule)
    )


def _text(gain: Gain) -> str:
    if gain.edge is not None:
        return f"the term of {gain.edge} times {gain.value}"
    target = f" into {gain.target}" if gain.target is not None else ""
    return f"what {gain.variable} sends{target} times {gain.value}"
