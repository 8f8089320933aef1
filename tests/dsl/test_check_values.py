"""Params, constant expressions, imports and the command line."""

from __future__ import annotations

import pytest

from gmc.dsl.check.params import override_value
from gmc.dsl.vocabulary import Ramp
from tests.dsl.checking import BEFORE_TRAIN, DATA, MODEL, checked, codes, found
from tests.dsl.words import Scale, Sgd


def value(text: str) -> int | float:
    return checked(f"param a = 7\nparam x = {text}\n{MODEL}").params[1].value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        ("a", 7),
        ("a / 7", 1),
        ("a / 2", 3.5),
        ("-a + 2 * 3", -1),
        ("2 * (a - 1)", 12),
        ("1.0", 1.0),
        ("4 / 2.0", 2.0),
        ("-6 / 4", -1.5),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_arithmetic(text: str, expected: int | float) -> None:
    got = value(text)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1 / 0", "GM302"),
        ("1 / (a - 7)", "GM302"),
        ("1 / 0.0", "GM302"),
        ("9223372036854775807 + 1", "GM303"),
        ("9223372036854775808", "GM303"),
        ("1e38 * 10", "GM303"),
        ("3.5e38", "GM303"),
        ("-1e300", "GM303"),
        ('"3"', "GM301"),
        ("(1, 2)", "GM301"),
        ("a | a", "GM301"),
        ("bernoulli(1)", "GM301"),
        ("b", "GM203"),
        ("v", "GM204"),
        ("x", "GM208"),
    ],
)
def test_no_value(text: str, code: str) -> None:
    assert codes(f"param a = 7\nparam x = {text}\n{MODEL}") == [code]


def test_a_wrong_param_is_blamed_once() -> None:
    assert codes("param a = 1 / 0\nparam b = a + 1\nmodel m { observed v : bernoulli[b, a] }") == ["GM302"]


def test_params_may_stand_after_their_use() -> None:
    assert checked("model m { observed v : bernoulli[n] }\nparam n = 3").model.variables[0].shape == (3,)


def test_range() -> None:
    (param,) = checked("param n = 3 in [1 .. 5]\n" + MODEL).params
    assert (param.value, param.low, param.high) == (3, 1.0, 5.0)
    assert codes("param n = 6 in [1 .. 5]\n" + MODEL) == ["GM306"]
    assert codes("param n = 3 in [5 .. 1]\n" + MODEL) == ["GM307"]
    assert checked("param n = 5 in [1 .. 5]\n" + MODEL).params[0].value == 5


def test_override() -> None:
    text = "param n = 3 in [1 .. 50]\nparam twice = 2 * n\n" + MODEL
    assert [param.value for param in checked(text, {"n": "20"}).params] == [20, 40]
    assert codes(text, overrides={"n": "51"}) == ["GM306"]
    assert codes(text, overrides={"n": "three"}) == ["GM210"]
    assert codes(text, overrides={"m": "3"}) == ["GM209"]
    (nearest,) = found(text, {"twise": "3"})
    assert nearest.help == "did you mean `twice`?"
    assert nearest.span is None
    (none,) = found(MODEL, {"n": "3"})
    assert none.help == "this file has no params"


def test_an_override_replaces_a_wrong_value_only_in_the_run() -> None:
    assert codes("param n = 1 / 0\n" + MODEL, overrides={"n": "3"}) == ["GM302"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3), (" -3 ", -3), ("2e-4", 2e-4), (".5", 0.5), ("1.5", 1.5), ("+2", 2), ("7.0", 7.0)],
)
def test_override_value(text: str, expected: int | float) -> None:
    got = override_value(text)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "1.", "0x10", "1_000", "1 2", "9" * 19, "9" * 5000, "١"])
def test_no_override_value(text: str) -> None:
    assert override_value(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", Ramp(0.1, 0.1)),
        ("0.1 -> 0.0", Ramp(0.1, 0.0)),
        ("cosine(0.1, 0)", Ramp(0.1, 0.0, "cosine")),
        ("2 * (1 -> 0)", Ramp(2.0, 0.0)),
        ("(1 -> 0) / 4", Ramp(0.25, 0.0)),
        ("-(-1 -> 0)", Ramp(1.0, -0.0)),
        ("2 * cosine(1, 0.5) / 2", Ramp(1.0, 0.5, "cosine")),
        ("n -> n / 2", Ramp(4.0, 2.0)),
    ],
)
def test_ramp(text: str, expected: Ramp) -> None:
    optimizer = (
        checked(f"param n = 4\n{BEFORE_TRAIN}train {{ minimize nll using sgd({text})  batch 1  epochs 1 }}")
        .stages[0]
        .minimize[0]
        .optimizer
    )
    assert isinstance(optimizer, Sgd)
    assert optimizer.lr == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1 + (1 -> 0)", "GM308"),
        ("(1 -> 0) * (1 -> 0)", "GM308"),
        ("1 / (1 -> 2)", "GM308"),
        ("(1 -> 0) / 0", "GM302"),
        ("1e30 * (1e30 -> 0)", "GM303"),
        ("cosine(1)", "GM309"),
        ("cosine(1, 2, 3)", "GM309"),
        ("1 -> z", "GM203"),
        ("-1 -> 0", "GM314"),
    ],
)
def test_no_ramp(text: str, code: str) -> None:
    assert codes(f"{BEFORE_TRAIN}train {{ minimize nll using sgd({text})  batch 1  epochs 1 }}") == [code]


def test_ramp_where_none_is_taken() -> None:
    assert codes("model m { observed y : categorical(2 -> 3) }") == ["GM316"]


def test_imports() -> None:
    files = {"dir/a.gm": 'import "sub/b.gm"\nparam n = 2 * k', "dir/sub/b.gm": f"param k = 5\n{MODEL}"}
    text = 'import "a.gm"\nmodel own { observed x : bernoulli[n] }'
    result = checked(text, files=files)
    assert [(param.name, param.value) for param in result.params] == [("k", 5), ("n", 10)]
    assert result.model.name == "own"
    assert checked(text, {"k": "1"}, files=files).model.variables[0].shape == (2,)


def test_a_file_imported_along_two_ways_is_read_once() -> None:
    files = {"dir/a.gm": 'import "c.gm"', "dir/b.gm": 'import "c.gm"', "dir/c.gm": "param k = 5"}
    assert len(checked(f'import "a.gm"\nimport "b.gm"\n{MODEL}', files=files).params) == 1


def test_import_circle() -> None:
    files = {"dir/a.gm": 'import "b.gm"', "dir/b.gm": 'import "../dir/a.gm"'}
    (circle,) = found(f'import "a.gm"\n{MODEL}', files=files)
    assert circle.code == "GM211"
    assert "a.gm -> b.gm -> a.gm" in circle.message
    assert circle.span is not None
    assert circle.span.source.path == "dir/b.gm"


def test_import_of_itself() -> None:
    assert codes(f'import "test.gm"\n{MODEL}') == ["GM211"]


def test_missing_import_is_shown_where_it_is_named() -> None:
    (missing,) = found(f'import "no.gm"\n{MODEL}')
    assert missing.code == "GM212"
    assert missing.span is not None
    assert missing.span.text == '"no.gm"'
    assert "no.gm" in missing.message


def test_mistakes_of_an_imported_file() -> None:
    assert sorted(codes(f'import "a.gm"\n{MODEL}', files={"dir/a.gm": "param = 3"})) == ["GM101", "GM212"]
    (wrong,) = found(f'import "a.gm"\n{MODEL}', files={"dir/a.gm": "param n = 1 / 0"})
    assert wrong.span is not None
    assert wrong.span.source.path == "dir/a.gm"


def test_imported_twice() -> None:
    assert codes(f'import "a.gm"\nimport "./a.gm"\n{MODEL}', files={"dir/a.gm": "param k = 5"}) == ["GM213"]


def test_imported_name_clashes() -> None:
    (clash,) = found(f'import "a.gm"\n{MODEL}', files={"dir/a.gm": "param v = 5"})
    assert clash.code == "GM201"
    assert clash.related[0].span.source.path == "dir/a.gm"


def test_data_path() -> None:
    text = MODEL + 'data npz("a.npz") { v = x | scale(1/255) }'
    data = checked(text, data_path="other.npz").data
    assert data is not None
    assert data.source.model_dump() == {"path": "other.npz"}
    step = data.bindings[0].steps[0].transform
    assert isinstance(step, Scale)
    assert step.factor == 1 / 255
    without = checked(MODEL + "data npz { v = x }", data_path="other.npz").data
    assert without is not None
    assert without.source.model_dump() == {"path": "other.npz"}
    assert codes(text, data_path="other.csv") == ["GM314"]
    assert codes(MODEL + DATA, data_path="other.npz") == ["GM604"]
    assert codes(MODEL, data_path="other.npz") == ["GM219"]
