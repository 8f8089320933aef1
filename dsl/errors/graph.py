"""Diagnostics of the model's graph: GM330-GM349."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Related
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import all_of, one_of, quoted
from gmc.dsl.source import Span


@diagnostic("GM330", "model without variables")
def no_variables(span: Span, name: str) -> Finding:
    """A model that declares no variable."""
    return Finding(f"the model `{name}` has no variables", "write `observed v : bernoulli[8]` in it")


@diagnostic("GM331", "variable too large")
def too_many_sites(span: Span, name: str) -> Finding:
    """A shape whose sites cannot be counted in 64 bits."""
    return Finding(f"`{name}` has more sites than can be counted")


@diagnostic("GM332", "no channels")
def no_channel(span: Span, name: str) -> Finding:
    """`bias = channel` on a variable without axes."""
    return Finding(f"`{name}` has no shape, so it has no channels", "leave `bias` out, or give the variable a shape")


@diagnostic("GM333", "too many ends")
def too_many_ends(span: Span, count: int) -> Finding:
    """An edge between more than three variables."""
    return Finding(f"an edge joins two or three variables, and this joins {count}", "write several edges")


@diagnostic("GM334", "variable twice in a third-order edge")
def repeated_end(span: Span, name: str, first: Span) -> Finding:
    """`A -- A -- B`."""
    return Finding(f"an edge between three variables joins `{name}` once", related=(Related(first, "joined here"),))


@diagnostic("GM335", "factor for another number of variables")
def factor_arity(span: Span, factor: str, count: int, takers: Sequence[str]) -> Finding:
    """A factor over two variables on an edge of three, or the other way round."""
    help = f"{one_of(quoted(takers))} can" if takers else None
    return Finding(f"`{factor}` cannot join {count} variables", help)


@diagnostic("GM336", "factor does not fit")
def factor_mismatch(span: Span, factor: str, why: str, ends: Sequence[tuple[Span, str]]) -> Finding:
    """A factor on variables of shapes or types that it cannot join."""
    return Finding(f"`{factor}` does not fit: {why}", related=tuple(Related(s, f"`{n}` is here") for s, n in ends))


@diagnostic("GM337", "edge given twice")
def duplicate_edge(span: Span, name: str, factor: str, first: Span) -> Finding:
    """Two edges over the same variables with the same factor and arguments."""
    message = f"these variables are already joined by the `{factor}` edge `{name}`, and two equal terms are one"
    return Finding(message, "remove one of them", (Related(first, f"`{name}` is here"),))


@diagnostic("GM338", "edge tied to itself")
def tie_circle(span: Span, name: str) -> Finding:
    """An edge that takes its weights from itself, directly or through others."""
    return Finding(f"`{name}` would take its weights from itself", "one edge of the circle has weights of its own")


@diagnostic("GM339", "tied edges of different ends")
def tie_mismatch(span: Span, target: str, here: Sequence[str], there: Sequence[str], declared: Span) -> Finding:
    """An edge that takes the weights of one between variables of other types or shapes."""
    if list(here) == list(there):
        message = f"only one of this edge and `{target}` joins a variable to itself"
    else:
        message = f"this edge joins {' and '.join(here)}, and `{target}` joins {' and '.join(there)}"
    return Finding(
        message,
        "tied edges join variables of the same types and shapes, in the same order",
        (Related(declared, f"`{target}` is here"),),
    )


@diagnostic("GM340", "coupling of unbounded variables")
def unbounded_coupling(span: Span, names: Sequence[str], reason: str, help: str) -> Finding:
    """An edge between variables whose values have no bound, whatever weights of which might leave no normalisable law."""
    who = "itself" if len(set(names)) == 1 else all_of(quoted(list(dict.fromkeys(names))[1:]))
    return Finding(f"`{names[0]}` joined to {who} may have no normalisable law: {reason}", help)


@diagnostic("GM341", "directed circle")
def directed_circle(span: Span, circle: Sequence[tuple[Span, str]], name: str | None) -> Finding:
    """`->` edges that lead back to where they begin, perhaps by way of `--` edges; or a `~>` edge of one variable."""
    if name is not None:
        return Finding(f"`{name}` would be drawn from itself", "join it to another variable")
    if len(circle) == 1:
        message = f"the ends of `{circle[0][1]}` are also joined by `--` edges, so that neither comes before the other"
    else:
        message = f"these edges lead back to where they begin: {', '.join(f'`{text}`' for _, text in circle)}"
    related = tuple(Related(s, f"`{text}`") for s, text in circle[1:])
    return Finding(message, "let one of them be a `~>` edge, which is no part of the joint, or remove it", related)


@diagnostic("GM342", "no head for this type")
def no_head(span: Span, edge: str, target: str, why: str, declared: Span) -> Finding:
    """A `->` or `~>` edge into a variable whose type has no linear head for it."""
    return Finding(
        f"`{edge}` cannot draw `{target}`: {why}", None, (Related(declared, f"`{target}` is declared here"),)
    )
