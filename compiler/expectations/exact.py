"""Exact expectations, by enumeration."""

from __future__ import annotations

from gmc.dsl.vocabulary import VOCABULARY, ExpectationWord


@VOCABULARY.register("exact")
class Exact(ExpectationWord):
    """The expectation under the model's law given what the chain `under` clamps: what sums out in closed form is summed out, the rest is enumerated.

    The chain is not run, and what draws its variables, such as a `~>` edge, does not matter.
    """
