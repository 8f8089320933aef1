"""One line of the data block at work: a column's transforms, run on any of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gmc.compiler.draws import row_keys
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Binding
from gmc.runtime import errors
from gmc.runtime.source import Array, native
from gmc.runtime.transform import Misfit, Rows, Transform


@dataclass(frozen=True, slots=True)
class Pipe:
    """The transforms of a binding; `constants[i]` holds what step i took from the training rows, if anything."""

    binding: Binding
    constants: tuple[Mapping[str, torch.Tensor], ...]
    seed: int

    @property
    def steps(self) -> tuple[Transform, ...]:
        """The transforms in order."""
        return transforms(self.binding)

    @property
    def resident(self) -> int:
        """How many of the steps run once, on load: those before the first stochastic one."""
        return next((i for i, step in enumerate(self.steps) if step.stochastic), len(self.steps))

    def run(
        self,
        x: torch.Tensor,
        rows: torch.Tensor,
        others: Mapping[str, torch.Tensor],
        steps: range,
        epoch: int = 0,
        check: bool = False,
    ) -> torch.Tensor:
        """Values `x` [n, *shape] of the numbered `rows` (int64 [n]) through some consecutive `steps`.

        Stochastic steps draw by the seed, the variable, the row and the epoch. `others` holds the columns that steps read besides, for
        the same rows.

        Raises:
            GmcError: with `check`, a step cannot take what it is given.
        """
        own, keys = self.steps, torch.empty((0, 2), dtype=torch.int32)
        if any(own[i].stochastic for i in steps):
            keys = row_keys(self.seed, f"data/{self.binding.split}/{self.binding.variable}", rows)
        for i in steps:
            given = Rows(keys, epoch, i, others, self.constants[i] if i < len(self.constants) else {})
            if check:
                self.check(i, x, rows, given)
            x = own[i].apply(x, given)
        return x

    def check(self, step: int, x: torch.Tensor, rows: torch.Tensor, given: Rows) -> None:
        """Raises GmcError if a step cannot take the values `x` of the numbered `rows`."""
        transform, span = self.steps[step], self.binding.steps[step].span
        try:
            transform.check(x, given)
        except Misfit as misfit:
            row = "" if misfit.row is None else str(int(rows[misfit.row]))
            message = misfit.message.replace("{row}", row)
            raise GmcError(errors.transform_misfit(span, transform.word, message, misfit.help)) from None


def transforms(binding: Binding) -> tuple[Transform, ...]:
    """The transforms of a binding, in order."""
    found = tuple(step.transform for step in binding.steps)
    assert all(isinstance(transform, Transform) for transform in found)
    return found  # type: ignore[return-value]


def tensor_of(array: Array) -> torch.Tensor:
    """A copy of an array of real numbers or truth values as a tensor, in a type that torch computes with and that holds its values."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "u" and size == 8 and array.size and int(array.max()) >= 1 << 63:
        return torch.from_numpy(array.astype("f8"))
    wider = {"b1": "u1", "i1": "i2", "u2": "i4", "u4": "i8", "u8": "i8", "f2": "f4"}.get(f"{kind}{size}")
    return torch.from_numpy(array.astype(wider) if wider else native(array).copy())


def compact(x: torch.Tensor, real: torch.dtype) -> torch.Tensor:
    """`x` in the smallest of uint8, int16 and `real` that holds its values; NaN needs `real`."""
    if x.dtype == torch.uint8:
        return x
    if x.is_floating_point() and not bool((x == x.round()).all()):
        return x.to(real)
    low, high = (float(end) for end in x.aminmax())
    if low >= 0 and high <= 255:
        return x.to(torch.uint8)
    if low >= -(1 << 15) and high < 1 << 15:
        return x.to(torch.int16)
    return x.to(real)
