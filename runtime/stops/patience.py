"""`patience`: stopping where nothing gets better."""

from __future__ import annotations

from gmc.dsl.vocabulary import VOCABULARY, Count, StopWord


@VOCABULARY.register("patience")
class Patience(StopWord):
    """Stops when the first watched metric was no better than its best in `looks` looks one after another; a value that is not finite is no better.

    The parameters of the best look are what the stage ends with. `watch METRIC every E` looks each E epochs.
    """

    looks: Count

    def stops(self, looks: int, best: int) -> bool:
        """Whether the best was that long ago."""
        return looks - best >= self.looks
