"""`start tempered(n)`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gmc.compiler.tempering import TemperedStart
from gmc.dsl.vocabulary import VOCABULARY


@VOCABULARY.register("tempered")
class Tempered(TemperedStart):
    """Persistent chains that make tempered transitions (Neal, Sampling from multimodal distributions using tempered transitions, 1996; Salakhutdinov, 2009).

    In each sweep a state is led up through `temperatures` inverse temperatures, equally spaced from 1 down to `least`, a sweep at each, and down again, each sweep in reverse; where it comes out is
    accepted by the Metropolis rule, or else it stays where it was. An ordinary sweep follows. The n states are kept under the chain's name, as `persistent` keeps its states.
    """

    least: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9

    @property
    def exchanges(self) -> bool:
        """One state is led through all temperatures."""
        return False
