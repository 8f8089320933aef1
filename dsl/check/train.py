"""Stages of training: what is minimised, of which parameters, how, and on what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gmc.dsl import model, syntax
from gmc.dsl.check import values
from gmc.dsl.check.arguments import arguments
from gmc.dsl.check.bind import METRIC, OPTIMIZER, STOP, bind
from gmc.dsl.check.context import Context
from gmc.dsl.errors import names as name_errors
from gmc.dsl.errors import objectives as errors
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import ExpectationWord, MetricWord, StopWord, Word

UNNAMED = "train"
"""The name of a stage that has none."""

I = TypeVar("I", bound=syntax.TrainItem)  # noqa: E741  an item


@dataclass(frozen=True, slots=True)
class Trained:
    """What stages stand on; chains and objectives as far as they are right, the data's columns None where they are wrong."""

    graph: model.Model
    chains: Mapping[str, model.Chain]
    objectives: Mapping[str, model.Objective]
    columns: frozenset[str] | None


def stage_name(tree: syntax.Train) -> str:
    """A stage's name."""
    return UNNAMED if tree.name is None else tree.name.text


def check_stage(context: Context, tree: syntax.Train, around: Trained) -> model.Stage | None:
    """One stage, or None where something is wrong with it."""
    mark = context.mark
    lines = [_minimize(context, item) for item in _items(tree, syntax.Minimize)]
    if not lines and not any(isinstance(item, syntax.Minimize) for item in tree.items):
        context.add(errors.missing_item(_head(tree), stage_name(tree), "minimize"))
    _refuse_shared(context, tree, around.graph)
    batch = _count(context, tree, _single(context, tree, syntax.Batch), "batch")
    epochs = _count(context, tree, _single(context, tree, syntax.Epochs), "epochs")
    watch, every = _watch(context, tree)
    stop = _stop(context, tree)
    _refuse_unbounded(context, tree, lines, around.graph)
    if context.errors_since(mark) or batch is None or epochs is None or every is None:
        return None
    minimize = tuple(line for line in lines if line is not None)
    doc = tree.docstring.value if tree.docstring else None
    return model.Stage(stage_name(tree), minimize, batch, epochs, watch, every, tree.span, doc, stop)


def refuse_repeated(context: Context, trees: Sequence[syntax.Train]) -> None:
    """Stages have names of their own, apart from all others."""
    first: dict[str, Span] = {}
    for tree in trees:
        name = stage_name(tree)
        if name in first:
            context.add(name_errors.repeated_stage(_head(tree), name, first[name], named=tree.name is not None))
        first.setdefault(name, _head(tree))


def refuse_nothing_to_clamp_to(context: Context, stages: Iterable[model.Stage], around: Trained) -> None:
    """What a stage's chains clamp has training rows, a constant, or another chain's end."""
    told: set[tuple[str, str]] = set()
    for stage in stages:
        for line in stage.minimize:
            for name in _used(line, stage, around):
                _refuse_unfed(context, around.chains[name], stage, line, around, told)


def refuse_nothing_to_read(context: Context, stages: Iterable[model.Stage], around: Trained) -> None:
    """What a stage's objectives read of rows themselves has training rows."""
    if around.columns is None:
        return
    told: set[tuple[Span, str]] = set()
    lines = [line for stage in stages for line in stage.minimize if line.objective in around.objectives]
    for line, term in ((each, term) for each in lines for term in around.objectives[each.objective].terms):
        for name in term.objective.reads(around.graph):
            if name not in around.columns and (term.span, name) not in told:
                told.add((term.span, name))
                context.add(errors.nothing_to_read(term.span, name, term.objective.word, line.span))


def warn_of_untrained(context: Context, stages: Sequence[model.Stage], graph: model.Model) -> None:
    """In a file with `train`, every parameter should be taken by a line of a stage."""
    if not stages or any(not line.of for stage in stages for line in stage.minimize):
        return
    taken = {name for stage in stages for line in stage.minimize for name in line.of}
    items: tuple[model.Variable | model.Edge, ...] = (*graph.variables, *graph.edges)
    for item in items:
        if item.name not in taken and _untrainable(item) is None:
            context.add(errors.never_trained(item.span, item.name))


def _minimize(context: Context, tree: syntax.Minimize) -> model.Minimize | None:
    known = context.scope.is_a(tree.objective, "objective")
    named = [context.scope.is_a(name, "variable", "edge", "net") for name in tree.of]
    optimizer = bind(context, tree.optimizer, OPTIMIZER)
    times = 1 if tree.times is None else values.integer(context, tree.times, "a number of times", 1)
    if not known or not all(named) or optimizer is None or times is None:
        return None
    return model.Minimize(tree.objective.text, tuple(name.text for name in tree.of), optimizer.word, times, tree.span)


def _refuse_shared(context: Context, tree: syntax.Train, graph: model.Model) -> None:
    """No parameter is in two lines of a stage, and what `of` names has one."""
    items: dict[str, model.Variable | model.Edge] = {v.name: v for v in graph.variables}
    items |= {edge.name: edge for edge in graph.edges}
    taken: dict[str, Span] = {}
    everything: Span | None = None
    for line in _items(tree, syntax.Minimize):
        if not line.of and everything is not None:
            context.add(errors.all_twice(line.span, everything))
        elif not line.of:
            everything = line.span
        inside: dict[str, Span] = {}
        for name in line.of:
            if name.text in inside:
                context.add(name_errors.repeated_name(name.span, name.text, inside[name.text]))
                continue
            inside[name.text] = name.span
            if name.text in taken:
                context.add(errors.of_twice(name.span, name.text, taken[name.text]))
                continue
            taken[name.text] = name.span
            why = _untrainable(items[name.text]) if name.text in items else None
            if why is not None:
                context.add(errors.nothing_to_train(name.span, name.text, why))


def _untrainable(item: model.Variable | model.Edge) -> str | None:
    """Why a variable or an edge has no parameter, if so."""
    if isinstance(item, model.Variable):
        return None if item.family.bias in {"site", "channel"} else "its bias is fixed"
    ties = [a for a in arguments(type(item.factor)) if "edge" in a.references]
    return f"its weights are those of `{getattr(item.factor, ties[0].field)}`" if ties else None


def _used(line: model.Minimize, stage: model.Stage, around: Trained) -> list[str]:
    """The chains that a line's objective and its stage's metrics run, with those that they need."""
    objective = around.objectives.get(line.objective)
    waiting = [name for term in (objective.terms if objective else ()) for name in term.objective.chains()]
    for metric in stage.watch:
        waiting += chains_named(metric)
        for goal in (around.objectives[name] for name in objectives_named(metric) if name in around.objectives):
            waiting += [name for term in goal.terms for name in term.objective.chains()]
    used: dict[str, None] = {}
    while waiting:
        name = waiting.pop(0)
        if name in around.chains and name not in used:
            used[name] = None
            waiting += around.chains[name].needs
    return list(used)


def chains_named(word: Word) -> Iterator[str]:
    """The chains that a word's arguments name."""
    for argument in arguments(type(word)):
        if "chain" not in argument.references and not argument.kinds:
            continue
        value = getattr(word, argument.field)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, ExpectationWord):
                yield item.under
            elif isinstance(item, str):
                yield item


def objectives_named(word: Word) -> Iterator[str]:
    """The objectives that a word's arguments name."""
    return (getattr(word, a.field) for a in arguments(type(word)) if "objective" in a.references)


def _refuse_unfed(
    context: Context,
    chain: model.Chain,
    stage: model.Stage,
    line: model.Minimize,
    around: Trained,
    told: set[tuple[str, str]],
) -> None:
    for clamp in chain.clamps:
        fed = clamp.constant is not None or clamp.chain is not None
        if fed or around.columns is None or clamp.variable in around.columns or (chain.name, clamp.variable) in told:
            continue
        told.add((chain.name, clamp.variable))
        context.add(errors.nothing_to_clamp_to(clamp.span, clamp.variable, chain.name, stage.name, line.span))


def _watch(context: Context, tree: syntax.Train) -> tuple[tuple[MetricWord, ...], int | None]:
    item = _single(context, tree, syntax.Watch)
    if item is None:
        return (), 1
    bound = [bind(context, metric, METRIC) for metric in item.metrics]
    every = 1 if item.every is None else values.integer(context, item.every, "a number of epochs", 1)
    return tuple(each.word for each in bound if each is not None), every


def _stop(context: Context, tree: syntax.Train) -> StopWord | None:
    """The rule of `stop`, which needs a metric to go by."""
    item = _single(context, tree, syntax.Stop)
    if item is None:
        return None
    bound = bind(context, item.rule, STOP)
    if not any(isinstance(other, syntax.Watch) for other in tree.items):
        context.add(errors.nothing_to_stop_by(item.span, stage_name(tree), watches=False))
    return None if bound is None else bound.word


def _refuse_unbounded(
    context: Context, tree: syntax.Train, lines: Sequence[model.Minimize | None], graph: model.Model
) -> None:
    """A bound on the incoming weights of each unit, and edges that have none."""
    named = {name.text for item in _items(tree, syntax.Minimize) for name in item.of}
    for line, item in zip(lines, _items(tree, syntax.Minimize), strict=True):
        if line is None or not line.optimizer.bounds_units:
            continue
        for edge in graph.edges:
            mine = edge.name in line.of if line.of else edge.name not in named
            if mine and _untrainable(edge) is None and not edge.factor.fan_in(graph.ends(edge)):
                context.add(errors.no_units(item.optimizer.span, edge.name, edge.factor.word, edge.span))


def note_unwatched(context: Context, trees: Iterable[syntax.Train], data: model.Data | None) -> None:
    """Metrics are measured on the valid split; without one there is nothing to measure, nor to stop by."""
    if data is not None and not any(binding.split == "valid" for binding in data.bindings):
        for tree in trees:
            watched, stops = list(_items(tree, syntax.Watch)), list(_items(tree, syntax.Stop))
            for stop in stops if watched else ():
                context.add(errors.nothing_to_stop_by(stop.span, stage_name(tree), watches=True))
            for item in () if stops else watched:
                context.add(errors.nothing_to_watch(item.span, stage_name(tree)))


def _count(context: Context, tree: syntax.Train, item: syntax.Batch | syntax.Epochs | None, what: str) -> int | None:
    if item is None:
        context.add(errors.missing_item(_head(tree), stage_name(tree), what))
        return None
    if isinstance(item, syntax.Batch):
        return values.integer(context, item.size, "a batch", 1)
    return values.integer(context, item.count, "a number of epochs", 1)


def _head(tree: syntax.Train) -> Span:
    """Where a stage is shown: its name, or the word `train`."""
    if tree.name is not None:
        return tree.name.span
    start = tree.span.start
    return tree.span.source.span(start, min(start + len("train"), tree.span.end))


def _items(tree: syntax.Train, kind: type[I]) -> Iterator[I]:
    return (item for item in tree.items if isinstance(item, kind))


def _single(context: Context, tree: syntax.Train, kind: type[I]) -> I | None:
    """The only item of a kind, or the first of several, with a diagnostic."""
    found = list(_items(tree, kind))
    for again in found[1:]:
        context.add(name_errors.repeated_item(again.span, kind.__name__.lower(), "a stage", found[0].span))
    return found[0] if found else None
