"""Tempered chains: what temperatures scale, the Metropolis rules, and the laws of replicas and of transitions, against enumeration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from gmc.compiler import exchange as exchanging
from gmc.compiler.draws import row_keys
from gmc.compiler.exchange import exchange
from gmc.compiler.tempering import tempering
from gmc.runtime import chains
from gmc.runtime.chains import Given
from tests.compiler.replay import SEED, Case, case, compile_example, order_of, part, replay, transition
from tests.oracle.energy import energy
from tests.oracle.laws import Law, law
from tests.oracle.models import Example, random_weights
from tests.oracle.stats import ALPHA, binomial_p
from tests.oracle.sweeps import block_matrix, sweep_matrix

SMALL = Example(
    "three_bits",
    """
    observed v : bernoulli[2]
    latent   h : spin
    edge v -- h
    edge v -- v
    """,
    ("",),
)
TALL = "start tempered(4, 3, 0.3)"
WIDE = "start parallel_tempered(4, 3, 0.3)"
BETAS = (0.3, 0.65, 1.0)


def scaled(given: Case, beta: float) -> dict[str, Tensor]:
    """Weights at an inverse temperature: an energy of nothing but biases and couplings is scaled with them."""
    return {name: beta * w for name, w in given.weights.items()}


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("rbm", "clamp v[0, 0:2], h[3]"),
        ("boltzmann", ""),
        ("boltzmann", "sweep {h} then {v} then {h}"),
        ("dbm2", "clamp v"),
        ("potts_lateral", ""),
        ("third_order", ""),
        ("conv", ""),
        ("sparse_lateral", "clamp y"),
        ("gaussian_rbm", "clamp x[:, 0]"),
        ("gaussian_rbm", "potent x_h = 0.5"),
    ],
)
def test_scores_are_energies_up_to_a_constant(name: str, items: str) -> None:
    given = case(name, items, TALL)
    current = given.statistics()
    assert given.program.climb is not None
    _, out = replay(given.program.climb.whole, {**given.values(current), "beta": 0.5}, Drawn(given), current)
    table = given.law.values
    halved = {n: 0.5 * w if n == "x_h.weight" and "0.5" in items else w for n, w in given.weights.items()}
    exact = -energy(given.model, halved, table)
    for variable, x in current.items():
        kind = given.model.variable(variable).family
        if kind.word == "normal":  # base measures are not scaled
            exact = exact + 0.5 * kind.precision * (x * x).sum(1)
    gap = out["score"] - exact
    # what is deferred, and what clamped sites have among themselves, is left out
    if not given.program.schedule.deferred:
        torch.testing.assert_close(gap, gap[:1].expand_as(gap), rtol=0, atol=1e-9)
    assert out["score"].std() > 1e-2 or given.program.schedule.deferred


class Drawn(dict):
    """The regions of the draws of a climb: as in a sweep, numbered from after those that come last."""

    def __init__(self, given: Case, reverse: bool = False) -> None:
        regions = [r for block in given.program.schedule.blocks for r in block]
        first = max(given.program.drawn) + 1
        if reverse:
            blocks = given.program.schedule.blocks[::-1]
            first, regions = first + len(regions), [r for block in blocks for r in block]
        super().__init__(enumerate(regions, first))


@pytest.mark.parametrize(("name", "items"), [("boltzmann", "clamp v[1:3]"), ("dbm2", "clamp v"), ("potts_lateral", "")])
def test_sweeps_at_a_temperature_leave_its_law_invariant(name: str, items: str) -> None:
    """Of replicas, and up and down in a transition, which are each other's reversal."""
    given = case(name, items, TALL)
    cold = given.law
    for beta in (0.3, 1.0):
        warm = replace(given, law=law(given.model, scaled(given, beta), cold.clamped))
        forth = heated(warm, "climb", beta)
        back = heated(warm, "descend", beta)
        assert not given.program.schedule.deferred
        exact = sweep_matrix(warm.law, order_of(warm), block_matrix)
        torch.testing.assert_close(forth, exact, rtol=0, atol=1e-10)
        p = warm.law.p
        flow = p[:, None] * forth
        torch.testing.assert_close(flow, (p[:, None] * back).T, rtol=0, atol=1e-12)


class Heated(Case):
    """A case whose graphs run at an inverse temperature."""

    beta: float = 1.0

    def values(self, *args: object, **more: object) -> dict[str, object]:
        return {**super().values(*args, **more), "beta": Heated.beta}  # type: ignore[arg-type]


def heated(warm: Case, name: str, beta: float) -> Tensor:
    """The matrix of a climb or a descent over the law's states."""
    Heated.beta = beta
    program = replace(warm.program, drawn=Drawn(warm, reverse=name == "descend"))
    return transition(Heated(warm.compiled, program, warm.weights, warm.law), getattr(warm.program, name))


# ── The Metropolis rule of exchanges ─────────────────────────────────────────────────────────────────────────────────


def ratios(scores: Tensor, order: list[int], phase: int) -> dict[int, float]:
    """The chance that each pair of a phase exchanges its states, by hand."""
    found = {}
    for k in range(phase, len(BETAS) - 1, 2):
        a, b = float(scores[order[k]]), float(scores[order[k + 1]])
        log = BETAS[k] * b + BETAS[k + 1] * a - BETAS[k] * a - BETAS[k + 1] * b
        found[k] = min(1.0, math.exp(log))
    return found


@pytest.mark.parametrize("just", [1 - 1e-9, 1 + 1e-9])
def test_exchanges_follow_the_metropolis_rule(just: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers just below the chance of an exchange let it happen, just above it they do not."""
    scores = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3
    drawn = torch.ones(40, 3, 2, dtype=torch.float64)
    expected, done = torch.empty(40, 3, dtype=torch.int64), torch.zeros(40, 3, dtype=torch.int64)
    for group, row in enumerate(scores):
        order = [0, 1, 2]
        for phase in (0, 1):
            for k, p in ratios(row, order, phase).items():
                drawn[group, k, phase] = p * just
                if p == 1.0 or just < 1:
                    drawn[group, k, phase] = min(p * just, 1.0 - 1e-12)
                    order[k], order[k + 1] = order[k + 1], order[k]
                    done[group, k] = 1
        expected[group] = torch.tensor(order)
    monkeypatch.setattr(exchanging, "uniform", lambda *_: drawn.flatten(0, 1))
    out = exchange(scores.flatten(), row_keys(0, "x", torch.arange(120)), 1, 1, BETAS)
    base = torch.arange(40)[:, None] * 3
    assert torch.equal(out[:, 0].reshape(40, 3), expected + base)
    assert torch.equal(out[:, 1].reshape(40, 3), done)
    assert int(done.sum()) == 80 if just < 1 else 0 < int(done.sum()) < 80


# ── One step of each kernel, from every start, against its matrix ────────────────────────────────────────────────────


def small(items: str) -> tuple[Callable[[Tensor, int], Tensor], Law, list[Law]]:
    """A run of one sweep of a chain from given numbers of states, as numbers of states; the law, and those at each temperature."""
    compiled = compile_example(SMALL, items)
    model = compiled.checked.model
    weights = random_weights(model, SEED, 1.2)
    program = compiled.program("given", ("state",))
    laws = [law(model, {n: b * w for n, w in weights.items()}) for b in BETAS]
    exact = laws[-1]
    start = tempering(program.chain)
    assert start is not None

    def step(numbers: Tensor, seed: int) -> Tensor:
        states = exact.values[numbers]
        given = {"v": states[:, :2], "h": states[:, 2:]}
        beta = torch.tensor(BETAS, dtype=torch.float64).repeat(len(numbers) // 3)[:, None] if start.exchanges else None
        keys = row_keys(seed, "step", torch.arange(len(numbers)))
        out = chains.run(program, weights, Given({}, given, keys, 0, beta=beta), 1, torch.float64).state
        found = torch.cat([out["v"], out["h"]], 1)
        return (found[:, None] == exact.values[None]).all(2).long().argmax(1)

    return step, exact, laws


def sweeps(items: str, laws: list[Law]) -> list[list[Tensor]]:
    """The exact update of each block, in order, at each temperature."""
    compiled = compile_example(SMALL, items)
    first = {"v": 0, "h": 2}
    blocks = [
        tuple(first[r.name] + int(s) for r in block for s in r.sites) for block in compiled.schedules["given"].blocks
    ]
    return [[block_matrix(at, block) for block in blocks] for at in laws]


def chain_of(matrices: list[Tensor]) -> Tensor:
    found = torch.eye(len(matrices[0]), dtype=torch.float64)
    for matrix in matrices:
        found = found @ matrix
    return found


def close_to(matrix: Tensor, starts: list[int], counts: Tensor) -> None:
    """Counts of ends from some starts, `[starts, states]`, against the rows of a matrix."""
    n = int(counts[0].sum())
    p = binomial_p(counts.double().numpy(), n, matrix[starts].numpy())
    assert float(p.min()) * p.size > ALPHA, (float(p.min()), p.size)


def scores_of(exact: Law) -> Tensor:
    """Minus the energy of every state."""
    return -energy(exact.model, exact.weights, exact.values)


def test_a_tempered_transition_has_its_exact_law() -> None:
    """Every path through the temperatures is summed; the kernel leaves the law as it is, and the program is that kernel."""
    step, exact, laws = small(TALL)
    n, score = len(exact.p), scores_of(exact)
    updates = sweeps(TALL, laws)
    up = {beta: chain_of(each) for beta, each in zip(BETAS, updates, strict=True)}
    down = {beta: chain_of(each[::-1]) for beta, each in zip(BETAS, updates, strict=True)}
    kernel = torch.zeros(n, n, dtype=torch.float64)
    # 1 > 0.65 > 0.3: x0 -0.65-> x1 -0.3-> x2 -0.3-> y1 -0.65-> y0
    for x1, y1 in product(range(n), range(n)):
        middle = float((up[0.3][x1] * down[0.3][:, y1]).sum())
        log_w = -0.35 * (score[:, None] + score[x1]) + 0.35 * (score[y1] + score[None, :])
        gain = up[0.65][:, x1, None] * middle * down[0.65][None, y1, :] * log_w.exp().clamp(max=1.0)
        kernel += gain
    kernel += torch.diag(1.0 - kernel.sum(1))
    torch.testing.assert_close(exact.p @ kernel, exact.p, rtol=0, atol=1e-12)
    full = kernel @ up[1.0]
    torch.testing.assert_close(exact.p @ full, exact.p, rtol=0, atol=1e-12)
    each = 6000
    found = step(torch.arange(n).repeat_interleave(each), 1).reshape(n, each)
    counts = torch.stack([torch.bincount(row, minlength=n) for row in found])
    close_to(full, list(range(n)), counts)
    with pytest.raises(AssertionError):  # a transition that is always accepted is another kernel, and these counts tell
        close_to(up[0.65] @ up[0.3] @ down[0.3] @ down[0.65] @ up[1.0], list(range(n)), counts)


def test_replicas_have_the_product_of_their_laws() -> None:
    """Exchanges and sweeps leave the joint law as it is, and a step of the program is their product."""
    step, exact, laws = small(WIDE)
    n, score = len(exact.p), scores_of(exact)
    up = [chain_of(each) for each in sweeps(WIDE, laws)]
    joint = torch.einsum("a,b,c->abc", *(each.p for each in laws)).flatten()
    states = list(product(range(n), repeat=3))
    place = {state: i for i, state in enumerate(states)}
    swaps = []
    for phase in (0, 1):
        swap = torch.zeros(n**3, n**3, dtype=torch.float64)
        for i, state in enumerate(states):
            (k, p), *_ = ratios(score, list(state), phase).items()
            other = list(state)
            other[k], other[k + 1] = other[k + 1], other[k]
            swap[i, place[tuple(other)]] += p
            swap[i, i] += 1 - p
        torch.testing.assert_close(joint @ swap, joint, rtol=0, atol=1e-12)
        swaps.append(swap)
    picked = [place[s] for s in ((0, 7, 3), (5, 2, 6), (1, 1, 4), (6, 0, 7), (2, 3, 1), (7, 5, 0))]
    exchanged = swaps[0][picked] @ swaps[1]
    swept = torch.einsum("xabc,ai,bj,ck->xijk", exchanged.reshape(-1, n, n, n), *up)
    torch.testing.assert_close(
        torch.einsum("abc,ai,bj,ck->ijk", joint.reshape(n, n, n), *up).flatten(), joint, rtol=0, atol=1e-12
    )
    each = 20_000
    numbers = torch.tensor([states[i] for i in picked]).repeat_interleave(each, 0).flatten()
    found = step(numbers, 2).reshape(len(picked), each, 3)
    for column in range(3):
        counts = torch.stack([torch.bincount(row, minlength=n) for row in found[:, :, column]])
        marginal = swept.sum([d for d in (1, 2, 3) if d != column + 1])
        close_to(marginal, list(range(len(picked))), counts)
    pairs = torch.stack([torch.bincount(row[:, 1] * n + row[:, 2], minlength=n * n) for row in found])
    close_to(swept.sum(1).flatten(1), list(range(len(picked))), pairs)
    assert part(torch.eye(3), compile_example(SMALL, "").schedules["given"].free["h"]).shape == (3, 1)
