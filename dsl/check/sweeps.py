"""Written sweeps: every free variable, no clamped one, and no edge inside a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gmc.dsl import model, syntax
from gmc.dsl.check.context import Context
from gmc.dsl.check.gains import meet
from gmc.dsl.errors import chains as errors
from gmc.dsl.errors import names as name_errors


def check_sweep(
    context: Context,
    tree: syntax.Sweep | None,
    graph: model.Model,
    free: frozenset[str],
    gains: Sequence[model.Gain],
    kernels: Mapping[str, model.Edge],
) -> tuple[tuple[str, ...], ...] | None:
    """The blocks of a written sweep; `kernels` are the `~>` edges by what they draw. None where there is none or, with diagnostics, where it is wrong."""
    if tree is None:
        return None
    mark = context.mark
    blocks = [tuple(_names(context, block, graph, free)) for block in tree.blocks]
    for block in tree.blocks:
        _refuse_inner_edges(context, block, graph, gains, kernels)
    drawn = {name for block in blocks for name in block}
    missed = [v.name for v in graph.variables if v.name in free - drawn]
    if missed and not context.errors_since(mark):
        context.add(errors.sweep_misses(tree.span, missed))
    return None if context.errors_since(mark) else tuple(block for block in blocks if block)


def _names(context: Context, block: syntax.Block, graph: model.Model, free: frozenset[str]) -> Iterator[str]:
    """The variables that a block draws; those without sites, which may be named like any other, are left out."""
    seen: dict[str, syntax.Name] = {}
    sites = {v.name: v.sites for v in graph.variables}
    for update in block.updates:
        name = update.name
        if not context.scope.is_a(name, "variable"):
            continue
        if name.text in seen:
            context.add(name_errors.repeated_name(name.span, name.text, seen[name.text].span))
        elif sites.get(name.text) and name.text not in free:
            context.add(errors.sweep_of_clamped(name.span, name.text))
        seen.setdefault(name.text, name)
        if name.text in free:
            yield name.text


def _refuse_inner_edges(
    context: Context,
    block: syntax.Block,
    graph: model.Model,
    gains: Sequence[model.Gain],
    kernels: Mapping[str, model.Edge],
) -> None:
    """Two different ends of one edge cannot be drawn at once where one depends on the other."""
    places = {update.name.text: update.name.span for update in reversed(block.updates)}
    told: set[frozenset[str]] = set()
    for edge in graph.edges:
        inside = [end for end in dict.fromkeys(edge.ends) if end in places]
        for at, second in enumerate(inside):
            other = next((end for end in inside[:at] if meet(gains, edge, end, second, kernels)), None)
            if other is None or {other, second} in told:
                continue
            told.add(frozenset((other, second)))
            first, last = sorted((other, second), key=lambda name: places[name].start)
            context.add(errors.edge_in_block(places[last], last, first, edge.name, places[first], edge.span))
