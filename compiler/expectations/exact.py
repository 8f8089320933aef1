"""Exact expectations, by enumeration."""

from __future__ import annotations

from gmc.dsl.vocabulary import VOCABULARY, ExpectationWord


@VOCABULARY.register("exact")
class Exact(ExpectationWord):
    """The expectation under the law of the chain `under`: what sums out in closed form is summed out, the rest is enumerated."""
