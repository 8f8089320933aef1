"""Factors: each field is the derivative of the energy, from whole ends and from parts that add up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from gmc.compiler.emitter import Emitter, inputs
from gmc.compiler.graph import Term
from gmc.compiler.region import Piece, Region
from tests.compiler.replay import EXAMPLE, Case, case

TERMS = [(name, edge) for name in EXAMPLE for edge in range(EXAMPLE[name].body.count("edge "))]
ROWS = 9


def term_of(name: str, number: int) -> tuple[Case, Term, dict[str, Tensor]]:
    given = case(name)
    term = given.compiled.graph.terms[number]
    return given, term, {s: given.weights[term.parameter(s)] for s in term.factor.parameters(term.ends)}


def ends_of(term: Term, seed: int = 3) -> list[Tensor]:
    """Statistics of the ends, any numbers: every factor is multilinear. A lateral one has the same at both."""
    generator = torch.Generator().manual_seed(seed)
    found = {v.name: torch.randn(ROWS, v.size, generator=generator, dtype=torch.float64) for v in term.ends}
    return [found[v.name] for v in term.ends]


def run(build: object, tensors: dict[str, Tensor]) -> Tensor:
    """Emits a graph and runs it."""
    g = Emitter()
    module = g.module({"out": build(g)}, "Test")  # type: ignore[operator]
    return module(*(tensors[n] for n in inputs(module)))["out"]


def energy(term: Term, theta: dict[str, Tensor], ends: list[Tensor]) -> Tensor:
    def build(g: Emitter) -> object:
        at = {s: g.input(s, fixed=True) for s in theta}
        return term.factor.energy(g, at, term.ends, [g.input(f"end{n}", fixed=False) for n in range(len(ends))])

    return run(build, theta | {f"end{n}": x for n, x in enumerate(ends)})


def field(
    term: Term, theta: dict[str, Tensor], ends: list[Tensor], regions: dict[int, Region], target: Region, slot: int
) -> Tensor:
    def build(g: Emitter) -> object:
        at = {s: g.input(s, fixed=True) for s in theta}
        pieces = {n: Piece(g.input(f"end{n}", fixed=False), r) for n, r in regions.items()}
        return term.factor.field(g, at, term.ends, pieces, target, slot)

    return run(build, theta | {f"end{n}": ends[n][:, torch.from_numpy(r.columns)] for n, r in regions.items()})


def halves(region: Region) -> tuple[Region, ...]:
    parts = (region.sites[::2], region.sites[1::2])
    return tuple(Region(region.variable, np.ascontiguousarray(p)) for p in parts if p.size)


@pytest.mark.parametrize(("name", "number"), TERMS)
def test_fields_are_derivatives(name: str, number: int) -> None:
    """Of whole ends, and of every half of the target from every half of the others, which add up."""
    _, term, theta = term_of(name, number)
    ends = ends_of(term)
    slots = [len(term.ends) - 1] if term.edge.lateral else range(len(term.ends))
    leaf = {v.name: x.clone().requires_grad_() for v, x in zip(term.ends, ends, strict=True)}
    total = energy(term, theta, [leaf[v.name] for v in term.ends]).sum()
    for slot in slots:
        (slope,) = torch.autograd.grad(total, leaf[term.ends[slot].name], retain_graph=True)
        others = [n for n in range(len(term.ends)) if n != slot]
        whole = Region.whole_of(term.ends[slot])
        for target in (whole, *halves(whole)):
            expected = slope[:, torch.from_numpy(target.columns)]
            at_once = field(term, theta, ends, {n: Region.whole_of(term.ends[n]) for n in others}, target, slot)
            torch.testing.assert_close(at_once, expected, rtol=1e-10, atol=1e-10)
            parts = itertools.product(*(halves(Region.whole_of(term.ends[n])) for n in others))
            added = sum(field(term, theta, ends, dict(zip(others, p, strict=True)), target, slot) for p in parts)
            torch.testing.assert_close(added, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "number"), TERMS)
def test_gradients_are_derivatives(name: str, number: int) -> None:
    """Of the mean over rows; numbers that entries share have theirs in every place."""
    _, term, theta = term_of(name, number)
    ends = ends_of(term)
    leaves = {s: w.clone().requires_grad_() for s, w in theta.items()}
    mean = energy(term, leaves, ends).mean()
    slopes = dict(zip(leaves, torch.autograd.grad(mean, list(leaves.values())), strict=True)) if leaves else {}

    def build(g: Emitter) -> object:
        at = {s: g.input(s, fixed=True) for s in theta}
        return term.factor.gradient(g, at, term.ends, [g.input(f"end{n}", fixed=False) for n in range(len(ends))])

    found = run(build, theta | {f"end{n}": x for n, x in enumerate(ends)})
    assert set(found) == set(theta)
    for suffix, value in term.factor.shared(term.ends, slopes).items() if theta else ():
        torch.testing.assert_close(found[suffix], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "number"), TERMS)
def test_first_weights_have_the_right_shapes_and_sizes(name: str, number: int) -> None:
    _, term, theta = term_of(name, number)
    generator = torch.Generator().manual_seed(1)
    first = term.factor.initial(term.ends, lambda s: torch.randn(s, generator=generator, dtype=torch.float64))
    assert {s: tuple(w.shape) for s, w in first.items()} == term.factor.parameters(term.ends)
    assert {s: tuple(w.shape) for s, w in first.items()} == {s: tuple(w.shape) for s, w in theta.items()}
    assert term.factor.flaw(term.ends, first) is None if first else True
    assert all(0 < w.abs().max() < 2 for w in first.values())


def test_a_lateral_weight_that_is_not_symmetric_has_a_flaw() -> None:
    _, term, theta = term_of("boltzmann", 0)
    assert term.factor.flaw(term.ends, theta) is None
    for i, j in ((0, 1), (2, 2)):
        weight = theta["weight"].clone()
        weight[i, j] += 0.5
        assert term.factor.flaw(term.ends, {"weight": weight}) is not None
