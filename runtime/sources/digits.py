"""`digits`: handwritten digits that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gmc.dsl.source import Span
from gmc.dsl.vocabulary import VOCABULARY
from gmc.runtime.source import Array, Columns, Source

FILE = Path(__file__).parent.parent / "data" / "digits.npz"


@VOCABULARY.register("digits")
class Digits(Source):
    """The 1,797 handwritten digits of the UCI repository, 8x8 pixels, shipped with gmc.

    Columns: `image` (8x8, in [0, 1]) and `label` (0 to 9). With `held_out = n`, n of the rows, as many of each digit as its
    share, are taken out of these and given as `test_image` and `test_label`; `fold` chooses among fixed random splits.
    """

    held_out: Annotated[int, Field(ge=0, le=1787)] = 0
    fold: Annotated[int, Field(ge=0)] = 0

    def load(self, base: Path, span: Span) -> Columns:
        """The columns; the file is part of the package, so nothing of the user's can be wrong with it."""
        with np.load(FILE, allow_pickle=False) as archive:
            image, label = archive["image"], archive["label"]
        held = held_out_rows(label, self.held_out, self.fold)

        def read(name: str) -> Array:
            if name not in names:
                raise KeyError(name)
            rows = held if name.startswith("test_") else ~held
            # sixteenths are exact in float32
            return image[rows] / np.float32(16) if name.endswith("image") else label[rows]

        names = ("image", "label", *(("test_image", "test_label") if self.held_out else ()))
        hint = None if self.held_out else "`digits(held_out = 360)` also has `test_image` and `test_label`"
        return Columns(names, read, hint)


def held_out_rows(label: Array, count: int, fold: int) -> NDArray[np.bool_]:
    """Which rows are held out: `count` of them, each class by its share (largest remainders), the same on every machine."""
    classes, sizes = np.unique(label, return_counts=True)
    share = sizes * count / len(label)
    take = np.floor(share).astype(int)
    remainder = np.argsort(-(share - take), kind="stable")[: count - take.sum()]
    take[remainder] += 1
    # raw words of PCG64, because what numpy makes of them may change from version to version
    order = np.argsort(np.random.PCG64([0x6469676974, fold]).random_raw(len(label)), kind="stable")
    held = np.zeros(len(label), dtype=bool)
    for digit, n in zip(classes, take, strict=True):
        held[order[label[order] == digit][:n]] = True
    return held
