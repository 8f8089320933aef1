from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from gmc.dsl import syntax
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.expected import ALL_ITEMS, STATEMENTS
from gmc.dsl.lexer import grammar, reserved_words
from gmc.dsl.parser import Parsed, decode, load, parse, read_source
from gmc.dsl.source import Source

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(GOLDEN.glob("*.gm"))

RESERVED = """import param in net model observed latent edge by data valid test chain clamp where from potent impotent unless
start sweep then sweeps update backprop objective train minimize of using times batch epochs watch every stop with assert
within"""


def read(text: str) -> Parsed:
    return parse(Source("m.gm", text))


def file(text: str) -> syntax.File:
    parsed = read(text)
    assert not parsed.diagnostics, "\n".join(map(str, parsed.diagnostics))
    return parsed.file


def one(text: str) -> Any:
    (statement,) = file(text).statements
    return statement


def item(text: str, block: str = "chain c") -> Any:
    statement = one(f"{block} {{ {text} }}")
    (found,) = statement.bindings if isinstance(statement, syntax.Data) else statement.items
    return found


def value(text: str) -> Any:
    return one(f"objective o = {text}").value


def codes(text: str) -> list[str]:
    return [found.code for found in read(text).diagnostics]


def show(node: Any) -> str:
    """An expression with every bracket written."""
    match node:
        case syntax.Name() | syntax.Number():
            return node.text
        case syntax.Binary():
            return f"({show(node.left)} {node.op} {show(node.right)})"
        case syntax.Unary():
            return f"(- {show(node.operand)})"
        case syntax.Arrow():
            return f"({show(node.start)} -> {show(node.end)})"
        case syntax.Pipe():
            return f"({' | '.join(map(show, node.stages))})"
        case syntax.Tuple():
            return f"<{', '.join(map(show, node.items))}>"
        case syntax.Call():
            keywords = [f"{keyword.name.text} = {show(keyword.value)}" for keyword in node.keywords]
            return f"{node.name.text}({', '.join([*map(show, node.args), *keywords])})"
        case _:
            raise AssertionError(node)


def nodes(node: Any) -> list[Any]:
    """A node and all below it."""
    if isinstance(node, tuple):
        return [inner for child in node for inner in nodes(child)]
    if not is_dataclass(node) or not hasattr(node, "span"):
        return []
    return [node, *(inner for field in fields(node) for inner in nodes(getattr(node, field.name)))]


# ── The grammar ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_grammar_has_no_conflict_and_no_collision() -> None:
    pytest.importorskip("interegular")
    grammar(strict=True)


def test_reserved_words() -> None:
    assert set(reserved_words()) == set(RESERVED.split())
    assert set(reserved_words().values()) >= STATEMENTS | ALL_ITEMS


def test_longer_operators_win() -> None:
    tokens = grammar().parse_interactive("-- -> ~> .. <= >= == - < > = 1..3 -->")
    kinds = [token.type for token in tokens.lexer_thread.lex(tokens.parser_state)]
    operators = ["JOIN", "ARROW", "RECOGNIZE", "DOTDOT", "LESS_EQUAL", "GREATER_EQUAL", "EQUALS"]
    assert kinds[:11] == [*operators, "MINUS", "LESS", "GREATER", "EQUAL"]
    assert kinds[11:] == ["NUMBER", "DOTDOT", "NUMBER", "JOIN", "GREATER"]


# ── Trees ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    parsed = load(path)
    assert parsed.ok
    assert not parsed.diagnostics
    text = read_source(path).text
    for node in nodes(parsed.file):
        assert 0 <= node.span.start <= node.span.end <= len(text)
    for node in nodes(parsed.file):
        if isinstance(node, syntax.Name | syntax.Number) and "(" not in node.span.text:
            assert node.span.text == node.text
        if type(node) in syntax.Statement.__args__:
            assert node.span.text.split()[0] == type(node).__name__.lower()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("1 - 2 * 3 / 4", "(1 - ((2 * 3) / 4))"),
        ("-a * b", "((- a) * b)"),
        ("- - a", "(- (- a))"),
        ("a - -b", "(a - (- b))"),
        ("a | b + 1 | c", "(a | (b + 1) | c)"),
        ("(a | b) | c", "((a | b) | c)"),
        ("(1 + 2) * 3", "((1 + 2) * 3)"),
        ("((a))", "a"),
        ("f()", "f"),
        ("f(a, 2, k = 1 -> 0, l = (1, 2))", "f(a, 2, k = (1 -> 0), l = <1, 2>)"),
        ("(0.0 -> 1.0) * kl", "((0.0 -> 1.0) * kl)"),
        ("f(a | g, b)", "f((a | g), b)"),
        (".5 + 2e-4", "(.5 + 2e-4)"),
    ],
)
def test_expressions(text: str, shown: str) -> None:
    assert show(value(text)) == shown


def test_values() -> None:
    assert [type(value(text).value) for text in ("2", "2.0", "2e3")] == [int, float, float]
    assert value('"a\\"b\\\\c\\n\\t"').value == 'a"b\\c\n\t'
    assert value("(a + b)").span.text == "(a + b)"
    assert value("2 * (a + b)").span.text == "2 * (a + b)"


def test_edges() -> None:
    def edge(text: str) -> Any:
        return item(text, "model m")

    def names(found: tuple[syntax.Name, ...]) -> list[str]:
        return [name.text for name in found]

    assert names(edge("edge a -- b -- c").ends) == ["a", "b", "c"]
    assert names(edge("edge a -- a").ends) == ["a", "a"]
    lateral = edge("edge e : a -- b by conv(5, stride = 2)")
    assert (lateral.name.text, lateral.by.name.text) == ("e", "conv")
    directed = edge("edge (a, b) -> c by net_1")
    assert (names(directed.parents), names(directed.children)) == (["a", "b"], ["c"])
    assert edge("edge (a) -> c") == edge("edge a -> c")
    joined, apart = edge("edge x ~> (a -- b) by q"), edge("edge x ~> (a, b) by q")
    assert (joined.joined, apart.joined) == (True, False)
    assert names(joined.latents) == names(apart.latents) == ["a", "b"]


def test_chain_items() -> None:
    clamp = item("clamp v[:, 4:n - 1, 2], y from predict where observed")
    assert [part.name.text for part in clamp.parts] == ["v", "y"]
    every, some, index = clamp.parts[0].slices
    assert (every.lower, every.upper) == (None, None)
    assert (some.lower.text, show(some.upper), index.text) == ("4", "(n - 1)", "2")
    assert (clamp.source.text, clamp.value, clamp.where_observed) == ("predict", None, True)
    assert item("clamp y = 3").value.value == 3
    potent = item("potent v -> h = 0 -> 1")
    assert (potent.name.text, potent.target.text, show(potent.gain)) == ("v", "h", "(0 -> 1)")
    impotent = item("impotent v unless surprise(v) > 0.5")
    assert (impotent.target, impotent.unless.op, show(impotent.unless.left)) == (None, ">", "surprise(v)")
    start = item("start v, h from persistent(10, restart = 0.1)")
    assert ([name.text for name in start.names], start.source.name.text) == (["v", "h"], "persistent")
    assert item("start noise").names == ()
    assert [item(text).source.text for text in ("start data", "start v from data")] == ["data", "data"]
    sweep = item("sweep {v, z by x_z} then {h}")
    assert [[update.name.text for update in block.updates] for block in sweep.blocks] == [["v", "z"], ["h"]]
    assert sweep.blocks[0].updates[1].by.text == "x_z"
    assert show(item("sweeps uniform(1, 3)").count) == "uniform(1, 3)"
    assert item("update mean").rule.text == "mean"
    assert item("update mean(damping = 0.5)").rule.name.text == "mean"
    assert show(item("backprop 2 by concrete(0.5)").by) == "concrete(0.5)"


def test_training_and_data() -> None:
    train = one("train { minimize a of b, c using sgd(0.1) times 5  batch 1  epochs 2  watch m, n(3) every 4  stop s }")
    assert train.name is None
    minimize, _, _, watch, stop = train.items
    assert [name.text for name in minimize.of] == ["b", "c"]
    assert (minimize.objective.text, show(minimize.optimizer), show(minimize.times)) == ("a", "sgd(0.1)", "5")
    assert ([show(metric) for metric in watch.metrics], show(watch.every), show(stop.rule)) == (["m", "n(3)"], "4", "s")
    data = one('data npz("x.npz") { v = a | scale(2) valid v = "b c" test w = d }')
    assert [(binding.split, binding.name.text) for binding in data.bindings] == [
        ("train", "v"),
        ("valid", "v"),
        ("test", "w"),
    ]
    test = one('test "it" with (a = 1) { assert b < c within 2 }')
    assert (test.title.value, test.settings[0].name.text, test.asserts[0].comparison.op) == ("it", "a", "<")


def test_the_first_docstring_is_the_files() -> None:
    found = file('"""File."""\n"""Param\n   a."""\nparam a = 1\nchain c { """Item.""" clamp v }')
    assert found.docstring is not None
    assert found.docstring.value == "File."
    param, chain = found.statements
    assert param.docstring is not None
    assert param.docstring.value == "Param\na."
    assert isinstance(chain, syntax.Chain)
    assert chain.items[0].docstring is not None


def test_comments_are_set_aside() -> None:
    found = file("# one\nparam a = # two\n1 # three")
    assert [comment.text for comment in found.comments] == ["# one", "# two", "# three"]
    assert found == file("param a = 1")


def test_places_do_not_count_in_comparisons() -> None:
    assert file("chain c{clamp v}") == file("\n\nchain   c {\n  clamp v\n}")
    assert file("chain c { clamp v }") != file("chain c { clamp w }")


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_diagnostic_a_mistake() -> None:
    text = (GOLDEN.parent / "bad" / "five_mistakes.gm").read_text(encoding="utf-8")
    assert codes(text) == ["GM105", "GM101", "GM109", "GM101", "GM107"]


def test_what_is_right_survives_what_is_wrong() -> None:
    parsed = read(
        "param a = 1\nmodel m {\n observed v : bernoulli\n edge v -- \n latent h : spin\n}\nchain c { clamp v }"
    )
    assert not parsed.ok
    _, model, chain = parsed.file.statements
    assert isinstance(model, syntax.Model)
    assert [found.name.text for found in model.items if isinstance(found, syntax.Variable)] == ["v", "h"]
    assert isinstance(chain, syntax.Chain)


@pytest.mark.parametrize("word", RESERVED.split())
def test_reserved_words_are_no_names(word: str) -> None:
    assert codes(f"param {word} = 1") == ["GM108"]
    assert codes(f"objective o = f({word} = 1)") == ["GM108"]


@pytest.mark.parametrize("word", RESERVED.split())
def test_reserved_words_begin_names(word: str) -> None:
    assert not codes(f"param {word}_1 = {word}x + x{word}")


@pytest.mark.parametrize("text", ["1.", "28x28", "1.2.3", "2e", "1_000", "0x10", "1.x", ".5.5", "1e+", "3D"])
def test_malformed_numbers(text: str) -> None:
    found = read(f"param a = {text}").diagnostics
    assert found[0].code == "GM105"
    assert found[0].help


def test_help_with_shapes() -> None:
    (found,) = read("model m { observed v : bernoulli[3x28x28] }").diagnostics
    assert found.help == "sizes are listed in brackets: `[3, 28, 28]`"


@pytest.mark.parametrize("text", ["1e999", "9" * 400, "9" * 5000, "1" + "0" * 400 + ".5"])
def test_huge_numbers(text: str) -> None:
    assert codes(f"param a = {text}") == ["GM106"]


def test_numbers_up_to_the_limit() -> None:
    assert value("1" + "0" * 300).value == 10**300
    assert value("1e-999").value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 1000 + "1" + ")" * 1000,
        "f(" * 1000 + "1" + ")" * 1000,
        "1" + " + 1" * 10_000,
        "- " * 10_000 + "1",
        "((" + "1" + "+ 1" * 140 + ")" + "+ 1" * 140 + ")",
        "[" * 1000,
        "{" * 1000,
    ],
)
def test_deep_nesting_is_an_error_and_no_crash(text: str) -> None:
    assert "GM111" in codes(f"param a = {text}")


def test_long_flat_texts_are_fine() -> None:
    assert len(value("f(" + ", ".join(["1 + 1"] * 5000) + ")").args) == 5000
    assert len(value(" | ".join(["f(1 + 1)"] * 5000)).stages) == 5000
    assert len(file("param a = 1 + 1\n" * 500).statements) == 500


@pytest.mark.parametrize("depth", [10, 49])
def test_moderate_nesting_is_fine(depth: int) -> None:
    text = "f(a = (g(1 -> " * (depth // 3) + "1" + ") | x))" * (depth // 3)
    assert value(text) == value(text)
    assert repr(value(text))


def test_pages_of_statements_begin_anywhere() -> None:
    assert codes("}\nparam a = 1") == ["GM110"]
    assert codes("param a = 1 }") == ["GM110"]
    assert codes("param a = (1") == ["GM109"]
    assert codes("chain a { sweep {v then {h} }\nchain b { clamp v }") == ["GM109"]
    assert codes("model m { foo bar { x } observed v : spin }\nchain c { }") == ["GM101"]
    assert codes("data d { v = a |  w = b  x = | c }") == ["GM101", "GM101"]


def test_expected_words_are_human() -> None:
    for text in [
        "param",
        "model m {",
        "chain c { start",
        "param a = f(",
        "chain c { clamp v[",
        "train {",
        "net a(",
        "@",
    ]:
        for found in read(text).diagnostics:
            assert not re.search(r"\b[A-Z]{3,}\b|__|\$", found.message), found.message


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "m.gm"
    path.write_bytes(b"\xef\xbb\xbfparam a = 1\r\n")
    assert load(path).ok
    assert codes("param a = 1 \N{ZERO WIDTH NO-BREAK SPACE}") == ["GM102"]


@pytest.mark.parametrize("content", [b"\xff", b"param a = \xe9\n", b"caf\xc3", b"\x80\x81", b"ok\n\xed\xa0\x80"])
def test_not_utf8(content: bytes) -> None:
    with pytest.raises(GmcError) as caught:
        decode(content, "m.gm")
    (found,) = caught.value.diagnostics
    assert (found.code, caught.value.exit_code) == ("GM123", 1)
    assert found.render()


def test_empty_texts() -> None:
    for text in ("", " \n", "# nothing"):
        assert file(text).statements == ()
