"""`start persistent(n)`."""

from __future__ import annotations

from gmc.dsl.vocabulary import VOCABULARY, KeptWord, Probability


@VOCABULARY.register("persistent")
class Persistent(KeptWord):
    """Where the chain ended the last time: n states kept under its name across batches, stages and resumes.

    If the chain clamps data, n states are kept for every training row, by its number. With `restart`, each state starts anew with
    that chance instead. The first time, and anew, it starts by pass 0.
    """

    restart: Probability = 0.0

    @property
    def leaves(self) -> float:
        """`restart`."""
        return self.restart
