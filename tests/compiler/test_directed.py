"""Directed and recognition edges against the oracle: schedules, sweeps, exact sums, energies, and the samplers that must be caught."""

from __future__ import annotations

from functools import reduce

import pytest
import torch
from torch import Tensor

from gmc.compiler.emit import emit
from gmc.compiler.pictures.model import graph_dot
from gmc.compiler.pictures.telling import schedule_text
from gmc.compiler.stationary import stationarity
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.parser import parse
from gmc.runtime import exact
from tests.compiler.replay import Case, case, chances, compile_example, matrices, replay, replay_split
from tests.compiler.test_program import draws_of
from tests.oracle.directed import log_normaliser, recognition
from tests.oracle.energy import energy
from tests.oracle.laws import gradient, log_likelihood, rows_of
from tests.oracle.models import DIRECTED, Example, random_values
from tests.oracle.sweeps import pass_zero, total_variation

EXACT = 1e-10
JOINT = [(e.name, items) for e in DIRECTED if not e.gaussian for items in e.clamps]
"""Chains of which every draw is by the joint."""
EVERY = [e.name for e in DIRECTED]


def order(given: Case) -> list[list[str]]:
    """The variables of each block of a sweep and of what is deferred."""
    schedule = given.program.schedule
    return [[r.name for r in block] for block in (*schedule.blocks, *schedule.deferred)]


def swept(given: Case) -> list[Tensor]:
    """The transition matrices of the draws of the last sweep, in order."""
    current = given.statistics()
    noted, _ = replay(given.program.last.whole, given.values(current), given.program.drawn, current)
    return [matrix for _, matrix in matrices(given, noted)]


# ── Sweeps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "items"), JOINT)
def test_sweeps_leave_the_joint_invariant(name: str, items: str) -> None:
    given = case(name, items)
    assert stationarity(given.compiled.graph, given.program.schedule).holds
    assert total_variation(reduce(torch.matmul, swept(given), given.law.p), given.law.p) < EXACT


@pytest.mark.parametrize(("name", "items"), JOINT)
def test_targets_are_drawn_after_their_sources(name: str, items: str) -> None:
    given = case(name, items)
    places = {n: at for at, block in enumerate(order(given)) for n in block}
    for edge in given.model.edges:
        if edge.kind == "directed" and {*edge.sources, *edge.targets} <= places.keys():
            assert all(places[s] < places[t] for s in edge.sources for t in edge.targets)


def test_what_nothing_reads_is_drawn_once() -> None:
    assert order(case("dbn"))[:2] == [["h1"], ["h2"]]
    assert [[r.name for r in block] for block in case("dbn").program.schedule.deferred] == [["v"]]
    assert [[r.name for r in block] for block in case("deep").program.schedule.deferred] == [["a"], ["v"]]
    assert not case("fan").program.schedule.blocks  # a net of `->` edges alone is an ancestral sample


@pytest.mark.parametrize("name", ["dbn", "deep", "fan"])
def test_a_draw_knows_nothing_of_what_is_below_it(name: str) -> None:
    """Its field is the same whatever its free descendants are, although the joint's conditional is not."""
    given = case(name)
    current = given.statistics()
    noted, _ = replay(given.program.last.whole, given.values(current), given.program.drawn, current)
    for _, region, eta in noted:
        above = {s for e in given.model.edges if region.name in e.ends and e.speaks(region.name) for s in e.ends}
        heard = {n for n in above if n != region.name and not _recognised(given, n, region.name)}
        key = torch.cat([current[n] for n in sorted(heard)] or [torch.zeros(len(eta), 1)], 1)
        _, group = torch.unique(key, dim=0, return_inverse=True)
        first = torch.zeros(int(group.max()) + 1, eta.shape[1], dtype=eta.dtype).index_copy(0, group, eta)
        torch.testing.assert_close(eta, first[group], rtol=0, atol=EXACT)


def _recognised(given: Case, source: str, target: str) -> bool:
    edges = [e for e in given.model.edges if source in e.ends and target in e.ends]
    return all(e.kind == "recognition" or not e.speaks(target) for e in edges)


# ── Recognition ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "items", "drawn"),
    [
        ("dbn", "clamp v", {"h1": "v_h1"}),
        ("dbn", "clamp v[2:]", {"h1": "v_h1"}),
        ("dbn", "clamp v, h2", {"h1": "v_h1"}),
        ("deep", "clamp v", {"a": "v_a", "b": "a_b"}),
        ("deep", "clamp a", {"b": "a_b"}),
        ("fan", "clamp v, y", {"a": "v_a", "b": "y_b"}),
    ],
)
def test_recognition_draws_what_the_joint_cannot(name: str, items: str, drawn: dict[str, str]) -> None:
    given = case(name, items)
    schedule = given.program.schedule
    assert dict(schedule.potency.kernels) == drawn
    found = stationarity(given.compiled.graph, schedule)
    first = next(iter(drawn))
    assert not found.holds and f"{first} is drawn by {drawn[first]}, which is no part of the joint" in found.text
    current = given.statistics()
    noted, _ = replay_split(given.program.last, given.values(current), given.program.drawn, current)
    values = given.law.variables()
    for _, region, eta in noted:
        if region.name in drawn:
            edge = given.model.edge(drawn[region.name])
            flat = values[edge.sources[0]].reshape(len(eta), -1).to(torch.float64)
            expected = recognition(given.model, given.weights, edge, flat)
            for site, chance in zip(region.sites, chances(region, eta), strict=True):
                torch.testing.assert_close(chance, expected[:, int(site)], rtol=0, atol=EXACT)


def test_a_posterior_chain_draws_by_recognition_and_then_by_the_joint() -> None:
    """q(h1 | v) p(h2 | h1) is what the sweep leaves, whatever it began with."""
    given = case("dbn", "clamp v")
    whole = reduce(torch.matmul, swept(given))
    values = given.law.values
    h1 = slice(4, 7)
    q = recognition(given.model, given.weights, given.model.edge("v_h1"), values[:, :4])
    chance = torch.where(values[:, h1] == 1, q[:, :, 1], q[:, :, 0]).prod(1)
    top = case("dbn", "clamp h1").law
    conditional = torch.zeros_like(chance)
    for row, state in enumerate(values):
        field = given.weights["h2.bias"] + state[h1] @ given.weights["h1_h2.weight"]
        p = torch.sigmoid(field)
        conditional[row] = torch.where(state[7:] == 1, p, 1 - p).prod()
    assert top.log_z  # the oracle's law of the top is defined
    expected = chance * conditional
    assert expected.sum().item() == pytest.approx(1, abs=1e-12)
    for start in whole:
        torch.testing.assert_close(start, expected, rtol=0, atol=EXACT)


def test_a_written_sweep_names_its_kernel() -> None:
    example = Example(
        "pair",
        """
        observed x : bernoulli[3]
        latent   z : bernoulli[3]
        edge z -> x
        edge x ~> z
        """,
        ("",),
    )
    compiled = compile_example(example, "sweep {z by x_z} then {x}  sweeps 5")
    schedule = compiled.schedules["given"]
    assert [[r.name for r in block] for block in schedule.blocks] == [["z"], ["x"]]
    assert dict(schedule.potency.kernels) == {"z": "x_z"}
    text = emit("model", parse(compiled.checked.source).file, compiled)
    assert "edge x_z : x ~> z by dense" in text and "sweep {z by x_z} then {x}" in text
    derived = compile_example(example, "sweeps 5").schedules["given"]
    assert not derived.potency.kernels and not derived.blocks


# ── Pass 0 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["fan", "deep"])
def test_pass_zero_of_directed_edges_is_an_ancestral_sample(name: str) -> None:
    given = case(name, "clamp b" if name == "deep" else "")
    current = given.statistics()
    schedule = given.program.schedule
    noted, _ = replay(
        given.program.alone.whole,
        given.values(current),
        draws_of(given, given.program.alone, given.program.schedule.opening),
        current,
    )
    p = torch.ones_like(given.law.p)
    for _, region, eta in noted:
        for column, chance in zip(given.columns(region), chances(region, eta), strict=True):
            p = p * chance.gather(1, given.law.digits[:, column : column + 1])[:, 0]
    assert schedule.opening == () or schedule.blocks
    torch.testing.assert_close(p, given.law.p, rtol=0, atol=EXACT)


def test_pass_zero_of_a_belief_network_goes_down_from_the_top() -> None:
    given = case("dbn")
    assert [r.name for block in given.program.schedule.opening for r in block] == ["h1", "h2"]
    opened = [given.columns(r) for block in given.program.schedule.opening for r in block]
    below = given.law.block(["v"])
    p = pass_zero(given.law, [*opened, below])
    current = given.statistics()
    noted, _ = replay(
        given.program.alone.whole,
        given.values(current),
        draws_of(given, given.program.alone, given.program.schedule.opening),
        current,
    )
    found = torch.ones_like(p)
    for _, region, eta in noted:
        for column, chance in zip(given.columns(region), chances(region, eta), strict=True):
            found = found * chance.gather(1, given.law.digits[:, column : column + 1])[:, 0]
    torch.testing.assert_close(found, p, rtol=0, atol=EXACT)


# ── Energies and sums ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", EVERY)
def test_energy_holds_the_conditionals(name: str) -> None:
    given = case(name)
    values = random_values(given.model, 3, n=20)
    table = torch.cat([values[v.name].reshape(20, -1) for v in given.model.variables], 1)
    expected = energy(given.model, given.weights, table)
    inputs = {**given.weights, **{f"value.{n}": x for n, x in given.statistics(table).items()}}
    inputs["blank"] = torch.zeros(20, 1, dtype=torch.float64)
    module = given.compiled.energy
    found = module(*(inputs[n.meta["input"]] for n in module.graph.nodes if n.op == "placeholder"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_of_the_energy(name: str) -> None:
    """By autodiff of the oracle's energy, normalisers and all."""
    given = case(name)
    values = random_values(given.model, 5, n=12)
    table = torch.cat([values[v.name].reshape(12, -1) for v in given.model.variables], 1)
    leaves = {n: w.clone().requires_grad_() for n, w in given.weights.items()}
    slopes = torch.autograd.grad(
        -energy(given.model, leaves, table).mean(), list(leaves.values()), materialize_grads=True, allow_unused=True
    )
    inputs = {**given.weights, **{f"value.{n}": x for n, x in given.statistics(table).items()}}
    module = given.compiled.gradient
    found = module(*(inputs[n.meta["input"]] for n in module.graph.nodes if n.op == "placeholder"))
    recognised = {e.name for e in given.model.edges if e.kind == "recognition"}
    for (parameter, slope), weight in zip(zip(leaves, slopes, strict=True), given.weights.values(), strict=True):
        if parameter.split(".")[0] in recognised:
            assert parameter not in found
            continue
        assert found[parameter].shape == weight.shape
        torch.testing.assert_close(found[parameter], slope, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "items"),
    [
        *JOINT,
        ("dbn", "clamp v"),
        ("deep", "clamp v"),
        ("fan", "clamp v, y"),
        ("dbn", "clamp v[1:3]"),
        ("fan", "clamp v[0], y"),
    ],
)
def test_sums_given_what_is_clamped(name: str, items: str) -> None:
    """log of the sum of exp(-E), and each row's log-likelihood, whatever is clamped and whoever draws."""
    given = case(name, items)
    marginal = given.compiled.marginal(dict(given.program.schedule.clamped))
    rows = {n: x[:1] for n, x in given.statistics().items() if n in marginal.clamped}
    found = exact.log_partition(marginal, given.weights, rows)
    assert found.log_z.item() == pytest.approx(given.law.log_z, abs=1e-9)


@pytest.mark.parametrize("name", ["dbn", "deep", "fan", "linear"])
def test_exact_likelihood_and_its_gradient(name: str) -> None:
    given = case(name)
    seen = [v.name for v in given.model.variables if v.observed]
    values = {n: x for n, x in random_values(given.model, 9, n=3).items() if n in seen}
    rows = rows_of(given.model, values)
    expected = log_likelihood(given.model, given.weights, rows)
    sums = exact.Marginals(given.compiled)
    statistics = {n: x for n, x in given.statistics(table_with(given, values)).items() if n in seen}
    top = sums.log_partition(given.weights, {}, 1, gradient=True)
    here = sums.log_partition(given.weights, statistics, 3, gradient=True)
    torch.testing.assert_close(here.log_z - top.log_z, expected, rtol=0, atol=1e-9)
    for parameter, slope in gradient(given.model, given.weights, rows).items():
        torch.testing.assert_close(here.gradient[parameter] - top.gradient[parameter], slope, rtol=0, atol=1e-9)


def table_with(given: Case, values: dict[str, Tensor]) -> Tensor:
    """A table of values with zeros for what they lack."""
    n = next(iter(values.values())).shape[0]
    parts = [
        values[v.name].reshape(n, -1) if v.name in values else torch.zeros(n, v.sites) for v in given.model.variables
    ]
    return torch.cat([part.to(torch.float64) for part in parts], 1)


def test_probabilities_of_data_sum_to_one() -> None:
    given = case("dbn")
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    sums = exact.Marginals(given.compiled)
    top = sums.log_partition(given.weights, {}, 1).log_z
    p = (sums.log_partition(given.weights, {"v": states}, 16).log_z - top).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)


def test_only_what_directed_edges_come_from_is_enumerated() -> None:
    given = case("dbn", "clamp v")
    marginal = given.compiled.marginal(dict(given.program.schedule.clamped))
    assert ([str(r) for r in marginal.summed], [str(r) for r in marginal.enumerated]) == (["h2"], ["h1"])
    top = given.compiled.marginal({})
    assert {str(r) for r in (*top.summed, *top.enumerated)} == {"h1", "h2"}  # v integrates to one


def test_a_conditional_machine_is_summed_given_its_condition() -> None:
    """`->` into variables that `--` edges join: the law given the sources, whose normaliser no closed form gives where they are not."""
    example = Example(
        "conditional",
        """
        observed c : bernoulli[3]
        observed v : bernoulli[3]
        latent   h : bernoulli[2]
        edge c -> v
        edge c -> h
        edge v -- h
        """,
        ("",),
    )
    compiled = compile_example(example, "clamp c")
    found = compiled.schedules["given"]
    assert stationarity(compiled.graph, found).holds
    marginal = compiled.marginal(dict(found.clamped))
    assert marginal.refusal is None and {str(r) for r in (*marginal.summed, *marginal.enumerated)} == {"v", "h"}
    assert "normaliser changes with c" in (compiled.marginal({}).refusal or "")
    free = compile_example(example, "").schedules["given"]
    assert "normaliser changes with c" in stationarity(compiled.graph, free).text


# ── Samplers that must be caught ─────────────────────────────────────────────────────────────────────────────────────


def test_broken_samplers_are_caught() -> None:
    """v drawn before h1 is drawn again; h1 drawn by the energy's terms, v's without their normaliser; h1 drawn by the transpose, as if the network were a DBM."""
    given = case("dbn")
    h1, h2, v = swept(given)
    assert total_variation(given.law.p @ h1 @ h2 @ v, given.law.p) < EXACT
    assert total_variation(given.law.p @ v @ h1 @ h2, given.law.p) > 1e-3
    plain = given.law.values[:, 4:7] @ given.weights["h1_v.weight"]
    unnormalised = (
        given.law.p * log_normaliser(given.model, given.weights, given.model.variable("v"), given.law.values).exp()
    )
    assert plain.abs().max() > 0 and total_variation(unnormalised / unnormalised.sum(), given.law.p) > 1e-2


def test_a_written_sweep_out_of_order_is_told() -> None:
    given = case("dbn", "", "sweep {v} then {h1} then {h2}")
    found = stationarity(given.compiled.graph, given.program.schedule)
    assert not found.holds and "v is drawn before h1, from which it comes, is drawn again" in found.text
    assert total_variation(reduce(torch.matmul, swept(given), given.law.p), given.law.p) > 1e-3
    assert stationarity(given.compiled.graph, case("dbn", "", "sweep {h2} then {h1} then {v}").program.schedule).holds


# ── Gains ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("items", "gain"), [("potent h1_v = 0.5", 0.5), ("potent h1 -> v = 0.25", 0.25), ("impotent h1 -> v", 0.0)]
)
def test_gains_scale_a_directed_edge(items: str, gain: float) -> None:
    """What goes along it is the head's output; the law is that of the scaled conditional."""
    given, scaled = case("dbn", "", items), dict(case("dbn").weights)
    scaled["h1_v.weight"] = scaled["h1_v.weight"] * gain
    assert stationarity(given.compiled.graph, given.program.schedule).holds
    current = given.statistics()
    noted, _ = replay(given.program.last.whole, given.values(current), given.program.drawn, current)
    plain = case("dbn")
    values = {**plain.values(current), **scaled}
    expected, _ = replay(plain.program.last.whole, values, plain.program.drawn, current)
    fields = {region.name: eta for _, region, eta in expected}
    assert {region.name for _, region, _ in noted} == set(fields)
    for _, region, eta in noted:
        torch.testing.assert_close(eta, fields[region.name], rtol=0, atol=EXACT)


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_graphs_and_schedules_show_which_way_edges_go() -> None:
    given = case("deep", "clamp v")
    drawn = graph_dot(given.compiled.graph)
    assert sum('dir="back"' in line for line in drawn.splitlines()) == 2
    assert sum('style="dashed"' in line and 'dir="forward"' in line for line in drawn.splitlines()) == 2
    assert "edge a_v: a -&gt; v" in drawn or "edge a_v: a -> v" in drawn
    told = schedule_text(given.compiled.graph, given.program.schedule)
    assert "a is drawn by v_a, which is no part of the joint" in told
    assert "left out" not in told  # what no draw reads along an arrow was never a message
    text = emit("graph", parse(given.compiled.checked.source).file, given.compiled)
    assert "a_v  a -> v" in text and "v_a.bias" in text and "weights of a_v" in text


# ── Heads ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("target", "edge", "expected"),
    [
        ("normal", "x -> t", None),
        ("normal(precision = 3)", "x -> t", None),
        ("normal(precision = learned)", "x -> t", "GM901"),
        ("normal", "x ~> t", "GM901"),
        ("gamma(bias = -1)", "x -> t", "GM342"),
        ("poisson", "x -> t", None),
        ("relu", "x ~> t", None),
        ("categorical(3)", "x ~> t", None),
        ("bernoulli", "x -> t by lowrank(1)", None),
        ("bernoulli", "x -> t by lattice", "GM336"),
    ],
)
def test_heads_of_all_types(target: str, edge: str, expected: str | None) -> None:
    """A linear map gives a law at whatever weights, or the edge is refused."""
    example = Example("heads", f"observed x : normal[2]\n latent t : {target}[2]\n edge {edge}\n", ("",))
    if expected is None:
        assert compile_example(example).graph.term(edge.split(" by ")[0].replace(" -> ", "_").replace(" ~> ", "_"))
        return
    with pytest.raises(GmcError) as refused:
        compile_example(example)
    assert [found.code for found in refused.value.diagnostics] == [expected]
