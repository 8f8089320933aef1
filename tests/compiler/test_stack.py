"""The layers that a graph has, the fields that are multiplied, and what has no layers."""

from __future__ import annotations

import pytest

import gmc.runtime.words  # noqa: F401  fills the vocabulary
from gmc.compiler.stack import Stack
from gmc.compiler.stacking import stacking_problems
from gmc.dsl.check import load_source
from gmc.dsl.source import Source

TABLES = {
    "an RBM": (
        "observed v : bernoulli[4] latent h : bernoulli[3] edge v -- h",
        ("v -- h",),
    ),
    "two hidden layers": (
        "observed v : bernoulli[4] latent h1 : bernoulli[3] latent h2 : bernoulli[2] edge v -- h1 edge h1 -- h2",
        ("v -- h1 (field of h1 x2)", "h1 -- h2 (field of h1 x2)"),
    ),
    "four layers, the edges in another order": (
        (
            "observed v : bernoulli[4] latent h1 : bernoulli[3] latent h2 : bernoulli[3] latent h3 : bernoulli[2] latent h4 : bernoulli[2]"
            " edge h3 -- h4 edge h2 -- h1 edge h1 -- v edge h2 -- h3"
        ),
        (
            "h1 -- v (field of h1 x2)",
            "h2 -- h1 (field of h1 x2; field of h2 x2)",
            "h2 -- h3 (field of h2 x2; field of h3 x2)",
            "h3 -- h4 (field of h3 x2)",
        ),
    ),
    "labels at the top": (
        (
            "observed v : bernoulli[4] observed y : categorical(3) latent h1 : bernoulli[3] latent h2 : bernoulli[2]"
            " edge v -- h1 edge h1 -- h2 edge h2 -- y"
        ),
        ("v -- h1 (field of h1 x2)", "h1 -- h2, h2 -- y (field of h1 x2)"),
    ),
    "two branches": (
        (
            "observed v1 : bernoulli[4] observed v2 : normal[3] latent a : bernoulli[3] latent b : spin[3] latent top : bernoulli[2]"
            " edge v1 -- a edge v2 -- b edge a -- top edge b -- top"
        ),
        ("v1 -- a, v2 -- b (field of a x2; field of b x2)", "a -- top, b -- top (field of a x2; field of b x2)"),
    ),
    "an edge that skips a layer": (
        "observed v : bernoulli[4] latent h1 : bernoulli[3] latent h2 : bernoulli[2] edge v -- h1 edge h1 -- h2 edge v -- h2",
        ("v -- h1 (field of v x2; field of h1 x2)", "h1 -- h2, v -- h2 (field of v x2; field of h1 x2)"),
    ),
    "a layer of no sites": (
        (
            "observed v : bernoulli[4] latent h1 : bernoulli[3] latent h2 : bernoulli[2] latent h3 : bernoulli[0]"
            " edge v -- h1 edge h1 -- h2 edge h2 -- h3"
        ),
        ("v -- h1 (field of h1 x2)", "h1 -- h2 (field of h1 x2)"),
    ),
    "a deep belief network": (
        (
            "observed v : bernoulli[4] latent h1 : bernoulli[3] latent h2 : bernoulli[3] latent h3 : bernoulli[2]"
            " edge h1 -> v edge h2 -> h1 edge h2 -- h3 edge v ~> h1 edge h1 ~> h2 by tied(h2_h1)"
        ),
        ("h1 -> v (h1 is drawn by v ~> h1)", "h2 -> h1 (h2 is drawn by h1 ~> h2)", "h2 -- h3"),
    ),
    "a directed layer below a deep Boltzmann machine with labels": (
        (
            "observed v : bernoulli[4] observed y : categorical(3) latent h1 : bernoulli[3] latent h2 : bernoulli[3] latent h3 : bernoulli[2]"
            " edge h1 -> v edge h1 -- h2 edge h2 -- h3 edge h3 -- y edge v ~> h1"
        ),
        ("h1 -> v (h1 is drawn by v ~> h1)", "h1 -- h2 (field of h2 x2)", "h2 -- h3, h3 -- y (field of h2 x2)"),
    ),
}
"""Models, and their layers by hand."""


def stack(body: str) -> Stack:
    return Stack(load_source(Source("stack.gm", f"model m {{ {body} }}")).checked.model)


@pytest.mark.parametrize("name", TABLES)
def test_layers(name: str) -> None:
    body, expected = TABLES[name]
    found = stack(body)
    assert tuple(map(str, found.layers)) == expected
    assert not list(stacking_problems(found))


@pytest.mark.parametrize("name", TABLES)
def test_every_edge_is_in_one_layer_and_each_layer_joins_lower_to_upper(name: str) -> None:
    found = stack(TABLES[name][0])
    edges = [edge for layer in found.layers for edge in layer.edges]
    assert sorted(edges, key=str) == sorted(found.edges, key=str)
    for layer in found.layers:
        assert not set(layer.lower) & set(layer.upper)
        assert all({*edge.ends} & {*layer.lower} and {*edge.ends} & {*layer.upper} for edge in layer.edges)


V, H, G = "observed v : bernoulli[4] ", "latent h : bernoulli[3] ", "latent g : bernoulli[2] "
WRONG = {
    V + H + "edge v -- h edge h -- h": "joins a variable to itself",
    V + "edge v -- v": "joins a variable to itself",
    V + H + G + "edge v -- h edge v -- h -- g": "of third order",
    V + H + "observed y : categorical(3) edge v -- h edge v -- y": "joins observed variables",
    V + H + "edge v -> h": "leads from the data up",
    V + H: "nothing to train",
    V + G + H + "edge v -- h edge h -- g": "g has nothing below it",
    V
    + "latent z : spin[2] latent g : bernoulli[2] latent h : bernoulli[3] edge v -- h edge z -- g edge g -- h": "z has nothing below it",
    V + H + G + "edge h -> v edge h -- g": "no `~>` edge draws h",
    V + H + G + "edge h -> v edge h -- g edge g ~> h": "no `~>` edge draws h",
    V
    + H
    + G
    + "observed y : categorical(3) edge h -> v edge v ~> h edge y -- h edge h -- g": "train it in different ways",
    V + H + G + "observed w : bernoulli[4] edge h -> v edge h -> w edge v ~> h edge h -- g": "by several `->` edges",
    V + H + "edge h -> v edge v ~> h": "nothing trains its own law",
    V + H + G + "edge h -> v by lowrank(1) edge v ~> h edge h -- g": "has no transpose",
    "observed v : normal(precision = 4)[4] " + H + G + "edge h -> v edge v ~> h by tied(h_v) edge h -- g": "4 times",
}


@pytest.mark.parametrize("body", WRONG)
def test_what_is_no_stack(body: str) -> None:
    problems = list(stacking_problems(stack(body)))
    assert any(WRONG[body] in p.message for p in problems), [p.message for p in problems]
    # where it is, and what to do
    assert all(p.help for p in problems)
    assert all(p.related for p in problems) or "nothing to train" in problems[0].message
