"""How strong a message is: the gains that scale it, in a number or in words."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gmc.compiler.gains import Potency
from gmc.compiler.graph import Term
from gmc.dsl.model import Gain, Gate


@dataclass(frozen=True, slots=True)
class Strength:
    """The gains on a message, which multiply. One that hangs on a gate counts only where the gate is closed."""

    gains: tuple[Gain, ...] = ()

    @property
    def own(self) -> tuple[Gain, ...]:
        """The gains that hang on no gate."""
        return tuple(gain for gain in self.gains if gain.unless is None)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates that let the message through, each once."""
        return tuple(dict.fromkeys(gain.unless for gain in self.gains if gain.unless is not None))

    @property
    def ramps(self) -> bool:
        """Whether it runs over the sweeps."""
        return any(not gain.value.constant for gain in self.own)

    def at(self, progress: float) -> float:
        """What scales the message at `progress` in [0, 1] of the sweeps, where its gates are open."""
        return prod((gain.value.at(progress) for gain in self.own), start=1.0)

    def text(self, progress: float | None = None) -> str:
        """The same as a number; where `progress` is not known, as a file writes it: `0.25`, `0 -> 1`. '' where nothing scales it."""
        if self.ramps and progress is None:
            still = prod((gain.value.start for gain in self.own if gain.value.constant), start=1.0)
            runs = [str(gain.value) for gain in self.own if not gain.value.constant]
            return " \N{MULTIPLICATION SIGN} ".join([*([f"{still:g}"] if still != 1.0 else []), *runs])
        found = self.at(progress or 0.0)
        if self.ramps:
            return f"{found:.2g}"
        return "" if found == 1.0 else f"{found:g}"


FULL = Strength()
"""No gain at all."""


def strength(potency: Potency, term: Term, slot: int) -> Strength:
    """The strength of the message of a term into one of its ends."""
    return Strength(tuple(potency.gains[n] for n in potency.on(term, slot)))
