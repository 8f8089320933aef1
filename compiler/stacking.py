"""Why a model has no stack of RBMs, or has one that cannot be trained layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gmc.compiler.factors.tied import Tied
from gmc.compiler.family import Family
from gmc.compiler.stack import Layer, Stack
from gmc.dsl.model import Edge, Model, Variable
from gmc.dsl.vocabulary import Problem


def stacking_problems(stack: Stack) -> Iterator[Problem]:
    """All that is wrong with a stack."""
    refused = [problem for edge in stack.model.edges for problem in _of_edge(stack.model, edge)]
    yield from refused
    if refused:
        return
    if not stack.edges:
        yield Problem(
            "the model has no edge between an observed and a latent variable, so that there is nothing to train",
            help="join latent variables to the data",
        )
    for variable in stack.model.variables:
        yield from _of_variable(stack, variable)
    for layer in stack.layers:
        yield from _of_layer(stack, layer)


def _of_edge(model: Model, edge: Edge) -> Iterator[Problem]:
    """An edge that is in no RBM."""
    ends = [v for v in model.ends(edge) if v.sites]
    what = f"`{edge}`"
    if edge.kind == "recognition" or len(ends) < len(edge.ends):
        return
    if edge.lateral:
        yield Problem(
            f"{what} joins a variable to itself, and in each layer that is trained no unit meets another of its side",
            help="train a model with lateral edges by `likelihood`",
            related=((edge.span, "this edge is in no layer"),),
        )
    elif len(edge.ends) > 2:
        yield Problem(
            f"{what} is of third order, and a layer joins its visible to its hidden units in pairs",
            help="train a model with edges of third order by `likelihood`",
            related=((edge.span, "this edge is in no layer"),),
        )
    elif all(v.observed for v in ends):
        yield Problem(
            f"{what} joins observed variables, and every layer has latent ones at its upper side",
            help="train a model with edges between observed variables by `likelihood`",
            related=((edge.span, "this edge is in no layer"),),
        )
    elif edge.targets and model.variable(edge.sources[0]).observed:
        yield Problem(
            f"{what} leads from the data up, and the edges of a layer lead from its latent side down",
            help=f"turn it round, or make it a `~>` edge, which is taken along: `edge {edge.sources[0]} ~> {edge.targets[0]}`",
            related=((edge.span, "this edge is in no layer"),),
        )


def _of_variable(stack: Stack, variable: Variable) -> Iterator[Problem]:
    """A latent variable below which there is nothing."""
    met = [edge for edge in stack.edges if variable.name in edge.ends]
    if not variable.observed and met and stack.depth[variable.name] == 0:
        yield Problem(
            f"{variable.name} has nothing below it: it is declared before all that it is joined to, and layers go up in the order of declaration",
            help=f"declare {variable.name} after the variables that it stands on",
            related=((variable.span, "declared here"),),
        )


def _of_layer(stack: Stack, layer: Layer) -> Iterator[Problem]:
    """An upper variable of `->` edges that cannot be drawn from below."""
    for name in layer.upper:
        edges = [edge for edge in layer.edges if stack.top(edge) == name]
        down = [edge for edge in edges if edge.targets]
        if not down:
            continue
        kernel = stack.kernel(name)
        across = next((edge for edge in edges if not edge.targets), None)
        if across is not None:
            yield Problem(
                f"{name} stands on other variables by a `->` and by a `--` edge, and the two train it in different ways",
                help="let both be `->` or both be `--` edges",
                related=((down[0].span, f"`{down[0]}`"), (across.span, f"`{across}`")),
            )
        elif kernel is None:
            bottom = stack.bottom(down[0])
            yield Problem(
                f"no `~>` edge draws {name}, so that no row goes up through `{down[0]}`",
                help=f"add `edge {bottom} ~> {name}`",
                related=((down[0].span, "this edge only leads down"),),
            )
        elif len(down) > 1:
            yield Problem(
                f"{name} leads down by several `->` edges, and `{kernel}` takes the weights of one",
                help=f"let {name} have one `->` edge",
                related=tuple((edge.span, f"`{edge}`") for edge in down),
            )
        elif not stack.parts(name):
            yield Problem(
                f"{name} is at the top and leads down by `->` alone, so that nothing trains its own law",
                help=f"let the topmost edge be `{stack.bottom(down[0])} -- {name}`, as in a deep belief network",
                related=((down[0].span, f"`{down[0]}`"),),
            )
        else:
            yield from _of_kernel(stack.model, down[0], kernel)


def _of_kernel(model: Model, down: Edge, up: Edge) -> Iterator[Problem]:
    """A `~>` edge whose weights cannot be the transposed ones of a `->` edge."""
    together = _owner(model, down) == _owner(model, up)
    visible = model.variable(down.targets[0])
    share = sent(visible)
    if not together and not (down.factor.word == up.factor.word == "dense"):
        yield Problem(
            f"the weights of `{up}` are to be those of `{down}`, and `{down.factor}` has no transpose as `{up.factor}`",
            help=f"write `by tied({down.name})` in `{up}`",
            related=((down.span, f"`{down}`"), (up.span, f"`{up}`")),
        )
    elif together and share != 1.0:
        yield Problem(
            f"`{up}` shares the weights of `{down}`, but what {visible.name} sends up is {share:g} times what is drawn, its precision",
            help=f"give `{up}` weights of its own",
            related=((up.span, f"`{up}`"),),
        )


def sent(variable: Variable) -> float:
    """What a variable sends along `--` edges, over its value: the precision of a normal, which is no learned one where a `->` edge leads to it."""
    one: Any = 1.0
    return float(variable.family.at({}).sent(one)) if isinstance(variable.family, Family) else 1.0


def _owner(model: Model, edge: Edge) -> str:
    """The edge whose weights an edge has."""
    while isinstance(edge.factor, Tied):
        edge = model.edge(edge.factor.to)
    return edge.name
