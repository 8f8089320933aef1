"""What draws each free variable of a chain: the edge that a written sweep names, or the one that the graph tells."""

from __future__ import annotations

from collections.abc import Mapping

from gmc.dsl import model, syntax
from gmc.dsl.check.context import Context
from gmc.dsl.check.surroundings import Held, Surroundings
from gmc.dsl.errors import chains as errors
from gmc.dsl.errors import unsupported
from gmc.dsl.kernels import Missing, find_kernels
from gmc.dsl.source import Span


def check_named(context: Context, tree: syntax.Sweep | None, around: Surroundings) -> dict[str, str]:
    """The edges that a written sweep names, by what they draw: `~>` edges into it, one a variable."""
    found: dict[str, str] = {}
    edges = {edge.name: edge for edge in around.graph.edges}
    updates = [update for block in tree.blocks for update in block.updates] if tree is not None else []
    for update in updates:
        by, name = update.by, update.name.text
        if by is None or not context.scope.is_a(by, "edge") or by.text not in edges:
            continue
        edge = edges[by.text]
        if edge.kind != "recognition" or name not in edge.targets:
            choices = [e.name for e in edges.values() if e.kind == "recognition" and name in e.targets]
            context.add(errors.no_kernel_of(by.span, name, by.text, edge.span, choices))
            continue
        found[name] = by.text
    for update in updates:
        kernel = found.get(update.name.text)
        if kernel is not None and (update.by is None or update.by.text != kernel):
            context.add(unsupported.form(update.span, "a sweep that draws a variable in two ways"))
    return found


def check_kernels(
    context: Context, span: Span, held: Held, around: Surroundings, named: Mapping[str, str]
) -> Mapping[str, model.Edge]:
    """The `~>` edges that draw variables, by these, with a diagnostic for each variable that nothing draws or that several could."""
    found = find_kernels(around.graph, held.clamped, held.free, named)
    for missing in found.missing:
        if missing.choices:
            edges = [(edge.span, edge.name) for edge in missing.choices]
            context.add(errors.several_kernels(span, held.chain, missing.variable, edges))
        else:
            reasons = [(edge.span, text) for edge, text in missing.reasons]
            context.add(errors.no_kernel(span, held.chain, missing.variable, reasons, _help(missing, around.graph)))
    return found.by


def _help(missing: Missing, graph: model.Model) -> str:
    """What would draw a variable that nothing draws."""
    name = missing.variable
    known = [e.name for e in graph.edges if e.kind == "recognition" and name in e.targets]
    if known:
        return f"name an edge in a written sweep, `{{{name} by {known[0]}}}`, clamp an input of it, or leave free what lies below"
    return f"give it a `~>` edge from what is clamped, such as `edge {_nearest(missing)} ~> {name}`, or leave free what lies below"


def _nearest(missing: Missing) -> str:
    """The variable that is directly below, to which recognition would answer."""
    return missing.reasons[0][0].targets[0]
