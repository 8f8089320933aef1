"""Contrastive divergence."""

from __future__ import annotations

from gmc.compiler.divergence import Divergence, word
from gmc.dsl.vocabulary import VOCABULARY, StartWord


@VOCABULARY.register("cd")
class ContrastiveDivergence(Divergence):
    """CD-k (Hinton, 2002): the likelihood of all observed variables, with a free chain of `k` sweeps that starts from the data.

    It is `likelihood(positive, negative)` of `chain positive { clamp v }` and `chain negative { start data  sweeps k }`, v standing for all observed variables. `k` may run:
    `cd(1 -> 5)`.
    """

    def source(self) -> StartWord:
        """The data."""
        return word(StartWord, "data")
