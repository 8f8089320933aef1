"""Persistent contrastive divergence."""

from __future__ import annotations

from pydantic import Field

from gmc.compiler.divergence import Divergence, word
from gmc.dsl.vocabulary import VOCABULARY, Count, StartWord


@VOCABULARY.register("pcd")
class PersistentContrastiveDivergence(Divergence):
    """PCD-k (Tieleman, 2008): the likelihood of all observed variables, with `chains` free chains that go on where they ended, `k` sweeps a step.

    It is `likelihood(positive, negative)` of `chain positive { clamp v }` and `chain negative { start persistent(chains)  sweeps k }`, v standing for all observed variables.
    `k` may run.
    """

    states: Count = Field(default=100, alias="chains")

    def source(self) -> StartWord:
        """Where they ended."""
        return word(StartWord, "persistent", n=self.states)
