"""Counts, nonnegative and real numbers from data to pictures; starts by a law; contrastive divergence over unbounded values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from torch import Tensor

import gmc
from gmc.compiler.driver import Compiled
from gmc.compiler.graph import family
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import chains, images
from gmc.runtime.chains import Given
from gmc.runtime.initial import initial_parameters
from gmc.runtime.tensor_data import TensorData
from tests.compiler.replay import EXAMPLE, SEED, case, compile_example, key_of
from tests.compiler.test_gradients import statistics
from tests.oracle import stats
from tests.oracle.laws import gradient, rows_of
from tests.oracle.models import random_values, random_weights
from tests.oracle.sites import as_columns

MODEL = """
model m {
  observed n : poisson[2, 3]
  observed r : relu[2]
  observed t : gamma(shape = 2)[2]
  observed x : normal(precision = learned)[2]
  latent   h : bernoulli[3]
  edge n -- h  edge r -- h  edge t -- h  edge x -- h
}
chain pos { clamp n, r, t, x }
chain neg { start persistent(10) }
"""
TRAIN = """
objective fit = likelihood(pos, neg)
train { minimize fit using sgd(lr = 0.02, weight_decay = 0.5)  batch 10  epochs 3 }
"""
RANDOM = np.random.default_rng(0)
ROWS = {
    "n": RANDOM.poisson(3.0, (50, 2, 3)).astype(np.uint16),
    "r": RANDOM.exponential(1.0, (50, 2)).astype(np.float32),
    "t": RANDOM.gamma(2.0, 1.5, (50, 2)),
    "x": RANDOM.normal(2.0, [0.1, 3.0], (50, 2)),
}
LINES = "n = n  r = r  t = t  x = x"


def trained(folder: Path, train: str = TRAIN) -> gmc.Run:
    np.savez(folder / "rows.npz", **ROWS)  # type: ignore[arg-type]
    text = f'{MODEL}\ndata npz("{(folder / "rows.npz").as_posix()}") {{ {LINES} }}\n{train}'
    return gmc.compile(text).train(folder / "run")


def test_from_npz_to_pictures(tmp_path: Path) -> None:
    run = trained(tmp_path)
    drawn = run.sample("neg", chains=20).values
    assert drawn["n"].dtype == torch.int64 and drawn["n"].shape == (20, 2, 3)
    for name, values in drawn.items():
        variable = run.compiled.checked.model.variable(name)
        assert not family(variable).unclaimed(values).any()
        picture = images.grid(values, variable)
        assert picture.dtype == np.uint8 and picture.max() > picture.min()


def test_counts_from_csv(tmp_path: Path) -> None:
    rows = ROWS["n"].reshape(50, 6)[:, :2]
    lines = ["a,b", *(f"{a},{b}" for a, b in rows.tolist())]
    (tmp_path / "counts.csv").write_text("\n".join(lines) + "\n")
    path = (tmp_path / "counts.csv").as_posix()
    text = f'model m {{ observed a : poisson  observed b : poisson }} data csv("{path}") {{ a = a  b = b }} chain free {{ }}'
    train = "chain pos { clamp a, b } objective fit = likelihood(pos, exact(free)) train { minimize fit using sgd(lr = 0.1)  batch 50  epochs 300 }"
    run = gmc.compile(text + train).train()
    for n, name in enumerate("ab"):
        assert float(run.params[f"{name}.bias"].exp()) == pytest.approx(rows[:, n].mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("n", 2.5, "a whole number"), ("n", -1.0, "a whole number"), ("r", -0.1, "at least 0"), ("t", 0.0, "above 0")],
)
def test_values_outside(tmp_path: Path, name: str, value: float, words: str) -> None:
    bad = {n: x.astype(np.float64) for n, x in ROWS.items()}
    bad[name][(7, *(0,) * (bad[name].ndim - 1))] = value
    np.savez(tmp_path / "rows.npz", **bad)  # type: ignore[arg-type]
    text = f'{MODEL}\ndata npz("{(tmp_path / "rows.npz").as_posix()}") {{ {LINES} }}\n{TRAIN}'
    with pytest.raises(GmcError) as caught:
        gmc.compile(text).train()
    (found,) = caught.value.diagnostics
    assert found.code == "GM658" and words in found.message and f"row 7 has {value:g}" in found.message


def data_of(compiled: Compiled) -> TensorData:
    rows = {n: torch.from_numpy(x.astype(np.float64)) for n, x in ROWS.items()}
    return TensorData.of(compiled, rows, torch.device("cpu"), torch.float64)


def test_first_values_are_those_of_the_data() -> None:
    """Without weights each site has the mean of its column, and a learned precision its spread."""
    compiled = gmc.compile(MODEL).compiled
    params = initial_parameters(compiled.graph, 0, data_of(compiled))
    for name, rows in ROWS.items():
        kind = family(compiled.graph.model.variable(name))
        law = kind.at({s: params[f"{name}.{s}"].reshape(-1) for s in kind.own(rows.shape[1:])})
        mean = law.mean(params[f"{name}.bias"].reshape(1, -1))
        np.testing.assert_allclose(mean[0], rows.reshape(50, -1).mean(0), rtol=1e-6)
    np.testing.assert_allclose(params["x.log_precision"].exp(), 1 / ROWS["x"].var(0), rtol=1e-6)


def test_weight_decay_leaves_precisions_alone(tmp_path: Path) -> None:
    """With a rate of decay that would halve whatever it acts on, and a gradient of nearly nothing, the precision stays."""
    slow = TRAIN.replace("lr = 0.02, weight_decay = 0.5", "lr = 1e-9, weight_decay = 3e7")
    run = trained(tmp_path, slow)
    compiled = run.compiled
    first = initial_parameters(compiled.graph, 0, data_of(compiled))
    for name in ("x.log_precision", "x.bias", "t.bias"):
        torch.testing.assert_close(run.params[name].double(), first[name], rtol=1e-5, atol=1e-5)
    assert float(run.params["x_h.weight"].abs().max()) < 0.8 * float(first["x_h.weight"].abs().max())


def test_a_variable_names_its_bias_and_precision(tmp_path: Path) -> None:
    run = trained(tmp_path, TRAIN.replace("minimize fit using", "minimize fit of x using"))
    first = initial_parameters(run.compiled.graph, 0, data_of(run.compiled))
    moved = {n for n, p in run.params.items() if not torch.allclose(p.double(), first[n], rtol=1e-6, atol=1e-7)}
    assert moved == {"x.bias", "x.log_precision"}


# ── Contrastive divergence ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["learned", "rectified", "counted", "waited", "endless"])
@pytest.mark.parametrize("end", ["mean", "value"])
def test_gradients_by_sampled_chains(name: str, end: str) -> None:
    """Statistics of both sides' samples, drawn blocks or their means, differ by the derivative of the exact log-likelihood: each entry within its error."""
    given = case(name)
    model, weights = given.model, random_weights(given.model, SEED)
    observed = [v.name for v in model.observed]
    row = {n: x for n, x in random_values(model, 41).items() if n in observed}
    expected = gradient(model, weights, rows_of(model, row))
    parts, runs = 40, 1500
    mean, error = {n: torch.zeros_like(w) for n, w in weights.items()}, {}
    for side, items in ((1.0, f"clamp {', '.join(observed)}"), (-1.0, "")):
        program = compile_example(EXAMPLE[name], items).program("given")
        held = case(name, items)
        whole = held.statistics(as_columns(model, random_values(model, 41)))
        clamped = {n: whole[n].expand(parts * runs, -1) for n in program.schedule.clamped}
        out = chains.run(program, weights, Given(clamped, {}, key_of(parts * runs, 8), 3), 30, torch.float64)
        states: dict[str, Tensor] = out.mean if end == "mean" else out.value  # type: ignore[assignment]
        means = [{n: x[k * runs : (k + 1) * runs] for n, x in states.items()} for k in range(parts)]
        values = [{n: x[k * runs : (k + 1) * runs] for n, x in out.value.items()} for k in range(parts)]
        found = [two_sided(given.compiled, weights, m, v) for m, v in zip(means, values, strict=True)]
        for n in weights:
            stack = torch.stack([f[n] for f in found])
            mean[n] += side * stack.mean(0)
            error[n] = error.get(n, 0) + stack.var(0) / parts
    tests = sum(w.numel() for w in weights.values())
    for n, wanted in expected.items():
        deviation = (mean[n] - wanted).abs() / error[n].sqrt().clamp(min=1e-12)
        # forty parts: Student's t, a little wider than normal
        p = 2 * scipy_stats.t.sf(deviation.numpy(), parts - 1) * tests
        assert (p > stats.ALPHA).all(), (n, mean[n], wanted)


def two_sided(
    compiled: Compiled, weights: dict[str, Tensor], means: dict[str, Tensor], values: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The sufficient statistics, with means where the energy is linear: the gradient graph takes one set of states, so the precision's part is put in."""
    found = statistics(compiled, weights, means)
    drawn = statistics(compiled, weights, values)
    return {n: drawn[n] if n.endswith("log_precision") else found[n] for n in found}


# ── Starts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

STARTS = [
    ("x", "normal", "normal(2, 0.5)", scipy_stats.norm(2, 0.5)),
    ("x", "normal(precision = 4)", "normal", scipy_stats.norm()),
    ("x", "normal(precision = 4)", "uniform(-1, 3)", scipy_stats.uniform(-1, 4)),
    ("r", "relu", "uniform", scipy_stats.uniform()),
    ("t", "gamma", "uniform(1, 2)", scipy_stats.uniform(1, 1)),
]


@pytest.mark.parametrize(("name", "kind", "start", "law"), STARTS)
def test_starts_are_drawn_from_their_law(name: str, kind: str, start: str, law: scipy_stats.rv_frozen) -> None:
    model = gmc.compile(f"model m {{ observed {name} : {kind}[50] }} chain c {{ start {name} from {start}  sweeps 0 }}")
    run = model.run({p.name: torch.full(p.shape, -1.0) for p in model.compiled.graph.parameters})
    drawn = run.sample("c", chains=1000).values[name]
    assert scipy_stats.kstest(drawn.flatten().double().numpy(), law.cdf).pvalue > stats.ALPHA
    assert torch.equal(run.sample("c", chains=7).values[name], drawn[:7])


@pytest.mark.parametrize(("kind", "p"), [("bernoulli", 0.2), ("poisson", 0.7), ("bernoulli", 0.0), ("relu", 1.0)])
def test_bernoulli_starts(kind: str, p: float) -> None:
    model = gmc.compile(f"model m {{ observed v : {kind}[50] }} chain c {{ start v from bernoulli({p})  sweeps 0 }}")
    run = model.run({q.name: torch.zeros(q.shape) for q in model.compiled.graph.parameters})
    drawn = run.sample("c", chains=1000).values["v"].double()
    assert bool(((drawn == 0) | (drawn == 1)).all())
    assert scipy_stats.binomtest(int(drawn.sum()), 50_000, p).pvalue > stats.ALPHA if 0 < p < 1 else drawn.mean() == p


# ── Exact sums where numbers have no bound ───────────────────────────────────────────────────────────────────────────


def test_likelihood_of_counts_is_a_law() -> None:
    """All counts of two sites up to where nothing is left add up to one."""
    run = gmc.compile("model m { observed n : poisson[2]  latent h : bernoulli[2]  edge n -- h } chain c { }").run(
        {
            "n.bias": torch.tensor([0.3, -0.4]),
            "h.bias": torch.tensor([0.1, -0.2]),
            "n_h.weight": torch.tensor([[0.4, -0.3], [0.2, 0.5]]),
        }
    )
    every = torch.cartesian_prod(torch.arange(60), torch.arange(60))
    assert float(run.log_likelihood({"n": every}).exp().sum()) == pytest.approx(1, abs=1e-10)
