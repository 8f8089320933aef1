"""Params: their values in this compilation, from the file or from `--set`, within their ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gmc.dsl import model, syntax
from gmc.dsl.check import values
from gmc.dsl.check.context import Context
from gmc.dsl.errors import names as name_errors
from gmc.dsl.errors import values as errors

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def check_params(
    context: Context, trees: Sequence[syntax.Param], overrides: Mapping[str, str]
) -> tuple[model.Param, ...]:
    """The params in order, each of which may use those above it; their values go to the context too."""
    declared = {tree.name.text for tree in trees}
    for name in overrides:
        if name not in declared:
            context.add(name_errors.unknown_override(None, name, sorted(declared)))
    found: list[model.Param] = []
    for tree in trees:
        if tree.name.text in context.params:
            continue  # a clash, reported where names are declared
        param = _param(context, tree, overrides.get(tree.name.text))
        context.params[tree.name.text] = None if param is None else param.value
        if param is not None:
            found.append(param)
    return tuple(found)


def _param(context: Context, tree: syntax.Param, override: str | None) -> model.Param | None:
    name = tree.name.text
    value = values.number(context, tree.value)
    if override is not None:
        value = override_value(override)
        if value is None:
            context.add(name_errors.bad_override(None, name, override))
    low = None if tree.low is None else values.number(context, tree.low)
    high = None if tree.high is None else values.number(context, tree.high)
    if value is None:
        return None
    if low is not None and high is not None and tree.low is not None and tree.high is not None:
        if low > high:
            context.add(errors.empty_range(tree.low.span.to(tree.high.span), low, high))
            return None
        if not low <= value <= high:
            place = tree.value.span if override is None else tree.low.span.to(tree.high.span)
            context.add(errors.out_of_range(place, name, value, low, high, override=override is not None))
            return None
    doc = tree.docstring.value if tree.docstring else None
    return model.Param(name, value, _float(low), _float(high), tree.span, doc)


def override_value(text: str) -> int | float | None:
    """The number that a command line gives, an int if written as one; None where it is no number or too large."""
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped):
        whole = int(stripped)
        return whole if abs(whole) <= values.LARGEST else None
    if _NUMBER.fullmatch(stripped):
        number = float(stripped)
        return number if abs(number) <= values.LARGEST_REAL else None
    return None


def _float(value: int | float | None) -> float | None:
    return None if value is None else float(value)
