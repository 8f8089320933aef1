"""`start data`."""

from __future__ import annotations

from gmc.dsl.vocabulary import VOCABULARY, StartWord


@VOCABULARY.register("data")
class Data(StartWord):
    """The row of the data that the chain stands for; only for variables that have a column."""
