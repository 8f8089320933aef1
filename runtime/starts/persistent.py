"""`start persistent(n)`."""

from __future__ import annotations

from typing import ClassVar

from gmc.dsl.vocabulary import VOCABULARY, Count, Probability, StartWord


@VOCABULARY.register("persistent")
class Persistent(StartWord):
    """Where the chain ended the last time: n states kept under its name across batches, stages and resumes.

    If the chain clamps data, n states are kept for every training row, by its number. With `restart`, each state starts anew with
    that chance instead. The first time, and anew, it starts by pass 0.
    """

    keeps: ClassVar[bool] = True
    n: Count
    restart: Probability = 0.0
