"""Chains: what is clamped, how it sweeps and how long; starts, gains and written sweeps have files of their own."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from gmc.dsl import model, syntax
from gmc.dsl.check import parts, values
from gmc.dsl.check.bind import UPDATE, bind
from gmc.dsl.check.context import Context
from gmc.dsl.check.gains import check_gains
from gmc.dsl.check.kernels import check_kernels, check_named
from gmc.dsl.check.starts import check_starts, refuse_starts
from gmc.dsl.check.surroundings import Held, Surroundings, free_variables
from gmc.dsl.check.sweeps import check_sweep
from gmc.dsl.errors import chains as errors
from gmc.dsl.errors import names as name_errors
from gmc.dsl.errors import unsupported
from gmc.dsl.errors import values as value_errors
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import Ramp, UpdateWord

I = TypeVar("I", bound=syntax.ChainItem)  # noqa: E741  an item


def check_chain(context: Context, tree: syntax.Chain, around: Surroundings) -> model.Chain | None:
    """One chain, or None where something is wrong with it."""
    mark = context.mark
    held = _held(context, tree, around)
    _refuse_unsupported(context, tree)
    starts = check_starts(context, tree, held, around)
    gains = check_gains(context, tree, held, around)
    # where something is wrong, what is free, or which messages are sent, is not sure, and a sweep would be blamed for it
    sure = not context.errors_since(mark)
    written = _single(context, tree, syntax.Sweep)
    named = check_named(context, written, around)
    sure = sure and not context.errors_since(mark)
    kernels = check_kernels(context, tree.name.span, held, around, named) if sure and around.whole else {}
    sweep = check_sweep(context, written, around.graph, held.free, gains, kernels) if sure else None
    sweeps = _sweeps(context, tree)
    rule = _rule(context, tree)
    _refuse_modeless(context, tree, held, around)
    if context.errors_since(mark) or sweeps is None or rule is None:
        return None
    doc = tree.docstring.value if tree.docstring else None
    by = tuple(named.items())
    chain = model.Chain(tree.name.text, held.clamps, starts, sweep, sweeps, rule, tree.span, doc, gains, by)
    if around.whole:
        refuse_starts(context, chain, around.graph)
    return None if context.errors_since(mark) else chain


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
        if graph.variables and chain.name not in used and not free_variables(chain.clamps, graph):
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
    for item in _items(tree, syntax.Backprop):
        context.add(unsupported.form(item.span, "`backprop`"))


def _held(context: Context, tree: syntax.Chain, around: Surroundings) -> Held:
    """What the clamps of a chain hold, and what they leave free."""
    mark = context.mark
    clamps = tuple(clamp for item in _items(tree, syntax.Clamp) for clamp in _clamps(context, item, around))
    _refuse_overlaps(context, clamps, around.graph)
    free = free_variables(clamps, around.graph)
    return Held(tree.name.text, clamps, free, sure=not context.errors_since(mark))


def _clamps(context: Context, tree: syntax.Clamp, around: Surroundings) -> Iterator[model.Clamp]:
    source = None
    if tree.source is not None and context.scope.is_a(tree.source, "chain"):
        source = tree.source.text
    number = None if tree.value is None else values.number(context, tree.value)
    constant = None if number is None else float(number)
    names = list(dict.fromkeys(part.name.text for part in tree.parts))
    if tree.value is not None and len(names) > 1:
        context.add(errors.constant_for_several(tree.value.span, names))
    given = tree.value or tree.source
    if tree.where_observed and given is not None:
        context.add(errors.observed_anyway(given.span, source))
    for part in tree.parts:
        variable = around.variable(context, part.name)
        if variable is None:
            continue
        box = parts.box(context, part, variable) if part.slices else None
        if part.slices and box is None:
            continue
        if constant is not None and tree.value is not None and not _may_be(variable, constant):
            context.add(
                errors.constant_outside(
                    tree.value.span, variable.name, constant, variable.family.support, variable.span
                )
            )
        if box == parts.whole(variable):
            box = None
        yield model.Clamp(variable.name, box, part.span, constant, source, tree.where_observed)


def _may_be(variable: model.Variable, constant: float) -> bool:
    """Whether a value is in a variable's support, also in the 32 bits in which models compute: 1e-300 is above 0, and 0 there."""
    (held,) = struct.unpack("f", struct.pack("f", constant))
    return variable.family.contains(constant) and variable.family.contains(held)


def _refuse_overlaps(context: Context, clamps: Sequence[model.Clamp], graph: model.Model) -> None:
    for at, clamp in enumerate(clamps):
        whole = parts.whole(graph.variable(clamp.variable))
        for earlier in clamps[:at]:
            if earlier.variable == clamp.variable and parts.overlap(clamp.part or whole, earlier.part or whole):
                context.add(errors.clamped_twice(clamp.span, clamp.variable, earlier.span))
                break


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


def _rule(context: Context, tree: syntax.Chain) -> UpdateWord | None:
    item = _single(context, tree, syntax.Update)
    rule = syntax.Name("sample", tree.span) if item is None else item.rule
    name = rule if isinstance(rule, syntax.Name) else rule.name
    known = context.vocabulary.names("update")
    if name.text not in known:
        context.add(errors.unknown_update(name.span, name.text, known))
        return None
    bound = bind(context, rule, UPDATE)
    return None if bound is None else bound.word


def _refuse_modeless(context: Context, tree: syntax.Chain, held: Held, around: Surroundings) -> None:
    """`update mode` of a free variable that has no mode."""
    for item in _items(tree, syntax.Update):
        name = item.rule if isinstance(item.rule, syntax.Name) else item.rule.name
        for variable in around.graph.variables if name.text == "mode" else ():
            why = variable.family.modeless
            if why is not None and variable.sites and variable.name in held.free:
                context.add(errors.no_mode(name.span, variable.name, why, variable.span))


def _items(tree: syntax.Chain, kind: type[I]) -> Iterator[I]:
    return (item for item in tree.items if isinstance(item, kind))


def _single(context: Context, tree: syntax.Chain, kind: type[I]) -> I | None:
    """The only item of a kind, or the first of several, with a diagnostic."""
    found = list(_items(tree, kind))
    for again in found[1:]:
        context.add(name_errors.repeated_item(again.span, kind.__name__.lower(), "a chain", found[0].span))
    return found[0] if found else None
