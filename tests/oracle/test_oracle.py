"""The oracle's own checks: right samplers pass them, and the broken ones are caught."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from tests.oracle import broken, stats
from tests.oracle.broken import Sampler
from tests.oracle.by_hand import EXACT, boltzmann, close, dbm, gaussian, rbm
from tests.oracle.laws import (
    Law,
    law,
)
from tests.oracle.models import random_values, random_weights
from tests.oracle.sites import as_columns, as_variables
from tests.oracle.sweeps import (
    block_matrix,
    irreducible,
    pass_zero,
    site_conditional,
    sitewise_matrix,
    stationarity_error,
    sweep_matrix,
    sweeps_to_mix,
    total_variation,
    uniform,
)

# ── Sweeps ───────────────────────────────────────────────────────────────────────────────────────────────────────────

CASES = [
    (rbm, {}, (("v",), ("h",))),
    (rbm, {("v", 0): 1, ("v", 3): 0, ("h", 1): 1}, (("v",), ("h",))),
    (dbm, {}, (("v", "b"), ("a",))),
    (dbm, {("b", 0): 2}, (("a",), ("v", "b"))),
    (boltzmann, {}, ((("v", 0),), (("v", 1),), (("v", 2),), (("v", 3),), ("h",))),
    (boltzmann, {("v", 1): 1, ("v", 2): -1}, ((("v", 0),), (("v", 3),), ("h",))),
]


def case(number: int, seed: int = 20) -> tuple[Law, tuple[tuple[int, ...], ...]]:
    make, clamped, blocks = CASES[number]
    claim = law(make(), random_weights(make(), seed), clamped)
    return claim, tuple(claim.block(block) for block in blocks)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_right_sweeps_are_stationary_and_irreducible(number: int) -> None:
    claim, blocks = case(number)
    exact = sweep_matrix(claim, blocks)
    assert stationarity_error(claim.p, exact) < EXACT
    assert irreducible(exact)
    assert close(sweep_matrix(claim, blocks, sitewise_matrix), exact)
    steps = sweeps_to_mix(claim, exact, uniform(claim))
    assert total_variation(uniform(claim) @ torch.linalg.matrix_power(exact, steps), claim.p) <= 1e-6
    # an update is a projection: to draw a block again changes nothing
    for block in blocks:
        assert close(block_matrix(claim, block) @ block_matrix(claim, block), block_matrix(claim, block))


def test_site_conditional_is_the_sigmoid_of_the_field() -> None:
    claim, _ = case(0)
    v, h = claim.values[:, :4], claim.values[:, 4:]
    w = claim.weights
    assert close(site_conditional(claim, 5)[:, 1], torch.sigmoid(w["h.bias"] + v @ w["v_h.weight"])[:, 1])
    field = w["v.bias"].reshape(-1) + h @ w["v_h.weight"].T
    assert close(site_conditional(claim, 2)[:, 1], torch.sigmoid(field)[:, 2])


def test_pass_zero_goes_bottom_up() -> None:
    """A deep machine with v given: a from v alone, then b from a; nothing comes down from what is absent."""
    m = dbm()
    w = random_weights(m, 21)
    given = law(m, w, {("v", i): 1.0 for i in range(4)})
    p = pass_zero(given, [given.block("a"), given.block("b")])
    a = torch.sigmoid(w["a.bias"] + w["v_a.weight"].sum(0))
    states, hot = given.values[:, 4:7], torch.nn.functional.one_hot(given.values[:, 7:].long(), 3)
    logits = (w["b.bias"].reshape(1, -1) + states @ w["a_b.weight"]).reshape(-1, 2, 3)
    expected = (states * a + (1 - states) * (1 - a)).prod(1) * (torch.softmax(logits, 2) * hot).sum(2).prod(1)
    assert close(p, expected)
    assert close(p.sum(), 1.0)
    assert total_variation(p, given.p) > 0.01
    started = pass_zero(given, [given.block("b")], start=given.block("a"))
    assert close(started, expected / (states * a + (1 - states) * (1 - a)).prod(1) / 8)


# ── Broken samplers ──────────────────────────────────────────────────────────────────────────────────────────────────


def sampler(kind: str) -> Sampler:
    claim, blocks = case({"clamped": 1, "deep": 2, "lateral": 4}.get(kind.split("/")[0], 0))
    makers = {
        "edge inside a block": lambda: broken.edge_inside_block(claim, blocks),
        "all at once": lambda: broken.all_at_once(claim),
        "redrawn": lambda: broken.clamped_redrawn(claim, blocks),
        "ignored": lambda: broken.clamped_ignored(claim, blocks),
        "bias forgotten": lambda: broken.bias_forgotten(claim, blocks, "h"),
        "counted twice": lambda: broken.weight_scaled(claim, blocks, "v_v", 2.0),
        "counted half": lambda: broken.weight_scaled(claim, blocks, "v_v", 0.5),
        "cold": lambda: broken.wrong_temperature(claim, blocks, 1.5),
        "half field": lambda: broken.wrong_temperature(claim, blocks, 0.5),
        "right means, wrong pairs": lambda: broken.independent(claim),
    }
    return makers[kind.split("/")[1]]()


BROKEN = [
    "free/edge inside a block",
    "deep/edge inside a block",
    "lateral/edge inside a block",
    "free/all at once",
    "deep/all at once",
    "clamped/redrawn",
    "clamped/ignored",
    "free/bias forgotten",
    "clamped/bias forgotten",
    "lateral/counted twice",
    "lateral/counted half",
    "free/cold",
    "lateral/half field",
    "free/right means, wrong pairs",
    "deep/right means, wrong pairs",
]


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_samplers_are_caught(kind: str) -> None:
    wrong = sampler(kind)
    assert wrong.error > 1e-3
    for seed in range(3):
        verdict = stats.compare(wrong.claim, wrong.samples(stats.SAMPLES, seed))
        assert not verdict.ok, f"{kind}: {verdict}"


def test_wrong_pairs_have_right_means() -> None:
    """The sampler that single moments cannot tell from the right one."""
    wrong = sampler("deep/right means, wrong pairs")
    after = wrong.target @ wrong.matrix
    for column in wrong.claim.free:
        assert close(after @ wrong.claim.indicators(column), wrong.claim.marginal(column))


def test_a_frozen_block_is_caught_by_irreducibility_and_from_noise() -> None:
    claim, blocks = case(0)
    wrong = broken.frozen(claim, blocks)
    assert wrong.error < EXACT
    assert not irreducible(wrong.matrix)
    samples = wrong.samples(stats.SAMPLES, 1, sweeps=50, start=uniform(claim))
    assert not stats.compare(claim, samples).ok
    whole = broken.right(claim, blocks)
    steps = sweeps_to_mix(claim, whole.matrix, uniform(claim))
    assert stats.compare(claim, whole.samples(stats.SAMPLES, 1, steps, uniform(claim))).ok


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_right_sampler_passes_whatever_the_seed(number: int) -> None:
    claim, blocks = case(number)
    fine = broken.right(claim, blocks)
    assert fine.error < EXACT
    for seed in range(20):
        verdict = stats.compare(claim, fine.samples(stats.SAMPLES, seed))
        assert verdict.ok, verdict


# ── The tests of samples themselves ──────────────────────────────────────────────────────────────────────────────────


def test_binomial_tails_are_exact() -> None:
    n, p = 50, 0.03
    masses = scipy_stats.binom.pmf(np.arange(n + 1), n, p)
    chances = stats.binomial_p(np.arange(n + 1.0), n, np.full(n + 1, p))
    for level in (0.5, 0.1, 1e-3, 1e-6):
        assert masses[chances <= level].sum() <= level


def test_p_values_are_not_too_small() -> None:
    """Over 100 seeds the corrected p-value falls below 0.2 in no more than a fifth of them, beyond chance of 1e-6."""
    claim, _ = case(2)
    low = sum(stats.compare(claim, claim.draw(500, seed)).p_value < 0.2 for seed in range(100))
    assert low <= scipy_stats.binom.isf(1e-6, 100, 0.2)


def test_gaussian_samples() -> None:
    free = law(gaussian(), random_weights(gaussian(), 22))
    for seed in range(20):
        assert stats.compare(free, free.draw(stats.SAMPLES, seed)).ok
    samples = free.draw(stats.SAMPLES, 1)
    mean = free.mean()[:3]
    wider = {**samples, "x": mean + 1.1 * (samples["x"] - mean)}
    assert not stats.compare(free, wider).ok
    assert not stats.compare(free, {**samples, "x": samples["x"].flip(0)}).ok  # right marginals, unrelated to h
    assert not stats.compare(free, {**samples, "x": samples["x"] + 0.1}).ok
    assert not stats.compare(free, {**samples, "x": samples["x"] * math.nan}).ok


def test_moved_clamps_and_impossible_values_fail_outright() -> None:
    claim, _ = case(1)
    samples = claim.draw(100, 1)
    assert stats.compare(claim, samples).ok
    moved = {**samples, "v": samples["v"].clone()}
    moved["v"][17, 0, 0] = 0.0
    assert stats.compare(claim, moved) == stats.Verdict(
        0.0, "Site(variable='v', number=0) is clamped at 1 and has moved"
    )
    strange = {**samples, "h": samples["h"].clone()}
    strange["h"][3, 0] = 0.5
    assert stats.compare(claim, strange).p_value == 0.0


def test_mean_within() -> None:
    rng = np.random.default_rng(5)
    values = rng.exponential(size=4000)
    assert stats.mean_within(values, 1.0).ok
    assert not stats.mean_within(values, 1.2).ok
    assert not stats.mean_within(np.ones(9), 1.1).ok
    assert stats.mean_within(np.ones(9), 1.0).ok


def test_tables_and_variables_go_both_ways() -> None:
    values = random_values(dbm(), 23, n=3)
    back = as_variables(dbm(), as_columns(dbm(), values))
    assert all(torch.equal(back[name], x) for name, x in values.items())
