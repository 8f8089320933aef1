"""What an objective means to the compiler: which sides of a comparison it takes from which chains."""

from __future__ import annotations

from gmc.dsl.vocabulary import ExpectationWord, ObjectiveWord


class Objective(ObjectiveWord):
    """A loss that compares the statistics of two sides; a side is a chain that is run, or an exact expectation."""

    positive: str | ExpectationWord
    negative: str | ExpectationWord
