"""Gains of chains, and their gates."""

from __future__ import annotations

import pytest

from gmc.dsl.model import Chain, Gain
from gmc.dsl.vocabulary import Ramp
from tests.dsl.checking import checked, codes, found
from tests.dsl.words import Surprise

GRAPH = """
param weak = 0.25
param top = 2
model m {
  observed v : bernoulli[8]
  observed y : categorical(10)
  latent   h : bernoulli[4]
  latent   k : bernoulli[3]
  latent   t : bernoulli[top]
  latent   lone : bernoulli
  edge v -- h
  edge inner : h -- h
  edge v -- y -- k
  edge k -- t
}
"""


def chain(items: str) -> Chain:
    """A chain without any mistake, beside another one."""
    return checked(f"{GRAPH}chain other {{ }}\nchain c {{ {items} }}").chain("c")


def told(gain: Gain) -> tuple[str | None, str | None, str | None, str]:
    return gain.variable, gain.target, gain.edge, str(gain.value)


def test_a_chain_without_gains() -> None:
    assert chain("clamp v").gains == ()


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("potent v = 0.5", ("v", None, None, "0.5")),
        ("potent v = weak * 2", ("v", None, None, "0.5")),
        ("potent v = 1", ("v", None, None, "1")),
        ("potent v -> h = 0 -> 1", ("v", "h", None, "0 -> 1")),
        ("potent v -> k = cosine(1, weak)", ("v", "k", None, "cosine(1, 0.25)")),
        ("potent y -> v = 0.5 * (1 -> 0)", ("y", "v", None, "0.5 -> 0")),
        ("potent h -> h = 0.5", ("h", "h", None, "0.5")),
        ("potent v_h = 3", (None, None, "v_h", "3")),
        ("potent inner = 0 -> 2.5", (None, None, "inner", "0 -> 2.5")),
        ("impotent v", ("v", None, None, "0")),
        ("impotent k -> y", ("k", "y", None, "0")),
        ("impotent v_y_k", (None, None, "v_y_k", "0")),
    ],
)
def test_gain(item: str, expected: tuple[str | None, str | None, str | None, str]) -> None:
    (gain,) = chain(item).gains
    assert told(gain) == expected
    assert (gain.unless, gain.span.text) == (None, item)


def test_gains_stand_in_the_order_written_and_may_repeat() -> None:
    """Gains on one message multiply."""
    gains = chain("impotent h -> v  potent v = 0.5  potent v = 0.5  potent v_h = 2").gains
    assert [g.variable or g.edge for g in gains] == ["h", "v", "v", "v_h"]


@pytest.mark.parametrize("operator", [">", ">=", "<", "<="])
def test_gate(operator: str) -> None:
    text = f"surprise(v) {operator} 2 * weak"
    (gain,) = chain(f"clamp v[:4]  impotent v -> h unless {text}").gains
    gate = gain.unless
    assert told(gain) == ("v", "h", None, "0")
    assert gate is not None
    assert (gate.condition, gate.operator, gate.threshold) == (Surprise(variable="v"), operator, 0.5)
    assert gate.span.text == text


def test_a_gate_may_measure_another_variable() -> None:
    (gain,) = chain("clamp v  clamp y where observed  impotent v unless surprise(variable = y) > -1").gains
    assert gain.unless is not None
    assert (gain.unless.condition, gain.unless.threshold) == (Surprise(variable="y"), -1.0)


@pytest.mark.parametrize(
    ("items", "code", "place"),
    [
        ("potent w = 1", "GM203", "w"),
        ("impotent v -> w", "GM203", "w"),
        ("potent other = 1", "GM204", "other"),
        ("impotent weak", "GM204", "weak"),
        ("impotent v -> v_h", "GM204", "v_h"),
        ("potent v = h", "GM204", "h"),
        ("potent v = wek", "GM203", "wek"),
        ("potent v = uniform(0, 1)", "GM301", "uniform(0, 1)"),
        ("potent v = 0.5 + (0 -> 0.5)", "GM308", "0.5 + (0 -> 0.5)"),
        ("potent v = cosine(1)", "GM309", "cosine(1)"),
        ("potent v = 1.001", "GM422", "1.001"),
        ("potent v = -weak", "GM422", "-weak"),
        ("potent v = 0 -> 1.5", "GM422", "0 -> 1.5"),
        ("potent v = cosine(-1, 1)", "GM422", "cosine(-1, 1)"),
        ("potent v -> h = 2", "GM422", "2"),
        ("potent v_h = -1", "GM422", "-1"),
        ("potent v_h = 2 -> -0.5", "GM422", "2 -> -0.5"),
        ("potent v_h -> h = 1", "GM423", "v_h -> h"),
        ("impotent inner -> h", "GM423", "inner -> h"),
        ("impotent h -> k", "GM424", "h -> k"),
        ("impotent v -> v", "GM424", "v -> v"),
        ("impotent lone -> v", "GM424", "lone -> v"),
        ("clamp v  impotent v_h unless surprise(v) > 1", "GM426", "surprise(v) > 1"),
        ("clamp v  impotent v unless surprise(v) == 1", "GM427", "surprise(v) == 1"),
        ("clamp v  impotent v unless surprise(h) > 1", "GM428", "h"),
        ("impotent v unless surprise(v) > 1", "GM428", "v"),
        ("clamp v  impotent v unless surprised(v) > 1", "GM205", "surprised"),
        ("clamp v  impotent v unless noise > 1", "GM206", "noise"),
        ("clamp v  impotent v unless 1 > 1", "GM207", "1"),
        ("clamp v  impotent v unless surprise(v_h) > 1", "GM204", "v_h"),
        ("clamp v  impotent v unless surprise(w) > 1", "GM203", "w"),
        ("clamp v  impotent v unless surprise(1) > 1", "GM316", "1"),
        ("clamp v  impotent v unless surprise > 1", "GM313", "surprise"),
        ("clamp v  impotent v unless surprise(v) > h", "GM204", "h"),
        ("clamp v  impotent v unless surprise(v) > (0 -> 1)", "GM301", "(0 -> 1)"),
    ],
)
def test_wrong_gain(items: str, code: str, place: str) -> None:
    (diagnostic,) = found(f"{GRAPH}chain other {{ }}\nchain c {{ {items} }}")
    assert (diagnostic.code, diagnostic.is_error) == (code, True)
    assert diagnostic.span is not None
    assert diagnostic.span.text == place


def test_help() -> None:
    """A gain that only an edge may have; what a variable is joined to; what a gate may measure."""

    def helped(items: str) -> str | None:
        (diagnostic,) = found(f"{GRAPH}chain c {{ {items} }}")
        return diagnostic.help

    assert helped("potent v = 2") == "only an edge may have a larger one: `potent EDGE = ...`"
    assert helped("potent v = -2") is None
    assert helped("impotent v -> t") == "`v` sends messages to `y`, `h` and `k`"
    assert helped("impotent lone -> t") is None
    assert helped("clamp v  impotent v unless surprise(h) > 1") == (
        "clamp it, or a part of it, or measure what is clamped: `v`"
    )


def test_several_mistakes_of_a_line() -> None:
    assert codes(GRAPH + "chain c { potent v -> t = 2 }") == ["GM424", "GM422"]
    assert codes(GRAPH + "chain c { impotent v_h unless surprise(w) == 1 / 0 }") == ["GM426", "GM427", "GM203", "GM302"]


@pytest.mark.parametrize(
    "items",
    [
        "potent lone = 0.5",
        "clamp v  impotent h -> v",
        "clamp v, y  impotent k -> v",
        "clamp v, h  potent v_h = 2",
        "clamp h  potent inner = 2",
        "clamp h  potent h -> h = 0.5",
        "clamp v[:4]  clamp v[4:]  impotent h -> v",
        "clamp v, h  impotent h",
        "clamp v, y, h, k  impotent v unless surprise(v) > 1",
    ],
)
def test_a_gain_without_effect(items: str) -> None:
    (warning,) = found(f"{GRAPH}chain c {{ {items} }}")
    assert (warning.code, warning.is_error) == ("GM425", False)


@pytest.mark.parametrize(
    "items",
    [
        "clamp v[:4]  impotent h -> v",
        "clamp v where observed  impotent h -> v",
        "clamp v  impotent h",
        "clamp v  potent v_h = 2",
        "clamp v, y, h  impotent v",
    ],
)
def test_a_gain_with_effect(items: str) -> None:
    assert chain(items).gains


def test_a_layer_that_a_parameter_leaves_out_is_named_like_any_other() -> None:
    text = GRAPH + "chain c { clamp k  potent t = 0.5  impotent k -> t  potent k_t = 2  impotent k }"
    assert codes(text) == ["GM425"]  # k is clamped, so that t sends nothing that is read
    text = text.replace("clamp k  potent t = 0.5", "clamp v")
    assert not codes(text)
    assert not codes(text, overrides={"top": "0"})


def test_nothing_is_said_of_edges_that_are_wrong_themselves() -> None:
    assert codes(GRAPH.replace("edge v -- h", "edge v -- h by nothing") + "chain c { impotent v -> h }") == ["GM205"]
    assert codes(GRAPH.replace("edge v -- h", "edge (v, h) -> k") + "chain c { impotent v -> k }") == ["GM901"]
    assert codes(GRAPH.replace("v : bernoulli", "v : nothing") + "chain c { potent v = 0.5 }") == ["GM205"]
    # a param without a value: its variable is missing from the graph, and with it an edge
    assert codes(GRAPH.replace("top = 2", "top = 1 / 0") + "chain c { potent k_t = 0.5  impotent k -> t }") == ["GM302"]


def test_nothing_is_said_of_a_gate_whose_clamp_is_wrong() -> None:
    assert codes(GRAPH + "chain c { clamp v[9]  impotent v unless surprise(v) > 1 }") == ["GM402"]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("impotent v_h", []),
        ("impotent v -> h  impotent h", []),
        ("potent v = 0  potent h -> v = 0 -> 0", []),
        ("impotent v", ["GM417"]),
        ("impotent h -> v", ["GM417"]),
        ("potent v_h = 0 -> 1", ["GM417"]),
        ("potent v_h = 0.001", ["GM417"]),
        ("impotent v -> h unless surprise(y) > 1  impotent h", ["GM417"]),
    ],
)
def test_a_block_may_hold_what_a_silent_edge_joins(items: str, expected: list[str]) -> None:
    """An edge joins two variables of a block where either reads the other; one that sends nothing is none."""
    text = f"{GRAPH}chain c {{ clamp y  {items}  sweep {{v, h, t}} then {{k}} then {{lone}} }}"
    assert codes(text) == expected


def test_blocks_and_silent_edges_of_third_order() -> None:
    """The message into an end comes from both others, and none comes where one of them is impotent."""

    def said(items: str) -> list[str]:
        sweep = "sweep {h} then {v, k} then {y} then {t} then {lone}"
        return codes(f"{GRAPH}chain c {{ {items}  {sweep} }}")

    assert said("") == ["GM417"]
    assert not said("impotent y")
    assert said("impotent y -> v") == ["GM417"]
    assert not said("impotent y -> v  impotent v -> k")


def test_ramp_of_a_gain() -> None:
    (gain,) = chain("potent v = 1 -> 0").gains
    assert gain.value == Ramp(1.0, 0.0)
    (gain,) = chain("potent v = 1").gains
    assert gain.value == Ramp(1.0, 1.0)
