"""Blocks hold no edge, and no more of them are made than needed."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmc.compiler.colouring import Block, certify, colour
from gmc.compiler.factors.dense import Dense
from gmc.compiler.factors.lattice import Lattice
from gmc.compiler.factors.sparse import Sparse
from gmc.compiler.families.bernoulli import Bernoulli
from gmc.compiler.graph import FactorGraph, build_graph
from gmc.compiler.region import Region
from gmc.dsl.model import Edge, Model, Variable
from gmc.dsl.source import Source, Span

NOWHERE = Span(Source("test.gm", ""), 0, 0)
FAST = settings(max_examples=30, deadline=None, derandomize=True)
_folder = tempfile.TemporaryDirectory()
_count = itertools.count()


def variable(name: str, *shape: int, observed: bool = False) -> Variable:
    return Variable(name, observed, Bernoulli(), shape, NOWHERE)


def edge(*ends: str, by: Dense | Lattice | Sparse | None = None, name: str = "") -> Edge:
    return Edge(name or "_".join(ends), ends, by or Dense(), NOWHERE)


def sparse(pairs: Iterable[tuple[int, int]]) -> Sparse:
    path = Path(_folder.name) / f"{next(_count)}.npz"
    first, second = np.array(list(pairs), dtype=np.int64).reshape(-1, 2).T
    np.savez(path, i=first, j=second)
    return Sparse(path=path)


def graph_of(variables: Sequence[Variable], *edges: Edge) -> FactorGraph:
    return build_graph(Model("test", tuple(variables), edges, NOWHERE))


def free_of(graph: FactorGraph, clamped: Mapping[str, Sequence[int]] | None = None) -> dict[str, Region]:
    """Regions of all sites but the clamped ones."""
    found = {}
    for v in graph.variables:
        sites = np.setdiff1d(np.arange(v.sites), np.array((clamped or {}).get(v.name, []), dtype=np.int64))
        if sites.size:
            found[v.name] = Region(v, sites)
    return found


def blocks_of(graph: FactorGraph, clamped: Mapping[str, Sequence[int]] | None = None) -> tuple[Block, ...]:
    """The blocks, after what holds of all: every free site in one of them, each block without an edge by another's word."""
    free = free_of(graph, clamped)
    blocks = colour(graph, free)
    found = [(r.name, int(s)) for block in blocks for r in block for s in r.sites]
    assert len(found) == len(set(found))
    assert set(found) == {(r.name, int(s)) for r in free.values() for s in r.sites}
    net = site_graph(graph).subgraph(found)
    shade = {(r.name, int(s)): n for n, block in enumerate(blocks) for r in block for s in r.sites}
    assert all(shade[a] != shade[b] for a, b in net.edges)
    if nx.is_bipartite(net):
        assert len(blocks) <= 2
    return blocks


def site_graph(graph: FactorGraph) -> nx.Graph:
    """Which sites meet, spelled out one by one."""
    net: nx.Graph = nx.Graph()
    net.add_nodes_from((v.name, s) for v in graph.variables for s in range(v.sites))
    for e in graph.model.edges:
        ends = graph.model.ends(e)
        if isinstance(e.factor, Sparse):
            with np.load(e.factor.path) as file:
                pairs = list(zip(file["i"].tolist(), file["j"].tolist(), strict=True))
            net.add_edges_from(((ends[0].name, i), (ends[1].name, j)) for i, j in pairs)
        elif isinstance(e.factor, Lattice):
            periodic = e.factor.boundary == "periodic"
            grid = nx.grid_graph(ends[0].shape[::-1], periodic=periodic)
            number = {p: n for n, p in enumerate(itertools.product(*map(range, ends[0].shape)))}
            as_place = {p: p if isinstance(p, tuple) else (p,) for p in grid.nodes}
            net.add_edges_from(
                ((ends[0].name, number[as_place[a]]), (ends[0].name, number[as_place[b]]))
                for a, b in grid.edges
                if a != b
            )
        elif e.lateral:
            net.add_edges_from(itertools.combinations([(ends[0].name, s) for s in range(ends[0].sites)], 2))
        else:
            for a, b in itertools.combinations(ends, 2):
                net.add_edges_from(((a.name, i), (b.name, j)) for i in range(a.sites) for j in range(b.sites))
    return net


def names(blocks: Sequence[Block]) -> list[list[str]]:
    return [[r.name for r in block] for block in blocks]


# ── Two blocks ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("label", [False, True])
def test_a_deep_machine_has_two_blocks(depth: int, label: bool) -> None:
    layers = [variable("v", 4, observed=True), *(variable(f"h{n}", 3 + n) for n in range(1, depth))]
    edges = [edge(a.name, b.name) for a, b in itertools.pairwise(layers)]
    if label:
        layers.append(variable("y", 2, observed=True))
        edges.append(edge(layers[-2].name, "y"))
    blocks = blocks_of(graph_of(layers, *edges))
    assert len(blocks) == 2
    assert names(blocks)[0][0] == "v"
    chain = [v.name for v in layers]
    assert names(blocks) == [chain[0::2], chain[1::2]]


def test_two_branches_meet() -> None:
    layers = [variable(n, 3, observed=n in "xy") for n in "xayb"] + [variable("top", 2)]
    blocks = blocks_of(graph_of(layers, edge("x", "a"), edge("y", "b"), edge("a", "top"), edge("b", "top")))
    assert names(blocks) == [["x", "y", "top"], ["a", "b"]]


@given(st.integers(2, 7), st.integers(2, 7), st.integers(0, 2**49 - 1))
@FAST
def test_bipartite_graphs_of_variables(a: int, b: int, chosen: int) -> None:
    left, right = [variable(f"a{n}", 2) for n in range(a)], [variable(f"b{n}", 3) for n in range(b)]
    pairs = [p for n, p in enumerate(itertools.product(left, right)) if chosen >> n & 1]
    blocks = blocks_of(graph_of([*left, *right], *(edge(x.name, y.name) for x, y in pairs)))
    assert len(blocks) == (2 if pairs else 1)


@given(
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 3))),
)
@FAST
def test_sparse_edges_between_three_variables(first: set[tuple[int, int]], second: set[tuple[int, int]]) -> None:
    """The graph of the sites decides, not that of the variables."""
    vs = [variable("v", 6, observed=True), variable("h", 5), variable("g", 4)]
    edges = [edge("v", "h", by=sparse(first))] + ([edge("h", "g", by=sparse(second))] if second else [])
    assert len(blocks_of(graph_of(vs, *edges))) == 2


def test_a_circle_of_variables_whose_sites_are_bipartite() -> None:
    """v - h - g - v is a triangle of variables, but no triangle of sites: two blocks."""
    vs = [variable("v", 2, observed=True), variable("h", 2), variable("g", 2)]
    pairs = {"v_h": ((0, 0), (1, 1)), "h_g": ((0, 0),), "g_v": ((0, 1),)}
    edges = [edge(*n.split("_"), by=sparse(p)) for n, p in pairs.items()]
    blocks = blocks_of(graph_of(vs, *edges))
    assert len(blocks) == 2
    odd = [*edges, edge("v", "v", by=sparse([(0, 1)]))]
    assert len(blocks_of(graph_of(vs, *odd))) in (2, 3)


# ── Lattices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("shape", "boundary", "count"),
    [((4, 6), "open", 2), ((5, 5), "open", 2), ((4, 6), "periodic", 2), ((3, 4), "periodic", 3), ((5, 7), "periodic", 3),
     ((2, 2), "periodic", 2), ((7,), "periodic", 3), ((8,), "periodic", 2), ((3, 4, 2), "open", 2), ((4, 4, 4), "periodic", 2)],
)  # fmt: skip
def test_lattices(shape: tuple[int, ...], boundary: str, count: int) -> None:
    graph = graph_of([variable("s", *shape, observed=True)], edge("s", "s", by=Lattice(boundary=boundary)))  # type: ignore[arg-type]
    blocks = blocks_of(graph)
    # DSATUR is no exact method; on odd tori it may need one more
    assert count <= len(blocks) <= count + (count > 2)
    if count == 2:
        parity = np.indices(shape).sum(0).ravel() % 2
        assert [r.sites.tolist() for (r,) in blocks] == [np.flatnonzero(parity == c).tolist() for c in (0, 1)]


def test_an_odd_ring_has_three() -> None:
    graph = graph_of([variable("s", 9)], edge("s", "s", by=Lattice(boundary="periodic")))
    assert len(blocks_of(graph)) == 3
    # a clamped site opens the ring
    assert len(blocks_of(graph, {"s": [4]})) == 2


# ── Lateral edges ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_a_complete_variable_has_a_block_a_site(count: int) -> None:
    graph = graph_of([variable("v", count)], edge("v", "v"))
    assert [[r.sites.tolist() for r in block] for block in blocks_of(graph)] == [[[n]] for n in range(count)]


def test_a_boltzmann_machine_shares_no_block_between_layers() -> None:
    graph = graph_of(
        [variable("v", 4, observed=True), variable("h", 3)], edge("v", "v"), edge("h", "h"), edge("v", "h")
    )
    assert len(blocks_of(graph)) == 7
    assert names(blocks_of(graph)) == [["v"]] * 4 + [["h"]] * 3
    apart = graph_of([variable("v", 4, observed=True), variable("h", 3)], edge("v", "v"), edge("h", "h"))
    assert len(blocks_of(apart)) == 4


def test_third_order_edges_join_all_three() -> None:
    graph = graph_of([variable("x", 3, observed=True), variable("y", 2), variable("h", 4)], edge("x", "y", "h"))
    assert names(blocks_of(graph)) == [["x"], ["y"], ["h"]]
    assert len(blocks_of(graph, {"y": [0, 1]})) == 2


# ── Clamping and order ───────────────────────────────────────────────────────────────────────────────────────────────


def test_clamped_variables_need_no_colour() -> None:
    """A triangle loses a colour with a corner, and a deep machine falls apart where its middle is clamped."""
    triangle = graph_of([variable(n, 2) for n in "abc"], edge("a", "b"), edge("b", "c"), edge("c", "a"))
    assert len(blocks_of(triangle)) == 3
    assert names(blocks_of(triangle, {"b": [0, 1]})) == [["a"], ["c"]]
    assert len(blocks_of(triangle, {"b": [0]})) == 3
    chain = graph_of([variable(n, 2) for n in "abc"], edge("a", "b"), edge("b", "c"))
    assert names(blocks_of(chain, {"b": [0, 1]})) == [["a", "c"]]
    assert blocks_of(chain, {"a": [0, 1], "b": [0, 1], "c": [0, 1]}) == ()
    complete = graph_of([variable("v", 6)], edge("v", "v"))
    assert [b[0].sites.tolist() for b in blocks_of(complete, {"v": [1, 2, 5]})] == [[0], [3], [4]]


def test_blocks_with_observed_variables_come_first() -> None:
    """Else in the order of the first declared variable."""
    late = graph_of([variable("h", 2), variable("v", 2, observed=True)], edge("h", "v"))
    assert names(blocks_of(late)) == [["v"], ["h"]]
    hidden = graph_of([variable("b", 2), variable("a", 2)], edge("a", "b"))
    assert names(blocks_of(hidden)) == [["b"], ["a"]]
    label = graph_of(
        [variable("h", 2), variable("v", 2, observed=True), variable("y", observed=True)],
        edge("v", "h"),
        edge("y", "h"),
    )
    assert names(blocks_of(label)) == [["v", "y"], ["h"]]
    apart = graph_of(
        [variable("a", 2), variable("b", 2), variable("v", 2, observed=True)], edge("a", "b"), edge("b", "v")
    )
    assert names(blocks_of(apart)) == [["a", "v"], ["b"]]


# ── Any graph ────────────────────────────────────────────────────────────────────────────────────────────────────────


def greedy(net: nx.Graph, order: Iterable[tuple[str, int]]) -> int:
    """How many colours the first-fit rule takes in that order."""
    shade: dict[tuple[str, int], int] = {}
    for node in order:
        taken = {shade[n] for n in net[node] if n in shade}
        shade[node] = next(c for c in range(len(net)) if c not in taken)
    return max(shade.values()) + 1


@pytest.mark.parametrize("density", [0.1, 0.3, 0.6])
def test_saturation_beats_first_fit_on_random_graphs(density: float) -> None:
    """Over 20 random graphs of 40 sites: never worse than first fit on any, and better in all."""
    ours, first_fit, reference = 0, 0, 0
    for seed in range(20):
        random = nx.gnp_random_graph(40, density, seed=seed)
        graph = graph_of([variable("v", 40)], edge("v", "v", by=sparse(random.edges)))
        found, simple = len(blocks_of(graph)), greedy(site_graph(graph), [("v", n) for n in range(40)])
        assert found <= simple
        ours, first_fit = ours + found, first_fit + simple
        reference += max(nx.greedy_color(random, "DSATUR").values()) + 1
    assert ours < first_fit
    assert ours <= reference + 2


Recipe = tuple[list[tuple[int, bool]], dict[tuple[int, int], list[tuple[int, int]] | None], bool, list[list[int]]]


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Sizes of up to four variables and which are observed, pairs of edges (None: dense), a third-order edge or none, clamped sites."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4))
    edges: dict[tuple[int, int], list[tuple[int, int]] | None] = {}
    for (a, (m, _)), (b, (n, _)) in itertools.combinations_with_replacement(enumerate(sizes), 2):
        kind = draw(st.sampled_from(["none", "none", "dense", "sparse"]))
        pairs = [(i, j) for i in range(m) for j in range(n) if (a != b or i < j) and draw(st.booleans())]
        if kind == "dense" or (kind == "sparse" and pairs):
            edges[a, b] = None if kind == "dense" else pairs
    third = len(sizes) > 2 and draw(st.booleans())
    return sizes, edges, third, [draw(st.lists(st.integers(0, m - 1), unique=True)) for m, _ in sizes]


def made(recipe: Recipe) -> tuple[FactorGraph, dict[str, list[int]]]:
    """The graph of a recipe, and what is clamped."""
    sizes, pairs, third, clamped = recipe
    variables = [variable(f"x{n}", size, observed=observed) for n, (size, observed) in enumerate(sizes)]
    edges = [edge(f"x{a}", f"x{b}", by=None if p is None else sparse(p)) for (a, b), p in pairs.items()]
    if third:
        edges.append(edge(*(v.name for v in variables[:3])))
    return graph_of(variables, *edges), {v.name: sites for v, sites in zip(variables, clamped, strict=True)}


@given(recipes())
@FAST
def test_any_graph_is_coloured_rightly(recipe: Recipe) -> None:
    graph, clamped = made(recipe)
    blocks = blocks_of(graph, clamped)
    observed = [any(r.variable.observed for r in block) for block in blocks]
    assert observed == sorted(observed, reverse=True)
    again = colour(graph, free_of(graph, clamped))
    assert [[(r.name, r.sites.tolist()) for r in b] for b in again] == [
        [(r.name, r.sites.tolist()) for r in b] for b in blocks
    ]


@given(recipes())
@FAST
def test_certify_finds_every_planted_edge(recipe: Recipe) -> None:
    """Blocks made by another's colouring pass; a block that also takes a neighbour of one of its sites does not."""
    graph, _ = made(recipe)
    net = site_graph(graph)
    by = {v.name: v for v in graph.variables}
    for a, b in list(net.edges)[:6]:
        if a[0] == b[0]:
            block: Block = (Region(by[a[0]], np.array(sorted((a[1], b[1])))),)
        else:
            block = tuple(Region(by[n], np.array([s])) for n, s in sorted((a, b)))
        with pytest.raises(AssertionError, match="lies within a block"):
            certify(graph, [block])
    for a, b in list(nx.complement(net).edges)[:6]:
        block = (
            (Region(by[a[0]], np.array(sorted((a[1], b[1])))),)
            if a[0] == b[0]
            else tuple(Region(by[n], np.array([s])) for n, s in (a, b))
        )
        certify(graph, [block])
