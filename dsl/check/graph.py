"""The model: variables with their types and shapes, edges with their factors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gmc.dsl import model, syntax
from gmc.dsl.check import values
from gmc.dsl.check.arguments import arguments
from gmc.dsl.check.bind import FACTOR, FAMILY, Bound, bind
from gmc.dsl.check.context import Context
from gmc.dsl.coupling import Refusal, headless, rule
from gmc.dsl.errors import graph as errors
from gmc.dsl.errors import unsupported
from gmc.dsl.kernels import directed_circle
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import FactorWord

DEFAULT_FACTOR = "dense"


def edge_name(ends: Sequence[str]) -> str:
    """The name of an edge that the file gives none: its variables in order, joined by `_`."""
    return "_".join(ends)


def written_name(edge: syntax.Edge) -> tuple[str, Span, bool]:
    """An edge's name, where it is to be shown, and whether it was made."""
    if edge.name is not None:
        return edge.name.text, edge.name.span, False
    ends = _ends(edge)
    return edge_name([end.text for end in ends]), ends[0].span.to(ends[-1].span), True


def check_model(context: Context, tree: syntax.Model) -> tuple[model.Model, bool]:
    """The model, with what is wrong left out of it, and whether it is whole."""
    mark = context.mark
    variables = tuple(v for item in tree.items if isinstance(item, syntax.Variable) for v in _variable(context, item))
    by_name = {variable.name: variable for variable in variables}
    built = [e for item in tree.items if not isinstance(item, syntax.Variable) for e in _edge(context, item, by_name)]
    _refuse_tie_problems(context, built, by_name)
    _refuse_duplicates(context, built)
    edges = tuple(item.edge for item in built)
    _refuse_circles(context, model.Model(tree.name.text, variables, edges, tree.span))
    if not any(isinstance(item, syntax.Variable) for item in tree.items):
        context.add(errors.no_variables(tree.name.span, tree.name.text))
    doc = tree.docstring.value if tree.docstring else None
    # a size whose param is wrong leaves out its variable, and the edges of that, without an error here
    whole = not context.errors_since(mark) and len(variables) + len(edges) == len(tree.items)
    return model.Model(tree.name.text, variables, edges, tree.span, doc), whole


@dataclass(frozen=True, slots=True)
class _Built:
    edge: model.Edge
    factor: Bound[FactorWord]


def _ends(edge: syntax.Edge) -> tuple[syntax.Name, ...]:
    match edge:
        case syntax.UndirectedEdge():
            return edge.ends
        case syntax.DirectedEdge():
            return (*edge.parents, *edge.children)
        case syntax.RecognitionEdge():
            return (*edge.inputs, *edge.latents)


def _variable(context: Context, tree: syntax.Variable) -> Iterator[model.Variable]:
    bound = bind(context, tree.family, FAMILY)
    # a latent variable may have no sites, so that a parameter can leave a layer out
    sizes = [values.integer(context, size, "a size", int(tree.kind == "observed")) for size in tree.shape]
    shape = tuple(size for size in sizes if size is not None)
    if bound is None or len(shape) != len(sizes):
        return
    variable = model.Variable(
        name=tree.name.text,
        observed=tree.kind == "observed",
        family=bound.word,
        shape=shape,
        span=tree.span,
        doc=tree.docstring.value if tree.docstring else None,
    )
    if variable.size > values.LARGEST:
        context.add(errors.too_many_sites(tree.name.span, tree.name.text))
    elif variable.family.bias == "channel" and not shape:
        context.add(errors.no_channel(bound.place("bias"), tree.name.text))
    else:
        declared = context.scope.get(tree.name.text)
        if declared is not None and declared.span == tree.name.span:  # of two of one name the first counts
            yield variable


def _edge(context: Context, tree: syntax.Edge, variables: Mapping[str, model.Variable]) -> Iterator[_Built]:
    written = _ends(tree)
    known = [context.scope.is_a(end, "variable") for end in written]
    fits = _arity_fits(context, tree) if isinstance(tree, syntax.UndirectedEdge) else _single_ends(context, tree)
    if not fits and not isinstance(tree, syntax.UndirectedEdge):  # what `by` names may be a net
        return
    factor = bind(context, tree.by or syntax.Name(DEFAULT_FACTOR, tree.span), FACTOR)
    if factor is None or not all(known) or not fits:
        return
    count = len(written)
    if count not in factor.word.arities:
        takers = [w.word for w in context.vocabulary.words() if issubclass(w, FactorWord) and count in w.arities]
        context.add(errors.factor_arity(factor.span, factor.word.word, count, takers))
        return
    ends = [variables[end.text] for end in written if end.text in variables]
    if len(ends) != count:
        return
    why = factor.word.mismatch(ends)
    if why is not None:
        related = [(v.span, v.name) for v in dict.fromkeys(ends)]
        context.add(errors.factor_mismatch(factor.span, factor.word.word, why, related))
        return
    if not _has_law(context, tree, ends, factor.word):
        return
    doc = tree.docstring.value if tree.docstring else None
    names = tuple(v.name for v in ends)
    kind = _kind(tree)
    targets = () if kind == "undirected" else names[-1:]
    yield _Built(model.Edge(written_name(tree)[0], names, factor.word, tree.span, doc, kind, targets), factor)


def _kind(tree: syntax.Edge) -> model.EdgeKind:
    match tree:
        case syntax.UndirectedEdge():
            return "undirected"
        case syntax.DirectedEdge():
            return "directed"
        case syntax.RecognitionEdge():
            return "recognition"


def _has_law(context: Context, tree: syntax.Edge, ends: Sequence[model.Variable], factor: FactorWord) -> bool:
    """Whether there is a law whatever the weights, or for weights that training keeps; a diagnostic where there is none."""
    if not isinstance(tree, syntax.UndirectedEdge):
        return _has_head(context, tree, ends[-1])
    refused = rule(ends, factor)
    if isinstance(refused, Refusal):
        unbounded = [end for end, variable in zip(tree.ends, ends, strict=True) if variable.family.tail != "bounded"]
        span = unbounded[0].span.to(unbounded[-1].span)
        names = [end.text for end in unbounded]
        context.add(errors.unbounded_coupling(span, names, refused.reason, refused.help))
    return not isinstance(refused, Refusal)


def _has_head(context: Context, tree: syntax.DirectedEdge | syntax.RecognitionEdge, target: model.Variable) -> bool:
    """Whether a linear map gives the law of what an edge draws; a diagnostic where it does not, or not alone."""
    place = _ends(tree)[-1].span
    more = target.family.unheaded(isinstance(tree, syntax.RecognitionEdge))
    why = headless(target)
    if more is not None:
        context.add(unsupported.form(place, more))
    elif why is not None:
        context.add(errors.no_head(place, written_name(tree)[0], target.name, why, target.span))
    return more is None and why is None


def _single_ends(context: Context, tree: syntax.DirectedEdge | syntax.RecognitionEdge) -> bool:
    """Whether a `->` or `~>` edge leads from one variable to another, without a net; what else the language has is not supported yet."""
    arrow = "->" if isinstance(tree, syntax.DirectedEdge) else "~>"
    ends = _ends(tree)
    joined = isinstance(tree, syntax.RecognitionEdge) and tree.joined
    if len(ends) > 2 or joined:
        what = "into a joined pair" if joined else "between several variables"
        context.add(unsupported.form(tree.span, f"one `{arrow}` edge {what}"))
        return False
    net = None if tree.by is None else tree.by if isinstance(tree.by, syntax.Name) else tree.by.name
    declared = None if net is None else context.scope.get(net.text)
    if net is not None and declared is not None and declared.what == "net":
        context.add(unsupported.form(net.span, f"a net on a `{arrow}` edge"))
        return False
    names = {end.text for end in ends}
    if len(names) == 1:
        context.add(errors.directed_circle(tree.span, (), names.pop()))
        return False
    return True


def _refuse_circles(context: Context, graph: model.Model) -> None:
    """What `->` edges draw does not come before what it is drawn from."""
    circle = directed_circle(graph)
    if circle:
        context.add(errors.directed_circle(circle[0].span, [(edge.span, str(edge)) for edge in circle], None))


def _arity_fits(context: Context, tree: syntax.UndirectedEdge) -> bool:
    names = [end.text for end in tree.ends]
    if len(names) > 3:
        context.add(errors.too_many_ends(tree.ends[0].span.to(tree.ends[-1].span), len(names)))
        return False
    if len(names) == 3 and len(set(names)) < 3:
        again = next(end for i, end in enumerate(tree.ends) if end.text in names[:i])
        first = next(end for end in tree.ends if end.text == again.text)
        context.add(errors.repeated_end(again.span, again.text, first.span))
        return False
    return True


def _refuse_duplicates(context: Context, edges: Sequence[_Built]) -> None:
    """Two equal terms between the same variables are one with a double gradient: surely a slip."""
    seen: dict[tuple[tuple[str, ...], str, str], _Built] = {}
    for built in edges:
        ends = built.edge.ends if built.edge.targets else tuple(sorted(built.edge.ends))
        key = (ends, built.edge.kind, repr((type(built.edge.factor), built.edge.factor)))
        first = seen.setdefault(key, built)
        if first is not built and first.edge.span != built.edge.span:
            name, factor = first.edge.name, built.edge.factor.word
            context.add(errors.duplicate_edge(built.edge.span, name, factor, first.edge.span))


def _refuse_tie_problems(context: Context, edges: Sequence[_Built], variables: Mapping[str, model.Variable]) -> None:
    """An edge whose factor names another takes that one's weights: not its own, not in a circle, and like for like."""
    by_name = {built.edge.name: built for built in edges}
    ties = {built.edge.name: tied for built in edges if (tied := _tied_to(built))}
    for name, (target, span) in ties.items():
        built = by_name[name]
        if name in _followed(name, ties):
            context.add(errors.tie_circle(span, name))
        elif target in by_name:
            here, there = ([_described(variables[end]) for end in by_name[n].edge.ends] for n in (name, target))
            other = by_name[target].edge
            # the head of a directed edge may be the transpose of another's
            fits = here == there or (bool(built.edge.targets) and here == there[::-1])
            if not fits or built.edge.lateral != other.lateral:
                context.add(errors.tie_mismatch(span, target, here, there, other.span))


def _described(variable: model.Variable) -> str:
    """A variable's type, width and shape, as far as weights depend on them."""
    k = f"({variable.family.width})" if variable.family.width > 1 else ""
    return f"{variable.family.word}{k}[{', '.join(map(str, variable.shape))}]".removesuffix("[]")


def _tied_to(built: _Built) -> tuple[str, Span] | None:
    for argument in arguments(type(built.factor.word)):
        if "edge" in argument.references:
            return str(getattr(built.factor.word, argument.field)), built.factor.place(argument.field)
    return None


def _followed(name: str, ties: Mapping[str, tuple[str, Span]]) -> set[str]:
    """The edges that are reached from one by following what it is tied to."""
    reached: set[str] = set()
    while name in ties and ties[name][0] not in reached:
        name = ties[name][0]
        reached.add(name)
    return reached
