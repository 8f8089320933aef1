"""Chains: what is clamped, where it starts, how it sweeps and how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, get_args

from gmc.dsl import model, syntax
from gmc.dsl.check import parts, values
from gmc.dsl.check.bind import START, bind
from gmc.dsl.check.context import Context
from gmc.dsl.check.sweeps import check_sweep
from gmc.dsl.errors import chains as errors
from gmc.dsl.errors import names as name_errors
from gmc.dsl.errors import unsupported
from gmc.dsl.errors import values as value_errors
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import Ramp, StartWord

DATA = "data"
"""The start that takes a variable's column."""

I = TypeVar("I", bound=syntax.ChainItem)  # noqa: E741  an item


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What chains stand on: the graph, and the variables with training rows (None where the data are wrong)."""

    graph: model.Model
    columns: frozenset[str] | None


def check_chain(context: Context, tree: syntax.Chain, around: Surroundings) -> model.Chain | None:
    """One chain, or None where something is wrong with it."""
    mark = context.mark
    _refuse_unsupported(context, tree)
    clamps = tuple(clamp for item in _items(tree, syntax.Clamp) for clamp in _clamps(context, tree, item, around.graph))
    _refuse_overlaps(context, clamps, around.graph)
    free = _free(clamps, around.graph)
    starts = _starts(context, tree, free, around)
    if context.errors_since(mark):
        # what is free is not sure: a schedule or a start would be blamed for what a clamp got wrong
        _single(context, tree, syntax.Sweep)
        sweep = None
    else:
        sweep = check_sweep(context, _single(context, tree, syntax.Sweep), around.graph, free)
    sweeps = _sweeps(context, tree)
    update = _update(context, tree)
    if context.errors_since(mark) or sweeps is None or update is None:
        return None
    doc = tree.docstring.value if tree.docstring else None
    return model.Chain(tree.name.text, clamps, starts, sweep, sweeps, update, tree.span, doc)


def refuse_circles(context: Context, chains: Sequence[syntax.Chain]) -> bool:
    """Whether chains wait for each other in a circle; each circle is reported once, at its first chain."""
    needs = {tree.name.text: dict(_needs(tree)) for tree in reversed(chains)}
    mark = context.mark
    told: set[str] = set()
    for tree in chains:
        circle = _circle(tree.name.text, needs)
        if circle and told.isdisjoint(circle):
            told.update(circle)
            context.add(errors.circle(needs[circle[0]][circle[1]], circle))
    return context.errors_since(mark)


def warn_of_idle(context: Context, chains: Iterable[model.Chain], graph: model.Model, compared: frozenset[str]) -> None:
    """A chain in which nothing is free does nothing, unless an objective compares it or another chain takes its values."""
    chains = tuple(chains)
    used = compared.union(*(chain.needs for chain in chains))
    for chain in chains:
        if graph.variables and chain.name not in used and not _free(chain.clamps, graph):
            context.add(errors.nothing_free(chain.span, chain.name))


def _needs(tree: syntax.Chain) -> Iterator[tuple[str, Span]]:
    """The chains that a chain names, and where; the names may be wrong."""
    for item in tree.items:
        source = item.source if isinstance(item, (syntax.Clamp, syntax.Start)) else None
        if isinstance(source, syntax.Name):
            yield source.text, source.span


def _circle(start: str, needs: Mapping[str, Mapping[str, Span]]) -> list[str]:
    """A shortest way from a chain back to itself, both ends included; empty if there is none."""
    came: dict[str, str] = {}
    front = [start]
    while front:
        name = front.pop(0)
        for needed in needs.get(name, {}):
            if needed == start:
                path = [name]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return [*reversed(path), start]
            if needed not in came:
                came[needed] = name
                front.append(needed)
    return []


def _refuse_unsupported(context: Context, tree: syntax.Chain) -> None:
    for item in tree.items:
        match item:
            case syntax.Potent():
                context.add(unsupported.form(item.span, "`potent`"))
            case syntax.Impotent(unless=None):
                context.add(unsupported.form(item.span, "`impotent`"))
            case syntax.Impotent():
                context.add(unsupported.form(item.span, "`impotent ... unless`"))
            case syntax.Backprop():
                context.add(unsupported.form(item.span, "`backprop`"))
            case syntax.Clamp(where_observed=True):
                context.add(unsupported.form(item.span, "`clamp ... where observed`"))
            case _:
                pass


def _clamps(context: Context, chain: syntax.Chain, tree: syntax.Clamp, graph: model.Model) -> Iterator[model.Clamp]:
    source = None
    if tree.source is not None and context.scope.is_a(tree.source, "chain"):
        source = tree.source.text
    number = None if tree.value is None else values.number(context, tree.value)
    constant = None if number is None else float(number)
    names = list(dict.fromkeys(part.name.text for part in tree.parts))
    if tree.value is not None and len(names) > 1:
        context.add(errors.constant_for_several(tree.value.span, names))
    for part in tree.parts:
        variable = _variable(context, part.name, graph)
        if variable is None:
            continue
        box = parts.box(context, part, variable) if part.slices else None
        if part.slices and box is None:
            continue
        if constant is not None and tree.value is not None and not variable.family.contains(constant):
            context.add(
                errors.constant_outside(
                    tree.value.span, variable.name, constant, variable.family.support, variable.span
                )
            )
        if box == parts.whole(variable):
            box = None
        yield model.Clamp(variable.name, box, part.span, constant, source)


def _variable(context: Context, name: syntax.Name, graph: model.Model) -> model.Variable | None:
    """The variable of that name; None with a diagnostic, or without one where its declaration is wrong."""
    if not context.scope.is_a(name, "variable"):
        return None
    return next((v for v in graph.variables if v.name == name.text), None)


def _refuse_overlaps(context: Context, clamps: Sequence[model.Clamp], graph: model.Model) -> None:
    for at, clamp in enumerate(clamps):
        whole = parts.whole(graph.variable(clamp.variable))
        for earlier in clamps[:at]:
            if earlier.variable == clamp.variable and parts.overlap(clamp.part or whole, earlier.part or whole):
                context.add(errors.clamped_twice(clamp.span, clamp.variable, earlier.span))
                break


def _free(clamps: Sequence[model.Clamp], graph: model.Model) -> frozenset[str]:
    """The variables of which a site or more is drawn."""
    return frozenset(
        v.name for v in graph.variables if not parts.covered(v, [clamp for clamp in clamps if clamp.variable == v.name])
    )


def _starts(
    context: Context, tree: syntax.Chain, free: frozenset[str], around: Surroundings
) -> tuple[model.Start, ...]:
    """The start lines; one without a list takes every free variable that no other line names."""
    items = list(_items(tree, syntax.Start))
    named: dict[str, Span] = {}
    listless: syntax.Start | None = None
    for item in items:
        for name in item.names:
            _take(context, tree, name, free, around, named, from_data=_is_data(item))
        if not item.names and listless is not None:
            context.add(errors.started_twice(item.span, None, listless.span))
        elif not item.names:
            listless = item
    found: list[model.Start] = []
    for item in items:
        source = _source(context, tree, item, around)
        if source is None:
            continue
        names = tuple(name.text for name in item.names if name.text in free)  # a layer without sites has no state
        if not item.names:
            names = tuple(v.name for v in around.graph.variables if v.name in free - set(named))
            if _is_data(item):
                names = tuple(name for name in names if name in (around.columns or ()))
        found.append(model.Start(names, source, item.span))
    return tuple(found)


def _take(
    context: Context,
    chain: syntax.Chain,
    name: syntax.Name,
    free: frozenset[str],
    around: Surroundings,
    named: dict[str, Span],
    *,
    from_data: bool,
) -> None:
    variable = _variable(context, name, around.graph)
    if variable is None:
        return
    if name.text in named:
        context.add(errors.started_twice(name.span, name.text, named[name.text]))
    elif variable.sites and name.text not in free:
        context.add(errors.start_of_clamped(name.span, name.text, chain.name.text))
    elif from_data and around.columns is not None and name.text not in around.columns:
        context.add(errors.start_without_column(name.span, name.text))
    named.setdefault(name.text, name.span)


def _is_data(tree: syntax.Start) -> bool:
    return isinstance(tree.source, syntax.Name) and tree.source.text == DATA


def _source(context: Context, chain: syntax.Chain, tree: syntax.Start, around: Surroundings) -> StartWord | str | None:
    name = tree.source if isinstance(tree.source, syntax.Name) else tree.source.name
    if _is_data(tree) and around.columns is not None and not around.columns:
        context.add(errors.start_without_data(tree.source.span))
        return None
    if context.vocabulary.get("start", name.text) is not None:
        bound = bind(context, tree.source, START)
        return None if bound is None else bound.word
    declared = context.scope.get(name.text)
    if declared is not None and declared.what == "chain":
        if isinstance(tree.source, syntax.Call):
            context.add(errors.chain_with_arguments(tree.source.span, name.text))
            return None
        return name.text
    if declared is not None:
        wanted = ("start", "chain")
        context.add(name_errors.wrong_kind(name.span, name.text, declared.what, wanted, declared.span))
        return None
    if isinstance(tree.source, syntax.Name) and not context.vocabulary.kinds(name.text):
        known = (*context.scope.names("chain"), *context.vocabulary.names("start"))
        context.add(name_errors.unknown_name(name.span, name.text, ("start", "chain"), known))
        return None
    bind(context, tree.source, START)
    return None


def _sweeps(context: Context, tree: syntax.Chain) -> Ramp | None:
    item = _single(context, tree, syntax.Sweeps)
    if item is None:
        return Ramp(1.0, 1.0)
    count = item.count
    if isinstance(count, syntax.Call) and count.name.text == "uniform":
        context.add(unsupported.form(item.span, "`sweeps uniform(...)`"))
        return None
    match count:
        case syntax.Arrow():
            ends: tuple[syntax.Expr, ...] = (count.start, count.end)
        case syntax.Call(name=syntax.Name(text="cosine")) if len(count.args) == 2:
            ends = count.args
        case _ if values.is_ramp(count):
            return _whole(context, count, values.ramp(context, count))
        case _:
            ends = (count,)
    whole = [values.integer(context, end, "a number of sweeps", 0) for end in ends]
    if None in whole:
        return None
    return values.ramp(context, count)


def _whole(context: Context, expr: syntax.Expr, ramp: Ramp | None) -> Ramp | None:
    """A multiple of a ramp, if it runs between two numbers of sweeps."""
    for end in () if ramp is None else (ramp.start, ramp.end):
        if not end.is_integer():
            context.add(value_errors.not_an_integer(expr.span, "a number of sweeps", end))
            return None
        if end < 0:
            context.add(value_errors.too_small(expr.span, "a number of sweeps", end, 0))
            return None
    return ramp


def _update(context: Context, tree: syntax.Chain) -> model.Update | None:
    item = _single(context, tree, syntax.Update)
    if item is None:
        return "sample"
    known: tuple[model.Update, ...] = get_args(model.Update)
    for update in known:
        if item.mode.text == update:
            return update
    if item.mode.text == "mode":
        context.add(unsupported.form(item.span, "`update mode`"))
    else:
        context.add(errors.unknown_update(item.mode.span, item.mode.text, known))
    return None


def _items(tree: syntax.Chain, kind: type[I]) -> Iterator[I]:
    return (item for item in tree.items if isinstance(item, kind))


def _single(context: Context, tree: syntax.Chain, kind: type[I]) -> I | None:
    """The only item of a kind, or the first of several, with a diagnostic."""
    found = list(_items(tree, kind))
    for again in found[1:]:
        context.add(name_errors.repeated_item(again.span, kind.__name__.lower(), "a chain", found[0].span))
    return found[0] if found else None
