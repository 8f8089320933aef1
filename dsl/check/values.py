"""Constant expressions: numbers known when compiling, and ramps between two of them.

An integer is what is written without point and exponent, and sums, differences, products and exact quotients of integers;
all else is a float. So `hidden/2` is a size where hidden is even, and 1/255 is a scale.
"""

from __future__ import annotations

from typing import Literal

from gmc.dsl import syntax
from gmc.dsl.check.context import Context
from gmc.dsl.errors import names as name_errors
from gmc.dsl.errors import values as errors
from gmc.dsl.vocabulary import Ramp

LARGEST = 2**63 - 1
"""No integer may be larger: sizes and counts are 64-bit."""
LARGEST_REAL = (2.0 - 2.0**-23) * 2.0**127
"""No other number may be larger, about 3.4e38: they enter the arithmetic of models in 32 bits."""


def number(context: Context, expr: syntax.Expr) -> int | float | None:
    """The value of a constant expression, or None where it has none, with a diagnostic."""
    match expr:
        case syntax.Number():
            return _bounded(context, expr, expr.value)
        case syntax.Name():
            return param(context, expr)
        case syntax.Unary():
            operand = number(context, expr.operand)
            return None if operand is None else -operand
        case syntax.Binary():
            left, right = number(context, expr.left), number(context, expr.right)
            if left is None or right is None:
                return None
            return _apply(context, expr, left, right)
        case _:
            context.add(errors.not_a_number(expr.span))
            return None


def param(context: Context, name: syntax.Name) -> int | float | None:
    """The value of the param of that name, or None with a diagnostic (none if the param itself is wrong)."""
    if name.text in context.params:
        return context.params[name.text]
    if not context.scope.is_a(name, "param"):
        return None
    declared = context.scope.get(name.text)
    assert declared is not None
    context.add(name_errors.param_used_early(name.span, name.text, declared.span))
    return None


def integer(context: Context, expr: syntax.Expr, what: str, least: int) -> int | None:
    """The value of an expression that must be an integer of at least `least`; `what` names it in the diagnostic."""
    value = number(context, expr)
    if value is None:
        return None
    if not isinstance(value, int):
        context.add(errors.not_an_integer(expr.span, what, value))
        return None
    if value < least:
        context.add(errors.too_small(expr.span, what, value, least))
        return None
    return value


def ramp(context: Context, expr: syntax.Expr) -> Ramp | None:
    """A ramp `a -> b` or `cosine(a, b)`, a multiple of one, or a number, which stands still."""
    match expr:
        case syntax.Arrow():
            return _ends(context, expr.start, expr.end, "linear")
        case syntax.Call(name=syntax.Name(text="cosine")):
            if len(expr.args) != 2 or expr.keywords:
                context.add(errors.cosine_takes_two(expr.span))
                return None
            return _ends(context, expr.args[0], expr.args[1], "cosine")
        case syntax.Unary() if is_ramp(expr.operand):
            inner = ramp(context, expr.operand)
            return None if inner is None else Ramp(-inner.start, -inner.end, inner.shape)
        case syntax.Binary() if is_ramp(expr):
            left, right = ramp(context, expr.left), ramp(context, expr.right)
            return None if left is None or right is None else multiple(context, expr, left, right)
        case _:
            value = number(context, expr)
            return None if value is None else Ramp.of(value)


def is_ramp(expr: syntax.Expr) -> bool:
    """Whether a ramp stands somewhere in an expression."""
    match expr:
        case syntax.Arrow() | syntax.Call(name=syntax.Name(text="cosine")):
            return True
        case syntax.Unary():
            return is_ramp(expr.operand)
        case syntax.Binary():
            return is_ramp(expr.left) or is_ramp(expr.right)
        case _:
            return False


def multiple(context: Context, expr: syntax.Binary, left: Ramp, right: Ramp) -> Ramp | None:
    """A ramp times or divided by a number; None, with a diagnostic, for what is no ramp of the same shape."""
    if expr.op == "/" and right.constant and right.start == 0:
        context.add(errors.division_by_zero(expr.right.span))
        return None
    if expr.op == "*" and left.constant:
        factor, moving = left.start, right
    elif expr.op == "*" and right.constant:
        factor, moving = right.start, left
    elif expr.op == "/" and right.constant:
        factor, moving = 1 / right.start, left
    else:
        context.add(errors.not_a_ramp(expr.span))
        return None
    product = Ramp(factor * moving.start, factor * moving.end, moving.shape)
    if not max(abs(product.start), abs(product.end)) <= LARGEST_REAL:  # not so of NaN either
        context.add(errors.not_finite(expr.span))
        return None
    return product


def _ends(context: Context, start: syntax.Expr, end: syntax.Expr, shape: Literal["linear", "cosine"]) -> Ramp | None:
    first, last = number(context, start), number(context, end)
    return None if first is None or last is None else Ramp(float(first), float(last), shape)


def _apply(context: Context, expr: syntax.Binary, left: int | float, right: int | float) -> int | float | None:
    if expr.op == "/" and right == 0:
        context.add(errors.division_by_zero(expr.right.span))
        return None
    return _bounded(context, expr, _arithmetic(expr.op, left, right))


def _arithmetic(op: str, left: int | float, right: int | float) -> int | float:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def _bounded(context: Context, expr: syntax.Expr, value: int | float) -> int | float | None:
    # integers are kept within 64 bits at every step, so none is too large to turn into a float
    if (abs(value) <= LARGEST) if isinstance(value, int) else abs(value) <= LARGEST_REAL:
        return value
    context.add(errors.not_finite(expr.span))
    return None
