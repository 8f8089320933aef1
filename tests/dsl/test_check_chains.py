"""Chains: clamps, starts, schedules."""

from __future__ import annotations

import pytest

from gmc.dsl.check import planned
from gmc.dsl.model import Chain
from gmc.dsl.vocabulary import Ramp
from tests.dsl.checking import BEFORE_TRAIN, CHAINS, DATA, MODEL, OBJECTIVE, TRAIN, checked, codes, found
from tests.dsl.words import FromData, Law, Noise, Persistent

THREE = """
model m {
  observed v : bernoulli[8, 8]
  observed y : categorical(10)
  latent   h : bernoulli[16]
  edge v -- h
  edge v -- y -- h
}
"""


def chain(items: str, before: str = MODEL + DATA) -> Chain:
    return checked(f"{before}chain other {{ }}\nchain c {{ {items} }}").chain("c")


def test_empty_chain() -> None:
    c = chain("")
    assert (c.clamps, c.starts, c.sweep, c.sweeps, c.update) == ((), (), None, Ramp(1.0, 1.0), "sample")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("v", None),
        ("v[:]", None),
        ("v[0:8, :]", None),
        ("v[:, 4:]", ((0, 8), (4, 8))),
        ("v[:-2]", ((0, 6), (0, 8))),
        ("v[-3:-1, -8:]", ((5, 7), (0, 8))),
        ("v[3]", ((3, 4), (0, 8))),
        ("v[-1, -8]", ((7, 8), (0, 1))),
        ("v[2 * 2:8 / 1, 1 + 1]", ((4, 8), (2, 3))),
    ],
)
def test_parts(part: str, expected: tuple[tuple[int, int], ...] | None) -> None:
    (clamp,) = chain(f"clamp {part}").clamps
    assert clamp.part == expected
    assert clamp.span.text == part


@pytest.mark.parametrize(
    ("part", "code", "place"),
    [
        ("v[0, 0, 0]", "GM401", "v[0, 0, 0]"),
        ("y[0]", "GM401", "y[0]"),
        ("v[8]", "GM402", "8"),
        ("v[-9]", "GM402", "-9"),
        ("v[:9]", "GM403", ":9"),
        ("v[-9:]", "GM403", "-9:"),
        ("v[4:4]", "GM404", "4:4"),
        ("v[5:4]", "GM404", "5:4"),
        ("v[8:]", "GM404", "8:"),
        ("v[:0]", "GM404", ":0"),
        ("v[:-8]", "GM404", ":-8"),
        ("v[0.5]", "GM304", "0.5"),
        ("v[:n]", "GM203", "n"),
        ("w", "GM203", "w"),
        ("v_h", "GM204", "v_h"),
    ],
)
def test_wrong_parts(part: str, code: str, place: str) -> None:
    (diagnostic,) = found(f"{THREE}chain c {{ clamp {part} }}")
    assert diagnostic.code == code
    assert diagnostic.span is not None
    assert diagnostic.span.text == place


def test_clamp_values() -> None:
    c = chain("clamp v[:4] = 1  clamp v[4:6] from other  clamp y, v[6:]  clamp h[0], h[2] = 0", THREE)
    assert [(k.variable, k.constant, k.chain) for k in c.clamps] == [
        ("v", 1.0, None),
        ("v", None, "other"),
        ("y", None, None),
        ("v", None, None),
        ("h", 0.0, None),
        ("h", 0.0, None),
    ]
    assert c.needs == ("other",)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("clamp v, h = 1", ["GM405"]),
        ("clamp v = 2", ["GM406"]),
        ("clamp v = 0.5", ["GM406"]),
        ("clamp y = 10", ["GM406"]),
        ("clamp y = -1", ["GM406"]),
        ("clamp y = 1 / 0", ["GM302"]),
        ("clamp v  clamp v", ["GM407"]),
        ("clamp v, v", ["GM407"]),
        ("clamp v[:4]  clamp v[3:]", ["GM407"]),
        ("clamp v[:4]  clamp v[:, 3]  clamp v[7, 7]", ["GM407"]),
        ("clamp v from nothing", ["GM203"]),
        ("clamp v from h", ["GM204"]),
        ("clamp v from c", ["GM408"]),
        ("backprop 1 by concrete(0.5)", ["GM901"]),
    ],
)
def test_wrong_clamps(items: str, expected: list[str]) -> None:
    assert codes(f"{THREE}chain c {{ {items} }}") == expected


def test_clamps_that_touch_do_not_overlap() -> None:
    assert len(chain("clamp v[:4]  clamp v[4:, :4]  clamp v[4:, 4:]").clamps) == 3


def test_the_second_clamp_shows_the_first() -> None:
    (diagnostic,) = found(MODEL + "chain c { clamp v[:4]  clamp v[3] }")
    assert diagnostic.span is not None
    assert (diagnostic.span.text, diagnostic.related[0].span.text) == ("v[3]", "v[:4]")


def test_starts() -> None:
    c = chain("start v from persistent(10, restart = 0.1)  start noise", THREE)
    assert [(s.variables, s.source) for s in c.starts] == [
        (("v",), Persistent(n=10, restart=0.1)),
        (("y", "h"), Noise()),
    ]
    assert c.start("h") is c.starts[1]
    assert c.needs == ()
    c = chain("clamp v  start other", THREE)
    assert [(s.variables, s.source) for s in c.starts] == [(("y", "h"), "other")]
    assert (c.needs, c.start("v")) == (("other",), None)


def test_start_from_data() -> None:
    text = THREE + "data digits { v = image  test y = label }"
    c = chain("start data", text)
    assert [(s.variables, s.source) for s in c.starts] == [(("v",), FromData())]
    assert [s.variables for s in chain("clamp v[0]  start v from data", text).starts] == [("v",)]
    assert codes(text + "chain c { start y from data }") == ["GM411"]
    assert codes(THREE + "chain c { start data }") == ["GM412"]
    assert codes(THREE + "data digits { v = image | nothing }\nchain c { start y from data }") == ["GM205"]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("start v from noise  start v from noise", ["GM409"]),
        ("start v, v from noise", ["GM409"]),
        ("start noise  start noise", ["GM409"]),
        ("clamp v  start v from noise", ["GM410"]),
        ("start other(3)", ["GM413"]),
        ("start nothing", ["GM203"]),
        ("start nothing(3)", ["GM205"]),
        ("start v", ["GM204"]),
        ("start digits", ["GM206"]),
        ("start persistent(0)", ["GM314"]),
        ("start w from noise", ["GM203"]),
        ("start c", ["GM408"]),
    ],
)
def test_wrong_starts(items: str, expected: list[str]) -> None:
    assert codes(f"{MODEL}chain other {{ }}\nchain c {{ {items} }}") == expected


def test_a_start_may_name_a_variable_clamped_in_part() -> None:
    assert chain("clamp v[:4]  start v from noise").starts[0].variables == ("v",)
    assert codes(MODEL + "chain c { clamp v[:4]  clamp v[4:]  start v from noise }") == ["GM410"]


LAW = """
model m {
  observed v : normal[4]
  latent   h : bernoulli[3]
  latent   k : bernoulli[top]
  edge v -- h
  edge h -- k
}
"""


def test_a_start_that_does_not_fit() -> None:
    text = "param top = 2\n" + LAW
    c = checked(text + "chain c { start v from normal(0, 2)  start noise }").chain("c")
    assert [(s.variables, s.source) for s in c.starts] == [
        (("v",), Law(mean=0.0, deviation=2.0)),
        (("h", "k"), Noise()),
    ]
    (diagnostic,) = found(text + "chain c { start v, h from normal }")
    assert (diagnostic.code, diagnostic.message) == ("GM421", "`h` cannot start from `normal`: its values are 0 or 1")
    assert diagnostic.span is not None
    assert (diagnostic.span.text, diagnostic.related[0].span.text) == ("h", "latent   h : bernoulli[3]")
    every = found(text + "chain c { start normal(0, 2) }")
    assert [(d.code, d.span and d.span.text) for d in every] == [("GM421", "normal(0, 2)")] * 2
    assert not codes(text + "chain c { clamp h, k  start normal }")
    assert codes(text + "chain c { clamp h  start normal }") == ["GM421"]
    # a layer without sites starts from nothing
    assert codes(text + "chain c { clamp h  start v, k from normal }", overrides={"top": "0"}) == []


def test_a_start_that_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODEL + "chain c { start v from later(1) }\nchain d { start later }"
    assert codes(text) == ["GM205", "GM203"]
    monkeypatch.setitem(planned.WORDS, "start", frozenset({"later", "noise"}))
    assert codes(text + "\nchain e { start noise }") == ["GM902", "GM902"]


def test_clamps_where_observed() -> None:
    c = chain("clamp v[:, 4:], y where observed  clamp v[:4, :4]", THREE)
    assert [(k.variable, k.part, k.observed) for k in c.clamps] == [
        ("v", ((0, 8), (4, 8)), True),
        ("y", None, True),
        ("v", ((0, 4), (0, 4)), False),
    ]
    assert [k.observed for k in chain("clamp v[:4]  clamp y = 3", THREE).clamps] == [False, False]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("clamp v where observed  clamp v", ["GM407"]),
        ("clamp v[:4] where observed  clamp v[3:]", ["GM407"]),
        ("clamp v[:4] where observed  clamp v[3:] where observed", ["GM407"]),
        ("clamp y = 3 where observed", ["GM419"]),
        ("clamp y = 30 where observed", ["GM406", "GM419"]),
        ("clamp v, y from other where observed", ["GM419"]),
        ("clamp v from nothing where observed", ["GM203", "GM419"]),
        ("clamp v[9] where observed", ["GM402"]),
        ("clamp v where observed  start v from data", ["GM420"]),
        ("clamp v[:4] where observed  start v from data", ["GM420"]),
        ("clamp v where observed  start data", ["GM420"]),
        ("clamp y where observed  start y from data", ["GM411"]),
        ("clamp v where observed  sweep {h} then {y}", ["GM416"]),
        ("clamp v where observed  sweep {v} then {h, y}", ["GM417"]),
    ],
)
def test_wrong_clamps_where_observed(items: str, expected: list[str]) -> None:
    text = THREE + "data digits { v = image }\nchain other { }\n"
    assert sorted(codes(f"{text}chain c {{ {items} }}")) == expected


def test_what_is_clamped_where_observed_may_be_free() -> None:
    """It may have a start, a sweep draws it, and a chain that draws nothing else is not idle."""
    c = chain("clamp v where observed  clamp h  start v from persistent(1)  sweep {v}")
    assert (c.starts[0].variables, c.sweep) == (("v",), (("v",),))
    assert chain("clamp v[:4]  clamp v[4:] where observed  start noise").starts[0].variables == ("v", "h")
    assert not codes(MODEL + "chain c { clamp v, h where observed }")


def test_start_data_leaves_out_what_is_clamped_where_observed() -> None:
    text = THREE + "data digits { v = image  y = label }"
    assert chain("clamp v[:4] where observed  start data", text).starts[0].variables == ("y",)
    assert chain("clamp v where observed  start v from noise  start data", text).starts[1].variables == ("y",)


def test_training_on_what_is_observed_needs_a_column() -> None:
    text = BEFORE_TRAIN.replace("clamp v }", "clamp v where observed }") + TRAIN
    assert checked(text).chain("posterior").clamps[0].observed
    assert codes(text.replace("v = image", "h = image")) == ["GM515"]


def test_circles() -> None:
    text = MODEL + "chain a { start b }\nchain b { clamp h from c }\nchain c { start v from a  clamp h from d }\n"
    (diagnostic,) = found(text + "chain d { start e }\nchain e { }")
    assert diagnostic.code == "GM408"
    assert "a -> b -> c -> a" in diagnostic.message
    two = MODEL + "chain a { start b }\nchain b { start a }\nchain c { start c }\nchain d { start a }"
    assert codes(two) == ["GM408", "GM408"]


@pytest.mark.parametrize(
    ("sweeps", "expected"),
    [("0", Ramp(0.0, 0.0)), ("1 -> 25", Ramp(1.0, 25.0)), ("cosine(1, 5)", Ramp(1.0, 5.0, "cosine"))],
)
def test_sweeps(sweeps: str, expected: Ramp) -> None:
    assert chain(f"sweeps {sweeps}").sweeps == expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("sweeps -1", ["GM305"]),
        ("sweeps 1.5", ["GM304"]),
        ("sweeps 1 -> 2.5", ["GM304"]),
        ("sweeps 1 -> -2", ["GM305"]),
        ("sweeps cosine(1, -2)", ["GM305"]),
        ("sweeps cosine(1)", ["GM309"]),
        ("sweeps (1 -> 4) / 3", ["GM304"]),
        ("sweeps -(1 -> 4)", ["GM305"]),
        ("sweeps uniform(1, 3)", ["GM901"]),
        ("sweeps 1  sweeps 2", ["GM216"]),
        ("update media", ["GM414"]),
        ("update mean  update mean", ["GM216"]),
    ],
)
def test_wrong_sweeps_and_updates(items: str, expected: list[str]) -> None:
    assert codes(f"{MODEL}chain c {{ {items} }}") == expected


def test_update() -> None:
    assert chain("update mean").update == "mean"
    assert chain("update sample").update == "sample"
    assert chain("update mode").update == "mode"


def test_written_sweep() -> None:
    assert chain("sweep {v} then {h} then {v}").sweep == (("v",), ("h",), ("v",))
    assert chain("clamp v  sweep {h}").sweep == (("h",),)
    lateral = "model m { observed v : bernoulli[4]  latent h : bernoulli[3]  edge v -- v }\n"
    assert chain("sweep {v, h}", lateral).sweep == (("v", "h"),)


@pytest.mark.parametrize(
    ("items", "code", "place"),
    [
        ("sweep {v, h} then {y}", "GM417", "h"),
        ("sweep {h} then {y, v}", "GM417", "v"),
        ("clamp v  sweep {y, h}", "GM417", "h"),
        ("sweep {v} then {h}", "GM416", "sweep {v} then {h}"),
        ("clamp v  sweep {v} then {y} then {h}", "GM415", "v"),
        ("sweep {v, v} then {h} then {y}", "GM218", "v"),
        ("sweep {v} then {h} then {y} then {w}", "GM203", "w"),
        ("sweep {v} then {h} then {y} then {v_h}", "GM204", "v_h"),
        ("sweep {v by v_h} then {h} then {y}", "GM433", "v_h"),
        ("sweep {v by h} then {h} then {y}", "GM204", "h"),
    ],
)
def test_wrong_sweep(items: str, code: str, place: str) -> None:
    (diagnostic,) = found(f"{THREE}chain c {{ {items} }}")
    assert diagnostic.code == code
    assert diagnostic.span is not None
    assert diagnostic.span.text == place


def test_all_ends_of_a_third_order_edge_in_a_block() -> None:
    text = "model m { observed a : bernoulli  latent b : bernoulli  latent c : bernoulli  edge a -- b -- c }"
    assert codes(text + "chain c1 { sweep {a, b, c} }") == ["GM417", "GM417"]


def test_nothing_free() -> None:
    (warning,) = found(MODEL + "chain c { clamp v[:4], h  clamp v[4:] }")
    assert (warning.code, warning.is_error) == ("GM418", False)
    text = MODEL + DATA + CHAINS.replace("clamp v", "clamp v  clamp h = 1") + OBJECTIVE
    assert checked(text).chain("posterior").clamps[1].constant == 1.0


def test_layers_that_a_parameter_leaves_out() -> None:
    """What names a layer is right whether or not the layer has sites."""
    text = (
        "param top = 3\nmodel m { observed v : bernoulli[4]  latent h : bernoulli[3]  latent k : bernoulli[top]  "
        "edge v -- h  edge h -- k }\nchain c { clamp v  start h, k from noise  sweep {h} then {k} }"
    )
    c = checked(text).chain("c")
    assert (c.starts[0].variables, c.sweep) == (("h", "k"), (("h",), ("k",)))
    c = checked(text, {"top": "0"}).chain("c")
    assert (c.starts[0].variables, c.sweep) == (("h",), (("h",),))
    assert codes(text, overrides={"top": "-1"}) == ["GM305"]
    assert codes("model m { observed v : bernoulli[0] }") == ["GM305"]


def test_a_chain_that_another_takes_values_from_is_no_idle_one() -> None:
    assert not codes(MODEL + "chain a { clamp v, h }\nchain b { clamp v from a }")
