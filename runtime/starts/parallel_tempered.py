"""`start parallel_tempered(n)`."""

from __future__ import annotations

from gmc.compiler.tempering import TemperedStart
from gmc.dsl.vocabulary import VOCABULARY


@VOCABULARY.register("parallel_tempered")
class ParallelTempered(TemperedStart):
    """Persistent chains with replicas at higher temperatures: parallel tempering, or replica exchange.

    Each of the n states is the last of a row of replicas at `temperatures` inverse temperatures, equally spaced from `least` to 1. In each sweep neighbours exchange their states by the Metropolis
    rule, first the even pairs, then the odd ones, and then every replica is swept at its own temperature. What is shown and enters statistics are the states at inverse temperature 1, whose law the exchanges leave
    as it is. All replicas are kept under the chain's name, as `persistent` keeps its states.
    """

    @property
    def exchanges(self) -> bool:
        """There are replicas."""
        return True

    @property
    def replicas(self) -> int:
        """One a temperature."""
        return self.temperatures
