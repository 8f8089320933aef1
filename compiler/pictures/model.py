"""The factor graph of a model as DOT text: variables as circles, terms as the lines between them."""

from __future__ import annotations

from math import prod

from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.pictures import style
from gmc.compiler.pictures.dot import Dot
from gmc.compiler.pictures.names import factor_text, shape_text, type_text
from gmc.dsl.errors.phrases import plural
from gmc.dsl.model import Variable


def graph_dot(graph: FactorGraph) -> str:
    """The model as DOT text: observed variables shaded, at the bottom; lateral terms as loops, those of third order as small squares.

    Directed edges are arrows, recognition edges dashed ones, all drawn from the lower variable to the upper one, so that both ways rank them alike.
    """
    picture = style.picture("graph", graph.model.name, _title(graph))
    picture.attr("graph", rankdir="BT", nodesep="0.6", ranksep="0.75")
    for variable in graph.variables:
        _draw_variable(picture, variable)
    for term in graph.terms:
        _draw_term(picture, graph, term)
    return picture.text()


def _title(graph: FactorGraph) -> str:
    numbers = sum(prod(parameter.shape) for parameter in graph.parameters)
    facts = (
        plural(len(graph.variables), "variable"),
        plural(len(graph.terms), "edge"),
        f"{numbers:,} parameters",
        "observed variables are grey",
    )
    head = f'<font point-size="18">{style.bold(f"model {graph.model.name}")}</font>'
    lines = [head, style.soft("  \N{MIDDLE DOT}  ".join(facts), 12), style.soft(" ", 8)]
    return "".join(f'{line}<br align="left"/>' for line in lines)


def _draw_variable(picture: Dot, variable: Variable) -> None:
    name = f'<font point-size="18">{style.bold(variable.name)}</font>'
    label = style.stacked([name, style.soft(type_text(variable)), style.soft(plural(variable.sites, "site"))])
    look = {"fillcolor": style.OBSERVED, "penwidth": "1.8"} if variable.observed else {}
    tip = f"{'observed' if variable.observed else 'latent'} {variable.name} : {type_text(variable)}"
    picture.node(
        variable.name, label=label, shape="circle", margin="0", width="1.45", tooltip=variable.doc or tip, **look
    )


def _draw_term(picture: Dot, graph: FactorGraph, term: Term) -> None:
    ends = [variable.name for variable in term.ends]
    tip = term.edge.doc or f"edge {term.name}: {term.edge} by {factor_text(term)}"
    if len(ends) == 2:
        tail, head, look = _arrow(term)
        picture.edge(tail, head, label=style.beside(_lines(graph, term)), tooltip=tip, labeltooltip=tip, **look)
        return
    square = f"edge {term.name}"
    mark = f'<td port="at" bgcolor="{style.INK}" width="12" height="12" fixedsize="true"></td>'
    table = f'<table border="0" cellborder="0" cellspacing="4"><tr>{mark}<td>{style.table(_lines(graph, term))}</td></tr></table>'
    picture.node(square, label=f"<{table}>", shape="plaintext", style="", tooltip=tip)
    first, *others = ends
    picture.edge(first, square, head_port="at", tooltip=tip)
    for other in others:
        picture.edge(square, other, tail_port="at", tooltip=tip)


def _arrow(term: Term) -> tuple[str, str, dict[str, str]]:
    """The lower and the upper variable of a term of two ends, and its line."""
    first, second = term.edge.ends
    match term.edge.kind:
        case "undirected":
            return first, second, {}
        case "directed":
            return second, first, {"dir": "back", "arrowtail": "normal"}
        case "recognition":
            return first, second, {"dir": "forward", "arrowhead": "normal", "style": "dashed"}


def _lines(graph: FactorGraph, term: Term) -> list[str]:
    """The term's name, factor and the shapes of its weights, or that it has none."""
    own = [shape_text(p.shape) for p in graph.parameters if p.owner == term.name and p.role == "weight"]
    own += [f"bias {shape_text(p.shape)}" for p in graph.parameters if p.owner == term.name and p.role == "bias"]
    weights = ", ".join(own) or ("weights shared" if term.owner != term.name else "nothing to learn")
    return [style.bold(term.name), style.soft(factor_text(term)), style.soft(weights)]
