"""A call in a file -> a registered word with its arguments.

Arguments go to the word's fields: by position in the order of the fields (or all to the field that its class names as
`positional`), then by name. What a field takes says how an argument is read: a name may be a choice, something that the
file declares, a nested word, a column or a param. Pydantic then validates the whole, and what it finds wrong is shown where
the argument stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

from pydantic import ValidationError

from gmc.dsl import syntax
from gmc.dsl.check import planned, values
from gmc.dsl.check.arguments import Argument, arguments
from gmc.dsl.check.context import Context
from gmc.dsl.errors import names as name_errors
from gmc.dsl.errors import unsupported
from gmc.dsl.errors import values as errors
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import (
    Conditional,
    ConditionWord,
    FactorWord,
    FamilyWord,
    Kind,
    MetricWord,
    ObjectiveWord,
    OptimizerWord,
    Ramp,
    SourceWord,
    StartWord,
    StopWord,
    TransformWord,
    UpdateWord,
    Word,
)

W = TypeVar("W", bound=Word)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Role(Generic[W]):
    """A place for words of one kind, which are all of the class W."""

    kind: Kind


FAMILY: Role[FamilyWord] = Role("family")
FACTOR: Role[FactorWord] = Role("factor")
OBJECTIVE: Role[ObjectiveWord] = Role("objective")
OPTIMIZER: Role[OptimizerWord] = Role("optimizer")
TRANSFORM: Role[TransformWord] = Role("transform")
SOURCE: Role[SourceWord] = Role("source")
START: Role[StartWord] = Role("start")
UPDATE: Role[UpdateWord] = Role("update")
METRIC: Role[MetricWord] = Role("metric")
STOP: Role[StopWord] = Role("stop")
CONDITION: Role[ConditionWord] = Role("condition")


@dataclass(frozen=True, slots=True)
class Bound(Generic[W]):
    """A word with its arguments, and where each was written."""

    word: W
    span: Span
    places: Mapping[str, Span]

    def place(self, argument: str | None) -> Span:
        """Where an argument stands; the whole call for None and for one left at its default."""
        return self.span if argument is None else self.places.get(argument, self.span)


class _WrongError(Exception):
    """An argument has no value; a diagnostic was added, or what it depends on is wrong already."""


@dataclass(frozen=True, slots=True)
class _Given:
    argument: Argument
    expr: syntax.Expr


def bind(
    context: Context, expr: syntax.Expr, role: Role[W], *, given: Mapping[str, object] | None = None
) -> Bound[W] | None:
    """The word for `role` that an expression calls; None, with diagnostics, where it calls none.

    `given` holds values by field that replace what is written, as `--data` does a source's path.
    """
    if not isinstance(expr, (syntax.Name, syntax.Call)):
        context.add(name_errors.word_expected(expr.span, role.kind, context.vocabulary.names(role.kind)))
        return None
    name = expr if isinstance(expr, syntax.Name) else expr.name
    word = _look_up(context, name, role)
    if word is None:
        return None
    call = expr if isinstance(expr, syntax.Call) else syntax.Call(name, (), (), name.span)
    mark = context.mark
    parts, all_known = _assign(context, word, call)
    raw, complete = _read_all(context, word, parts)
    replaced = given or {}
    raw.update(replaced)
    named = {part.argument.field for part in parts} | set(replaced)
    missing = [a.name for a in arguments(word) if a.required and a.field not in named]
    if missing and all_known:
        context.add(errors.missing_arguments(call.span, name.text, missing))
    if missing or not complete or not all_known or context.errors_since(mark):
        return None
    places = {part.argument.field: part.expr.span for part in reversed(parts)}
    return _validate(context, word, call, raw, parts, places)


def _look_up(context: Context, name: syntax.Name, role: Role[W]) -> type[W] | None:
    vocabulary, kind = context.vocabulary, role.kind
    word = vocabulary.get(kind, name.text)
    if word is not None:
        return cast("type[W]", word)
    declared = context.scope.get(name.text)
    others = vocabulary.kinds(name.text)
    if planned.is_planned(kind, name.text):
        context.add(unsupported.word(name.span, kind, name.text))
    elif others:
        context.add(name_errors.wrong_word(name.span, name.text, others, kind, vocabulary.names(kind)))
    elif declared is not None:
        context.add(name_errors.wrong_kind(name.span, name.text, declared.what, (kind,), declared.span))
    else:
        context.add(name_errors.unknown_word(name.span, name.text, kind, vocabulary.names(kind)))
    return None


def _assign(context: Context, word: type[Word], call: syntax.Call) -> tuple[list[_Given], bool]:
    """Which argument each expression of a call gives, and whether all of them could be told."""
    known = {argument.name: argument for argument in arguments(word)}
    if word.positional is not None:
        order: Sequence[Argument] = [a for a in known.values() if a.field == word.positional] * len(call.args)
    else:
        order = tuple(known.values())
    parts = [_Given(argument, expr) for argument, expr in zip(order, call.args, strict=False)]
    told = True
    if len(call.args) > len(order):
        extra = call.args[len(order)]
        context.add(errors.too_many_arguments(extra.span, call.name.text, len(call.args), tuple(known)))
        told = False
    by_position = {part.argument.name: part.expr.span for part in reversed(parts)}
    for keyword in call.keywords:
        argument = known.get(keyword.name.text)
        if argument is None:
            context.add(errors.unknown_argument(keyword.name.span, call.name.text, keyword.name.text, tuple(known)))
            told = False
        elif argument.name in by_position:
            first = by_position[argument.name]
            context.add(errors.argument_twice(keyword.span, call.name.text, argument.name, first))
            told = False
        else:
            parts.append(_Given(argument, keyword.value))
    return parts, told


def _read_all(context: Context, word: type[Word], parts: Sequence[_Given]) -> tuple[dict[str, object], bool]:
    """The values of a call's arguments by field, and whether all of them have one."""
    raw: dict[str, object] = {}
    gathered: list[object] = []
    complete = True
    for part in parts:
        try:
            value = _read(context, word, part.argument, part.expr)
        except _WrongError:
            complete = False
            continue
        if part.argument.field == word.positional and not isinstance(part.expr, syntax.Tuple):
            gathered.append(value)
            raw[part.argument.field] = tuple(gathered)
        else:
            raw[part.argument.field] = value
    return raw, complete


def _read(context: Context, word: type[Word], argument: Argument, expr: syntax.Expr) -> object:
    match expr:
        case syntax.Pipe() if argument.takes(Conditional) and len(expr.stages) == 2:
            targets, given = (_read_names(context, word, argument, side) for side in expr.stages)
            return Conditional(targets, given)
        case syntax.Name() if not argument.takes(Conditional):
            return _read_name(context, word, argument, expr)
        case syntax.String() if argument.takes(str) and not argument.references:
            return expr.value
        case syntax.String() if argument.takes(Path):
            # relative to the file that says it, wherever the command runs
            return Path(expr.span.source.path).parent / expr.value
        case syntax.Tuple():
            return tuple(_read(context, word, argument, item) for item in expr.items)
        case syntax.Call() if argument.kinds and expr.name.text != "cosine":
            return _read_nested(context, argument, expr)
        case syntax.Arrow() | syntax.Call() | syntax.Binary() | syntax.Unary() if values.is_ramp(expr):
            if not argument.takes(Ramp):
                raise _wrong_sort(context, word, argument, expr)
            return _known(values.ramp(context, expr))
        case syntax.Number() | syntax.Binary() | syntax.Unary() if argument.numeric:
            return _known(values.number(context, expr))
        case _:
            raise _wrong_sort(context, word, argument, expr)


def _read_name(context: Context, word: type[Word], argument: Argument, name: syntax.Name) -> object:
    text = name.text
    if text in argument.choices:
        return text
    if argument.takes(bool) and text in {"true", "false"}:
        return text == "true"
    if any(context.vocabulary.get(kind, text) or planned.is_planned(kind, text) for kind in argument.kinds):
        return _read_nested(context, argument, name)
    if argument.references:
        if not context.scope.is_a(name, *argument.references):
            raise _WrongError
        return text
    declared = context.scope.get(text)
    if declared is not None and declared.what == "param" and argument.numeric:
        return _known(values.param(context, name))
    if argument.takes(str):
        return text
    if declared is not None:
        raise _wrong_sort(context, word, argument, name)
    params = context.scope.names("param") if argument.numeric else ()
    flags = ("true", "false") if argument.takes(bool) else ()
    nested = [n for kind in argument.kinds for n in context.vocabulary.names(kind)]
    known = (*argument.choices, *flags, *params, *nested)
    context.add(errors.unknown_value(name.span, word.word, argument.name, text, known))
    raise _WrongError


def _read_names(context: Context, word: type[Word], argument: Argument, side: syntax.Expr) -> tuple[str, ...]:
    """The names on one side of a bar, which the file declares as what the argument refers to."""
    names = side.items if isinstance(side, syntax.Tuple) else (side,)
    for name in names:
        if not isinstance(name, syntax.Name):
            raise _wrong_sort(context, word, argument, name)
        if not context.scope.is_a(name, *argument.references):
            raise _WrongError
    return tuple(name.text for name in names if isinstance(name, syntax.Name))


def _read_nested(context: Context, argument: Argument, expr: syntax.Name | syntax.Call) -> Word:
    name = expr if isinstance(expr, syntax.Name) else expr.name
    registered: list[Kind] = [kind for kind in argument.kinds if context.vocabulary.get(kind, name.text)]
    role: Role[Word] = Role((*registered, *argument.kinds)[0])
    return _known(bind(context, expr, role)).word


def _known(value: T | None) -> T:
    if value is None:
        raise _WrongError
    return value


def _wrong_sort(context: Context, word: type[Word], argument: Argument, expr: syntax.Expr) -> _WrongError:
    context.add(errors.wrong_sort(expr.span, word.word, argument.name, argument.sorts))
    return _WrongError()


def _validate(
    context: Context,
    word: type[W],
    call: syntax.Call,
    raw: Mapping[str, object],
    parts: Sequence[_Given],
    places: Mapping[str, Span],
) -> Bound[W] | None:
    try:
        return Bound(word.model_validate(raw, strict=True), call.span, places)
    except ValidationError as failure:
        _explain(context, word, call, failure, parts)
        return None


def _explain(
    context: Context, word: type[Word], call: syntax.Call, failure: ValidationError, parts: Sequence[_Given]
) -> None:
    """Turns what pydantic found into diagnostics: those of one argument at one place together, each where it stands."""
    fields = {a.name: a for a in arguments(word)} | {a.field: a for a in arguments(word)}
    found: dict[tuple[str, int, int], tuple[Span, str, list[str]]] = {}
    whole: list[str] = []
    for error in failure.errors(include_url=False, include_input=False):
        said = errors.reason(error["type"], error.get("ctx", {}), error["msg"])
        argument = fields.get(str(error["loc"][0])) if error["loc"] else None
        if argument is None:
            whole.append(said)
            continue
        span = _place(word, argument, call, parts, error["loc"][1:])
        found.setdefault((argument.name, span.start, span.end), (span, argument.name, []))[2].append(said)
    for span, name, reasons in found.values():
        context.add(errors.wrong_argument(span, word.word, name, reasons))
    if whole:
        context.add(errors.wrong_call(call.span, word.word, whole))


def _place(
    word: type[Word], argument: Argument, call: syntax.Call, parts: Sequence[_Given], inner: tuple[int | str, ...]
) -> Span:
    """Where a faulty argument stands, or the item of it that pydantic's place names."""
    exprs = [part.expr for part in parts if part.argument == argument]
    index = next((i for i in inner if isinstance(i, int)), None)
    if argument.field == word.positional and index is not None and index < len(exprs) and len(exprs) > 1:
        return exprs[index].span
    if len(exprs) != 1:
        return call.span
    expr = exprs[0]
    if isinstance(expr, syntax.Tuple) and index is not None and index < len(expr.items):
        return expr.items[index].span
    return expr.span
