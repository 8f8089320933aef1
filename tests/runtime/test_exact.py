"""Sums over all states: chunks, limits, dtypes and devices' defaults."""

from __future__ import annotations

import pytest
import torch

import gmc
from gmc.compiler.graph import family
from gmc.runtime import exact
from gmc.runtime.exact import Listing, TooLarge, log_partition
from tests.compiler.replay import case


@pytest.mark.parametrize(("name", "items"), [("label_rbm", ""), ("third_mixed", "clamp y[0], x[2]"), ("potts", "")])
@pytest.mark.parametrize("chunk", [1, 37, 1 << 22])
def test_the_listing_has_every_state_once(name: str, items: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = case(name, items)
    marginal = given.compiled.marginal(dict(given.program.schedule.clamped))
    monkeypatch.setattr(exact, "CHUNK", chunk)
    listing = Listing(marginal, torch.device("cpu"))
    parts = list(listing.chunks(1))
    states = torch.cat([torch.cat([part[r.name] for r in marginal.enumerated], 1) for part in parts])
    expected = 1
    for r in marginal.enumerated:
        expected *= (r.variable.family.states or 0) ** r.sites.size
    assert listing.count == len(states) == expected
    assert len(torch.unique(states, dim=0)) == expected
    for r in marginal.enumerated:
        own = torch.cat([part[r.name] for part in parts]).reshape(-1, r.variable.family.width)
        table = family(r.variable).values()
        assert (own[:, None] == table[None]).all(2).any(1).all()


def test_single_precision_weights_are_summed_in_double() -> None:
    given = case("rbm")
    single = {n: w.to(torch.float32) for n, w in given.weights.items()}
    marginal = given.compiled.marginal({})
    found = log_partition(marginal, single, {}, gradient=True)
    double = log_partition(marginal, {n: w.to(torch.float64) for n, w in single.items()}, {}, gradient=True)
    assert found.log_z.dtype == torch.float64
    assert torch.equal(found.log_z, double.log_z)
    assert all(torch.equal(found.gradient[n], g) for n, g in double.gradient.items())


def test_large_energies_neither_overflow_nor_vanish() -> None:
    given = case("dbm2")
    weights = {n: w * 2000 for n, w in given.weights.items()}
    found = log_partition(given.compiled.marginal({}), weights, {}, gradient=True)
    from tests.oracle.energy import energy

    lowest = energy(given.model, weights, given.law.values).min()
    assert found.log_z.item() == pytest.approx(-lowest.item(), rel=1e-9)
    assert all(torch.isfinite(g).all() for g in found.gradient.values())


def test_weights_are_left_alone() -> None:
    given = case("rbm")
    before = {n: w.clone() for n, w in given.weights.items()}
    leaves = {n: w.clone().requires_grad_() for n, w in given.weights.items()}
    log_partition(given.compiled.marginal({}), leaves, {}, gradient=True)
    assert all(w.grad is None for w in leaves.values())
    assert all(torch.equal(given.weights[n], w) for n, w in before.items())


def test_what_is_too_large_says_so() -> None:
    given = case("rbm")
    marginal = given.compiled.marginal({})
    with pytest.raises(TooLarge, match=r"enumerated: h \(4\.0 bits\): more than 3 bits"):
        log_partition(marginal, given.weights, {}, limit=3.0)


def test_a_layer_that_is_left_out_changes_nothing() -> None:
    two = "model m { observed v : bernoulli[4] latent a : bernoulli[3] latent b : bernoulli[SIZE] edge v -- a edge a -- b }"
    one = "model m { observed v : bernoulli[4] latent a : bernoulli[3] edge v -- a }"
    deep, shallow = gmc.compile(two.replace("SIZE", "0")), gmc.compile(one)
    generator = torch.Generator().manual_seed(0)
    params = {p.name: torch.randn(p.shape, generator=generator) for p in shallow.compiled.graph.parameters}
    empty = {p.name: torch.zeros(p.shape) for p in deep.compiled.graph.parameters if p.name not in params}
    assert set(empty) == {"b.bias", "a_b.weight"}
    rows = {"v": torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1]])}
    found = deep.run({**params, **empty}).log_likelihood(rows)
    assert torch.equal(found, shallow.run(params).log_likelihood(rows))
