"""Parts of a variable: slices as in Python without steps, as half-open ranges, one an axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from gmc.dsl import syntax
from gmc.dsl.check import values
from gmc.dsl.check.context import Context
from gmc.dsl.errors import chains as errors
from gmc.dsl.model import Clamp, Variable

Box = tuple[tuple[int, int], ...]


def whole(variable: Variable) -> Box:
    """All of a variable."""
    return tuple((0, size) for size in variable.shape)


def box(context: Context, part: syntax.Part, variable: Variable) -> Box | None:
    """The ranges of a part, normalised; None, with diagnostics, where it is empty or out of range."""
    if len(part.slices) > len(variable.shape):
        context.add(errors.too_many_axes(part.span, variable.name, len(part.slices), variable.shape, variable.span))
        return None
    pairs = zip(part.slices, variable.shape, strict=False)
    ranges = [_range(context, axis, size, part.name.text) for axis, size in pairs]
    known = tuple(each for each in ranges if each is not None)
    return known + whole(variable)[len(known) :] if len(known) == len(ranges) else None


def overlap(a: Box, b: Box) -> bool:
    """Whether two parts of one variable share a site."""
    return all(max(low, first) < min(high, last) for (low, high), (first, last) in zip(a, b, strict=True))


def sites(part: Box) -> int:
    """How many sites a part has."""
    return prod(high - low for low, high in part)


def covered(variable: Variable, clamps: Sequence[Clamp]) -> bool:
    """Whether clamps of a variable, which do not overlap, leave none of its sites free."""
    boxes = [whole(variable) if clamp.part is None else clamp.part for clamp in clamps]
    return sum(map(sites, boxes)) >= variable.sites


def _range(context: Context, tree: syntax.Slice | syntax.Expr, size: int, name: str) -> tuple[int, int] | None:
    if not isinstance(tree, syntax.Slice):
        index = _bound(context, tree)
        if index is None:
            return None
        if not -size <= index < size:
            context.add(errors.index_out_of_range(tree.span, name, index, size))
            return None
        at = index + size if index < 0 else index
        return at, at + 1
    ends: list[int] = []
    for expr, default in ((tree.lower, 0), (tree.upper, size)):
        bound = default if expr is None else _bound(context, expr)
        if bound is None:
            return None
        if not -size <= bound <= size:
            context.add(errors.slice_out_of_range(tree.span, name, bound, size))
            return None
        ends.append(bound + size if bound < 0 else bound)
    if ends[0] >= ends[1]:
        context.add(errors.empty_slice(tree.span, name, ends[0], ends[1]))
        return None
    return ends[0], ends[1]


def _bound(context: Context, expr: syntax.Expr) -> int | None:
    return values.integer(context, expr, "an index", -values.LARGEST)
