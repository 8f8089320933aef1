from __future__ import annotations

import json
import pickle

import pytest

from gmc.dsl.diagnostic import Diagnostic, GmcError, Related, Severity, has_errors, in_order, nearest, render_all
from gmc.dsl.source import Source, Span


def at(text: str, part: str, path: str = "m.gm") -> Span:
    start = text.index(part)
    return Source(path, text).span(start, start + len(part))


def rendered(span: Span) -> list[str]:
    return Diagnostic("GM000", "title", "message", span=span).render().splitlines()


def test_lines_and_columns_count_from_one() -> None:
    source = Source("m.gm", "ab\ncd\n")
    assert [source.position(offset) for offset in range(7)] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1)]
    assert source.line_count == 3
    assert [source.line(number) for number in (1, 2, 3)] == ["ab", "cd", ""]
    with pytest.raises(ValueError, match="outside"):
        source.position(7)


def test_spans_unite_and_stay_inside() -> None:
    source = Source("m.gm", "one two three")
    span = source.span(0, 3).to(source.span(8, 13))
    assert (span.start, span.end, span.text) == (0, 13, "one two three")
    assert (span.line, span.column, span.end_line, span.end_column) == (1, 1, 1, 14)
    with pytest.raises(ValueError, match="no span"):
        source.span(4, 14)
    with pytest.raises(ValueError, match="two sources"):
        span.to(Source("n.gm", "x").span(0, 1))


def test_text() -> None:
    text = "model m {\n  edge v -- h\n}\n"
    diagnostic = Diagnostic(
        "GM203",
        "unknown name",
        "there is no variable `h`",
        span=at(text, "h"),
        related=(Related(at(text, "model m"), "in this model"),),
        help="declare it\nor leave it out",
    )
    assert diagnostic.render() == (
        "error[GM203]: there is no variable `h`\n"
        " --> m.gm:2:13\n"
        "  |\n"
        "2 |   edge v -- h\n"
        "  |             ^\n"
        "note: in this model\n"
        " --> m.gm:1:1\n"
        "  |\n"
        "1 | model m {\n"
        "  | ^^^^^^^\n"
        "help: declare it\n"
        "      or leave it out"
    )


def test_no_place() -> None:
    assert rendered(at("x", "x"))[0] == "error[GM000]: message"
    assert Diagnostic("GM000", "t", "m", Severity.WARNING).render() == "warning[GM000]: m"


def test_several_lines() -> None:
    text = "a {\n  b\n  c\n  } d\n"
    assert rendered(at(text, "{\n  b\n  c\n  }")) == [
        "error[GM000]: message",
        " --> m.gm:1:3",
        "  |",
        "1 | a {",
        "  |   ^",
        "...",
        "4 |   } d",
        "  |   ^",
    ]
    assert "..." not in rendered(at(text, "b\n  c"))


def test_a_span_that_ends_with_its_line_break_is_on_one_line() -> None:
    assert rendered(at("ab\ncd", "ab\n"))[3:] == ["1 | ab", "  | ^^"]


def test_carets_stand_under_tabs_and_wide_and_combining_characters() -> None:
    line, carets = rendered(at("\t日本 e\u0301 here", "here"))[3:]
    assert line == "1 |     日本 e\u0301 here"
    assert carets == "  |            ^^^^"
    assert rendered(at("日本", "本"))[4] == "  |   ^^"


def test_control_characters_do_not_reach_the_terminal() -> None:
    line = rendered(at("a\x1b[31m\x00\u202e b", "b"))[3]
    assert line == "1 | a␛[31m␀\N{REPLACEMENT CHARACTER} b"


@pytest.mark.parametrize("offset", [0, 30, 200, 5000, 9999])
def test_long_lines_are_cut_around_the_span(offset: int) -> None:
    text = "".join(chr(ord("a") + index % 26) for index in range(10_000))
    line, carets = rendered(Source("m.gm", text).span(offset, offset + 1))[3:]
    assert len(line) < 140
    assert line[carets.index("^")] == text[offset]


def test_an_empty_span_at_the_end_of_the_text() -> None:
    assert rendered(Source("m.gm", "ab").span(2, 2))[4] == "  |   ^"
    assert rendered(Source("m.gm", "").span(0, 0))[3:] == ["1 |", "  | ^"]


def test_carriage_returns_are_no_part_of_a_line() -> None:
    assert rendered(at("ab\r\ncd\r\n", "cd"))[3:] == ["2 | cd", "  | ^^"]


def test_json() -> None:
    text = "one\ntwo\n"
    found = Diagnostic("GM000", "t", "m", span=at(text, "two"), related=(Related(at(text, "one"), "see"),), help="h")
    data = json.loads(json.dumps(found.to_json()))
    assert data == {
        "code": "GM000",
        "severity": "error",
        "title": "t",
        "message": "m",
        "file": "m.gm",
        "line": 2,
        "column": 1,
        "end_line": 2,
        "end_column": 4,
        "start": 4,
        "end": 7,
        "related": [
            {
                "message": "see",
                "file": "m.gm",
                "line": 1,
                "column": 1,
                "end_line": 1,
                "end_column": 4,
                "start": 0,
                "end": 3,
            }
        ],
        "help": "h",
    }
    assert Diagnostic("GM000", "t", "m").to_json()["line"] is None


def test_error_carries_its_diagnostics() -> None:
    found = Diagnostic("GM000", "t", "m")
    error = GmcError([found, found], exit_code=2)
    assert (error.exit_code, len(error.diagnostics)) == (2, 2)
    assert str(error) == render_all([found, found])
    assert GmcError(found).exit_code == 1
    assert pickle.loads(pickle.dumps(error)).diagnostics == error.diagnostics


def test_order_and_severity() -> None:
    late, early = (Diagnostic("GM000", "t", "m", span=at("one two", part)) for part in ("two", "one"))
    nowhere = Diagnostic("GM000", "t", "m", Severity.NOTE)
    assert in_order([late, nowhere, early]) == (nowhere, early, late)
    assert has_errors([nowhere, late])
    assert not has_errors([nowhere])


@pytest.mark.parametrize(
    ("name", "meant"),
    [("bernouli", "bernoulli"), ("Normal", "normal"), ("sgd", None), ("xyzzy", None), ("normal", None)],
)
def test_nearest(name: str, meant: str | None) -> None:
    assert nearest(name, ["bernoulli", "normal"]) == meant
