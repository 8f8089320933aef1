"""The model and the data statement."""

from __future__ import annotations

import pytest

from gmc.dsl.model import Step
from tests.dsl.checking import DATA, MODEL, checked, codes, found
from tests.dsl.words import Dense, Mask, Threshold


def test_model() -> None:
    text = '"""A file."""\n"""A model."""\nmodel m {\n"""Pixels."""\nobserved v : bernoulli[2, 3]\nlatent y : categorical(4)\nedge v -- y\n}'
    result = checked(text)
    assert result.doc == "A file."
    model = result.model
    assert (model.name, model.doc) == ("m", "A model.")
    v, y = model.variables
    assert (v.name, v.observed, v.shape, v.sites, v.size, v.doc) == ("v", True, (2, 3), 6, 6, "Pixels.")
    assert (y.observed, y.shape, y.sites, y.size) == (False, (), 1, 4)
    (edge,) = model.edges
    assert (edge.name, edge.ends, edge.factor, edge.lateral) == ("v_y", ("v", "y"), Dense(), False)
    assert model.observed == (v,)
    assert v.span.text.startswith("observed v") or v.span.text.startswith('"""Pixels')


def edges(*lines: str) -> str:
    return (
        "model m { observed a : bernoulli[4, 4]  latent b : bernoulli[4, 4]  latent c : bernoulli[3]  "
        "latent x : normal[2]  latent y : normal[2]\n" + "\n".join(f"edge {line}" for line in lines) + "\n}"
    )


@pytest.mark.parametrize(
    "lines",
    [
        ["a -- b"],
        ["a -- a", "a -- b", "b -- b"],
        ["a -- b -- c"],
        ["a -- b", "short : a -- b by conv"],
        ["a -- b by conv(3)", "wide : a -- b by conv(5)"],
        ["a -- c", "b -- c by tied(a_c)"],
        ["b -- c by tied(a_c)", "a -- c"],
        ["a -- b -- c", "other : b -- a -- c by tied(a_b_c)"],
        ["a -- x", "x -- b -- c"],
    ],
)
def test_right_edges(lines: list[str]) -> None:
    assert len(checked(edges(*lines)).model.edges) == len(lines)


@pytest.mark.parametrize(
    ("lines", "code", "place"),
    [
        (["a -- z"], "GM203", "z"),
        (["a -- b -- c -- a"], "GM333", "a -- b -- c -- a"),
        (["a -- b -- a"], "GM334", "a"),
        (["a -- a -- a"], "GM334", "a"),
        (["a -- b -- c by conv"], "GM335", "conv"),
        (["a -- c by conv"], "GM336", "conv"),
        (["a -- b", "again : b -- a"], "GM337", "edge again : b -- a"),
        (["a -- b -- c", "again : c -- a -- b by dense"], "GM337", "edge again : c -- a -- b by dense"),
        (["a -- b", "a -- b by conv"], "GM201", "a -- b"),
        (["a -- b by tied(a_b)"], "GM338", "a_b"),
        (["a -- b by tied(a_c)"], "GM203", "a_c"),
        (["a -- b by tied(a)"], "GM204", "a"),
        (["a -- b", "c -- b by tied(a_b)"], "GM339", "a_b"),
        (["a -- a", "a -- b by tied(a_a)"], "GM339", "a_a"),
        (["x -- y"], "GM340", "x -- y"),
        (["x -- x"], "GM340", "x -- x"),
        (["x -- a -- y"], "GM340", "x -- a -- y"),
    ],
)
def test_wrong_edges(lines: list[str], code: str, place: str) -> None:
    (diagnostic,) = found(edges(*lines))
    assert diagnostic.code == code
    assert diagnostic.span is not None
    assert diagnostic.span.text == place


def test_ties_in_a_circle() -> None:
    assert codes(edges("a -- b by tied(b_c)", "b -- c by tied(a_b)")) == ["GM338", "GM338"]


def test_an_edge_of_a_wrong_variable_is_not_blamed() -> None:
    assert codes("model m { observed v : bernoulli[0]  latent h : bernouli  edge v -- h  edge v -- h -- w }") == [
        "GM305",
        "GM205",
        "GM203",
    ]


@pytest.mark.parametrize(
    ("variable", "code"),
    [
        ("v : bernoulli[4000000000, 4000000000]", "GM331"),
        ("v : categorical(4000000000)[4000000000]", "GM331"),
        ("v : bernoulli(bias = channel)", "GM332"),
        ("v : bernoulli[2.5]", "GM304"),
        ("v : bernoulli[0]", "GM305"),
        ("v : 3", None),
    ],
)
def test_wrong_variables(variable: str, code: str | None) -> None:
    if code is None:
        with pytest.raises(AssertionError):  # the grammar asks for a name
            codes(f"model m {{ observed {variable} }}")
    else:
        assert codes(f"model m {{ observed {variable} }}") == [code]


def test_without_a_model() -> None:
    assert codes("param n = 3") == ["GM214"]
    assert codes("model m { }") == ["GM330"]
    assert codes(MODEL + "model other { observed w : bernoulli }") == ["GM215"]


def test_data() -> None:
    text = MODEL + 'data digits { v = image | threshold(0.5) | mask(m)  valid v = image  test v = "an image" }'
    data = checked(text).data
    assert data is not None
    train, valid, test = data.bindings
    assert [step.transform for step in train.steps] == [Threshold(at=0.5), Mask(column="m")]
    assert all(isinstance(step, Step) for step in train.steps)
    assert [step.span.text for step in train.steps] == ["threshold(0.5)", "mask(m)"]
    assert (train.split, valid.split, test.split) == ("train", "valid", "test")
    assert (test.column, test.column_span.text) == ("an image", '"an image"')
    assert data.binding("valid", "v") is valid
    assert data.binding("valid", "h") is None
    assert data.source_span.text == "digits"


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        ("data digits { }", "GM601", "digits"),
        ("data digits { v = 3 }", "GM602", "3"),
        ("data digits { v = f(3) | threshold }", "GM602", "f(3)"),
        ("data digits { v = image | image }", "GM205", "image"),
        ("data digits { v = image | digits }", "GM206", "digits"),
        ("data digits { v = image | 3 }", "GM207", "3"),
        ("data digits { w = image }", "GM203", "w"),
        ("data digits { v_h = image }", "GM204", "v_h"),
        ("data digits { v = a  valid v = b  valid v = c }", "GM603", "valid v = c"),
        ("data digits { v = image | threshold(at = v) }", "GM316", "v"),
        ("data npz { v = image }", "GM313", "npz"),
        ("data npz(3) { v = image }", "GM316", "3"),
        ('data npz("a.csv") { v = image }', "GM314", '"a.csv"'),
        (DATA + DATA, "GM215", DATA.strip()),
    ],
)
def test_wrong_data(data: str, code: str, place: str) -> None:
    (diagnostic,) = found(MODEL + data)
    assert diagnostic.code == code
    assert diagnostic.span is not None
    assert diagnostic.span.text == place
