"""The checker on programs that nobody would write: no exception but ours, spans inside the text. Seeds are fixed.

The parser's own fuzz feeds it mostly text that is no program. Here a token takes the place of one of its own sort, an item is
dropped or comes again, so that most of them parse and reach the checker.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

import gmc.runtime.words  # noqa: F401  fills the vocabulary
from gmc.dsl.check import check
from gmc.dsl.diagnostic import Diagnostic, GmcError, has_errors
from gmc.dsl.errors.syntax import file_not_found
from gmc.dsl.model import Checked
from gmc.dsl.parser import parse
from gmc.dsl.source import Source, Span
from gmc.dsl.vocabulary import VOCABULARY

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
chain old { start normal(0, 1)  impotent v  backprop 1 }
objective nll = likelihood(positive = posterior, negative = negative)
objective sum = 2 * likelihood(posterior, negative) + (0.0 -> 1.0) * likelihood(posterior, exact(negative))
train first { minimize nll of v, v_h, y using sgd(lr = rate -> 0.0, momentum = 0.5)  batch 10  epochs 2 }
train second { minimize sum using adam(lr = cosine(0.1, 0), betas = (0.5, 0.999)) times 2  batch 2 * n  epochs 1 }
"""


def _programs() -> list[list[str]]:
    """Programs, right and wrong, as tokens."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(TESTS.glob("bad/GM[2-9]*.gm"))]
    texts += [path.read_text(encoding="utf-8") for path in sorted(TESTS.glob("golden/*.gm"))]
    return [_TOKEN.findall(text) for text in (texts + [_RIGHT] * len(texts))]


PROGRAMS = _programs()
_NAMES = [
    "v",
    "h",
    "w",
    "posterior",
    "bernoulli",
    "data_",
    "noise",
    "exact",
    "n",
    "nll",
    "v_h",
    "true",
    "cosine",
    "learned",
]
_NUMBERS = ["0", "1", "2", "7", "0.5", "1e308", "9223372036854775807", "99999999999999999999", "2e-4", "1000000"]


def _sort(token: str) -> str:
    if token[0].isalpha() or token[0] == "_":
        return "name"
    if token[0].isdigit() or token[0] == ".":
        return "number"
    return token[:1]


def mutated(rng: random.Random) -> str:
    """A program with a few tokens exchanged for others of their sort, or dropped, or given again."""
    tokens = list(rng.choice(PROGRAMS))
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at = rng.randrange(len(tokens))
        sort = _sort(tokens[at])
        alike = [token for token in tokens if _sort(token) == sort]
        alike += _NAMES if sort == "name" else _NUMBERS * 3 if sort == "number" else []
        match rng.randrange(12):
            case 0:
                del tokens[at]
            case 1:
                end = min(at + rng.randrange(1, 12), len(tokens))
                tokens[at:at] = tokens[at:end]
            case 2:
                del tokens[at : at + rng.randrange(1, 12)]
            case 3 if sort == "number":
                tokens[at] = rng.choice(["-", "1 / ", "2 * ", "1 -> ", "n - "]) + tokens[at]
            case 4 if sort == "name":
                tokens[at] = tokens[at] + rng.choice(
                    ["(3)", "[1:]", "[-1, 0]", "(v, h)", "(k = 2)", "2", " | scale(2)"]
                )
            case _:
                tokens[at] = rng.choice(alike)
        if not tokens:
            tokens = ["model"]
    return "".join(tokens)


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


def run(text: str) -> tuple[bool, bool]:
    """All that holds of any text; whether it parses, and whether it is right."""
    source = Source("fuzz.gm", text)
    parsed = parse(source)
    result = check(parsed.file, source, VOCABULARY, {}, None, _no_file)
    for diagnostic in result.diagnostics:
        _check_diagnostic(diagnostic, source)
    for diagnostic in result.diagnostics[:1]:
        assert diagnostic.render()
    assert (result.checked is None) == has_errors(result.diagnostics)
    if result.checked is not None:
        _check_model(result.checked)
    return parsed.ok, parsed.ok and result.checked is not None


@pytest.mark.parametrize("seed", range(8))
def test_mutated(seed: int) -> None:
    rng = random.Random(seed)
    parsed = right = 0
    for _ in range(250):
        text = mutated(rng)
        try:
            ok, fine = run(text)
        except Exception as error:
            error.add_note(text)
            raise
        parsed += ok
        right += fine
    assert parsed > 100
    assert 0 < right < parsed


def test_right_program() -> None:
    text = _RIGHT.replace("chain old { start normal(0, 1)  impotent v  backprop 1 }", "")
    assert run(text) == (True, True)
