"""Tied factors: the factor of another edge, with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gmc.dsl.model import Variable
from gmc.dsl.vocabulary import VOCABULARY, EdgeName, FactorWord


@VOCABULARY.register("tied")
class Tied(FactorWord):
    """The same factor as the edge `to`, sharing its weights; both edges join variables of the same types and shapes, in the same order.

    The factor graph puts the other edge's factor in this one's place.
    """

    arities: ClassVar[tuple[int, ...]] = (2, 3)
    separate: ClassVar[bool] = True  # the other edge, which joins the same types, is refused where it is not
    to: EdgeName

    def mismatch(self, ends: Sequence[Variable]) -> str | None:
        """What it is tied to decides, once all edges are known."""
        return None
