"""Objectives: weighted sums of calls of registered ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gmc.dsl import model, syntax
from gmc.dsl.check import values
from gmc.dsl.check.bind import OBJECTIVE, Bound, bind
from gmc.dsl.check.context import Context
from gmc.dsl.errors import objectives as errors
from gmc.dsl.vocabulary import ObjectiveWord, Ramp


@dataclass(frozen=True, slots=True)
class Weighted:
    """A call of a registered objective with its weight, still knowing where its arguments stand."""

    weight: Ramp
    call: Bound[ObjectiveWord]


Value: TypeAlias = "Ramp | list[Weighted]"
_ONE = Ramp(1.0, 1.0)


def check_objective(context: Context, tree: syntax.Objective) -> tuple[model.Objective, tuple[Weighted, ...]] | None:
    """An objective and its terms, or None, with diagnostics, where it is none."""
    mark = context.mark
    value = _value(context, tree.value)
    if isinstance(value, Ramp):
        context.add(errors.not_an_objective(tree.value.span, context.vocabulary.names("objective")))
        return None
    if value is None or context.errors_since(mark):
        return None
    terms = tuple(model.Term(term.weight, term.call.word, term.call.span) for term in value)
    doc = tree.docstring.value if tree.docstring else None
    return model.Objective(tree.name.text, terms, tree.span, doc), tuple(value)


def find_problems(context: Context, terms: Sequence[Weighted], checked: model.Checked) -> bool:
    """Whether registered objectives find something wrong with where they are used; each finding becomes a diagnostic."""
    found = False
    for term in terms:
        for problem in term.call.word.problems(checked):
            found = True
            place = term.call.place(problem.argument)
            context.add(errors.problem(place, term.call.word.word, problem.message, problem.help, problem.related))
    return found


def _value(context: Context, expr: syntax.Expr) -> Value | None:
    declared = context.scope.get(expr.text) if isinstance(expr, syntax.Name) else None
    match expr:
        case syntax.Binary():
            left, right = _value(context, expr.left), _value(context, expr.right)
            return None if left is None or right is None else _combined(context, expr, left, right)
        case syntax.Unary():
            value = _value(context, expr.operand)
            return None if value is None else _scaled(context, expr, value, Ramp(-1.0, -1.0))
        case syntax.Name() if declared and declared.what == "objective":
            context.add(errors.objective_in_sum(expr.span, expr.text, declared.span))
            return None
        case syntax.Name() if declared and declared.what == "param":
            return values.ramp(context, expr)
        case syntax.Number() | syntax.Arrow():
            return values.ramp(context, expr)
        case syntax.Call() if values.is_ramp(expr):
            return values.ramp(context, expr)
        case _:
            bound = bind(context, expr, OBJECTIVE)
            return None if bound is None else [Weighted(_ONE, bound)]


def _combined(context: Context, expr: syntax.Binary, left: Value, right: Value) -> Value | None:
    if isinstance(left, Ramp) and isinstance(right, Ramp):
        return _arithmetic(context, expr, left, right)
    if expr.op in {"+", "-"}:
        for side, value in ((expr.left, left), (expr.right, right)):
            if isinstance(value, Ramp):
                context.add(errors.not_an_objective(side.span, context.vocabulary.names("objective")))
                return None
        assert isinstance(left, list)
        more = _scaled(context, expr, right, Ramp(-1.0, -1.0)) if expr.op == "-" else right
        return None if not isinstance(more, list) else left + more
    if expr.op == "*" and isinstance(left, Ramp):
        return _scaled(context, expr, right, left)
    if isinstance(right, Ramp):
        return _scaled(context, expr, left, right)
    context.add(errors.product_of_objectives(expr.span, expr.op))
    return None


def _arithmetic(context: Context, expr: syntax.Binary, left: Ramp, right: Ramp) -> Ramp | None:
    if left.constant and right.constant:
        value = values.number(context, expr)
        return None if value is None else Ramp.of(value)
    return values.multiple(context, expr, left, right)


def _scaled(context: Context, expr: syntax.Binary | syntax.Unary, value: Value, by: Ramp) -> Value | None:
    """`value` times `by`, or divided by it where the expression says so."""
    op = syntax.Binary(
        "/" if isinstance(expr, syntax.Binary) and expr.op == "/" else "*",
        expr.left if isinstance(expr, syntax.Binary) else expr.operand,
        expr.right if isinstance(expr, syntax.Binary) else expr.operand,
        expr.span,
    )
    if isinstance(value, Ramp):
        return values.multiple(context, op, value, by)
    scaled: list[Weighted] = []
    for term in value:
        weight = values.multiple(context, op, term.weight, by)
        if weight is None:
            return None
        scaled.append(Weighted(weight, term.call))
    return scaled
