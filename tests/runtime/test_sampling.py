"""Chains that are run end to end follow the exact law, for every model and clamp pattern; broken ones are caught by the same tests.

One sample a chain from many chains with keys of their own, after enough sweeps; `tests.oracle.stats` has the false-alarm rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, fx

from gmc.compiler.draws import DRAWS
from gmc.compiler.graph import family
from gmc.compiler.program import Program, build_program
from gmc.compiler.region import Region
from gmc.compiler.schedule import Schedule
from gmc.compiler.split import split
from gmc.runtime import chains
from gmc.runtime.chains import Given
from tests.compiler.replay import PATTERNS, Case, case, decode, key_of, matrices, part, replay
from tests.oracle import stats
from tests.oracle.sites import as_columns
from tests.oracle.sweeps import stationarity_error, total_variation

GAUSSIAN_SWEEPS = 40
FROM_PASS_0 = [
    ("boltzmann", "clamp v[1:3]"),
    ("label_rbm", "clamp y = 2"),
    ("third_mixed", "clamp y"),
    ("ising_ring", ""),
    ("sparse_lateral", "clamp v[1:4]"),
    ("gaussian_rbm", "clamp x[:, 0]"),
    ("single", ""),
]
"""Models of few states, where it is cheap to know when a chain has mixed."""


def run(
    given: Case, sweeps: int, program: Program | None = None, weights: Mapping[str, Tensor] | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """The last states of many chains from pass 0."""
    program = program or given.program
    statistics = given.statistics(given.law.values[:1].expand(stats.SAMPLES, -1))
    clamped = {n: part(statistics[n], r) for n, r in program.schedule.clamped.items()}
    out = chains.run(
        program, weights or given.weights, Given(clamped, {}, key_of(stats.SAMPLES, seed), 3), sweeps, torch.float64
    )
    return decode(given.model, out.value)


def enough(given: Case) -> int:
    """Sweeps after which the program's own chain, from anywhere, is within 1e-6 of its law."""
    noted, _ = replay(
        given.program.last.whole, given.values(given.statistics()), given.program.drawn, given.statistics()
    )
    updates = [matrix for _, matrix in matrices(given, noted)]
    p = torch.zeros_like(given.law.p)
    p[given.law.p.argmin()] = 1.0
    for sweeps in range(1, 2000):
        for matrix in updates:
            p = p @ matrix
        if total_variation(p, given.law.p) < 1e-6:
            return sweeps
    raise AssertionError("the chain does not mix")


def onward(given: Case, seed: int = 0) -> dict[str, Tensor]:
    """The last states of many chains that start from the law itself and sweep three times: no time is lost on the way there."""
    start = as_columns(given.model, given.law.draw(stats.SAMPLES, seed))
    values = given.values(given.statistics(start)) | {"key": key_of(stats.SAMPLES, seed)}
    sweep, last = given.program.sweep.bind(values), given.program.last.bind(values)
    state = {n: values[f"state.{n}"] for n in given.program.schedule.active}
    for turn in (1, 2):
        state = sweep({"sweep": turn, **{f"state.{n}": x for n, x in state.items()}})
    out = last({"sweep": 3, **{f"state.{n}": x for n, x in state.items()}})
    return decode(given.model, out["value"])


@pytest.mark.parametrize(("name", "items"), PATTERNS)
def test_samples_keep_the_law(name: str, items: str) -> None:
    given = case(name, items)
    verdict = stats.compare(given.law, onward(given))
    assert verdict.ok, verdict


@pytest.mark.parametrize(("name", "items"), FROM_PASS_0)
def test_samples_reach_the_law(name: str, items: str) -> None:
    given = case(name, items)
    verdict = stats.compare(
        given.law, run(given, GAUSSIAN_SWEEPS if given.law.finite != given.law.free else enough(given))
    )
    assert verdict.ok, verdict


@pytest.mark.parametrize(
    ("name", "items", "sweep"),
    [("rbm", "clamp v[:, 1:]", "sweep {h} then {v} then {h}"), ("dbm2", "clamp v", "sweep {h1} then {h2} then {h1}")],
)
def test_written_sweeps_follow_the_law(name: str, items: str, sweep: str) -> None:
    given = case(name, items, sweep)
    assert stats.compare(given.law, run(given, enough(given))).ok


def test_from_noise_too() -> None:
    given = case("dbm2", "clamp v[0:3]", "start noise")
    assert stats.compare(given.law, run(given, enough(given))).ok


# ── Broken programs ──────────────────────────────────────────────────────────────────────────────────────────────────


def rebuilt(given: Case, change: Callable[[Schedule], Schedule]) -> Program:
    return build_program(given.compiled.graph, change(given.program.schedule))


def edge_inside_a_block(given: Case) -> Program:
    """All sites of v in one block, though a lateral edge joins them."""
    v = Region.whole_of(given.model.variable("v"))
    rest = tuple(b for b in given.program.schedule.blocks if b[0].name != "v")
    return rebuilt(given, lambda s: replace(s, blocks=((v,), *rest)))


def frozen(given: Case) -> Program:
    """The last block is never drawn."""
    return rebuilt(given, lambda s: replace(s, blocks=s.blocks[:-1], read=frozenset(s.active)))


def all_at_once(given: Case) -> Program:
    """Every block from the states before the sweep."""
    schedule = replace(given.program.schedule, read=frozenset(given.program.schedule.active))
    schedule = replace(schedule, needed=frozenset(schedule.active) - set(schedule.supplied))
    program = build_program(given.compiled.graph, schedule, passes=())
    return replace(program, sweep=_old(program, program.sweep.raw), last=_old(program, program.last.raw))


def _old(program: Program, module: fx.GraphModule) -> object:
    states = {
        n.meta["input"].removeprefix("state."): n
        for n in module.graph.nodes
        if n.op == "placeholder" and n.meta["input"].startswith("state.")
    }
    for node in list(module.graph.nodes):
        if node.target in DRAWS and node.args[2] in program.drawn:
            name = program.drawn[node.args[2]].name
            if name not in states:
                with module.graph.inserting_before(next(iter(module.graph.nodes))):
                    states[name] = module.graph.placeholder(f"state_{name}")
                    states[name].meta.update(input=f"state.{name}", fixed=False)
            node.replace_all_uses_with(states[name], delete_user_cb=lambda user: user.op == "call_function")
    module.recompile()
    return split(module, module)


def without(given: Case, parameter: str) -> dict[str, Tensor]:
    return {**given.weights, parameter: torch.zeros_like(given.weights[parameter])}


def sweep_error(given: Case, program: Program, weights: Mapping[str, Tensor] | None = None) -> float:
    """How far a program's sweep, by its own fields, is from leaving the law."""
    values = given.values(given.statistics()) | dict(weights or {})
    noted, _ = replay(program.last.whole, values, program.drawn, given.statistics())
    p = given.law.p
    for _, matrix in matrices(given, noted):
        p = p @ matrix
    return total_variation(p, given.law.p)


def test_an_edge_inside_a_block_is_caught() -> None:
    given = case("boltzmann")
    program = edge_inside_a_block(given)
    assert sweep_error(given, program) > 1e-3
    assert not stats.compare(given.law, run(given, enough(given), program)).ok


@pytest.mark.parametrize("name", ["rbm", "dbm2"])
def test_all_at_once_is_caught(name: str) -> None:
    """The fields look right in every state; only chains that run show it."""
    given = case(name)
    verdict = stats.compare(given.law, run(given, 20, all_at_once(given)))
    assert not verdict.ok, verdict


@pytest.mark.parametrize(
    ("name", "items", "parameter"),
    [("boltzmann", "", "h.bias"), ("rbm", "clamp v[:, 1:]", "v.bias"), ("dbm2", "clamp v", "h1_h2.weight")],
)
def test_a_forgotten_parameter_is_caught(name: str, items: str, parameter: str) -> None:
    given = case(name, items)
    weights = without(given, parameter)
    assert sweep_error(given, given.program, weights) > 1e-3
    assert not stats.compare(given.law, run(given, enough(given), weights=weights)).ok


def test_a_frozen_block_is_caught() -> None:
    given = case("lattice_rbm")
    program = frozen(given)
    assert sweep_error(given, program) < 1e-10, "the law stays as it is, and is never reached"
    assert not stats.compare(given.law, run(given, enough(given), program)).ok


def test_a_clamped_variable_that_is_redrawn_is_caught() -> None:
    """The free chain of the same model answers for the clamped one."""
    given, free = case("boltzmann", "clamp v[1:3]"), case("boltzmann")
    verdict = stats.compare(given.law, run(free, 5))
    assert verdict.p_value == 0.0
    assert "clamped" in verdict.worst


def test_one_key_for_all_chains_is_caught() -> None:
    """Chains that share their randomness are no independent samples."""
    given = case("rbm")
    statistics = given.statistics(given.law.values[:1].expand(stats.SAMPLES, -1))
    clamped = {n: part(statistics[n], r) for n, r in given.program.schedule.clamped.items()}
    keys = key_of(1).expand(stats.SAMPLES, -1).contiguous()
    out = chains.run(given.program, given.weights, Given(clamped, {}, keys, 3), 20, torch.float64)
    assert not stats.compare(given.law, decode(given.model, out.value)).ok


def test_a_sweep_that_repeats_its_turn_is_caught() -> None:
    """The same numbers in every sweep: the chain is no longer one of Gibbs's."""
    given = case("boltzmann")
    program, values = given.program, given.values(given.statistics(given.law.values[:1].expand(stats.SAMPLES, -1)))
    values = values | {"key": key_of(stats.SAMPLES), "sweep": 1}
    state = program.opening(values)
    for _ in range(enough(given)):
        state = program.sweep({**values, **{f"state.{n}": x for n, x in state.items()}})
    out = program.last({**values, **{f"state.{n}": x for n, x in state.items()}})
    assert not stats.compare(given.law, decode(given.model, out["value"])).ok


def test_the_right_sampler_passes_whatever_the_seed() -> None:
    given = case("boltzmann", "clamp v[1:3]")
    for seed in range(5):
        assert stats.compare(given.law, run(given, enough(given), seed=seed)).ok


# ── Bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "items"), [("rbm", "clamp v[:, 1:]"), ("gaussian_mixed", "clamp x[1:], y"), ("sparse_lateral", "")]
)
def test_a_chain_is_the_same_in_any_batch(name: str, items: str) -> None:
    """Ten chains together, in parts, and each alone end in the same state."""
    given = case(name, items)
    statistics = given.statistics(given.law.values[torch.arange(10) % len(given.law.values)])
    keys = key_of(10)

    def ends(rows: slice) -> dict[str, Tensor]:
        clamped = {n: part(statistics[n], r)[rows] for n, r in given.program.schedule.clamped.items()}
        return dict(chains.run(given.program, given.weights, Given(clamped, {}, keys[rows], 0), 6, torch.float64).value)

    whole = ends(slice(None))
    for size in (1, 3):
        parts = [ends(slice(n, n + size)) for n in range(0, 10, size)]
        for variable, value in whole.items():
            # products of other shapes may round otherwise in the last place, which normal numbers show
            exact = family(given.model.variable(variable)).states is not None
            together = torch.cat([p[variable] for p in parts])
            assert torch.equal(together, value) if exact else torch.allclose(together, value, rtol=1e-12, atol=1e-12)


def test_the_same_seed_gives_the_same_bytes() -> None:
    given = case("dbm3")
    one, same, other = (run(given, 4, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert all(not torch.equal(one[n], other[n]) for n in one)


def test_sweeps_go_on_where_they_stopped() -> None:
    """Sweeps 1 to 3, then 4 to 6 from where they ended, are sweeps 1 to 6: what resumes count on."""
    given = case("boltzmann")
    values = given.values(given.statistics(given.law.values[:50])) | {"key": key_of(50)}

    def go(state: Mapping[str, Tensor], turns: Sequence[int]) -> Mapping[str, Tensor]:
        sweep = given.program.sweep.bind(values)
        for turn in turns:
            state = sweep({"sweep": turn, **{f"state.{n}": x for n, x in state.items()}})
        return state

    begin = given.program.fresh(values)
    once, twice = go(begin, range(1, 7)), go(go(begin, range(1, 4)), range(4, 7))
    assert all(torch.equal(once[n], twice[n]) for n in once)


def test_stationarity_of_the_oracle_is_what_is_meant() -> None:
    """The error that broken programs show is the oracle's own."""
    given = case("boltzmann")
    noted, _ = replay(
        given.program.last.whole, given.values(given.statistics()), given.program.drawn, given.statistics()
    )
    product = torch.eye(len(given.law.p), dtype=torch.float64)
    for _, matrix in matrices(given, noted):
        product = product @ matrix
    assert stationarity_error(given.law.p, product) == pytest.approx(sweep_error(given, given.program), abs=1e-12)
