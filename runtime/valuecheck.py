"""What is wrong with values, and which transform would mend it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from gmc.compiler.family import Family
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Binding, Variable
from gmc.runtime import errors
from gmc.runtime.transform import Misfit, Rows, Transform
from gmc.runtime.transforms.channels_first import ChannelsFirst
from gmc.runtime.transforms.flatten import Flatten
from gmc.runtime.transforms.unpack_bits import UnpackBits
from gmc.runtime.transforms.unsqueeze import Unsqueeze


@dataclass(slots=True)
class Count:
    """How often something was met, and where first: row, site and value."""

    count: int = 0
    row: int = 0
    site: tuple[int, ...] = ()
    value: float = 0.0

    def add(self, bad: torch.Tensor, x: torch.Tensor, rows: torch.Tensor) -> None:
        """Counts the true entries of `bad`, both [n, *shape], in the numbered `rows`."""
        count = int(bad.sum())
        if count and not self.count:
            first = [int(i) for i in bad.nonzero()[0]]
            self.row, self.site, self.value = int(rows[first[0]]), tuple(first[1:]), float(x[tuple(first)])
        self.count += count


@dataclass(slots=True)
class Survey:
    """Looks at a variable's values part by part, then says what is wrong with all of them."""

    binding: Binding
    variable: Variable
    maskable: torch.Tensor
    """The sites that may be missing, bool [*shape]."""
    total: int = 0
    gaps: torch.Tensor | None = None
    """The sites that are missing in some row, bool [*shape]; None where nothing is."""
    missing: Count = field(default_factory=Count)
    outside: Count = field(default_factory=Count)
    low: float = float("inf")
    high: float = float("-inf")

    def see(self, x: torch.Tensor, rows: torch.Tensor, support: bool) -> None:
        """Takes note of values `x` [n, *shape] of the numbered `rows`; `support` looks at the support too."""
        self.total += x.numel()
        absent = x.isnan()
        if bool(absent.any()):
            here = absent.any(dim=0).cpu()
            self.gaps = here if self.gaps is None else self.gaps | here
            self.missing.add(absent & ~self.maskable.to(x.device), x, rows)
        if support:
            family = self.variable.family
            assert isinstance(family, Family)
            outside = family.unclaimed(x) & ~absent
            self.outside.add(outside, x, rows)
            if self.outside.count and not self.missing.count:
                low, high = x[~absent].aminmax()
                self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def judge(self) -> None:
        """Raises GmcError if a value is missing that may not be, else if one is outside the support."""
        name, span = self.variable.name, self.binding.span
        if self.missing.count:
            found = self.missing
            raise GmcError(errors.missing_values(span, name, found.count, self.total, found.row, found.site))
        if self.outside.count:
            found, family = self.outside, self.variable.family
            assert isinstance(family, Family)
            help = fitting_values(family, self.low, self.high)
            raise GmcError(
                errors.outside_support(
                    span,
                    name,
                    family.support,
                    found.value,
                    found.row,
                    found.site,
                    found.count,
                    help,
                    self.variable.span,
                )
            )


def fitting_transform(row: torch.Tensor, wanted: tuple[int, ...]) -> str | None:
    """The transforms that would bring `row` [1, *shape] to the shape `wanted`, as a .gm file writes them."""
    singles: list[Transform] = [Flatten(), ChannelsFirst(), UnpackBits()]
    inserted = [Unsqueeze(axis=axis) for axis in range(len(wanted))]
    pipes = [(step,) for step in [*singles, *inserted]]
    pairs = [(first, second) for first in singles for second in [Flatten(), *inserted]]
    for pipe in [*pipes, *pairs]:
        if _shape_after(row, pipe) == wanted:
            return " | ".join(f"unsqueeze({s.axis})" if isinstance(s, Unsqueeze) else s.word for s in pipe)
    return None


def _shape_after(x: torch.Tensor, pipe: tuple[Transform, ...]) -> tuple[int, ...] | None:
    rows = Rows(torch.empty((0, 2), dtype=torch.int32), 0, 0)
    for step in pipe:
        try:
            step.check(x, rows)
        except Misfit:
            return None
        x = step.apply(x, rows)
    return tuple(x.shape[1:])


def fitting_values(family: Family, low: float, high: float) -> str | None:
    """What would bring values between `low` and `high` into a finite support."""
    if family.states is None:
        return None
    if family.states > 2:
        if low >= 0 and high == int(high):
            return f"`{family.word}({int(high) + 1})` would take them all"
        return "a state is a whole number from 0 on"
    signed = " | spin" if not _takes(family, 0.0, 1.0) and _takes(family, -1.0, 1.0) else ""
    if low >= 0.0 and high <= 1.0:
        both = {low, high} <= {0.0, 1.0}
        draw = (
            f"`| binarize{signed}` draws 1 with the probability that a value gives, `| threshold(0.5){signed}` rounds"
        )
        return "`| spin` makes 0 and 1 into -1 and +1" if signed and both else draw
    if low >= 0.0 and 1.0 < high <= 255.0:
        most = "255" if high > 16 else f"{high:g}"
        return (
            f"`| scale(1/{most})` brings them to [0, 1]; `| threshold(0.5){signed}` or `| binarize{signed}` can follow"
        )
    return f"`| threshold(LEVEL){signed}` splits them at a level"


def _takes(family: Family, *values: float) -> bool:
    return not bool(family.unclaimed(torch.tensor(values)).any())
