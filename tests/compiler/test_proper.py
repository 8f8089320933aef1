"""Which models of several unbounded variables have a law: what is refused, what is found in given weights, and what training keeps to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import gmc
from gmc.compiler.driver import Compiled
from gmc.compiler.emitter import inputs
from gmc.compiler.graph import family
from gmc.compiler.proper import MARGIN, Proper, build_proper
from gmc.dsl.diagnostic import GmcError
from gmc.runtime.initial import initial_parameters
from gmc.runtime.run import open_run
from tests.oracle.stats import ALPHA


def compiled(body: str, rest: str = "chain free { sweeps 1 }") -> Compiled:
    return gmc.compile(f"model m {{ {body} }} {rest}").compiled


def proper_of(body: str) -> tuple[Compiled, Proper]:
    found = compiled(body)
    proper = build_proper(found.graph)
    assert proper is not None
    return found, proper


def codes(body: str) -> list[str]:
    try:
        compiled(body)
    except GmcError as error:
        return [d.code for d in error.diagnostics]
    return []


def weights(given: Compiled, seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    """Normal numbers for all parameters; symmetric where lateral and dense."""
    generator = torch.Generator().manual_seed(seed)
    found = {
        p.name: torch.randn(p.shape, generator=generator, dtype=torch.float64) * scale for p in given.graph.parameters
    }
    for term in given.graph.terms:
        if term.edge.lateral and term.factor.word == "dense":
            w = found[term.parameter("weight")]
            found[term.parameter("weight")] = (w + w.T) * (1 - torch.eye(w.shape[0], dtype=torch.float64))
    return found


def minus_energy(given: Compiled, params: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Tensor:
    """-E of whole states, `[n]`."""
    named = dict(params) | {f"value.{n}": x for n, x in values.items()}
    named["blank"] = torch.zeros(len(next(iter(values.values()))), 1, dtype=torch.float64)
    return -given.energy(*(named[n] for n in inputs(given.energy)))


A = "observed x : normal[3] observed r : relu[3] observed n : poisson[3] observed t : gamma[3] latent h : bernoulli[2] latent s : spin[2] "


@pytest.mark.parametrize(
    ("edges", "refused"),
    [
        ("edge x -- x", False),
        ("edge x -- r", False),
        ("edge r -- r by lowrank(2)", False),
        ("edge x -- r -- s", False),
        ("edge x -- x edge x -- h -- s edge t -- h edge n -- s", False),
        ("edge r -- n", False),
        ("edge n -- t -- h", False),
        ("edge t -- t by lattice", False),
        ("edge r -- n -- t", False),
        ("edge x -- n", True),
        ("edge t -- x", True),
        ("edge n -- n by lowrank(2)", True),
        ("edge n -- t -- s", True),
        ("edge x -- r -- n", True),
        ("edge x -- n -- h", True),
    ],
)
def test_which_edges_are_refused(edges: str, refused: bool) -> None:
    assert codes(A + edges) == (["GM340"] if refused else [])


def test_most_models_have_no_rules() -> None:
    for body in (
        A.replace("observed t : gamma[3]", "") + "edge x -- h edge r -- s edge n -- h",
        A.replace("gamma", "relu"),
    ):
        assert build_proper(compiled(body).graph) is None
    _, proper = proper_of(A + "edge x -- h")
    assert not proper.islands


DEFINITE = {
    "lateral": "observed x : normal(precision = learned)[4] edge x -- x",
    "two layers": "observed x : normal(precision = 2.5)[3] latent z : normal(precision = learned)[4] edge x -- z",
    "low rank": "observed x : normal(precision = 0.4)[3] latent z : normal[4] edge x -- z by lowrank(2) edge x -- x by lowrank(1)",
    "lattice": "observed x : normal(precision = learned)[2, 3] edge x -- x by lattice(coupling = axis)",
    "conv": "observed x : normal[2, 4] latent z : normal[1, 3] edge x -- z by conv(2)",
    "tied": "observed a : normal[3] latent b : normal[3] latent c : normal[3] edge up : a -- b edge b -- c by tied(up)",
}


def precision_matrix(given: Compiled, params: Mapping[str, Tensor]) -> Tensor:
    """The matrix J of E in the values of all sites, from second differences of the energy."""
    sizes = [v.size for v in given.graph.variables]
    points = torch.eye(sum(sizes), dtype=torch.float64)

    def at(x: Tensor) -> Tensor:
        parts = dict(zip((v.name for v in given.graph.variables), x.split(sizes, 1), strict=True))
        return -minus_energy(given, params, parts)

    pairs = (points[:, None] + points[None]).flatten(0, 1)
    mixed = at(pairs).reshape(len(points), -1)
    single, zero = at(points), at(torch.zeros_like(points[:1]))
    return mixed - single[:, None] - single[None] + zero


@pytest.mark.parametrize("body", DEFINITE.values(), ids=DEFINITE)
def test_precision_matrices(body: str) -> None:
    """`check` is right about matrices that are made from the energy alone, on both sides of the border and near it; `project` lands within."""
    given, proper = proper_of(body)
    seen = set()
    for seed in range(24):
        params = weights(given, seed, scale=0.1 + 0.06 * seed)
        least = float(torch.linalg.eigvalsh(precision_matrix(given, params))[0])
        assert (proper.check(params) == []) == (least > 0)
        seen.add(least > 0)
        before = {n: p.clone() for n, p in params.items()}
        proper.project(params)
        assert proper.check(params) == []
        matrix = precision_matrix(given, params)
        scale = matrix.diagonal().rsqrt()
        scaled = float(torch.linalg.eigvalsh(matrix * scale * scale[:, None])[0])
        # it does what is needed and no more
        if any(not torch.equal(p, before[n]) for n, p in params.items()):
            assert scaled == pytest.approx(MARGIN, rel=1e-6)
        else:
            assert scaled >= MARGIN - 1e-9
        for n, p in params.items():
            if n.endswith(("bias", "log_precision")):
                assert torch.equal(p, before[n])
        again = {n: p.clone() for n, p in params.items()}
        proper.project(again)
        for n, p in again.items():
            torch.testing.assert_close(p, params[n], rtol=1e-9, atol=0)
    assert seen == {True, False}


def test_what_is_improper_is_seen_in_the_energy() -> None:
    """Along the direction of the lowest eigenvalue -E grows without end, and after `project` along none that is tried."""
    given, proper = proper_of(
        "observed x : normal(precision = learned)[3] latent r : relu[3] edge x -- r edge x -- x edge r -- r"
    )
    params = weights(given, 1, 1.0)
    assert proper.check(params)
    proper.project(params)
    generator = torch.Generator().manual_seed(0)
    x, r = (
        torch.randn(5000, 3, generator=generator, dtype=torch.float64),
        torch.rand(5000, 3, generator=generator, dtype=torch.float64),
    )
    far = [minus_energy(given, params, {"x": x * s, "r": r * s}) for s in (1e4, 2e4)]
    assert bool((far[1] < far[0]).all()) and bool((far[0] < 0).all())


def test_couplings_of_relus_below_zero_are_free() -> None:
    """x_i x_j is never below zero, so a coupling below zero only makes the density smaller."""
    given, proper = proper_of("observed r : relu[3] edge r -- r")
    params = weights(given, 0)
    params["r_r.weight"] = -50.0 * (1 - torch.eye(3, dtype=torch.float64))
    assert proper.check(params) == []
    params["r_r.weight"] *= -1
    assert proper.check(params)


@pytest.mark.parametrize("third", ["bernoulli", "spin", "categorical(3)"])
@pytest.mark.parametrize("ends", [("normal(precision = 2)", "relu"), ("relu", "relu")])
def test_third_order(third: str, ends: tuple[str, str]) -> None:
    """After `project` the precision matrix is positive definite at every value of the bounded end."""
    given, proper = proper_of(
        f"observed x : {ends[0]}[2] observed r : {ends[1]}[3] latent c : {third}[2] edge x -- r -- c"
    )
    refused = 0
    for seed in range(8):
        params = weights(given, seed)
        refused += bool(proper.check(params))
        proper.project(params)
        assert proper.check(params) == []
        kind = family(given.graph.model.variable("c"))
        values = kind.values()
        for first in values:
            for second in values:
                c = torch.cat((first, second))
                w = torch.einsum("abc,c->ab", params["x_r_c.weight"], c)
                w = w.clamp(min=0) if ends[0] == "relu" else w
                d = torch.cat((torch.full((2,), 0.5 if ends[0] != "relu" else 1.0), torch.ones(3))).to(torch.float64)
                matrix = torch.diag(d)
                matrix[:2, 2:], matrix[2:, :2] = -w, -w.T
                assert float(torch.linalg.eigvalsh(matrix)[0]) > 0
    assert refused


@pytest.mark.parametrize(
    "edges",
    [
        "r -- n",
        "n -- n",
        "t -- n",
        "t -- t by lattice",
        "r -- n -- t",
        "n -- t -- h",
    ],
)
def test_signs(edges: str) -> None:
    """Couplings among values that are never below zero stay at most zero: the energy of a term is then never below zero."""
    body = A + f"edge {edges}"
    given, proper = proper_of(body)
    (term,) = given.graph.terms
    params = weights(given, 3)
    params["t.bias"] = -params["t.bias"].abs() - 1
    assert proper.check(params)
    kept = {n: p.clone() for n, p in params.items()}
    proper.project(params)
    assert proper.check(params) == []
    weight = term.parameter("weight")
    assert torch.equal(params[weight], kept[weight].clamp(max=0))
    assert all(torch.equal(p, kept[n]) for n, p in params.items() if n != weight)


FIELDS = {
    "bernoulli": "latent h : bernoulli[3] edge t -- h",
    "spin": "latent h : spin[3] edge t -- h",
    "categorical": "latent h : categorical(3)[2] edge t -- h",
    "low rank": "latent h : spin[3] edge t -- h by lowrank(2)",
    "third": "latent h : categorical(3)[2] latent g : spin[2] edge g -- t -- h",
}


@pytest.mark.parametrize("bias", ["site", "channel", "-0.4", "-0.0005"])
@pytest.mark.parametrize("body", FIELDS.values(), ids=FIELDS)
def test_fields_of_gammas(body: str, bias: str) -> None:
    """The greatest field over all values of the neighbours, listed one by one, is below zero after `project`; before, `check` never misses one."""
    given, proper = proper_of(f"observed t : gamma(shape = 2, bias = {bias})[2, 2] {body}")
    others = [v for v in given.graph.variables if v.name != "t"]
    tables = [family(v).values() for v in others for _ in range(v.sites)]
    rows = torch.cartesian_prod(*(torch.arange(len(t)) for t in tables)).reshape(-1, len(tables))
    states = torch.cat([table[rows[:, n]] for n, table in enumerate(tables)], 1)
    values = dict(zip((v.name for v in others), states.split([v.size for v in others], 1), strict=True))
    caught = 0
    for seed in range(6):
        params = weights(given, seed)

        def greatest(params: Mapping[str, Tensor] = params) -> float:
            """By differences of the energy between 2 and 1 at one site of t, without the base measure, log x."""
            found = []
            for site in range(4):
                one = torch.ones(len(states), 4, dtype=torch.float64)
                two = one.clone()
                two[:, site] = 2.0
                slope = minus_energy(given, params, values | {"t": two}) - minus_energy(
                    given, params, values | {"t": one}
                )
                found.append(float((slope - math.log(2.0)).max()))
            return max(found)

        if greatest() >= 0:
            caught += 1
            assert proper.check(params)
        weight = params[given.graph.terms[0].parameter("weight.0" if "lowrank" in body else "weight")].clone()
        proper.project(params)
        assert proper.check(params) == []
        assert greatest() < 0
        if not bias.startswith("-"):
            assert torch.equal(
                params[given.graph.terms[0].parameter("weight.0" if "lowrank" in body else "weight")], weight
            )
    assert caught


def test_initial_weights_are_proper() -> None:
    for seed in range(3):
        given, proper = proper_of(
            A
            + "edge x -- x by dense(init = 1) edge x -- r by dense(init = 2) edge r -- n edge n -- t edge t -- t edge t -- h by dense(init = 3)"
        )
        params = initial_parameters(given.graph, seed, None)
        assert proper.check(params) == []
        assert float(params["t.bias"].max()) < 0


def test_a_fixed_coupling_may_leave_no_law() -> None:
    given = compiled("observed x : normal[3] edge x -- x by lattice(coupling = 0.8)")
    with pytest.raises(GmcError) as caught:
        initial_parameters(given.graph, 0, None)
    assert [d.code for d in caught.value.diagnostics] == ["GM743"]
    assert "positive definite" in str(caught.value)
    assert initial_parameters(compiled("observed x : normal[3] edge x -- x by lattice(coupling = 0.6)").graph, 0, None)
    with pytest.raises(GmcError, match="above zero"):
        initial_parameters(compiled("observed n : poisson[3] edge n -- n by lattice(coupling = 0.1)").graph, 0, None)


def test_beside_a_fixed_coupling_the_learned_ones_give_way() -> None:
    given, proper = proper_of("observed x : normal[3] edge x -- x by lattice(coupling = 0.5) edge more : x -- x")
    params = weights(given, 2, 3.0)
    assert proper.check(params)
    proper.project(params)
    assert proper.check(params) == []
    assert float(params["more.weight"].abs().max()) > 0


def test_given_weights_are_checked() -> None:
    model = gmc.compile("model m { observed x : normal[2] edge x -- x } chain free { sweeps 1 }")
    good = {"x.bias": torch.zeros(2), "x_x.weight": torch.tensor([[0.0, 0.9], [0.9, 0.0]])}
    assert model.run(good).params
    with pytest.raises(GmcError) as caught:
        model.run(good | {"x_x.weight": torch.tensor([[0.0, 1.1], [1.1, 0.0]])})
    assert [d.code for d in caught.value.diagnostics] == ["GM743"]


def test_coupled_normals_are_sampled_from_their_law() -> None:
    """A Markov random field of normals, fixed and learned precisions, lateral and between layers: means and covariances are those of J^-1."""
    body = "observed x : normal(precision = learned)[3] latent z : normal(precision = 0.7)[2] edge x -- x edge x -- z"
    given, proper = proper_of(body)
    params = weights(given, 4, 0.7)
    proper.project(params)
    for name in params:
        if name.endswith("weight"):
            params[name] *= 0.8
    matrix = precision_matrix(given, params)
    covariance = torch.linalg.inv(matrix)
    zero = {v.name: torch.zeros(1, v.size, dtype=torch.float64) for v in given.graph.variables}
    unit = torch.eye(5, dtype=torch.float64)
    slope = torch.stack([minus_energy(given, params, {"x": u[None, :3], "z": u[None, 3:]}) for u in unit])[:, 0]
    slope = slope - minus_energy(given, params, zero) + 0.5 * matrix.diagonal()
    mean = covariance @ slope
    run = gmc.compile(f"model m {{ {body} }} chain free {{ start noise sweeps 150 }}").run(
        {n: p.float() for n, p in params.items()}
    )
    n = 20_000
    drawn = run.sample("free", chains=n).values
    x = torch.cat((drawn["x"], drawn["z"]), 1).to(torch.float64).numpy()
    white = np.linalg.cholesky(matrix.numpy()).T @ (x - mean.numpy()).T
    products = white @ white.T / n
    for i in range(5):
        assert 2 * stats.norm.sf(abs(white[i].mean()) * math.sqrt(n)) > ALPHA
        for j in range(i + 1):
            error = (products[i, j] - (i == j)) * math.sqrt(n / (1 + (i == j)))
            assert 2 * stats.norm.sf(abs(error)) > ALPHA


def test_training_stays_proper(tmp_path: Path) -> None:
    """Steps that are far too long push against every border; the weights stay within, and finite."""
    text = f"""
    model m {{
      observed x : normal(precision = learned)[3]
      observed n : poisson[2]
      observed t : gamma[2]
      latent r : relu[2]
      latent h : spin[2]
      edge x -- x  edge x -- r  edge r -- n  edge n -- t  edge t -- h  edge x -- h  edge x -- r -- h
    }}
    data npz("{(tmp_path / "data.npz").as_posix()}") {{ x = x  n = n  t = t }}
    chain pos {{ clamp x, n, t  sweeps 2 }}
    chain neg {{ start persistent(20) }}
    objective fit = likelihood(pos, neg)
    train {{ minimize fit using sgd(lr = 0.1)  batch 20  epochs 6 }}
    """
    random = np.random.default_rng(0)
    z = random.normal(size=(100, 1))
    np.savez(
        tmp_path / "data.npz",
        x=(z + 0.1 * random.normal(size=(100, 3))).astype(np.float32),
        n=random.poisson(2 + (z > 0), size=(100, 2)).astype(np.uint8),
        t=random.exponential(1 + 3 * (z > 0), size=(100, 2)),
    )
    run = gmc.compile(text).train(tmp_path / "run")
    proper = build_proper(run.compiled.graph)
    assert proper is not None and proper.check(run.params) == []
    assert all(bool(torch.isfinite(p).all()) for p in run.params.values())
    # something was held back
    assert float(run.params["n_t.weight"].max()) <= 0
    drawn = run.sample("neg", chains=50).values
    assert drawn["n"].dtype == torch.int64
    assert bool((drawn["t"] > 0).all()) and bool((drawn["r"] >= 0).all())
    assert open_run(tmp_path / "run").params.keys() == run.params.keys()
