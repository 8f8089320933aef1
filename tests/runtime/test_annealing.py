"""Annealed importance sampling, its reverse, RAISE and the variational bound against enumeration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import gmc
from gmc.compiler.annealing import build_annealing
from gmc.compiler.driver import Compiled
from gmc.compiler.graph import family
from gmc.compiler.region import Region
from gmc.dsl.model import Variable
from gmc.runtime import partition
from gmc.runtime.annealing import Annealer, Work, base_fields
from gmc.runtime.estimate import LogMean, log_mean
from gmc.runtime.evaluations.ais import estimated
from gmc.runtime.evaluations.bound import bounds
from gmc.runtime.evaluations.method import Task, evaluate
from gmc.runtime.evaluations.raising import _Raiser
from gmc.runtime.exact import log_partition
from gmc.runtime.temperatures import Adaptive, Classic, Spaced, choose, conditional_ess, read_temperatures
from gmc.runtime.tensor_data import TensorData
from tests.compiler.steps import log_density, matrix
from tests.oracle.models import random_weights
from tests.oracle.stats import mean_within

CPU = torch.device("cpu")
MODELS = {
    "rbm": "observed v : bernoulli[4]  latent h : bernoulli[3]  edge v -- h",
    "dbm_5463": """
        observed v : bernoulli[5]  latent h1 : bernoulli[4]  latent h2 : bernoulli[6]  latent h3 : bernoulli[3]
        edge v -- h1  edge h1 -- h2  edge h2 -- h3""",
    "dbm_44243": """
        observed v : bernoulli[4]  latent h1 : bernoulli[4]  latent h2 : bernoulli[2]  latent h3 : bernoulli[4]
        latent h4 : bernoulli[3]  edge v -- h1  edge h1 -- h2  edge h2 -- h3  edge h3 -- h4""",
    "gaussian": "observed x : normal(precision = 2.0)[4]  latent h : bernoulli[5]  edge x -- h",
    "third": """
        observed v : bernoulli[4]  observed y : categorical(3)  latent h : spin[3]
        edge v -- v  edge v -- y -- h  edge h -- v""",
    "dbm": "observed v : bernoulli[3]  latent h1 : bernoulli[3]  latent h2 : bernoulli[2]  edge v -- h1  edge h1 -- h2",
}


@cache
def compiled(name: str) -> Compiled:
    return gmc.compile(f"model m {{ {MODELS[name]} }}").compiled


def task(name: str, scale: float = 0.8, rows: int = 8, seed: int = 3, **options: object) -> Task:
    """An evaluation of random rows under random weights, in float64."""
    graph = compiled(name).graph
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for v in (v for v in graph.variables if v.observed):
        states = family(v).states
        if states is None:
            values[v.name] = torch.randn(rows, *v.shape, generator=generator, dtype=torch.float64)
        else:
            values[v.name] = torch.randint(0, states, (rows, *v.shape), generator=generator).to(torch.float64)
    weights = random_weights(graph.model, seed, scale)
    return Task(compiled(name), weights, TensorData.of(compiled(name), values, CPU, torch.float64), **options)  # type: ignore[arg-type]


def log_z(about: Task) -> float:
    return about.likelihood.log_z


def chains(about: Task, **work: object) -> Annealer:
    path = build_annealing(about.compiled.graph, {})
    told = Work(**{"devices": (CPU,), "seed": about.seed, "dtype": torch.float64, **work})  # type: ignore[arg-type]
    return Annealer(path, about.params, base_fields(path, about.base), told)


# ── log Z ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "count"), [("dbm_5463", 100), ("dbm_44243", 100), ("gaussian", 250), ("third", 100)])
def test_log_z(name: str, count: int) -> None:
    """Forwards and in reverse, within 0.05 nats and four of its own standard errors."""
    about = task(name)
    found = estimated(about, about.likelihood, 400, Spaced(count), reverse=True)
    for each in (found.forward, found.reverse):
        assert each is not None
        assert abs(each.value - log_z(about)) < 0.05
        assert abs(each.value - log_z(about)) < 4 * each.standard_error
        assert 0 < each.standard_error < 0.02 and each.low < log_z(about) < each.high
        assert 300 < each.effective <= 400
    assert found.start == "exact samples, drawn from the list of all states"
    assert found.value == found.forward.value if found.forward else False
    assert found.gap == pytest.approx(found.reverse.value - found.value if found.reverse else None)


@pytest.mark.parametrize("name", ["rbm", "gaussian", "third"])
def test_weights_have_the_right_mean_at_few_temperatures(name: str) -> None:
    """E[w] = Z / Z0 however far apart the temperatures; and in reverse E[1/w] = Z0 / Z."""
    about = task(name)
    walkers = chains(about)
    weights, _ = walkers.forward((0.0, 0.4, 1.0), 20_000, "few")
    assert judge(weights, log_z(about) - float(walkers.log_base())).ok


def judge(log_weights: Tensor, expected: float) -> object:
    return mean_within((log_weights - expected).exp().numpy(), 1.0)


def test_wrong_parameters_and_dropped_biases_are_seen() -> None:
    """The tests above reject a run whose hidden biases were left out, and one of other weights."""
    about = task("rbm")
    for broken in (
        {**about.params, "h.bias": torch.zeros(3).double()},
        random_weights(about.compiled.checked.model, 4),
    ):
        walkers = chains(Task(about.compiled, broken, about.data))
        weights, _ = walkers.forward((0.0, 0.4, 1.0), 20_000, "few")
        assert not judge(weights, log_z(about) - float(walkers.log_base())).ok
        found = log_mean(weights).shifted(float(walkers.log_base()))
        assert abs(found.value - log_z(about)) > 4 * found.standard_error


def test_forward_is_below_and_reverse_above_in_expectation() -> None:
    """One chain an estimate: the mean of many logs, by more than their error."""
    about = task("dbm_5463")
    held = about.likelihood
    walkers = chains(about)
    betas = (0.0, 0.3, 0.6, 1.0)
    weights, ends = walkers.forward(betas, 4000, "f")
    logs = weights + walkers.log_base()
    states, told, settling = partition._beginning(walkers, held.marginal(()), weights, ends, betas)
    assert settling == 0 and told.startswith("exact")

    def begin(device: int, numbers: Tensor, keys: Tensor) -> tuple[Mapping[str, Tensor], Tensor]:
        return {n: x[numbers] for n, x in states.items()}, torch.zeros(len(numbers), dtype=torch.float64)

    back = -walkers.backward(betas[::-1], 4000, "r", begin) + walkers.log_base()
    error = max(float(logs.std()), float(back.std())) / 4000**0.5
    assert float(logs.mean()) < log_z(about) - 5 * error
    assert float(back.mean()) > log_z(about) + 5 * error
    assert judge(-back, -log_z(about)).ok


def test_reverse_without_a_list_starts_from_resampled_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    about = task("dbm_5463")
    monkeypatch.setattr(partition, "START_BITS", 1.0)
    found = estimated(about, about.likelihood, 400, Spaced(100), reverse=True)
    assert found.reverse is not None and found.start is not None
    assert abs(found.reverse.value - log_z(about)) < 4 * found.reverse.standard_error
    assert "only as far as these are samples of the model" in found.start


def test_zero_weights_are_exact() -> None:
    about = task("dbm_5463", scale=0.0)
    found = estimated(about, about.likelihood, 7, Spaced(3), reverse=True)
    assert found.value == pytest.approx(18 * math.log(2), abs=1e-12)
    # with data the base is not the model, and still there is nothing to go wrong but rounding: every site is independent
    latent = compiled("dbm_5463").graph.variables[1:]
    path = build_annealing(compiled("dbm_5463").graph, {})
    assert all(not base_fields(path, about.base)[v.name].any() for v in latent)
    assert found.reverse is not None and found.reverse.value == pytest.approx(found.value, abs=1e-12)


def test_a_clamped_row_each() -> None:
    """log Z given each row, by chains of its own."""
    about = task("dbm_44243", rows=3)
    graph = about.compiled.graph
    values = about.data.batch(torch.arange(3), 0)
    path = build_annealing(graph, {"v": Region.whole_of(graph.variables[0])})
    told = Work((CPU,), 0, torch.float64)
    walkers = Annealer(path, about.params, base_fields(path, about.base), told, values, 300)
    weights, _ = walkers.forward(Spaced(60).betas(), 900, "rows")
    expected = log_partition(about.likelihood.marginal(("v",)), about.params, values, 3).log_z
    for row in range(3):
        found = log_mean(weights.reshape(3, 300)[row]).shifted(float(walkers.log_base()[row]))
        assert abs(found.value - float(expected[row])) < 4 * found.standard_error < 0.1


def test_base_rates() -> None:
    """The means of the data with 5 % of those at rest; latent variables are at rest."""
    about = task("third", rows=50)
    path = build_annealing(about.compiled.graph, {})
    found = base_fields(path, about.base)
    torch.testing.assert_close(found["v"].sigmoid(), 0.95 * about.data.mean("v") + 0.025, rtol=0, atol=1e-12)
    expected = 0.95 * about.data.mean("y") + 0.05 / 3
    torch.testing.assert_close(torch.softmax(found["y"], 0), expected, rtol=0, atol=1e-12)
    assert not found["h"].any()


# ── Devices, units and types ─────────────────────────────────────────────────────────────────────────────────────────


def test_sharing_out_changes_no_bit() -> None:
    about = task("dbm_5463")
    betas = Spaced(25).betas()
    one, ends = chains(about, unit=16).forward(betas, 70, "s")
    other, others = chains(about, unit=16, devices=(CPU, CPU)).forward(betas, 70, "s")
    assert torch.equal(one, other)
    assert all(torch.equal(ends[name], others[name]) for name in ends)
    for method, options in (("ais", {"reverse": True}), ("raise", {})):
        shared = [
            evaluate(method, task("dbm", devices=d), {"chains": 5, "temperatures": 9, **options})
            for d in ((CPU,), (CPU, CPU))
        ]
        assert torch.equal(shared[0].values, shared[1].values) and shared[0].log_z == shared[1].log_z


def test_chains_by_number() -> None:
    """The first chains of many are the same as few."""
    about = task("third")
    many, _ = chains(about).forward(Spaced(10).betas(), 40, "s")
    few, _ = chains(about).forward(Spaced(10).betas(), 10, "s")
    torch.testing.assert_close(many[:10], few, rtol=0, atol=1e-9)
    assert len(torch.unique(many)) == 40


def test_single_precision_chains_with_double_weights() -> None:
    about = task("dbm_5463", dtype=torch.float32)
    found = estimated(about, about.likelihood, 400, Spaced(150), reverse=False)
    assert found.forward is not None
    assert abs(found.value - log_z(about)) < 4 * found.standard_error
    weights, ends = chains(about, dtype=torch.float32).forward((0.0, 1.0), 3, "s")
    assert weights.dtype == torch.float64 and {x.dtype for x in ends.values()} == {torch.float32}


def test_progress_goes_from_nothing_to_all() -> None:
    shares: list[float] = []
    evaluate("ais", task("dbm", watch=shares.append), {"chains": 5, "temperatures": 50, "reverse": True})
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 5


# ── Temperatures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_temperatures_as_they_are_written() -> None:
    assert read_temperatures("12") == Spaced(12) == read_temperatures(12)
    assert read_temperatures("adaptive") == Adaptive()
    assert read_temperatures("adaptive:0.9") == Adaptive(0.9)
    assert read_temperatures(" classic ") == Classic()
    for wrong in ("0", "-3", "1.5", "adaptive:1", "adaptive:x", "adaptve", "", "1e3", True):
        assert read_temperatures(wrong) is None
    betas = Classic().betas()
    assert len(betas) == 14_501 and betas[0] == 0.0 and betas[-1] == 1.0
    assert all(a < b for a, b in pairwise(betas))
    assert betas[500] == 0.5 and betas[4500] == 0.9


def test_adaptive_temperatures_keep_each_step_s_sample() -> None:
    about = task("dbm_5463", scale=1.2)
    walkers = chains(about)
    betas = walkers.pilot(0.98, 400, "p")
    assert betas is not None and betas[0] == 0.0 and betas[-1] == 1.0
    assert len(betas) > 5 and all(a < b for a, b in pairwise(betas))
    state = walkers.start(0, torch.arange(2000), "fresh", "up", walkers._first)
    for n in range(len(betas) - 1):
        before = state.total
        state = walkers.walk(state, betas[n : n + 2], n)
        share = conditional_ess(state.total - before)
        # the pilot's own 400 chains had at least 0.98
        assert share > 0.96
    found = estimated(about, about.likelihood, 400, Adaptive(0.98), reverse=False)
    assert abs(found.value - log_z(about)) < 4 * found.standard_error
    finer = walkers.pilot(0.998, 400, "p")
    assert finer is not None and 2 < len(finer) / len(betas) < 5


def test_a_pilot_that_finds_no_end_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmc.runtime.temperatures.MOST", 5)
    noise = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e9
    assert choose(0.9, lambda beta, after: noise * (after - beta), lambda beta: None, lambda beta: None) is None


def test_a_pilot_goes_only_where_it_has_been(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no step is good enough: the least one, of which the last is a guess that rounding has made smaller."""
    monkeypatch.setattr("gmc.runtime.temperatures.MOST", 300)
    noise = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e30
    tried: set[float] = set()

    def gained(before: float, after: float) -> torch.Tensor:
        tried.add(after)
        return noise * (after - before)

    def move(after: float) -> None:
        assert after in tried
        tried.clear()

    assert choose(0.9, gained, move, lambda beta: None) is None


# ── Estimates ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_log_mean() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    found = log_mean(weights.log() + 1000.0)
    error = float(weights.std()) / 2 / 3
    assert found.value == pytest.approx(1000 + math.log(3)) and found.standard_error == pytest.approx(error)
    assert found.high == pytest.approx(1000 + math.log(3 * (1 + 3 * error))) and found.low == -math.inf
    assert found.effective == pytest.approx(144 / 50) and found.spread == pytest.approx(float(weights.log().std()))
    assert found.json()["low"] is None
    back = found.negated()
    assert (back.value, back.low, back.high) == (-found.value, -found.high, math.inf)
    assert math.isnan(log_mean(weights[:1].log()).standard_error)
    assert isinstance(log_mean(torch.full((3,), -torch.inf, dtype=torch.float64)), LogMean)


# ── RAISE ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["rbm", "dbm"])
def test_raise_has_the_right_mean(name: str) -> None:
    """E of it is the law of the annealed sampler, from its exact transition matrices; its log is below in expectation."""
    about = task(name, scale=1.5)
    betas = Spaced(4).betas()
    raiser = _Raiser(about, 6000)
    base = base_fields(raiser.path, about.base)
    law = torch.softmax(log_density(raiser.path, about.params, base, 0.0), 0)
    for before, beta in pairwise(betas):
        law = law @ matrix(raiser.path, "up", about.params, base, before, beta)[0]
    # the data's variable comes first, so that what else is kept varies fastest
    v = compiled(name).graph.variables[0]
    p_ann = law.reshape(2**v.sites, -1).sum(1)
    assert float(p_ann.sum()) == pytest.approx(1.0)
    values = torch.tensor([[(n >> (v.sites - 1 - site)) & 1 for site in range(v.sites)] for n in range(2**v.sites)])
    found = raiser.log_weights({"v": values.double()}, betas)
    for row in range(2**v.sites):
        expected = float(p_ann[row].log())
        verdict = mean_within((found[row] - expected).exp().numpy(), 1.0, 2**v.sites)
        assert verdict.ok, str(verdict)
        assert float(found[row].mean()) < expected
    exact = about.likelihood.log_likelihood({"v": values.double()})
    assert float((p_ann.log() - exact).abs().max()) > 1e-3


def test_raise_comes_near_the_model_with_temperatures() -> None:
    about = task("dbm_5463", rows=16)
    exact = evaluate("exact", about, {})
    found = evaluate("raise", about, {"temperatures": 200, "chains": 30})
    assert found.kind == "estimate of a lower bound" and found.log_z is None and found.chains == 30
    assert abs(found.mean - exact.mean) < 0.1


# ── The variational bound ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["dbm_5463", "dbm_44243", "third", "dbm"])
@pytest.mark.parametrize("scale", [0.4, 1.5])
def test_bound_is_below_everywhere_at_a_fixed_point(name: str, scale: float) -> None:
    """For every value of the first variable, against the exact sum."""
    graph, v = compiled(name).graph, compiled(name).graph.variables[0]
    values = torch.tensor([[(n >> site) & 1 for site in range(v.sites)] for n in range(2**v.sites)]).double()
    weights = random_weights(graph.model, 3, scale)
    rows = TensorData.of(
        compiled(name), {n.name: _filled(n, values) for n in graph.variables if n.observed}, CPU, torch.float64
    )
    about = Task(compiled(name), weights, rows)
    exact = about.likelihood.log_likelihood(about.data.batch(torch.arange(len(values)), 0))
    found = bounds(about, torch.arange(len(values)), 1e-7, 0.0)
    assert float(found.change.max()) < 1e-6
    gap = exact - (found.log_z - log_z(about))
    # given v the third model's h is alone, and mean field exact
    assert float(gap.min()) > -1e-10 and (float(gap.max()) > 1e-3) == (name != "third")
    damped = bounds(about, torch.arange(len(values)), 1e-7, 0.5)
    assert float(damped.change.max()) < 1e-6 and damped.passes >= found.passes
    assert float((exact - (damped.log_z - log_z(about))).min()) > -1e-10


def _filled(variable: Variable, values: Tensor) -> Tensor:
    """Rows of another observed variable beside the listed one: the first value."""
    shape = variable.shape
    return values if shape == (values.shape[1],) else torch.zeros(len(values), *shape, dtype=torch.float64)


def test_bound_of_a_restricted_machine_is_exact() -> None:
    for name in ("rbm", "gaussian"):
        about = task(name)
        exact, found = evaluate("exact", about, {}), evaluate("bound", about, {})
        torch.testing.assert_close(found.values, exact.values, rtol=0, atol=1e-9)
        assert found.kind == "lower bound" and exact.kind == "exact"
