"""The parser, the printer and the checker on 10,000 programs that nobody would write: no exception but ours, spans inside the text,
and, on those that parse, the laws of the printer and a check of what they mean. Seeds are fixed."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from lark.grammar import NonTerminal, Rule

import gmc.runtime.words  # noqa: F401  fills the vocabulary
from gmc.dsl.check import check as check_meaning
from gmc.dsl.diagnostic import Diagnostic, GmcError, has_errors
from gmc.dsl.errors import syntax as errors
from gmc.dsl.lexer import grammar
from gmc.dsl.parser import parse
from gmc.dsl.printer import format_source
from gmc.dsl.source import Source, Span
from gmc.dsl.vocabulary import VOCABULARY

GOLDEN = Path(__file__).parent.parent / "golden"
_TOKEN = re.compile(r'"""[\s\S]*?"""|"[^"\n]*"|#[^\n]*|\w+|\s+|--|->|~>|\.\.|[<>=]=|.')
_NOISE = "{}()[]:,=|+-*/<>.#\"'\\;~@\n\t \r\0é日→“1a_e\N{COMBINING ACUTE ACCENT}\N{ZERO WIDTH NO-BREAK SPACE}"


def statements() -> list[str]:
    """The statements of the golden files with what comments stand before them."""
    found = list[str]()
    for path in sorted(GOLDEN.glob("*.gm")):
        source = Source(path.name, path.read_text(encoding="utf-8"))
        parsed = parse(source)
        assert parsed.ok
        end = 0
        for statement in parsed.file.statements:
            found.append(source.text[end : statement.span.end])
            end = statement.span.end
    return [text for text in found if len(text) < 400]


STATEMENTS = statements()


# ── Mutations ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _delete(rng: random.Random, tokens: list[str]) -> None:
    del tokens[rng.randrange(len(tokens))]


def _duplicate(rng: random.Random, tokens: list[str]) -> None:
    at = rng.randrange(len(tokens))
    tokens.insert(at, tokens[at])


def _swap(rng: random.Random, tokens: list[str]) -> None:
    a, b = (rng.randrange(len(tokens)) for _ in range(2))
    tokens[a], tokens[b] = tokens[b], tokens[a]


def _replace(rng: random.Random, tokens: list[str]) -> None:
    tokens[rng.randrange(len(tokens))] = rng.choice(tokens)


def _transplant(rng: random.Random, tokens: list[str]) -> None:
    tokens.insert(rng.randrange(len(tokens)), rng.choice(_TOKEN.findall(rng.choice(STATEMENTS))))


def _noise(rng: random.Random, tokens: list[str]) -> None:
    tokens.insert(rng.randrange(len(tokens)), rng.choice(_NOISE))


def _misspell(rng: random.Random, tokens: list[str]) -> None:
    at = rng.randrange(len(tokens))
    token = tokens[at]
    cut = rng.randrange(len(token) + 1)
    tokens[at] = token[:cut] + rng.choice(["", rng.choice(_NOISE), token]) + token[cut + 1 :]


def _cut(rng: random.Random, tokens: list[str]) -> None:
    del tokens[rng.randrange(len(tokens)) :]


def _comment(rng: random.Random, tokens: list[str]) -> None:
    tokens.insert(rng.randrange(len(tokens)), rng.choice(["# x\n", "\n# x\n", '"""x"""', '"""x\n  y"""\n']))


_MUTATIONS: list[Callable[[random.Random, list[str]], None]] = [
    _delete,
    _duplicate,
    _swap,
    _replace,
    _transplant,
    _noise,
    _misspell,
    _cut,
    _comment,
]


def mutated(rng: random.Random) -> str:
    """A few statements with a few mistakes in them."""
    tokens = _TOKEN.findall("\n".join(rng.choices(STATEMENTS, k=rng.randint(1, 3))))
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        if tokens:
            rng.choice(_MUTATIONS)(rng, tokens)
    return "".join(tokens)


# ── Programs from the grammar ────────────────────────────────────────────────────────────────────────────────────────

_WORDS = {
    "NAME": ["v", "h", "x_1", "clamp_", "normal"],
    "NUMBER": ["0", "3", ".5", "2e-4", "1.25"],
    "STRING": ['"a b"', '""', r'"\"\\"'],
    "DOCSTRING": ['"""doc"""', '"""two\n    lines """', '""""""'],
}
_GAPS = [" ", " ", " ", " ", "\n", "\n\n\n", " # c\n", "\n  # own\n", "\t", " #\n# two\n", "\r\n"]


def _rules() -> dict[str, list[Rule]]:
    rules: dict[str, list[Rule]] = {}
    for rule in grammar().rules:
        rules.setdefault(rule.origin.name, []).append(rule)
    return rules


RULES = _rules()
SPELLED = {terminal.name: terminal.pattern.value for terminal in grammar().terminals if terminal.pattern.type == "str"}


def _cost(rule: Rule) -> int:
    return sum(isinstance(symbol, NonTerminal) for symbol in rule.expansion)


def generated(rng: random.Random) -> str:
    """A program of the language, made by its grammar."""
    words = list[str]()
    pending: list[Any] = [rng.choice([NonTerminal("statement"), NonTerminal("documented"), NonTerminal("start")])]
    while pending:
        symbol = pending.pop()
        if not isinstance(symbol, NonTerminal):
            words.append(rng.choice(_WORDS.get(symbol.name) or [SPELLED.get(symbol.name, "")]))
            continue
        rules = RULES[symbol.name]
        # Once a program is long enough it takes the ways that end soonest.
        short = len(words) + len(pending) > 60
        rule = min(rules, key=_cost) if short else rng.choice(rules)
        pending += reversed(rule.expansion)
    text = "".join(word + (rng.choice(_GAPS) if rng.random() < 0.8 else " ") for word in words)
    return rng.choice(["", "# first\n", "\n"]) + text


# ── The laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_span(span: Span, source: Source) -> None:
    assert span.source is source
    assert 0 <= span.start <= span.end <= len(source.text)


def _check_spans(node: Any, source: Source) -> None:
    if isinstance(node, tuple):
        for child in node:
            _check_spans(child, source)
    elif is_dataclass(node) and not isinstance(node, Source | Span):
        _check_span(node.span, source)  # type: ignore[attr-defined]
        for field in fields(node):
            _check_spans(getattr(node, field.name), source)


def _check_diagnostic(diagnostic: Diagnostic, source: Source) -> None:
    assert diagnostic.span is not None
    _check_span(diagnostic.span, source)
    for related in diagnostic.related:
        _check_span(related.span, source)
    assert diagnostic.message.isprintable(), diagnostic.message


def check(text: str, must_parse: bool = False) -> bool:
    """All that holds of any text; whether it is a program."""
    source = Source("fuzz.gm", text)
    parsed = parse(source)
    beyond_grammar = {"GM114", "GM118"}
    grammatical = {diagnostic.code for diagnostic in parsed.diagnostics} <= beyond_grammar
    assert grammatical or not must_parse, "\n".join(map(str, parsed.diagnostics))
    for diagnostic in parsed.diagnostics:
        _check_diagnostic(diagnostic, source)
    for diagnostic in parsed.diagnostics[:2]:
        assert diagnostic.render()
    _check_spans(parsed.file, source)
    if parsed.ok:
        printed = format_source(text)
        again = parse(Source("printed.gm", printed))
        assert again.file == parsed.file
        assert [found.text for found in again.file.comments] == [found.text for found in parsed.file.comments]
        assert format_source(printed) == printed
        meaning = check_meaning(parsed.file, source, VOCABULARY, loader=_no_file)
        assert (meaning.checked is None) == has_errors(meaning.diagnostics)
        for diagnostic in meaning.diagnostics:
            _check_diagnostic(diagnostic, source)
    return parsed.ok


def _no_file(path: Path) -> Source:
    raise GmcError([errors.file_not_found(None, str(path))])


def run(seed: int, mutations: int, generations: int, noises: int) -> None:
    """Checks so many programs of each kind."""
    rng = random.Random(seed)
    parsed = sum(noted(mutated(rng)) for _ in range(mutations))
    assert mutations < 100 or mutations / 50 < parsed < mutations * 0.9
    for _ in range(generations):
        noted(generated(rng), must_parse=True)
    for _ in range(noises):
        noted("".join(rng.choices(_NOISE, k=rng.randrange(60))))
        noted("".join(map(chr, rng.choices([*range(0xD800), *range(0xE000, 0x11000)], k=rng.randrange(30)))))


def noted(text: str, must_parse: bool = False) -> bool:
    """Checks a program; a failure shows it."""
    try:
        return check(text, must_parse)
    except Exception as error:
        error.add_note(repr(text))
        raise


def test_with_types_checked() -> None:
    run(0, mutations=150, generations=50, noises=20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many(seed: int) -> None:
    # In a process of its own: with every call's types checked this would take ten times as long.
    done = subprocess.run([sys.executable, __file__, str(seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-10_000:]


if __name__ == "__main__":
    run(int(sys.argv[1]), mutations=1900, generations=500, noises=100)
