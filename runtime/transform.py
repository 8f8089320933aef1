"""Steps of a column's pipe.

A transform maps values `[n, *shape]` of n rows to values `[n, *other]`, row by row, in torch, on whatever device they lie. Integers stay
integers where they can; NaN is a missing value and stays one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from gmc.compiler.lazy import torch
from gmc.dsl.vocabulary import TransformWord


class Misfit(Exception):
    """Why a transform cannot take what it is given; `row` counts from the first row given, if one is to blame."""

    def __init__(self, message: str, help: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.row = row


@dataclass(frozen=True, slots=True)
class Rows:
    """What a transform may know of the rows it is given, besides their values.

    `keys` (int32 [n, 2]) and `epoch` are for stochastic transforms, `site` is the transform's own number in its pipe; `others`
    holds the values of other columns for the same rows, `constants` what `fit` returned.
    """

    keys: torch.Tensor
    epoch: int
    site: int
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)
    constants: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Transform(TransformWord):
    """A registered transform."""

    stochastic: ClassVar[bool] = False
    """Whether it draws: it then runs afresh each epoch, and so does all that follows it."""
    elementwise: ClassVar[bool] = False
    """Whether each value depends on the value at the same site alone."""

    @abstractmethod
    def apply(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """The values of `x` [n, *shape] transformed, [n, *other]; `x` is left as it was."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The other columns it reads."""
        return ()

    def check(self, x: torch.Tensor, rows: Rows) -> None:
        """Whether it can take `x`; called on all training rows before anything is run.

        Raises:
            Misfit: it cannot.
        """
        return

    def fit(self, chunks: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The constants it takes from the training rows, given in order and in parts; most take none."""
        return {}

    @property
    def fits(self) -> bool:
        """Whether it takes constants from the training rows."""
        return type(self).fit is not Transform.fit


def first_bad(bad: torch.Tensor, x: torch.Tensor) -> tuple[int, float] | None:
    """The row and the value of the first true entry of `bad` in `x`, if there is one; both are [n, *shape]."""
    found = bad.reshape(-1).nonzero()
    if not len(found):
        return None
    at = int(found[0])
    return at // max(bad[0].numel(), 1), float(x.reshape(-1)[at])


def real(x: torch.Tensor) -> torch.Tensor:
    """`x` as floating-point numbers; integers become float64, which holds every value of the smaller types."""
    return x if x.is_floating_point() else x.to(torch.float64)
