"""Chains with gains and gates: every block they draw, their sweeps and their pass 0 are the oracle's, and their samples follow its laws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from gmc.compiler.conditions.surprise import Surprise
from gmc.compiler.draws import DRAWS
from gmc.compiler.program import Program, build_program
from gmc.compiler.region import Region
from gmc.compiler.schedule import build_schedule
from gmc.dsl.model import Chain, Gain
from gmc.runtime import chains
from gmc.runtime.chains import Given
from tests.compiler.replay import (
    Case,
    case,
    chance_of,
    chances,
    decode,
    key_of,
    matrices,
    opening_of,
    order_of,
    part,
    replay,
    replay_split,
    transition,
)
from tests.oracle import broken, gained, stats
from tests.oracle.laws import precision_of
from tests.oracle.models import random_values
from tests.oracle.sites import as_columns, supports
from tests.oracle.sweeps import total_variation, update_matrix

EXACT = 1e-10
MODES = {
    "dreaming": ("dbm3", "", ""),
    "present at hand": ("dbm3", "clamp v", "potent h2 = 0.25"),
    "ready to hand": ("dbm3", "clamp h3", ""),
    "daydreaming": ("dbm3", "clamp v", "impotent v"),
}
"""The four modes of being, on three hidden layers."""
GATES = [
    ("dbm3", "clamp v", "impotent v unless surprise(v) > MEDIAN"),
    ("dbm3", "clamp v", "impotent h2  impotent v unless surprise(v) > MEDIAN"),
    ("dbm2", "clamp v[0:3]", "impotent v unless surprise(v) > MEDIAN"),
    ("dbm2", "clamp v[0:2], h2[1:]", "impotent h2 -> h1 unless surprise(h2) > MEDIAN  potent v = 0.5"),
    ("rbm", "clamp v", "impotent v unless surprise(v) > MEDIAN"),
    ("boltzmann", "clamp v[1:3]", "impotent v unless surprise(v) > MEDIAN"),
    ("boltzmann", "clamp v[0:2], h[2]", "impotent v -> v unless surprise(v) <= MEDIAN  impotent h unless surprise(h) < MEDIAN"),
    ("spin_boltzmann", "clamp v[2:]", "impotent v -> h unless surprise(v) >= MEDIAN"),
    ("label_rbm", "clamp y", "impotent y unless surprise(y) > MEDIAN"),
    ("third_order", "clamp x[1:3]", "impotent x unless surprise(x) > MEDIAN"),
    ("potts_lateral", "clamp y[1]", "impotent y unless surprise(y) > MEDIAN  potent y_h = 0.5 -> 2.0"),
    ("label_rbm", "clamp v[:, 0], y", "impotent v unless surprise(v) > MEDIAN  impotent y unless surprise(y) > MEDIAN"),
]  # fmt: skip
"""Each word MEDIAN stands for the median of that number over the states of the chain, so that gates are open in half of them."""
CONSTANT = [
    *MODES.values(),
    ("dbm2", "", "potent h2 = 0.25"),
    ("dbm2", "", "impotent h1"),
    ("dbm2", "", "impotent h2"),
    ("dbm2", "clamp v[0:3]", "potent v = 0.3"),
    ("dbm2", "clamp v[0:2], h2[1:]", "impotent h2"),
    ("dbm2", "clamp v[0:2], h2[1:]", "potent h2 = 0.5  potent h1 -> v = 0.1  potent h1_h2 = 1.5"),
    ("dbm3", "clamp v", "impotent h2"),
    ("dbm3", "clamp v[0:2]", "impotent h1 -> v"),
    ("rbm", "", "impotent h"),
    ("rbm", "clamp v[:, 1:]", "potent v -> h = 0.5"),
    ("rbm", "clamp v[:, 1:]", "impotent h"),
    ("rbm", "clamp v[:, 1:]", "potent v_h = 0"),
    ("boltzmann", "", "potent v = 0.5"),
    ("boltzmann", "", "impotent v -> v"),
    ("boltzmann", "", "potent v_v = 0.5  potent v_h = 1.8"),
    ("boltzmann", "clamp v[1:3]", "potent v -> h = 0.3  potent h = 0.6"),
    ("boltzmann", "clamp h[2]", "potent h_h = 0  impotent v -> h"),
    ("spin_boltzmann", "clamp v[2:]", "impotent h -> v"),
    ("potts_lateral", "clamp y[1]", "potent y -> y = 0.4  impotent h"),
    ("third_order", "clamp x[0:2], y[1:]", "potent x -> h = 0.5  potent y = 0.3"),
    ("third_order", "clamp x[1:3]", "impotent x"),
    ("third_mixed", "", "potent y = 0.5  potent both = 1.5"),
    ("third_mixed", "clamp x", "impotent x -> y"),
    ("third_mixed", "clamp y[0], x[2]", "potent both = 0"),
    ("triangle", "", "impotent a -> b  potent c -> a = 0.5"),
    ("triangle", "clamp a[1:], b[0]", "potent a = 0.7  impotent c -> b  potent a_b = 2.5"),
    ("label_rbm", "clamp y = 2", "potent y = 0.5"),
    ("tied", "", "potent up = 0.5  potent c -> b = 0.5"),
    ("double", "", "potent first = 0  potent v = 0.5"),
    ("lattice_rbm", "clamp v[:, 0:2]", "potent v_v = 2.0  impotent h -> v"),
    ("sparse_lateral", "", "potent v_v = 0.5  impotent y -> v"),
    ("lowrank_third", "clamp x", "potent y -> h = 0.5  potent x = 0.5"),
    ("conv", "clamp v[:, 1:]", "potent h -> v = 0.5  potent v = 0.8"),
    ("single", "", "impotent v"),
]
RAMPS = [
    ("rbm", "clamp v[:, 1:]", "potent v_h = 0.0 -> 1.0"),
    ("dbm2", "clamp v[0:3]", "potent h2 = 0.25 -> 0.0"),
    ("dbm2", "clamp v", "potent v = 1.0 -> 0.0  potent h1_h2 = 0.5 -> 2.0"),
    ("boltzmann", "clamp v[1:3]", "potent v -> h = 1.0 -> 0.25  potent v_v = 0.5 -> 2.0"),
    ("third_mixed", "clamp x", "potent both = 0.0 -> 1.5  potent y = 0.5"),
    ("potts_lateral", "clamp y[1]", "potent y = cosine(0.0, 1.0)"),
]
UNBOUNDED = [
    ("gaussian_rbm", "", "potent h = 0.5  potent x = 0.25"),
    ("gaussian_rbm", "clamp x[:, 0]", "impotent x unless surprise(x) > MEDIAN"),
    ("gaussian_mixed", "", "potent x = 0.5  potent g -> g = 0.3"),
    ("gaussian_mixed", "clamp y = 1", "potent y -> x = 0.5  potent g_x_y = 2.0  impotent h"),
    ("gaussian_mixed", "clamp x[1:], y", "impotent x -> g unless surprise(x) > MEDIAN  potent g_g = 0.0 -> 1.0"),
    ("learned", "clamp x[:, 0], g[1]", "potent x = 0.5  impotent g unless surprise(x) > MEDIAN"),
    ("rectified", "clamp r", "potent r -> v = 0.5  impotent v unless surprise(r) > MEDIAN"),
    ("counted", "clamp n[1:3]", "impotent n unless surprise(n) > MEDIAN  potent t -> n = 0.0 -> 0.5"),
    ("waited", "clamp w, u", "impotent w unless surprise(w) > MEDIAN  potent u = 0.5"),
    ("endless", "clamp x[0], n, r[1]", "impotent r unless surprise(r) <= MEDIAN  potent n = 0.5  potent w_h = 0.5"),
]
ALL = [*CONSTANT, *RAMPS, *GATES]
Text = tuple[str, str, str]


@cache
def gains_of(name: str, clamp: str, items: str, more: str = "") -> Case:
    """A compiled chain with gains; medians over the states of its law are put in."""
    return with_medians(name, clamp, f"{items}  {more}", case(name, clamp).law.values)


def with_medians(name: str, clamp: str, items: str, table: Tensor) -> Case:
    """A compiled chain, with the median of each number of a gate over the states of a table in the place of its word."""
    held = case(name, clamp).law
    while "MEDIAN" in items:
        before, _, after = items.partition("MEDIAN")
        variable = before.rpartition("surprise(")[2].partition(")")[0]
        given = [c for c, site in enumerate(held.sites) if site in held.clamped and site.variable == variable]
        levels = gained.surprise(held.model, held.weights, table, given).unique()
        middle = float(levels[(len(levels) - 1) // 2 : (len(levels) - 1) // 2 + 2].mean())
        items = f"{before}{middle:.9f}{after}"
    return case(name, clamp, items)


def sweeps_of(given: Case) -> list[tuple[int, int]]:
    """The sweeps of runs that tell one place of a ramp from another."""
    return [(1, 1)] if all(g.value.constant for g in given.chain.gains) else [(1, 1), (1, 5), (3, 5), (5, 5)]


def reached(given: Case, sweeps: int) -> Tensor:
    """The oracle's probabilities of the states after a run from pass 0."""
    blocks, rest = opening_of(given)
    start = gained.pass_zero(given.law, given.chain, blocks, rest)
    return gained.law_after(given.law, given.chain, start, order_of(given), sweeps).p


# ── Fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_updates(given: Case, program: Program | None = None, chain: Chain | None = None) -> None:
    """Each draw of a sweep is the oracle's update of its block, with the gains of the sweep and the gates of the state."""
    program, chain, held = program or given.program, chain or given.chain, given.law
    opened = gained.gates_of(held, chain)
    assert all(0 < states.sum() < len(states) for states in opened.values()), "a gate that is always open, or never"
    for sweep, of in sweeps_of(given):
        at = gained.progress(sweep, of)
        current = given.statistics()
        values = given.values(current, sweep, of)
        noted, out = replay(program.last.whole, values, program.drawn, current)
        assert {c for _, region, _ in noted for c in given.columns(region)} == set(held.free)
        for columns, matrix in matrices(given, noted):
            expected = update_matrix(held, columns, gained.chances(held, chain, columns, at, opened))
            torch.testing.assert_close(matrix, expected, rtol=0, atol=EXACT)
        for found, end in (
            replay(program.last.raw, values, program.drawn, current),
            replay_split(program.last, values, program.drawn, current),
        ):
            assert [n for n, _, _ in found] == [n for n, _, _ in noted]
            assert all(torch.equal(a[2], b[2]) for a, b in zip(found, noted, strict=True))
            assert all(torch.equal(end[want][n], x) for want in out for n, x in out[want].items())
        for name, value in current.items():
            assert torch.equal(out["value"][name], value)


@pytest.mark.parametrize(("name", "clamp", "items"), ALL)
def test_every_block_is_drawn_with_the_gains(name: str, clamp: str, items: str) -> None:
    check_updates(gains_of(name, clamp, items))


@pytest.mark.parametrize(("name", "clamp", "items"), UNBOUNDED)
def test_conditionals_without_bounds(name: str, clamp: str, items: str) -> None:
    given = case(name, clamp)
    table = as_columns(given.model, random_values(given.model, 5, n=64))
    for c, site in enumerate(given.law.sites):
        if site in given.law.clamped:
            table[:, c] = given.law.clamped[site]
    given = with_medians(name, clamp, items, table)
    opened = gained.gates(given.model, given.weights, given.chain, table, given.law.clamped)
    assert all(0 < states.sum() < len(states) for states in opened.values())
    current = given.statistics(table)
    for sweep, of in sweeps_of(given):
        noted, _ = replay(given.program.last.whole, given.values(current, sweep, of), given.program.drawn, current)
        assert sorted(c for _, region, _ in noted for c in given.columns(region)) == list(given.law.free)
        for _, region, eta in noted:
            into = gained.strengths_into(given.model, given.chain, region.name, gained.progress(sweep, of), opened)
            for at, column in enumerate(given.columns(region)):
                if supports(given.model)[column] is None:
                    found, expected = (
                        eta[:, at],
                        gained.slope(given.model, given.weights, table, column, into)
                        / precision_of(given.model, given.weights, column),
                    )
                else:
                    found = chances(region, eta)[at]
                    expected = gained.conditional(given.model, given.weights, table, column, into)
                torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)


# ── Schedules ────────────────────────────────────────────────────────────────────────────────────────────────────────


def reads(given: Case, a: int, b: int) -> bool:
    """Whether the law that site a is drawn from depends on site b, in some sweep."""
    held = given.law
    found = False
    patterns = [torch.tensor(False), torch.tensor(True)]
    for opened in patterns:
        for at in (0.0, 0.5, 1.0):
            (p,) = gained.chances(held, given.chain, (a,), at, dict.fromkeys(gained.gated(given.chain), opened))
            others = [c for c in held.free if c not in (a, b)]
            key = torch.zeros(len(held.p), dtype=torch.int64)
            for c in others:
                key = key * len(supports(given.model)[c] or ()) + held.digits[:, c]
            _, group = key.unique(return_inverse=True)
            first = torch.zeros(int(group.max()) + 1, p.shape[1], dtype=p.dtype)
            first[group] = p  # of each group some member
            found = found or bool((first[group] - p).abs().max() > 1e-12)
    return found


SCHEDULED = [
    ("dbm2", "clamp v[0:3]", "impotent h2"),
    ("dbm2", "clamp v", "impotent h1"),
    ("dbm3", "clamp v", "impotent h2"),
    ("boltzmann", "", "impotent v -> v"),
    ("boltzmann", "", "impotent v -> v  impotent h"),
    ("boltzmann", "clamp h[2]", "potent h_h = 0  impotent v -> h"),
    ("boltzmann", "clamp v[1:3]", "impotent v unless surprise(v) > MEDIAN"),
    ("potts_lateral", "clamp y[0:2] = 2", "potent y -> y = 0.4  impotent h"),
    ("label_rbm", "clamp v", "impotent h -> y"),
    ("label_rbm", "clamp v", "impotent h"),
    ("tied", "clamp a", "impotent b -> c"),
    ("sparse_lateral", "clamp v[1:4]", "potent v_v = 0  impotent y -> v"),
]


@pytest.mark.parametrize(("name", "clamp", "items"), SCHEDULED)
def test_what_meets_in_either_direction_is_not_in_one_block(name: str, clamp: str, items: str) -> None:
    given = gains_of(name, clamp, items)
    blocks = order_of(given)
    assert sorted(c for block in blocks for c in block) == list(given.law.free)
    for block in blocks:
        for a in block:
            assert not any(reads(given, a, b) for b in block if a != b), (a, block)
    active = {c for block in blocks[: len(given.program.schedule.blocks)] for c in block}
    late = [c for block in blocks for c in block if c not in active]
    assert not any(reads(given, a, b) for a in active for b in late), "what is deferred is read by nothing before it"
    for n, b in enumerate(late):
        assert not any(reads(given, a, b) for a in late[:n]), "nor by what is deferred and drawn earlier"


@pytest.mark.parametrize(
    ("name", "clamp", "items", "blocks", "deferred"),
    [
        ("dbm3", "clamp v", "impotent v", [["h1", "h3"], ["h2"]], []),
        ("dbm3", "clamp v", "impotent h2", [], [["h1", "h3"], ["h2"]]),
        ("dbm3", "", "impotent h1  impotent h2", [], [["v", "h3"], ["h1", "h2"]]),
        ("rbm", "", "potent v_h = 0", [], [["v", "h"]]),
        ("rbm", "", "impotent h", [], [["v"], ["h"]]),
        ("rbm", "clamp v", "", [], [["h"]]),
        ("rbm", "clamp v", "impotent v unless surprise(v) > 0.5", [["h"]], []),
        ("third_order", "", "impotent x", [], [["y", "h"], ["x"]]),
        ("third_order", "", "impotent x -> y", [["x"], ["y"], ["h"]], []),
    ],
)
def test_pruned_schedules(name: str, clamp: str, items: str, blocks: list, deferred: list) -> None:
    """A message of gain 0 is no edge; what nothing reads is drawn once, each after what it reads."""
    schedule = case(name, clamp, items).program.schedule
    assert [[r.name for r in block] for block in schedule.blocks] == blocks
    assert [[r.name for r in block] for block in schedule.deferred] == deferred


# ── Whole sweeps ─────────────────────────────────────────────────────────────────────────────────────────────────────

LARGE = [
    ("dbm3", ""),
    ("dbm3", "clamp h3"),
    ("dbm3", "clamp v[0:2]"),
    ("dbm2", ""),
    ("rbm", ""),
    ("third_mixed", ""),
    ("triangle", ""),
    ("tied", ""),
]
"""What has too many states for all pairs of them; the blocks of these are compared one by one."""
WHOLE = [text for text in ALL if text[:2] not in LARGE]


@pytest.mark.parametrize(("name", "clamp", "items"), WHOLE)
def test_whole_sweeps_and_their_stationary_law(name: str, clamp: str, items: str) -> None:
    """The matrix of the emitted sweep is the oracle's, gates of the state before it included, and leaves the oracle's stationary law as it is."""
    given = gains_of(name, clamp, items)
    for sweep, of in sweeps_of(given):
        expected = gained.sweep_matrix(given.law, given.chain, order_of(given), sweep, of)
        found = transition(given, given.program.last, sweep, of)
        torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)
        active = order_of(given)[: len(given.program.schedule.blocks)]
        inner = gained.sweep_matrix(given.law, given.chain, active, sweep, of)
        torch.testing.assert_close(transition(given, given.program.sweep, sweep, of), inner, rtol=0, atol=EXACT)
    law = gained.stationary_law(given.law, given.chain, order_of(given))
    p = law.p @ transition(given, given.program.last)
    torch.testing.assert_close(p, law.p, rtol=0, atol=EXACT)


@pytest.mark.parametrize("mode", ["present at hand", "daydreaming"])
def test_modes_differ_from_the_model(mode: str) -> None:
    """A somewhat impotent layer above: another law than that of inference."""
    given = gains_of(*MODES[mode])
    law = gained.stationary_law(given.law, given.chain, order_of(given))
    assert total_variation(law.p, given.law.p) > 0.01


# ── Pass 0 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "clamp", "items"), [text for text in ALL if text[0] not in ("conv", "dbm3")])
def test_pass_zero_has_the_gains_that_the_chain_begins_with(name: str, clamp: str, items: str) -> None:
    """Pass 0 alone, with what is deferred: ramps at their start, gates closed."""
    given = gains_of(name, clamp, items)
    current, schedule = given.statistics(), given.program.schedule
    late = {
        n for n, r in given.program.drawn.items() if any(r is each for block in schedule.deferred for each in block)
    }
    opening = [r for block in schedule.opening for r in block]
    numbers = [n.args[2] for n in given.program.alone.whole.graph.nodes if n.target in DRAWS and n.args[2] not in late]
    drawn: dict[int, Region] = {**given.program.drawn, **dict(zip(numbers, opening, strict=True))}
    noted, _ = replay_split(given.program.alone, given.values(current, 0), drawn, current)
    p = chance_of(given, noted, torch.arange(len(given.law.p)))
    blocks, _ = opening_of(given)
    deferred = order_of(given)[len(schedule.blocks) :]
    expected = gained.pass_zero(given.law, given.chain, [*blocks, *deferred])
    torch.testing.assert_close(p, expected, rtol=0, atol=EXACT)


# ── Samples ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(given: Case, sweeps: int, program: Program | None = None, seed: int = 0) -> dict[str, Tensor]:
    """The last states of many chains from pass 0, as values."""
    program = program or given.program
    states = given.statistics(given.law.values[:1].expand(stats.SAMPLES, -1))
    clamped = {n: part(states[n], r) for n, r in program.schedule.clamped.items()}
    about = Given(clamped, {}, key_of(stats.SAMPLES, seed), 3)
    out = chains.run(program, given.weights, about, sweeps, torch.float64)
    return decode(given.model, out.value)


RUN = [
    ("dbm3", "clamp v", "potent h2 = 0.25", 3),
    ("dbm3", "clamp v", "impotent v", 3),
    ("dbm3", "clamp v", "impotent v unless surprise(v) > MEDIAN", 4),
    ("dbm3", "clamp v", "impotent h2", 2),
    ("rbm", "clamp v", "impotent v unless surprise(v) > MEDIAN", 1),
    ("rbm", "clamp v", "impotent v unless surprise(v) > MEDIAN", 3),
    ("rbm", "clamp v[:, 1:]", "potent v_h = 0.0 -> 1.0", 1),
    ("rbm", "clamp v[:, 1:]", "potent v_h = 0.0 -> 1.0", 4),
    ("dbm2", "clamp v", "potent v = 1.0 -> 0.0  potent h1_h2 = 0.5 -> 2.0", 3),
    ("boltzmann", "clamp v[1:3]", "potent v -> h = 1.0 -> 0.25  potent v_v = 0.5 -> 2.0", 2),
    ("boltzmann", "clamp v[1:3]", "impotent v unless surprise(v) > MEDIAN", 3),
    ("third_mixed", "clamp x", "impotent x -> y", 2),
    ("potts_lateral", "clamp y[1]", "impotent y unless surprise(y) > MEDIAN  potent y_h = 0.5 -> 2.0", 3),
    ("triangle", "clamp a[1:], b[0]", "potent a = 0.7  impotent c -> b  potent a_b = 2.5", 2),
    ("label_rbm", "clamp y", "impotent y unless surprise(y) > MEDIAN", 2),
    ("label_rbm", "clamp y", "impotent y unless surprise(y) > MEDIAN  start noise", 1),
    ("dbm2", "clamp v[0:3]", "potent h2 = 0.25 -> 0.0  start h2 from noise", 2),
    ("rbm", "clamp v[:, 1:]", "impotent h  sweep {h} then {v}", 2),
    ("rbm", "clamp v[:, 1:]", "impotent v unless surprise(v) > MEDIAN  sweep {h} then {v}", 2),
]


@pytest.mark.parametrize(("name", "clamp", "items", "sweeps"), RUN)
def test_samples_after_some_sweeps(name: str, clamp: str, items: str, sweeps: int) -> None:
    """Singles, pairs and joint states after pass 0 and a few sweeps, before the chain has forgotten either."""
    given = gains_of(name, clamp, items)
    verdict = stats.compare(given.law, run(given, sweeps), reached(given, sweeps))
    assert verdict.ok, verdict


@pytest.mark.parametrize(
    ("name", "clamp", "items"),
    [
        *(text for mode, text in MODES.items() if mode in ("present at hand", "daydreaming")),
        GATES[0],
        ("boltzmann", "", "potent v = 0.5"),
        ("third_order", "clamp x[0:2], y[1:]", "potent x -> h = 0.5  potent y = 0.3"),
        ("dbm2", "clamp v[0:2], h2[1:]", "potent h2 = 0.5  potent h1 -> v = 0.1  potent h1_h2 = 1.5"),
    ],
)
def test_samples_reach_the_stationary_law(name: str, clamp: str, items: str) -> None:
    """As many sweeps as the oracle's chain needs from its pass 0 to come within 1e-6 of its stationary law."""
    given = gains_of(name, clamp, items)
    matrix = gained.sweep_matrix(given.law, given.chain, order_of(given))
    law = replace(given.law, p=gained.stationary(matrix))
    blocks, rest = opening_of(given)
    p, sweeps = gained.pass_zero(given.law, given.chain, blocks, rest), 0
    while total_variation(p, law.p) > 1e-6:
        p, sweeps = p @ matrix, sweeps + 1
    verdict = stats.compare(law, run(given, max(sweeps, 1)))
    assert verdict.ok, verdict
    assert not stats.compare(given.law, run(given, max(sweeps, 1))).ok, "the model's own law is another"


@pytest.mark.parametrize("mode", ["dreaming", "ready to hand"])
def test_modes_at_full_gain_keep_the_models_law(mode: str) -> None:
    given = gains_of(*MODES[mode])
    law = given.law
    for block in order_of(given):
        p = law.p @ gained.block_matrix(law, given.chain, block)
        torch.testing.assert_close(p, law.p, rtol=0, atol=1e-12)
    assert stats.compare(law, run(given, 60)).ok


@pytest.mark.parametrize(
    ("name", "clamp", "items"),
    [
        GATES[0],
        ("dbm3", "clamp v", "impotent h2"),
        ("rbm", "clamp v[:, 1:]", "potent v_h = 0.0 -> 1.0  potent h = 0.5"),
    ],
)
def test_looking_on_changes_nothing(name: str, clamp: str, items: str) -> None:
    """A run that shows every sweep ends as one that shows the last, and its gates are those of the state shown before."""
    given = gains_of(name, clamp, items)
    states = given.statistics(given.law.values[:1].expand(500, -1))
    clamped = {n: part(states[n], r) for n, r in given.program.schedule.clamped.items()}
    about = Given(clamped, {}, key_of(500), 3)
    shown = dict(chains.trace(given.program, given.weights, about, 6, torch.float64, every=1))
    assert sorted(shown) == [1, 2, 3, 4, 5, 6]
    end = chains.run(given.program, given.weights, about, 6, torch.float64)
    assert all(torch.equal(shown[6].value[n], x) for n, x in end.value.items())
    for sweep in range(2, 7):
        before = as_columns(given.model, decode(given.model, shown[sweep - 1].value))
        opened = gained.gates(given.model, given.weights, given.chain, before, given.law.clamped)
        assert len(shown[sweep].open) == len(opened)
        for found, expected in zip(shown[sweep].open.values(), opened.values(), strict=True):
            assert torch.equal(found, expected)
            assert 0 < found.sum() < 500


@pytest.mark.parametrize(
    ("name", "clamp", "items"),
    [
        ("dbm3", "clamp v", "potent h2 = 0.25"),
        ("dbm2", "clamp v[0:3]", "potent h2 = 0.25 -> 0.0"),
        ("boltzmann", "clamp v[1:3]", "impotent v unless surprise(v) > MEDIAN"),
        ("spin_boltzmann", "clamp v[2:]", "impotent v -> h unless surprise(v) >= MEDIAN"),
        ("third_order", "clamp x[1:3]", "impotent x"),
    ],
)
def test_mean_field_with_gains(name: str, clamp: str, items: str) -> None:
    """`update mean`: each block at its means given those of the others, which are what gates look at too."""
    given = gains_of(name, clamp, items, "update mean")
    weight = torch.rand(100, len(given.law.p), dtype=torch.float64, generator=torch.Generator().manual_seed(6)) ** 20
    table = weight / weight.sum(1, keepdim=True) @ given.law.values  # inside the hull of the states
    for c, site in enumerate(given.law.sites):
        table[:, c] = given.law.clamped.get(site, table[:, c])
    for sweep, of in sweeps_of(given):
        opened = gained.gates(given.model, given.weights, given.chain, table, given.law.clamped)
        expected = table.clone()
        for block in order_of(given):
            before = expected.clone()
            for column in block:
                receiver = given.law.sites[column].variable
                into = gained.strengths_into(given.model, given.chain, receiver, gained.progress(sweep, of), opened)
                chance = gained.conditional(given.model, given.weights, before, column, into)
                expected[:, column] = chance @ torch.tensor(supports(given.model)[column], dtype=torch.float64)
        out = given.program.last(given.values(given.statistics(table), sweep, of))["value"]
        for variable, value in given.statistics(expected).items():
            torch.testing.assert_close(out[variable], value, rtol=0, atol=EXACT)


WRITTEN = [
    ("dbm2", "clamp v[0:3]", "potent h2 = 0.5", "sweep {h1} then {v, h2}"),
    ("dbm2", "clamp v", "impotent h2", "sweep {h2} then {h1}"),
    ("dbm2", "clamp v", "impotent h2", "sweep {h1} then {h2}"),
    ("dbm3", "clamp v", "impotent h2", "sweep {h2} then {h1, h3}"),
    ("dbm3", "clamp v", "impotent h2 -> h1", "sweep {h1} then {h3} then {h2}"),
    ("rbm", "clamp v[:, 1:]", "impotent h", "sweep {h} then {v}"),
    ("label_rbm", "clamp v", "impotent h", "sweep {h} then {y}"),
    ("third_order", "clamp x[1:3]", "impotent x", "sweep {x} then {y} then {h}"),
    ("label_rbm", "clamp v[:, 0], y", "impotent v unless surprise(v) > MEDIAN", "sweep {h} then {v}"),
]


@pytest.mark.parametrize(("name", "clamp", "items", "sweep"), WRITTEN)
def test_written_sweeps_run_in_the_order_written(name: str, clamp: str, items: str, sweep: str) -> None:
    """What is left to the end of the run must read there what it reads in its place."""
    given = gains_of(name, clamp, items, sweep)
    words = [block.strip(" {}").split(", ") for block in sweep.removeprefix("sweep ").split(" then ")]
    blocks = [given.law.block(names) for names in words]
    opening, rest = opening_of(given)
    start = gained.pass_zero(given.law, given.chain, opening, rest)
    once, last = transition(given, given.program.sweep), transition(given, given.program.last)
    for sweeps in (1, 2, 3):
        expected = gained.law_after(given.law, given.chain, start, blocks, sweeps).p
        found = start @ torch.linalg.matrix_power(once, sweeps - 1) @ last
        torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)


# ── Broken programs ──────────────────────────────────────────────────────────────────────────────────────────────────


def compiled_as(given: Case, chain: Chain) -> Program:
    """A program that was made of another chain."""
    return build_program(given.compiled.graph, build_schedule(given.compiled.graph, chain))


def doubled(gains: tuple[Gain, ...]) -> tuple[Gain, ...]:
    return (*gains, *gains)


WRONG: Mapping[str, Callable[[Case], Chain]] = {
    "backwards": lambda given: broken.backwards(given.model, given.chain),
    "forgotten": lambda given: replace(given.chain, gains=()),
    "twice": lambda given: replace(given.chain, gains=doubled(given.chain.gains)),
    "to one only": lambda given: replace(given.chain, gains=(replace(given.chain.gains[0], target="h1"),)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_gains_are_caught(wrong: str) -> None:
    given = gains_of("dbm3", "clamp v", "potent h2 = 0.25")
    program = compiled_as(given, WRONG[wrong](given))
    with pytest.raises(AssertionError, match="not close"):
        check_updates(given, program)
    if wrong in ("backwards", "forgotten"):  # the others differ by less than samples of this number show
        assert not stats.compare(given.law, run(given, 4, program), reached(given, 4)).ok


def test_one_gate_for_the_batch_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    given = gains_of("dbm3", "clamp v", "impotent v unless surprise(v) > MEDIAN")  # made before the mistake
    emit = Surprise.emit
    monkeypatch.setattr(Surprise, "emit", lambda *words: (number := emit(*words)).mean().expand(number.shape[0]))
    program = compiled_as(given, given.chain)
    with pytest.raises(AssertionError, match="not close"):
        check_updates(given, program)
    wrong = replace(given, program=program)
    assert (transition(wrong, program.last) - transition(given, given.program.last)).abs().max() > 1e-3
    assert not stats.compare(given.law, run(given, 4, program), reached(given, 4)).ok


def test_an_impotent_variable_in_the_block_of_its_sender_is_caught() -> None:
    """`impotent h` in an RBM: v is drawn at its bias, h from v. At once, from the states before, they are no pair."""
    given = case("rbm", "", "impotent h")
    whole = tuple(Region.whole_of(v) for v in given.model.variables)
    schedule = replace(given.program.schedule, deferred=(whole,))
    program = build_program(given.compiled.graph, schedule)
    expected = reached(given, 2)
    verdict = stats.compare(given.law, run(given, 2, program), expected)
    assert not verdict.ok, verdict
    assert stats.compare(given.law, run(given, 2), expected).ok


def test_an_open_gate_is_an_open_gate() -> None:
    """Thresholds below and above all surprise: the chains with no gain and with no gate at all."""
    always = case("dbm3", "clamp v", "impotent v unless surprise(v) > 0")
    never = case("dbm3", "clamp v", "impotent v unless surprise(v) > 1000")
    for found, expected in ((always, case("dbm3", "clamp v")), (never, case("dbm3", "clamp v", "impotent v"))):
        torch.testing.assert_close(
            transition(found, found.program.last), transition(expected, expected.program.last), rtol=0, atol=EXACT
        )


def test_gates_say_what_they_measured() -> None:
    """`measured` and `open` of the last sweep, chain by chain."""
    given = gains_of("dbm2", "clamp v[0:3]", "impotent v unless surprise(v) > MEDIAN")
    current = given.statistics()
    _, out = replay(given.program.last.whole, given.values(current), given.program.drawn, current)
    columns = [c for c, s in enumerate(given.law.sites) if s in given.law.clamped]
    expected = gained.surprise(given.model, given.weights, given.law.values, columns)
    (number,), (opened,) = out["measured"].values(), out["open"].values()
    torch.testing.assert_close(number, expected, rtol=0, atol=EXACT)
    (states,) = gained.gates_of(given.law, given.chain).values()
    assert torch.equal(opened, states)
