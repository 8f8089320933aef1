"""Gradients of objectives against autodiff of the oracle's exact log-likelihood."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import gmc
from gmc.compiler.comparison import Comparison
from gmc.compiler.driver import Compiled
from gmc.compiler.emitter import inputs
from gmc.runtime import exact
from gmc.runtime.engine import Engine, Rows
from tests.compiler.replay import EXAMPLE, SEED, case, compile_example, encode
from tests.oracle.laws import gradient, law, log_likelihood, rows_of
from tests.oracle.models import EXAMPLES, Example, random_values, random_weights
from tests.oracle.sites import as_columns
from tests.slopes import slope

ROWS = 5
NAMES = [example.name for example in EXAMPLES]


def close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Equal by 1e-5, relative, parameter by parameter, and no parameter missing."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        scale = max(value.abs().max().item(), 1e-3)
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5 * scale, msg=lambda m, n=name: f"{n}: {m}")


def statistics(compiled: Compiled, weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean statistics of a batch, by the gradient graph."""
    module = compiled.gradient
    given = dict(weights) | {f"value.{n}": x for n, x in values.items()}
    return module(*(given[n] for n in inputs(module)))


def observed(model: object) -> list[str]:
    return [v.name for v in model.observed]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_the_energys_gradient(name: str) -> None:
    """-dE/dtheta at complete states is the gradient graph; symmetric weights have the derivative of their pair in both places."""
    given = case(name)
    values = random_values(given.model, 31, n=ROWS)
    leaves = {n: w.clone().requires_grad_() for n, w in given.weights.items()}
    from tests.oracle.energy import energy

    mean = -energy(given.model, leaves, as_columns(given.model, values)).mean()
    expected = dict(zip(leaves, torch.autograd.grad(mean, list(leaves.values()), materialize_grads=True), strict=True))
    for edge in given.model.edges:
        if edge.lateral and edge.factor.word == "dense":
            expected[f"{edge.name}.weight"] = expected[f"{edge.name}.weight"] + expected[f"{edge.name}.weight"].T
    close(statistics(given.compiled, given.weights, encode(given.model, as_columns(given.model, values))), expected)


def objective(example: Example, positive: str, negative: str, chains: str) -> Compiled:
    """The example with a likelihood."""
    return compile_example(
        example, "", f"{chains}\nobjective nll = likelihood(positive = {positive}, negative = {negative})\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_exact_likelihood(name: str) -> None:
    """`likelihood(exact(data), exact(free))` is minus the log-likelihood, and its gradient the derivative."""
    example = EXAMPLE[name]
    names = observed(case(name).model)
    compiled = objective(
        example, "exact(given_data)", "exact(given)", f"chain given_data {{ clamp {', '.join(names)} }}"
    )
    model = compiled.checked.model
    weights = random_weights(model, SEED)
    values = {n: x for n, x in random_values(model, 32, n=ROWS).items() if n in names}
    oracle_rows = rows_of(model, values)
    rows = Rows({n: encode(model, as_columns(model, random_values(model, 32, n=ROWS)))[n] for n in names}, ROWS)
    found = slope(compiled, weights, rows)
    assert found.loss.item() == pytest.approx(-log_likelihood(model, weights, oracle_rows).mean().item(), abs=1e-8)
    close({n: -g for n, g in found.gradient.items()}, gradient(model, weights, oracle_rows))


@pytest.mark.parametrize(
    ("name", "positive", "negative"),
    [
        ("label_rbm", "clamp v, y", "clamp v"),
        ("rbm", "clamp v", "clamp v[0, 0:2]"),
        ("boltzmann", "clamp v", "clamp v[1:3]"),
        ("potts_lateral", "clamp y", "clamp y[1]"),
        ("lowrank_lateral", "clamp v, y", "clamp v[1:3]"),
        ("gaussian_mixed", "clamp x, y", "clamp x[1:], y"),
    ],
)
def test_conditional_likelihood(name: str, positive: str, negative: str) -> None:
    """What the negative side clamps is conditioned on."""
    from tests.oracle.sites import clamped_sites

    chains = f"chain up {{ {positive} }}\nchain down {{ {negative} }}"
    compiled = objective(EXAMPLE[name], "exact(up)", "exact(down)", chains)
    model = compiled.checked.model
    weights = random_weights(model, SEED)
    names = positive.removeprefix("clamp ").split(", ")
    all_values = random_values(model, 33, n=ROWS)
    rows = Rows({n: encode(model, as_columns(model, all_values))[n] for n in names}, ROWS)
    oracle_rows = rows_of(model, {n: all_values[n] for n in names})
    given = clamped_sites(model, compiled.checked.chain("down"))
    found = slope(compiled, weights, rows)
    expected = -log_likelihood(model, weights, oracle_rows, given).mean().item()
    assert found.loss.item() == pytest.approx(expected, abs=1e-8)
    close({n: -g for n, g in found.gradient.items()}, gradient(model, weights, oracle_rows, given))


@pytest.mark.parametrize("name", ["rbm", "label_rbm", "conv", "lowrank", "sparse", "gaussian_rbm"])
def test_a_positive_side_in_closed_form(name: str) -> None:
    """Where all latents are drawn last, the sampled positive side enters by its exact mean: the gradient is exact too."""
    names = observed(case(name).model)
    compiled = objective(EXAMPLE[name], "up", "exact(given)", f"chain up {{ clamp {', '.join(names)} }}")
    model = compiled.checked.model
    weights = random_weights(model, SEED)
    all_values = random_values(model, 34, n=ROWS)
    rows = Rows({n: encode(model, as_columns(model, all_values))[n] for n in names}, ROWS)
    found = slope(compiled, weights, rows).gradient
    close(
        {n: -g for n, g in found.items()}, gradient(model, weights, rows_of(model, {n: all_values[n] for n in names}))
    )


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_log_z_is_the_mean_statistic(name: str) -> None:
    """`exact`'s gradient against the gradient graph at the listed states, weighted by their probabilities."""
    given = case(name)
    if given.law.finite != given.law.free:
        pytest.skip("normals are integrated, not listed")
    marginal = given.compiled.marginal({})
    found = exact.log_partition(marginal, given.weights, {}, gradient=True).gradient
    n = len(given.law.p)
    expected: dict[str, Tensor] = {}
    leaves = {name: w.clone().requires_grad_() for name, w in given.weights.items()}
    from tests.oracle.laws import log_partition

    slopes = torch.autograd.grad(log_partition(given.model, leaves), list(leaves.values()), materialize_grads=True)
    expected = dict(zip(leaves, slopes, strict=True))
    for edge in given.model.edges:
        if edge.lateral and edge.factor.word == "dense":
            expected[f"{edge.name}.weight"] = expected[f"{edge.name}.weight"] + expected[f"{edge.name}.weight"].T
    assert n > 1
    close(found, expected)


def weighted(
    compiled: Compiled, weights: Mapping[str, Tensor], values: Mapping[str, Tensor], p: Tensor
) -> dict[str, Tensor]:
    """The expectation of the statistics of listed states: one call a state."""
    total = {n: torch.zeros_like(w) for n, w in weights.items()}
    for row in p.nonzero()[:, 0].tolist():
        for n, s in statistics(compiled, weights, {v: x[row : row + 1] for v, x in values.items()}).items():
            total[n] += p[row] * s
    return total


@pytest.mark.parametrize(("name", "kind"), [("tiny", "cd"), ("tiny", "pcd")])
def test_contrastive_divergence(name: str, kind: str) -> None:
    """The mean of many CD-1 (or first PCD-1) gradients is what the chain's exact transition matrix makes of the data (of pass 0)."""
    import numpy as np

    from tests.oracle import stats
    from tests.oracle.sweeps import block_matrix, pass_zero

    tiny = Example("tiny", "observed v : bernoulli[3]\n latent h : bernoulli[2]\n edge v -- h\n", ("",))
    start = "start v from data" if kind == "cd" else "start persistent(40000)"
    chains = f"chain up {{ clamp v }}\nchain down {{ {start}  sweeps 1 }}"
    extra = 'data npz("none.npz") { v = v }\n' if kind == "cd" else ""
    compiled = objective(tiny, "up", "down", extra + chains)
    model = compiled.checked.model
    weights = random_weights(model, SEED)
    free = law(model, weights)
    runs = 40_000
    row = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    engine = Engine(compiled, weights, 3, "test")
    out = engine.run("down", Rows({"v": row.expand(runs, -1)}, runs))
    v, h = free.block(["v"]), free.block(["h"])
    if kind == "cd":
        held = (free.values[:, :3] == row).all(1).to(torch.float64)
        # pass 0 draws h from the data, and the sweep v and h anew
        begin = held * free.p / (held @ free.p)
    else:
        begin = pass_zero(free, [v, h])
    end = begin @ block_matrix(free, v) @ block_matrix(free, h)
    states = encode(model, free.values)
    expected = weighted(compiled, weights, states, end)
    means = dict(out.mean.items())
    for values in (out.value, means):
        found = {
            "v.bias": values["v"],
            "h.bias": values["h"],
            "v_h.weight": (values["v"].unsqueeze(2) * values["h"].unsqueeze(1)),
        }
        for n, each in found.items():
            flat = each.reshape(runs, -1).to(torch.float64)
            for column, target in enumerate(expected[n].flatten().tolist()):
                verdict = stats.mean_within(np.asarray(flat[:, column]), target, comparisons=11)
                assert verdict.ok, f"{n}[{column}]: {verdict}"
    # the graph of the gradient takes the same means
    given = {f"negative.mean.{n}": x for n, x in out.mean.items()} | {
        f"positive.mean.{n}": x for n, x in out.mean.items()
    }
    (graph,) = compiled.descents("nll")
    assert isinstance(graph, Comparison)
    both = graph.module(*((dict(weights) | given)[n] for n in inputs(graph.module)))
    assert all(g.abs().max() < 1e-12 for g in both["gradient"].values())
    assert abs(float(both["loss"])) < 1e-12
    negative = statistics(compiled, weights, out.mean)
    # smoothing never adds variance: h is drawn last
    smooth, rough = (out.mean["h"].var(0), out.value["h"].var(0))
    assert (smooth <= rough).all()
    torch.testing.assert_close(negative["h.bias"], out.mean["h"].mean(0))


def test_lateral_gradients_are_symmetric_to_the_last_bit() -> None:
    text = "model m { observed v : bernoulli[6] latent h : categorical(3)[2] edge v -- v edge h -- h edge v -- h }"
    graph = gmc.compile(text).compiled
    generator = torch.Generator().manual_seed(0)
    values = {f"value.{v.name}": torch.rand(100, v.size, generator=generator) for v in graph.graph.variables}
    values |= {p.name: torch.zeros(p.shape) for p in graph.graph.parameters}
    found = graph.gradient(*(values[name] for name in inputs(graph.gradient)))
    for name, blocks in (("v_v.weight", 1), ("h_h.weight", 3)):
        assert torch.equal(found[name], found[name].T)
        within = found[name].unflatten(0, (-1, blocks)).unflatten(2, (-1, blocks)).diagonal(dim1=0, dim2=2)
        assert not within.any()


def test_mean_field_adds_the_variance_to_learned_precisions() -> None:
    """With nothing between them the posterior of a latent normal is its prior: the mean-field side cancels the exact one, in rows that hold a part of it too."""
    text = """
    model m { observed x : normal(precision = learned)[3]  latent z : normal(precision = learned)[4] }
    chain held { clamp x where observed  clamp z[0:1] = 2  update mean }
    chain base { clamp z[0:1] = 2 }
    objective nll = likelihood(positive = held, negative = exact(base))
    """
    compiled = gmc.compile(text).compiled
    names = {p.name: p.shape for p in compiled.graph.parameters}
    weights = {n: torch.linspace(-0.7, 0.9, shape[0], dtype=torch.float64) for n, shape in names.items()}
    x = torch.tensor([[0.5, torch.nan, -1.0], [torch.nan, torch.nan, 2.0]], dtype=torch.float64)
    gradient = slope(compiled, weights, Rows({"x": x}, 2)).gradient
    torch.testing.assert_close(gradient["z.log_precision"], torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    beta, b = weights["x.log_precision"].exp(), weights["x.bias"]
    seen = ~x.isnan()
    # of what is observed the derivative of -log N(x; b, 1 / beta) by log beta, of what is not nothing
    expected = torch.where(seen, beta * (x.nan_to_num() - b) ** 2 / 2 - 0.5, 0.0).mean(0)
    torch.testing.assert_close(gradient["x.log_precision"], expected, rtol=0, atol=1e-12)


def test_a_negative_side_that_settles() -> None:
    """Its statistics are those after a mean-field pass over the latent variables, block by block, from the states that the chain ended in."""
    text = """
    model m { observed v : bernoulli[4]  latent a : bernoulli[3]  latent b : bernoulli[2]  edge v -- a  edge a -- b }
    data npz("none.npz") { v = v }
    chain up { clamp v }
    chain down { start data  sweeps 2 }
    objective nll = likelihood(exact(up), down, settle = true)
    """
    compiled = gmc.compile(text).compiled
    weights = random_weights(compiled.checked.model, SEED)
    v = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    rows = Rows({"v": v}, 3)
    from tests.slopes import step_on

    step = step_on(compiled, weights, rows)
    (descent,) = compiled.descents("nll")
    found = descent.slope(step)
    ended = Engine(compiled, weights, 1, "train").run("down", rows).value
    order = [r.name for block in compiled.schedules["down"].blocks for r in block if r.name != "v"]
    means = dict(ended)
    for name in order:
        field = weights[f"{name}.bias"]
        if name == "a":
            field = field + means["v"] @ weights["v_a.weight"] + means["b"] @ weights["a_b.weight"].T
        else:
            field = field + means["a"] @ weights["a_b.weight"]
        means[name] = torch.sigmoid(field)
    assert order == ["b", "a"] and torch.equal(means["v"], ended["v"])
    exactly = step.log_partition(step.conditioned("up")).gradient
    expected = {n: statistics(compiled, weights, means)[n] - exactly[n] for n in weights}
    close(found.gradient, expected)
