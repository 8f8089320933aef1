"""`start noise`."""

from __future__ import annotations

from typing import ClassVar

from gmc.dsl.vocabulary import VOCABULARY, StartWord


@VOCABULARY.register("noise")
class Noise(StartWord):
    """The uniform law over a finite support, N(0, 1) over the real numbers; the model plays no part."""

    drawn: ClassVar[bool] = True
