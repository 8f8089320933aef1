"""How strong each message of a chain is: the gains that scale it, and which messages are never sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gmc.compiler.graph import FactorGraph, Term
from gmc.dsl.model import Gain

Scale = Callable[[Term, int], Any]
"""What scales the message of a term into one of its ends: a number, an expression `[]` or `[chains, 1]`, or None where nothing is sent."""


def full(term: Term, slot: int) -> float | None:
    """The scale of a joint that is left as it is."""
    return 1.0 if term.into(slot) else None


@dataclass(frozen=True, slots=True)
class Potency:
    """Which messages a chain's draws read, and how strong they are.

    A message goes along a term into the end `slot`, from all its other ends; `gains` on one message multiply. `kernels` are the recognition edges by the variables that
    they draw: such a draw reads that edge alone, any other what the joint sends it.
    """

    gains: tuple[Gain, ...] = ()
    kernels: Mapping[str, str] = field(default_factory=dict)

    def heard(self, term: Term, slot: int) -> bool:
        """Whether the draw of an end reads a term, if no gain silences it."""
        kernel = self.kernels.get(term.ends[slot].name)
        return term.into(slot) if kernel is None else kernel == term.name

    def on(self, term: Term, slot: int) -> tuple[int, ...]:
        """The numbers of the gains that scale a message."""
        receiver = term.ends[slot].name
        senders = {end.name for n, end in enumerate(term.ends) if n != slot}
        return tuple(
            n
            for n, gain in enumerate(self.gains)
            if gain.edge == term.name or (gain.variable in senders and gain.target in (None, receiver))
        )

    def silent(self, term: Term, slot: int) -> bool:
        """Whether a message is never sent."""
        return not self.heard(term, slot) or self.muted(term, slot)

    def muted(self, term: Term, slot: int) -> bool:
        """Whether a gain lets a message never through."""
        found = (self.gains[n] for n in self.on(term, slot))
        return any(gain.unless is None and gain.value.constant and gain.value.start == 0.0 for gain in found)

    def silent_at_first(self, term: Term, slot: int) -> bool:
        """Whether a message is not sent in pass 0, where ramps stand at their start and gates are closed."""
        return self.first(term, slot) is None

    def meet(self, term: Term, a: int, b: int) -> bool:
        """Whether one of two ends of a term reads the other."""
        return not (self.silent(term, a) and self.silent(term, b))

    def first(self, term: Term, slot: int) -> float | None:
        """What scales a message in pass 0; None where it is not sent."""
        if not self.heard(term, slot):
            return None
        scale = 1.0
        for n in self.on(term, slot):
            scale *= self.gains[n].value.start
        return scale or None

    @property
    def conditions(self) -> tuple[str, ...]:
        """The variables that the gates' conditions are of."""
        return tuple(dict.fromkeys(gain.unless.condition.of for gain in self.gains if gain.unless is not None))

    def read_by(self, graph: FactorGraph, name: str) -> frozenset[str]:
        """The variables that a variable's field reads, itself among them where it has a lateral edge."""
        return frozenset(
            end.name
            for term, slot in graph.touching(name)
            if not self.silent(term, slot)
            for n, end in enumerate(term.ends)
            if n != slot
        )


FULL = Potency()
"""No gain at all."""
