"""Gains: how strong the messages of a chain are, and the gates that let one through again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gmc.dsl import model, syntax
from gmc.dsl.check import values
from gmc.dsl.check.bind import CONDITION, bind
from gmc.dsl.check.context import Context
from gmc.dsl.check.surroundings import Held, Surroundings
from gmc.dsl.coupling import rule
from gmc.dsl.errors import gains as errors
from gmc.dsl.vocabulary import Ramp

NOTHING = Ramp(0.0, 0.0)
"""The gain of what is impotent."""


def check_gains(context: Context, tree: syntax.Chain, held: Held, around: Surroundings) -> tuple[model.Gain, ...]:
    """The gains of a chain in the order written, with what is wrong left out."""
    items = [item for item in tree.items if isinstance(item, (syntax.Potent, syntax.Impotent))]
    return tuple(gain for item in items if (gain := _gain(context, item, held, around)) is not None)


def meet(
    gains: Sequence[model.Gain], edge: model.Edge, a: str, b: str, kernels: Mapping[str, model.Edge] | None = None
) -> bool:
    """Whether an edge sends one of two of its ends a message, so that they cannot be drawn at once; `kernels` are the `~>` edges by what they draw."""
    return any(
        is_heard(edge, end, kernels or {}) and not any(_silences(gain, edge, end) for gain in gains) for end in (a, b)
    )


def is_heard(edge: model.Edge, receiver: str, kernels: Mapping[str, model.Edge]) -> bool:
    """Whether the draw of an end reads the edge: one drawn by a `~>` edge reads that edge alone, any other what the joint sends it."""
    kernel = kernels.get(receiver)
    if kernel is not None:
        return kernel.name == edge.name
    return edge.kind != "recognition" and edge.speaks(receiver)


def _silences(gain: model.Gain, edge: model.Edge, receiver: str) -> bool:
    """Whether a gain never lets an edge's message into one of its ends through."""
    if gain.unless is not None or not gain.value.constant or gain.value.start != 0:
        return False
    return gain.edge == edge.name or (gain.variable in _others(edge, receiver) and gain.target in (None, receiver))


def _others(edge: model.Edge, end: str) -> tuple[str, ...]:
    """The ends from which a message into one of them comes: itself, where the edge is lateral."""
    return edge.ends[1:] if edge.lateral else tuple(other for other in edge.ends if other != end)


def _gain(
    context: Context, item: syntax.Potent | syntax.Impotent, held: Held, around: Surroundings
) -> model.Gain | None:
    mark = context.mark
    declared = context.scope.get(item.name.text)
    of_edge = declared is not None and declared.what == "edge"
    _look_up(context, item, around, of_edge=of_edge)
    value: Ramp | None = NOTHING
    gate = None
    if isinstance(item, syntax.Potent):
        value = _value(context, item.gain, of_edge=of_edge)
    elif item.unless is not None:
        if of_edge and item.target is None:
            context.add(errors.gate_on_edge(item.unless.span, item.name.text))
        gate = _gate(context, item.unless, held, around)
    if value is None or context.errors_since(mark):
        return None
    gain = model.Gain(
        variable=None if of_edge else item.name.text,
        target=item.target.text if item.target is not None else None,
        edge=item.name.text if of_edge else None,
        value=value,
        span=item.span,
        unless=gate,
    )
    if around.whole and gain.edge is not None:
        _refuse_lawless(context, gain, around.graph)
    if held.sure and around.whole:
        _warn_of_no_effect(context, gain, held, around.graph)
    return gain


def _refuse_lawless(context: Context, gain: model.Gain, graph: model.Model) -> None:
    """A gain above 1 on a term that has a law because its couplings are no stronger."""
    edge = graph.edge(gain.edge or "")
    if max(gain.value.start, gain.value.end) > 1 and rule(graph.ends(edge), edge.factor) in ("definite", "field"):
        context.add(errors.gain_without_law(gain.span, edge.name, edge.span))


def _look_up(context: Context, item: syntax.Potent | syntax.Impotent, around: Surroundings, *, of_edge: bool) -> None:
    """Diagnostics of the names of a gain: what sends, and to whom."""
    name, target = item.name, item.target
    if target is None:
        context.scope.is_a(name, "variable", "edge")
        return
    if of_edge:
        context.add(errors.edge_with_target(name.span.to(target.span), name.text))
        return
    known = [context.scope.is_a(each, "variable") for each in (name, target)]
    if not all(known) or not around.whole:
        return
    reached = _receivers(around.graph, name.text)
    if target.text not in reached:
        context.add(errors.no_edge_between(name.span.to(target.span), name.text, target.text, reached))


def _receivers(graph: model.Model, name: str) -> tuple[str, ...]:
    """The variables to which one sends messages, in the order of declaration; itself, where it has a lateral edge."""
    found = {o for edge in graph.edges if name in edge.ends for o in _others(edge, name) if edge.speaks(o)}
    return tuple(v.name for v in graph.variables if v.name in found)


def _value(context: Context, expr: syntax.Expr, *, of_edge: bool) -> Ramp | None:
    ramp = values.ramp(context, expr)
    if ramp is None:
        return None
    wrong = next((end for end in (ramp.start, ramp.end) if end < 0 or (end > 1 and not of_edge)), None)
    if wrong is not None:
        context.add(errors.gain_out_of_range(expr.span, wrong, of_edge=of_edge, runs=not ramp.constant))
        return None
    return ramp


def _gate(context: Context, tree: syntax.Comparison, held: Held, around: Surroundings) -> model.Gate | None:
    bound = bind(context, tree.left, CONDITION)
    threshold = values.number(context, tree.right)
    if bound is not None and held.sure and any(v.name == bound.word.of for v in around.graph.variables):
        clamped = held.clamped
        if bound.word.of not in clamped:
            place = bound.place("of")
            context.add(errors.nothing_clamped(place, bound.word.word, bound.word.of, held.chain, clamped))
    if tree.op == "==":
        context.add(errors.gate_at_a_value(tree.span))
        return None
    if bound is None or threshold is None:
        return None
    return model.Gate(bound.word, tree.op, float(threshold), tree.span)


def _warn_of_no_effect(context: Context, gain: model.Gain, held: Held, graph: model.Model) -> None:
    """A gain that scales nothing, because nothing is joined to its variable or all that receive its messages are clamped."""
    if gain.edge is not None:
        edge = graph.edge(gain.edge)
        receivers = tuple(dict.fromkeys(end for end in edge.ends if edge.speaks(end)))
    elif gain.target is not None:
        receivers = (gain.target,)
    else:
        receivers = _receivers(graph, gain.variable or "")
    # a layer that a param leaves out is named like any other
    if all(name not in held.free and graph.variable(name).sites for name in receivers):
        context.add(errors.no_effect(gain.span, gain.variable, receivers, held.chain))
