"""Directed and recognition edges: what they join, what they share, which way round the model goes, and what draws each variable of a chain."""

from __future__ import annotations

import pytest

from gmc.dsl.kernels import beneath, components, directed_circle, find_kernels
from gmc.dsl.model import Chain, Model
from tests.dsl.checking import checked, codes, found

NETWORK = """
model dbn {
  observed v  : bernoulli[6]
  observed y  : bernoulli[3]
  latent   h1 : bernoulli[5]
  latent   h2 : bernoulli[4]
  edge h1 -> v
  edge h1 -> y
  edge h1 -- h2
  edge v ~> h1 by tied(h1_v)
  edge y ~> h1
}
"""


def model(text: str = NETWORK) -> Model:
    return checked(text).model


def chain(items: str) -> Chain:
    return checked(f"{NETWORK}chain c {{ {items} }}").chain("c")


def test_edges_know_their_kind() -> None:
    m = model()
    assert [(e.name, e.kind, e.sources, e.targets, str(e)) for e in m.edges] == [
        ("h1_v", "directed", ("h1",), ("v",), "h1 -> v"),
        ("h1_y", "directed", ("h1",), ("y",), "h1 -> y"),
        ("h1_h2", "undirected", (), (), "h1 -- h2"),
        ("v_h1", "recognition", ("v",), ("h1",), "v ~> h1"),
        ("y_h1", "recognition", ("y",), ("h1",), "y ~> h1"),
    ]
    assert beneath(m, "h1") == ("v", "y") and beneath(m, "h2") == ()
    of = components(m)
    assert of["h1"] == of["h2"] != of["v"] != of["y"]
    assert not directed_circle(m)


@pytest.mark.parametrize(
    ("clamped", "kernels", "missing"),
    [
        ("", {}, []),
        ("v", {"h1": "v_h1"}, []),
        ("y", {"h1": "y_h1"}, []),
        ("v y", {}, ["h1"]),
        ("h1", {}, []),
        ("h1 v", {}, []),
        ("h2", {}, []),
        ("v h2", {"h1": "v_h1"}, []),
    ],
)
def test_kernels(clamped: str, kernels: dict[str, str], missing: list[str]) -> None:
    m = model()
    held = clamped.split()
    free = [v.name for v in m.variables if v.name not in held]
    found = find_kernels(m, held, free)
    assert {name: edge.name for name, edge in found.by.items()} == kernels
    assert [each.variable for each in found.missing] == missing


def test_recognition_of_recognition() -> None:
    """b is drawn by its edge since a is, and c, below which nothing is clamped, by the joint."""
    m = model(
        """
        model deep {
          observed x : bernoulli[2]
          latent a : bernoulli[2]
          latent b : bernoulli[2]
          latent c : bernoulli[2]
          edge a -> x
          edge b -> a
          edge b -- c
          edge x ~> a
          edge a ~> b
        }
        """
    )
    found = find_kernels(m, ["x"], ["a", "b", "c"])
    assert {name: edge.name for name, edge in found.by.items()} == {"a": "x_a", "b": "a_b"} and not found.missing
    assert not find_kernels(m, ["a"], ["x", "b", "c"]).missing


def test_what_is_below_goes_on_along_undirected_edges() -> None:
    """w is clamped and joined to b, which is below a: the joint of a would need the sum over b."""
    text = """
    model m {
      observed w : bernoulli[2]
      latent a : bernoulli[2]
      latent b : bernoulli[2]
      edge a -> b
      edge b -- w
    }
    chain c { clamp w }
    """
    (told,) = found(text)
    assert told.code == "GM431" and "`a`" in told.message
    assert "`w` lies below it along `a -> b`" in told.related[0].message


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("clamp v, y", ["GM432"]),
        ("clamp v, y  sweep {h1 by v_h1} then {h2}", []),
        ("clamp v, y  sweep {h1 by y_h1} then {h2}", []),
        ("sweep {h1 by v_h1} then {v, y, h2}", []),
        ("sweep {h1 by v_h1, v} then {y, h2}", ["GM417"]),
        ("sweep {h1, v} then {y, h2}", ["GM417"]),
        ("sweep {h1} then {v, y, h2}", []),
        ("sweep {h1 by v_h1, y} then {v, h2}", ["GM417"]),
        ("sweep {h1 by h1_v} then {v, y, h2}", ["GM433"]),
        ("sweep {h2 by v_h1} then {h1} then {v, y}", ["GM433"]),
        ("sweep {h1 by v} then {v, y, h2}", ["GM204"]),
        ("sweep {h1 by v_h1} then {v, y} then {h1 by y_h1} then {h2}", ["GM901"]),
        ("sweep {h1 by v_h1} then {v, y} then {h1} then {h2}", ["GM901"]),
        ("clamp v[2:]", []),
        ("clamp v[2:], y", ["GM432"]),
        ("clamp y[1]", []),
        ("impotent h1 -> v", []),
        ("impotent v -> h1  clamp v", []),
        ("impotent v -> y", ["GM424"]),
        ("impotent v -> h2", ["GM424"]),
        ("potent h1_v = 0.5", []),
        ("clamp v  impotent h1_v", ["GM425"]),
    ],
)
def test_chains(items: str, expected: list[str]) -> None:
    assert codes(f"{NETWORK}chain c {{ {items} }}") == expected


def test_a_chain_keeps_what_its_sweep_names() -> None:
    assert chain("clamp v, y  sweep {h1 by y_h1} then {h2}").by == (("h1", "y_h1"),)
    assert chain("clamp v").by == ()


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ("edge a -> b", []),
        ("edge a -> b  edge b -> c", []),
        ("edge a -> b  edge b -> a", ["GM341"]),
        ("edge a -> b  edge b -- c  edge c -> a", ["GM341"]),
        ("edge a -> b  edge b ~> a", []),
        ("edge a -- b  edge both : a -> b", ["GM341"]),
        ("edge a -> a", ["GM341"]),
        ("edge a ~> a", ["GM341"]),
        ("edge a -> b  edge again : a -> b", ["GM337"]),
        ("edge a -> b  edge b ~> a  edge again : b ~> a", ["GM337"]),
        ("edge a -> b  edge b ~> a by tied(a_b)", []),
        ("edge a -> b  edge c ~> a by tied(a_b)", []),
        ("edge a -> b  edge a -> d by tied(a_b)", ["GM339"]),
        ("edge a -- b  edge b -- d  edge d ~> b by tied(b_d)", []),
        ("edge a -- d  edge d -- b by tied(a_d)", ["GM339"]),
        ("edge (a, b) -> c", ["GM901"]),
        ("edge a ~> (b, c)", ["GM901"]),
        ("edge a ~> (b -- c)", ["GM901"]),
        ("edge a -> b by nothing", ["GM205"]),
        ("edge a -> e", ["GM203"]),
    ],
)
def test_edges(edges: str, expected: list[str]) -> None:
    variables = "observed a : bernoulli[3]  latent b : bernoulli[4]  latent c : bernoulli[4]  latent d : bernoulli[3]"
    text = f"model m {{ {variables}  {edges} }}"
    assert codes(text) == expected


def test_a_net_on_an_edge_is_not_supported_yet() -> None:
    text = "net enc = linear(2)\nmodel m { observed x : bernoulli[2]  latent z : bernoulli[2]  edge x ~> z by enc }"
    assert codes(text) == ["GM901", "GM901"]
