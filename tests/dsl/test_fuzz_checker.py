"""The checker on programs that nobody would write: no exception but ours, spans inside the text. Seeds are fixed.

The parser's own fuzz makes text of which little is a program, and parsing is what takes the time. Here most mutations are made in
the tree: an expression, a name or a number takes the place of another, an item is dropped or comes again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest

import gmc.runtime.words  # noqa: F401  fills the vocabulary
from gmc.dsl import syntax
from gmc.dsl.check import check
from gmc.dsl.diagnostic import Diagnostic, GmcError, has_errors
from gmc.dsl.errors.syntax import file_not_found
from gmc.dsl.lexer import reserved_words
from gmc.dsl.model import Chain, Checked
from gmc.dsl.parser import parse
from gmc.dsl.source import Source, Span
from gmc.dsl.vocabulary import VOCABULARY, Ramp

TESTS = Path(__file__).parent.parent
_TOKEN = re.compile(r'"""[\s\S]*?"""|"[^"\n]*"|#[^\n]*|[A-Za-z_]\w*|[\d.]*\d(?:e-?\d+)?|\s+|--|->|~>|\.\.|[<>=]=|.')
_RIGHT = """
param n = 4 in [1 .. 64]
param rate = 0.1
model right {
  observed v : bernoulli[n, 8]
  observed y : categorical(10)
  latent h : bernoulli(bias = channel)[n, 8]
  latent x : normal(2, bias = 0)[3]
  edge v -- h by conv(3, padding = 1)
  edge wide : v -- h by lowrank(k = 2)
  edge v -- y -- x
  edge h -- h by lattice(boundary = periodic)
  edge y -- h
}
data npz("a.npz") { v = a | scale(1 / 255) | binarize  y = labels  test v = b | threshold(0.5)  x = "c" | mask(m) }
chain posterior { clamp v, y  sweeps 5  update mean }
chain negative { start persistent(100, restart = 0.1)  sweeps 1 -> 25 }
chain inpaint { clamp v[:, 4:]  clamp v[0, :4] = 1  clamp y from posterior  start h from posterior  start noise }
chain digit { clamp y = 3  sweep {v} then {h} then {x}  start data }
chain weak { clamp v  potent h = rate  potent wide = 0 -> 2  potent v -> h = cosine(1, rate)  impotent y -> x  update mode }
chain gaps { clamp v[0] where observed  impotent v unless surprise(v) >= 2 * rate  start v, x from noise  sweeps 2 }
chain silent { impotent v_h  impotent wide  impotent v_y_x  impotent y_h  sweep {v, h, y} then {x} }
objective nll = likelihood(positive = posterior, negative = negative)
objective sum = 2 * likelihood(posterior, negative) + (0.0 -> 1.0) * likelihood(posterior, exact(negative))
train first { minimize nll of v, v_h, y using sgd(lr = rate -> 0.0, momentum = 0.5)  batch 10  epochs 2 }
train second { minimize sum using adam(lr = cosine(0.1, 0), betas = (0.5, 0.999)) times 2  batch 2 * n  epochs 1 }
"""


def _programs() -> list[str]:
    """Programs, wrong and right; the last one, which has most to lose, half of the time."""
    paths = [*sorted(TESTS.glob("bad/GM[2-9]*.gm")), *sorted(TESTS.glob("golden/*.gm"))]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return [*texts, *[_RIGHT] * len(texts)]


PROGRAMS = _programs()
_NAMES = [
    "v",
    "h",
    "w",
    "posterior",
    "surprise",
    "bernoulli",
    "noise",
    "exact",
    "n",
    "nll",
    "v_h",
    "true",
    "cosine",
    "learned",
    "data",
]
_NUMBERS = ["0", "1", "2", "7", "0.5", "1e308", "9223372036854775807", "99999999999999999999", "2e-4", "1000000"]


# ── Mutations of text ────────────────────────────────────────────────────────────────────────────────────────────────


def mutated_text(rng: random.Random) -> str:
    """A program with a few tokens exchanged, dropped, or given again."""
    tokens = _TOKEN.findall(rng.choice(PROGRAMS))
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at, end = sorted(rng.randrange(len(tokens)) for _ in range(2))
        end = min(end, at + 12)
        match rng.randrange(9):
            case 0:
                del tokens[at]
            case 1:
                tokens[at:at] = tokens[at:end]
            case 2:
                del tokens[at:end]
            case _:
                names = [at for at, token in enumerate(tokens) if token[0].isalnum()]
                at = rng.choice(names or [0])
                alike = [
                    t
                    for t in tokens
                    if (t[0].isalpha(), t[0].isdigit()) == (tokens[at][0].isalpha(), tokens[at][0].isdigit())
                ]
                tokens[at] = rng.choice([token for token in alike if token not in reserved_words()] or alike)
        tokens = tokens or ["model"]
    return "".join(tokens)


# ── Mutations of the tree ────────────────────────────────────────────────────────────────────────────────────────────

_Path = tuple[tuple[str, int | None], ...]
_EXPRESSION = get_args(syntax.Expr)
_ITEM = (*get_args(syntax.Item), *get_args(syntax.Statement))
_ANYTHING = {
    "value",
    "low",
    "high",
    "shape",
    "count",
    "size",
    "lower",
    "upper",
    "times",
    "every",
    "args",
    "items",
    "start",
    "end",
}
"""The fields that hold any expression, in nodes that are no blocks; the others hold a name or a call."""


def _nodes(node: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """All nodes of a tree with their places."""
    yield path, node
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            for index, child in enumerate(value):
                if is_dataclass(child):
                    yield from _nodes(child, (*path, (field.name, index)))
        elif is_dataclass(value) and not isinstance(value, Span):
            yield from _nodes(value, (*path, (field.name, None)))


def _put(node: Any, path: _Path, new: tuple[Any, ...]) -> Any:
    """The tree with nodes in the place of one: one node, or in a tuple also none or several."""
    (name, index), *rest = path
    value = getattr(node, name)
    if index is None:
        return replace(node, **{name: _put(value, tuple(rest), new) if rest else new[0]})
    inner = (_put(value[index], tuple(rest), new),) if rest else new
    return replace(node, **{name: (*value[:index], *inner, *value[index + 1 :])})


def _mutate(rng: random.Random, tree: syntax.File) -> syntax.File:
    nodes = [(path, node) for path, node in _nodes(tree) if path]
    if not nodes:
        return tree
    path, node = rng.choice(nodes)
    if isinstance(node, _ITEM):
        return _put(tree, path, rng.choice([(), (node, node)]))
    if isinstance(node, syntax.Name) and rng.random() < 0.5:
        return _put(tree, path, (replace(node, text=rng.choice(_NAMES)),))
    if isinstance(node, _EXPRESSION) and path[-1][0] in _ANYTHING:
        if isinstance(node, syntax.Number) and rng.random() < 0.5:
            text = rng.choice(_NUMBERS)
            value = float(text) if "." in text or "e" in text else int(text)
            return _put(tree, path, (syntax.Number(value, text, node.span),))
        return _put(tree, path, (rng.choice([each for _, each in nodes if isinstance(each, _EXPRESSION)]),))
    return _put(tree, path, (rng.choice([each for _, each in nodes if type(each) is type(node)]),))


# ── The laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _no_file(path: Path) -> Source:
    raise GmcError(file_not_found(None, str(path)))


def _inside(span: Span, source: Source) -> None:
    assert span.source is source
    assert 0 <= span.start <= span.end <= len(source.text)


def _check_diagnostic(diagnostic: Diagnostic, source: Source) -> None:
    assert diagnostic.span is not None
    _inside(diagnostic.span, source)
    for related in diagnostic.related:
        _inside(related.span, source)
    assert diagnostic.message.isprintable()


def _check_model(checked: Checked) -> None:
    """What a checked model promises, whatever the text."""
    for chain in checked.chains:
        for clamp in chain.clamps:
            shape = checked.model.variable(clamp.variable).shape
            ranges = clamp.part if clamp.part is not None else tuple((0, size) for size in shape)
            assert len(ranges) == len(shape)
            assert all(0 <= low < high <= size for (low, high), size in zip(ranges, shape, strict=True))
        for name in chain.needs:
            checked.chain(name)
        assert all(clamp.constant is None and clamp.chain is None for clamp in chain.clamps if clamp.observed)
        _check_gains(checked, chain)
        started = [name for start in chain.starts for name in start.variables]
        assert len(started) == len(set(started))
        for name in (*started, *(name for block in chain.sweep or () for name in block)):
            checked.model.variable(name)
    for edge in checked.model.edges:
        assert edge.factor.mismatch(checked.model.ends(edge)) is None
    for stage in checked.stages:
        assert checked.data is not None
        for line in stage.minimize:
            assert all(
                checked.chain(chain) for t in checked.objective(line.objective).terms for chain in t.objective.chains()
            )


def _check_gains(checked: Checked, chain: Chain) -> None:
    for gain in chain.gains:
        assert (gain.variable is None) != (gain.edge is None)
        least, most = min(gain.value.start, gain.value.end), max(gain.value.start, gain.value.end)
        assert least >= 0
        if gain.edge is not None:
            checked.model.edge(gain.edge)
            assert (gain.target, gain.unless) == (None, None)
            continue
        assert most <= 1
        checked.model.variable(gain.variable or "")
        if gain.target is not None:
            joined = [edge for edge in checked.model.edges if {gain.variable, gain.target} <= set(edge.ends)]
            assert any(edge.lateral for edge in joined) or gain.target != gain.variable
            assert joined
        if gain.unless is not None:
            assert gain.value == Ramp(0.0, 0.0)
            assert gain.unless.condition.of in {clamp.variable for clamp in chain.clamps}


def run(file: syntax.File, source: Source) -> bool:
    """All that holds of any tree; whether it is right."""
    result = check(file, source, VOCABULARY, {}, None, _no_file)
    for diagnostic in result.diagnostics:
        _check_diagnostic(diagnostic, source)
    for diagnostic in result.diagnostics[:1]:
        assert diagnostic.render()
    assert (result.checked is None) == has_errors(result.diagnostics)
    if result.checked is not None:
        _check_model(result.checked)
    return result.checked is not None


@pytest.mark.parametrize("seed", range(4))
def test_mutated_text(seed: int) -> None:
    rng = random.Random(seed)
    parsed = 0
    for _ in range(100):
        source = Source("fuzz.gm", mutated_text(rng))
        tree = parse(source)
        try:
            run(tree.file, source)
        except Exception as error:
            error.add_note(source.text)
            raise
        parsed += tree.ok
    assert parsed > 10  # about a quarter of them parse


@pytest.fixture(scope="module")
def trees() -> list[tuple[Source, syntax.File]]:
    """The programs that parse, each once."""
    sources = [Source("fuzz.gm", text) for text in dict.fromkeys(PROGRAMS)]
    return [(source, parsed.file) for source in sources if (parsed := parse(source)).ok]


@pytest.mark.parametrize("seed", range(8))
def test_mutated_trees(seed: int, trees: list[tuple[Source, syntax.File]]) -> None:
    rng = random.Random(100 + seed)
    right = 0
    for _ in range(150):
        source, file = trees[-1] if rng.random() < 0.5 else rng.choice(trees)
        for _ in range(rng.choice([1, 1, 2, 3, 8])):
            file = _mutate(rng, file)
        try:
            right += run(file, source)
        except Exception as error:
            error.add_note(repr(file))
            raise
    assert 0 < right < 140


def test_right_program(trees: list[tuple[Source, syntax.File]]) -> None:
    source, file = trees[-1]
    assert source.text == _RIGHT
    assert run(file, source)
