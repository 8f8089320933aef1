"""Parse tree to syntax tree.

One method a rule of the grammar, by its name. The parse tree keeps every token, so a node's span runs from its first
child to its last. A rule that only groups passes on a tuple or a value for its parent to take apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from lark import Token, Tree
from lark.visitors import Transformer_NonRecursive

from gmc.dsl import syntax
from gmc.dsl.diagnostic import Diagnostic
from gmc.dsl.errors import syntax as errors
from gmc.dsl.lexer import string_value, token_span
from gmc.dsl.source import Source, Span

Children = list[Any]


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause such as `by FACTOR`: its reserved word says which, `values` what it holds."""

    kind: str
    values: tuple[Any, ...]
    span: Span


def build(source: Source, tree: Tree[Token]) -> tuple[syntax.File, tuple[Diagnostic, ...]]:
    """The syntax tree of a parse tree, and what was wrong with it beyond the grammar."""
    builder = _Build(source)
    file = cast(syntax.File, builder.transform(tree))
    return file, tuple(builder.diagnostics)


class _Build(Transformer_NonRecursive[Token, Any]):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.diagnostics: list[Diagnostic] = []

    # ── What all rules use ──────────────────────────────────────────────────────────────────────────────────────────

    def _at(self, children: Children) -> Span:
        return self._span(children[0]).to(self._span(children[-1]))

    def _span(self, child: Any) -> Span:
        return token_span(self.source, child) if isinstance(child, Token) else child.span

    def _name(self, token: Token) -> syntax.Name:
        return syntax.Name(str(token), token_span(self.source, token))

    def _names(self, children: Children) -> tuple[syntax.Name, ...]:
        return tuple(self._name(child) for child in children if isinstance(child, Token) and child.type == "NAME")

    def _string(self, token: Token) -> syntax.String:
        return syntax.String(string_value(token), token_span(self.source, token))

    def _clause(self, children: Children) -> _Clause:
        """A clause that begins with its reserved word."""
        names = self._names(children)
        return _Clause(children[0].type, names + _nodes(children), self._at(children))

    def _item(self, children: Children) -> Any:
        """A statement or an item with the docstring before it, if any."""
        if len(children) == 1:
            return children[0]
        return replace(children[1], docstring=self._docstring(children[0]))

    def _docstring(self, token: Token) -> syntax.Docstring:
        # Line breaks are not the text's: a tree is the same whatever the file's convention.
        return syntax.Docstring(str(token)[3:-3].replace("\r\n", "\n"), token_span(self.source, token))

    documented = model_item = data_item = chain_item = train_item = test_item = _item
    inputs = of = times = every = within = unless = by = target = constant = ended = observed = range_ = _clause

    # ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, children: Children) -> syntax.File:
        docstring = None
        if children and isinstance(children[0], Token):
            docstring = self._docstring(children[0])
        return syntax.File(docstring, _nodes(children), self.source.span(0, len(self.source.text)))

    def import_(self, children: Children) -> syntax.Import:
        return syntax.Import(self._string(children[1]), None, self._at(children))

    def param(self, children: Children) -> syntax.Param:
        bounds = _find(children, "IN")
        low, high = bounds.values if bounds else (None, None)
        return syntax.Param(self._name(children[1]), children[3], low, high, None, self._at(children))

    def net(self, children: Children) -> syntax.Net:
        given = _find(children, "LPAR")
        inputs = given.values if given else ()
        return syntax.Net(self._name(children[1]), inputs, children[-1], None, self._at(children))

    def objective(self, children: Children) -> syntax.Objective:
        return syntax.Objective(self._name(children[1]), children[3], None, self._at(children))

    # ── Models and data ─────────────────────────────────────────────────────────────────────────────────────────────

    def model(self, children: Children) -> syntax.Model:
        return syntax.Model(self._name(children[1]), _nodes(children), None, self._at(children))

    def variable(self, children: Children) -> syntax.Variable:
        kind: Literal["observed", "latent"] = "observed" if children[0].type == "OBSERVED" else "latent"
        shape = _find(children, "LSQB")
        sizes = shape.values if shape else ()
        return syntax.Variable(kind, self._name(children[1]), children[3], sizes, None, self._at(children))

    def shape(self, children: Children) -> _Clause:
        return _Clause("LSQB", _nodes(children), self._at(children))

    def edge(self, children: Children) -> syntax.Edge:
        by = _find(children, "BY")
        named = isinstance(children[1], Token)
        name = self._name(children[1]) if named else None
        ends = children[3] if named else children[1]
        return replace(ends, name=name, by=by.values[0] if by else None, span=self._at(children))

    def undirected(self, children: Children) -> syntax.UndirectedEdge:
        return syntax.UndirectedEdge(None, self._names(children), None, None, self._at(children))

    def directed(self, children: Children) -> syntax.DirectedEdge:
        return syntax.DirectedEdge(None, children[0].values, children[2].values, None, None, self._at(children))

    def recognition(self, children: Children) -> syntax.RecognitionEdge:
        inputs, _, latents = children
        joined = latents.kind == "joined"
        return syntax.RecognitionEdge(None, inputs.values, latents.values, joined, None, None, self._at(children))

    def group(self, children: Children) -> _Clause:
        return _Clause("group", self._names(children), self._at(children))

    def joined(self, children: Children) -> _Clause:
        return _Clause("joined", self._names(children), self._at(children))

    def data(self, children: Children) -> syntax.Data:
        return syntax.Data(children[1], _nodes(children[2:]), None, self._at(children))

    def binding(self, children: Children) -> syntax.Binding:
        splits: dict[str, syntax.Split] = {"VALID": "valid", "TEST": "test"}
        split = splits.get(children[0].type, "train")
        return syntax.Binding(split, self._name(children[-3]), children[-1], None, self._at(children))

    # ── Chains ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def chain(self, children: Children) -> syntax.Chain:
        return syntax.Chain(self._name(children[1]), _nodes(children), None, self._at(children))

    def clamp(self, children: Children) -> syntax.Clamp:
        parts = tuple(child for child in children if isinstance(child, syntax.Part))
        value, source = _find(children, "EQUAL"), _find(children, "FROM")
        return syntax.Clamp(
            parts,
            value.values[0] if value else None,
            source.values[0] if source else None,
            _find(children, "WHERE") is not None,
            None,
            self._at(children),
        )

    def part(self, children: Children) -> syntax.Part:
        return syntax.Part(self._name(children[0]), _nodes(children), self._at(children))

    def slice_(self, children: Children) -> syntax.Slice:
        lower, upper = (_find(children, kind) for kind in ("lower", "upper"))
        span = self._at(children)
        return syntax.Slice(lower.values[0] if lower else None, upper.values[0] if upper else None, span)

    def lower(self, children: Children) -> _Clause:
        return _Clause("lower", (children[0],), self._at(children))

    def upper(self, children: Children) -> _Clause:
        return _Clause("upper", (children[0],), self._at(children))

    def potent(self, children: Children) -> syntax.Potent:
        target = _first(_find(children, "ARROW"))
        return syntax.Potent(self._name(children[1]), target, children[-1], None, self._at(children))

    def impotent(self, children: Children) -> syntax.Impotent:
        target, unless = _first(_find(children, "ARROW")), _first(_find(children, "UNLESS"))
        return syntax.Impotent(self._name(children[1]), target, unless, None, self._at(children))

    def from_(self, children: Children) -> syntax.Start:
        return syntax.Start(self._names(children), children[-1], None, self._at(children))

    def sweep(self, children: Children) -> syntax.Sweep:
        return syntax.Sweep(_nodes(children), None, self._at(children))

    def block(self, children: Children) -> syntax.Block:
        return syntax.Block(_nodes(children), self._at(children))

    def block_update(self, children: Children) -> syntax.BlockUpdate:
        names = self._names(children)
        return syntax.BlockUpdate(names[0], names[1] if len(names) > 1 else None, self._at(children))

    def sweeps(self, children: Children) -> syntax.Sweeps:
        return syntax.Sweeps(children[1], None, self._at(children))

    def update(self, children: Children) -> syntax.Update:
        return syntax.Update(children[1], None, self._at(children))

    def backprop(self, children: Children) -> syntax.Backprop:
        return syntax.Backprop(children[1], _first(_find(children, "BY")), None, self._at(children))

    # ── Training ────────────────────────────────────────────────────────────────────────────────────────────────────

    def train(self, children: Children) -> syntax.Train:
        names = self._names(children)
        return syntax.Train(names[0] if names else None, _nodes(children), None, self._at(children))

    def minimize(self, children: Children) -> syntax.Minimize:
        of, times = _find(children, "OF"), _find(children, "TIMES")
        optimizer = next(child for child in children if isinstance(child, syntax.Name | syntax.Call))
        names = of.values if of else ()
        span = self._at(children)
        return syntax.Minimize(self._name(children[1]), names, optimizer, _first(times), None, span)

    def batch(self, children: Children) -> syntax.Batch:
        return syntax.Batch(children[1], None, self._at(children))

    def epochs(self, children: Children) -> syntax.Epochs:
        return syntax.Epochs(children[1], None, self._at(children))

    def watch(self, children: Children) -> syntax.Watch:
        every = _first(_find(children, "EVERY"))
        return syntax.Watch(_nodes(children), every, None, self._at(children))

    def stop(self, children: Children) -> syntax.Stop:
        return syntax.Stop(children[1], None, self._at(children))

    def test(self, children: Children) -> syntax.Test:
        settings = _find(children, "WITH")
        given = settings.values if settings else ()
        return syntax.Test(self._string(children[1]), given, _nodes(children), None, self._at(children))

    def settings(self, children: Children) -> _Clause:
        self._check_names_once([child for child in children if isinstance(child, syntax.Keyword)])
        return self._clause(children)

    def assert_(self, children: Children) -> syntax.Assert:
        return syntax.Assert(children[1], _first(_find(children, "WITHIN")), None, self._at(children))

    # ── Expressions ─────────────────────────────────────────────────────────────────────────────────────────────────

    def comparison(self, children: Children) -> syntax.Comparison:
        op = cast(syntax.CompareOp, str(children[1]))
        return syntax.Comparison(op, children[0], children[2], self._at(children))

    def arrow(self, children: Children) -> syntax.Arrow:
        return syntax.Arrow(children[0], children[2], self._at(children))

    def pipe(self, children: Children) -> syntax.Pipe:
        return syntax.Pipe(_nodes(children), self._at(children))

    def binary(self, children: Children) -> syntax.Binary:
        op = cast(Literal["+", "-", "*", "/"], str(children[1]))
        return syntax.Binary(op, children[0], children[2], self._at(children))

    def negative(self, children: Children) -> syntax.Unary:
        return syntax.Unary("-", children[1], self._at(children))

    def number(self, children: Children) -> syntax.Number:
        text = str(children[0])
        return syntax.Number(int(text) if text.isdecimal() else float(text), text, self._at(children))

    def string(self, children: Children) -> syntax.String:
        return self._string(children[0])

    def parenthesized(self, children: Children) -> syntax.Expr:
        # The span takes the brackets in, so that an excerpt of what is around it is whole.
        inner: syntax.Expr = replace(children[1], span=self._at(children))
        return inner

    def tuple_(self, children: Children) -> syntax.Tuple:
        return syntax.Tuple(_nodes(children), self._at(children))

    def name(self, children: Children) -> syntax.Name:
        return self._name(children[0])

    def call(self, children: Children) -> syntax.Named:
        name = self._name(children[0])
        given = _nodes(children)
        if not given:
            return name
        keywords = [child for child in given if isinstance(child, syntax.Keyword)]
        positional = [child for child in given if not isinstance(child, syntax.Keyword)]
        for child in positional:
            if keywords and child.span.start > keywords[0].span.start:
                self.diagnostics.append(errors.positional_after_named(child.span, keywords[0].span))
        self._check_names_once(keywords)
        return syntax.Call(name, (*positional,), (*keywords,), self._at(children))

    def keyword(self, children: Children) -> syntax.Keyword:
        return syntax.Keyword(self._name(children[0]), children[2], self._at(children))

    def _check_names_once(self, keywords: list[syntax.Keyword]) -> None:
        first: dict[str, syntax.Keyword] = {}
        for keyword in keywords:
            before = first.setdefault(keyword.name.text, keyword)
            if before is not keyword:
                self.diagnostics.append(errors.repeated_argument(keyword.name.span, before.name.span))


def _nodes(children: Children) -> tuple[Any, ...]:
    """The children that are nodes, neither tokens nor clauses."""
    return tuple(child for child in children if not isinstance(child, Token | _Clause))


def _find(children: Children, kind: str) -> _Clause | None:
    return next((child for child in children if isinstance(child, _Clause) and child.kind == kind), None)


def _first(clause: _Clause | None) -> Any:
    return clause.values[0] if clause else None
