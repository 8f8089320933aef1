from __future__ import annotations

from pathlib import Path

import pytest

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.parser import parse
from gmc.dsl.printer import WIDTH, format_source
from gmc.dsl.source import Source

ROOT = Path(__file__).parent.parent.parent
FILES = sorted([*(ROOT / "tests" / "golden").glob("*.gm"), *(ROOT / "examples").rglob("*.gm")])


def check_laws(text: str) -> str:
    """The laws of the printer; gives what it prints."""
    printed = format_source(text)
    before, after = parse(Source("before.gm", text)), parse(Source("after.gm", printed))
    assert after.ok
    assert before.file == after.file
    assert [comment.text for comment in before.file.comments] == [comment.text for comment in after.file.comments]
    assert format_source(printed) == printed
    assert not any(line != line.rstrip() for line in printed.split("\n")) or '"""' in text
    return printed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_laws_on_files(path: Path) -> None:
    check_laws(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("", ""),
        ("\n\n\n", ""),
        ("# only\n\n\n# comments", "# only\n\n# comments\n"),
        ("param a=1", "param a = 1\n"),
        ("param a = 3 in[1..10]", "param a = 3 in [1 .. 10]\n"),
        ("param a = 1 / 255", "param a = 1/255\n"),
        ("param a = b/255", "param a = b / 255\n"),
        ("param a = - b -- 1".replace("--", "- -"), "param a = -b - -1\n"),
        ("param a = - - 1", "param a = - -1\n"),
        ("param a=(b+c)*2", "param a = (b + c) * 2\n"),
        ("net n = relu ( ) | linear( 3 )", "net n = relu | linear(3)\n"),
        ("net n(a,b)=concat(a,b)", "net n(a, b) = concat(a, b)\n"),
        ("chain c{start data start v from data}", "chain c { start data  start v from data }\n"),
        ("chain c{}", "chain c { }\n"),
        ("chain c{clamp v[:,4:],h[ 0:n-1 ]sweeps 5}", "chain c { clamp v[:, 4:], h[0:n - 1]  sweeps 5 }\n"),
        ("chain c{clamp v [ :,4: ] ,y where  observed}", "chain c { clamp v[:, 4:], y where observed }\n"),
        ("chain c{clamp y=3 where observed}", "chain c { clamp y = 3 where observed }\n"),
        ("chain c{clamp y from a where observed}", "chain c { clamp y from a where observed }\n"),
        ("chain c{potent v=.5 potent v->h=0->1}", "chain c { potent v = .5  potent v -> h = 0 -> 1 }\n"),
        ("chain c{potent e=cosine(0,n*2)}", "chain c { potent e = cosine(0, n * 2) }\n"),
        ("chain c{potent e=2*(0->1)}", "chain c { potent e = 2 * (0 -> 1) }\n"),
        ("chain c{impotent v impotent v->h}", "chain c { impotent v  impotent v -> h }\n"),
        (
            "chain c{impotent v->h unless surprise(v)>=2*t}",
            "chain c { impotent v -> h unless surprise(v) >= 2 * t }\n",
        ),
        ("chain c{update mode start z from normal( 0,1 )}", "chain c { update mode  start z from normal(0, 1) }\n"),
        ("chain c { sweep{v,h by e}then{ x } }", "chain c { sweep {v, h by e} then {x} }\n"),
        ("chain c {\nclamp v }", "chain c {\n  clamp v\n}\n"),
        ("chain c { clamp v # x\n}", "chain c {\n  clamp v  # x\n}\n"),
        ("chain c { # x\n}", "chain c {  # x\n}\n"),
        ("chain c {\n\n\n# x\n\n\nclamp v\n\n\n}", "chain c {\n  # x\n\n  clamp v\n}\n"),
        ("param a = 1\nparam b = 2", "param a = 1\nparam b = 2\n"),
        ("param a = 1\n\n\n\nparam b = 2", "param a = 1\n\nparam b = 2\n"),
        ("param a = 1\nnet b = relu", "param a = 1\n\nnet b = relu\n"),
        ("param a = 1 # a\n# b\nnet b = relu", "param a = 1  # a\n\n# b\nnet b = relu\n"),
        ("param a = 1\n# a\n\nnet b = relu", "param a = 1\n# a\n\nnet b = relu\n"),
        ('"""File."""\n"""A."""\nparam a = 1', '"""File."""\n"""A."""\nparam a = 1\n'),
        ('param z = 1 """A.\n  B"""\n\nparam a = 1', 'param z = 1\n"""A.\n  B"""\nparam a = 1\n'),
        ("model m { observed v:bernoulli()[ 2 ] }", "model m { observed v : bernoulli[2] }\n"),
        ("model m { edge e:( a,b )->c by n }", "model m { edge e : (a, b) -> c by n }\n"),
        ("model m { edge x~>(a--b)by n }", "model m { edge x ~> (a -- b) by n }\n"),
        ('test "t"with(a=1){assert b<2 within 3}', 'test "t" with (a = 1) { assert b < 2 within 3 }\n'),
        ("param a = # x\n1", "param a =  # x\n    1\n"),
        ("param a = f(\n# x\n1)", "param a = f(\n    # x\n    1)\n"),
        ("net n = relu(# a\n) # b", "net n = relu  # a\n# b\n"),
        ("param a = 1\r\n# b\r\nparam c = 2\r\n", "param a = 1\n# b\nparam c = 2\n"),
    ],
)
def test_style(written: str, printed: str) -> None:
    assert check_laws(written) == printed


def test_long_lines_break() -> None:
    text = "net n = " + " | ".join(["linear(1000)"] * 20)
    lines = check_laws(text).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert all(line.startswith("    | ") for line in lines[1:])
    call = check_laws("objective o = f(" + ", ".join(f"argument_{i} = {i}" for i in range(20)) + ")")
    assert all(len(line) <= WIDTH for line in call.splitlines())


def test_a_block_that_does_not_fit_on_a_line_is_opened() -> None:
    text = "chain c { " + "sweeps 5  " * 20 + "}"
    assert check_laws(text).splitlines()[:2] == ["chain c {", "  sweeps 5"]


def test_docstrings_are_kept_as_they_are() -> None:
    text = '"""File.  \n\n    indented\n"""\n'
    assert check_laws(text) == text


def test_a_text_with_errors_is_refused() -> None:
    with pytest.raises(GmcError) as caught:
        format_source("param a = ", "m.gm")
    assert [found.code for found in caught.value.diagnostics] == ["GM101"]
