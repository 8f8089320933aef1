"""Energies and laws against closed forms, and against code of another kind."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from tests.oracle.by_hand import boltzmann, close, dbm, edge, gaussian, model, rbm, variable
from tests.oracle.energy import energy
from tests.oracle.laws import (
    gradient,
    joint_log_density,
    law,
    log_likelihood,
    log_partition,
    rows_of,
)
from tests.oracle.models import random_values, random_weights
from tests.oracle.sites import Site, as_columns, enumerate_states, sites
from tests.oracle.tails import base, below, log_integral, moments, sample
from tests.oracle.terms import bonds

# ── Energies and laws ────────────────────────────────────────────────────────────────────────────────────────────────


def test_states_are_all_different_and_complete() -> None:
    table = enumerate_states(dbm())
    assert table.shape == (2**4 * 2**3 * 3**2, 9)
    assert len(torch.unique(table, dim=0)) == len(table)
    fixed = enumerate_states(dbm(), {("b", 1): 2, ("v", 0): 1})
    assert len(fixed) == len(table) / 6
    assert (fixed[:, 8] == 2).all()
    assert (fixed[:, 0] == 1).all()


def test_a_value_outside_the_support_or_an_unknown_site_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        enumerate_states(dbm(), {("b", 1): 3})
    with pytest.raises(ValueError, match="no such sites"):
        enumerate_states(dbm(), {("v", 4): 1})


def test_rbm_free_energy() -> None:
    m = rbm()
    w = random_weights(m, 1)
    given = law(m, w)
    b, c, weight = w["v.bias"].reshape(-1), w["h.bias"], w["v_h.weight"]
    patterns = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)
    free = -patterns @ b - torch.nn.functional.softplus(c + patterns @ weight).sum(1)
    assert close(given.log_z, torch.logsumexp(-free, 0))
    rows = rows_of(m, {"v": patterns.reshape(-1, 2, 2)})
    assert close(log_likelihood(m, w, rows), -free - given.log_z)
    assert close(given.marginal(5)[1], ((-free - given.log_z).exp() * torch.sigmoid(c + patterns @ weight)[:, 1]).sum())


def test_rbm_gradient_is_the_difference_of_moments() -> None:
    m = rbm()
    w = random_weights(m, 2)
    rows = random_values(m, 3, n=5)["v"]
    found = gradient(m, w, rows_of(m, {"v": rows}))
    p = torch.sigmoid(w["h.bias"] + rows.reshape(5, 4) @ w["v_h.weight"])
    free = law(m, w)
    assert close(found["v.bias"].reshape(-1), rows.reshape(5, 4).mean(0) - free.mean()[:4])
    assert close(found["h.bias"], p.mean(0) - free.mean()[4:])
    assert close(found["v_h.weight"], rows.reshape(5, 4).T @ p / 5 - free.second()[:4, 4:])


def test_gradient_of_a_conditional_likelihood_is_that_of_logistic_regression() -> None:
    """Two visible layers without hidden ones: p(y | x) is a softmax regression."""
    m = model((variable("x", "bernoulli", 3), variable("y", "categorical", k=4)), edge("x", "y"))
    w = random_weights(m, 4)
    rows = random_values(m, 5, n=6)
    given = [s for s in sites(m) if s.variable == "x"]
    logits = (w["y.bias"] + rows["x"] @ w["x_y.weight"]).requires_grad_()
    expected = torch.log_softmax(logits, 1)[torch.arange(6), rows["y"].reshape(-1).long()]
    assert close(log_likelihood(m, w, rows_of(m, rows), given), expected)
    (residual,) = torch.autograd.grad(expected.mean(), logits)
    found = gradient(m, w, rows_of(m, rows), given)
    assert close(found["x_y.weight"], rows["x"].T @ residual)
    assert close(found["x.bias"], torch.zeros(3))


def test_a_missing_value_is_summed_out() -> None:
    m = rbm()
    w = random_weights(m, 6)
    rows = torch.tensor([[[0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]], [[0.0, math.nan], [1.0, 1.0]]])
    one, other, either = log_likelihood(m, w, rows_of(m, {"v": rows})).exp()
    assert close(one + other, either)


def test_lateral_gradient_is_by_the_number_that_both_triangles_share() -> None:
    m = boltzmann()
    w = random_weights(m, 7)
    rows = rows_of(m, {"v": random_values(m, 8, n=3)["v"]})
    found = gradient(m, w, rows)["v_v.weight"]
    step = torch.zeros(4, 4, dtype=torch.float64)
    step[1, 3] = step[3, 1] = 1e-5
    up, down = (log_likelihood(m, {**w, "v_v.weight": w["v_v.weight"] + s * step}, rows).mean() for s in (1, -1))
    assert found[1, 3].item() == pytest.approx(((up - down) / 2e-5).item(), rel=1e-7)
    assert close(found, found.T)
    assert close(found.diagonal(), torch.zeros(4))


@pytest.mark.parametrize(("n", "coupling", "field"), [(3, 0.4, 0.3), (7, 0.15, -0.2), (10, 0.25, 0.1)])
def test_curie_weiss(n: int, coupling: float, field: float) -> None:
    """All spins joined alike: the states count by their magnetisation."""
    m = model((variable("s", "spin", n),), edge("s", "s"))
    w = {
        "s.bias": torch.full((n,), field, dtype=torch.float64),
        "s_s.weight": coupling * (1 - torch.eye(n, dtype=torch.float64)),
    }
    up = np.arange(n + 1)
    total = 2.0 * up - n
    exponent = coupling / 2 * (total**2 - n) + field * total
    weight = np.array([math.comb(n, int(k)) for k in up]) * np.exp(exponent)
    given = law(m, w)
    assert close(given.log_z, math.log(weight.sum()))
    assert close(given.mean().mean(), (weight * total).sum() / weight.sum() / n)
    correlation = ((weight * total**2).sum() / weight.sum() - n) / (n * (n - 1))
    assert close(given.second()[0, 1], correlation)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_ising_chain_by_transfer_matrix(n: int, boundary: str) -> None:
    m = model((variable("s", "spin", n),), edge("s", "s", factor="lattice", boundary=boundary))
    w = {"s.bias": torch.full((n,), 0.3, dtype=torch.float64), "s_s.weight": torch.tensor([0.45], dtype=torch.float64)}
    spin = np.array([-1.0, 1.0])
    bond = np.exp(0.45 * np.outer(spin, spin))
    site = np.diag(np.exp(0.3 * spin))
    chain = np.linalg.matrix_power(site @ bond, n - 1) @ site
    # a ring of two has one bond, and of one none: they are open chains
    z = np.trace(chain @ bond) if boundary == "periodic" and n > 2 else chain.sum()
    assert close(law(m, w).log_z, math.log(z))


def test_potts_ring_by_transfer_matrix() -> None:
    m = model((variable("s", "categorical", 6, k=3),), edge("s", "s", factor="lattice", boundary="periodic"))
    w = {"s.bias": torch.zeros(6, 3, dtype=torch.float64), "s_s.weight": torch.tensor([0.8], dtype=torch.float64)}
    z = np.trace(np.linalg.matrix_power(np.exp(0.8 * np.eye(3)), 6))
    assert close(law(m, w).log_z, math.log(z))


@pytest.mark.parametrize(
    ("shape", "periodic", "count"),
    [((4,), False, 3), ((4,), True, 4), ((2,), True, 1), ((1,), True, 0), ((3, 4), False, 17), ((3, 4), True, 24),
     ((2, 4, 1), True, 12), ((2, 2), True, 4)],
)  # fmt: skip
def test_bonds_are_counted_once(shape: tuple[int, ...], periodic: bool, count: int) -> None:
    found = [frozenset(pair) for _, *pair in bonds(shape, periodic)]
    assert len(found) == len(set(found)) == count
    assert all(len(pair) == 2 for pair in found)


def test_third_order_given_one_layer_is_an_rbm() -> None:
    three = (variable("x", "bernoulli", 3), variable("y", "spin", 3), variable("h", "bernoulli", 2))
    m = model(three, edge("x", "y", "h", name="e"))
    w = random_weights(m, 9)
    x = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    given = law(m, w, {("x", i): x[i].item() for i in range(3)})
    pair = model(three[1:], edge("y", "h"))
    contracted = torch.einsum("i,ijk->jk", x, w["e.weight"])
    small = law(pair, {"y.bias": w["y.bias"], "h.bias": w["h.bias"], "y_h.weight": contracted})
    assert close(given.p, small.p)


def test_lowrank_of_full_rank_is_dense() -> None:
    ends = (variable("v", "spin", 3), variable("y", "categorical", 2, k=3))
    low, full = model(ends, edge("v", "y", factor="lowrank", k=2)), model(ends, edge("v", "y"))
    a, b = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bias = {name: value for name, value in random_weights(full, 10).items() if name.endswith("bias")}
    found = law(low, {**bias, "v_y.weight.0": a[:3], "v_y.weight.1": b})
    assert close(found.p, law(full, {**bias, "v_y.weight": a[:3] @ b.T}).p)


def test_lateral_lowrank_leaves_no_site_to_itself() -> None:
    ends = (variable("y", "categorical", 3, k=2),)
    low, full = model(ends, edge("y", "y", factor="lowrank", k=2)), model(ends, edge("y", "y"))
    a, b = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    bias = {"y.bias": torch.zeros(3, 2, dtype=torch.float64)}
    w = (a @ b.T + b @ a.T) / 2
    for site in range(3):
        w[2 * site : 2 * site + 2, 2 * site : 2 * site + 2] = 0
    assert close(law(low, {**bias, "y_y.weight.0": a, "y_y.weight.1": b}).p, law(full, {**bias, "y_y.weight": w}).p)


def test_lowrank_third_order_is_a_dense_cube() -> None:
    ends = (variable("x", "bernoulli", 3), variable("y", "spin", 2), variable("h", "categorical", k=3))
    names = ("x", "y", "h")
    low, full = model(ends, edge(*names, factor="lowrank", name="e", k=2)), model(ends, edge(*names, name="e"))
    generator = torch.Generator().manual_seed(3)
    parts = [torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (3, 2, 3)]
    bias = {name: value for name, value in random_weights(full, 11).items() if name.endswith("bias")}
    cube = torch.einsum("if,jf,kf->ijk", *parts)
    found = law(low, {**bias, **{f"e.weight.{n}": part for n, part in enumerate(parts)}})
    assert close(found.p, law(full, {**bias, "e.weight": cube}).p)


def test_conv_is_torch_conv2d() -> None:
    ends = (variable("v", "bernoulli", 2, 3, 4), variable("h", "categorical", 2, 2, 3, k=3))
    m = model(ends, edge("v", "h", factor="conv", kernel=2, stride=2, padding=1))
    w = random_weights(m, 12)
    values = random_values(m, 13, n=7)
    maps = torch.nn.functional.conv2d(values["v"], w["v_h.weight"], stride=2, padding=1)
    hot = torch.nn.functional.one_hot(values["h"].long(), 3).to(torch.float64)
    hot = torch.stack([hot[:, c, :, :, s] for c in range(2) for s in range(3)], dim=1)
    expected = -(maps * hot).sum((1, 2, 3)) - values["v"].flatten(1) @ w["v.bias"].flatten()
    expected = (
        expected
        - torch.nn.functional.one_hot(values["h"].long(), 3).to(torch.float64).flatten(1) @ w["h.bias"].flatten()
    )
    assert close(energy(m, w, as_columns(m, values)), expected)


def test_tied_edges_share_weights() -> None:
    layers = tuple(variable(name, "bernoulli", 3) for name in "abc")
    tied = model(layers, edge("a", "b"), edge("b", "c", factor="tied", to="a_b"))
    free = model(layers, edge("a", "b"), edge("b", "c"))
    w = random_weights(tied, 14)
    assert close(law(tied, w).p, law(free, {**w, "b_c.weight": w["a_b.weight"]}).p)
    found = gradient(tied, w, rows_of(tied, {"a": torch.tensor([[1.0, 0.0, 1.0]])}))
    apart = gradient(free, {**w, "b_c.weight": w["a_b.weight"]}, rows_of(free, {"a": torch.tensor([[1.0, 0.0, 1.0]])}))
    assert close(found["a_b.weight"], apart["a_b.weight"] + apart["b_c.weight"])


# ── Normals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gaussian_rbm_closed_form() -> None:
    """Deep Learning, eq. 20.42 with a visible bias: p(v | h) = N(b + W h, 1 / beta), p(h = 1 | v) = sigmoid(c + beta v' W)."""
    m = gaussian()
    w = random_weights(m, 15)
    beta, b, c, weight = 2.5, w["x.bias"], w["h.bias"], w["x_h.weight"]
    h = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)
    mean = b + h @ weight.T
    logs = h @ c + beta / 2 * (mean**2).sum(1) + 1.5 * math.log(2 * math.pi / beta)
    free = law(m, w)
    assert close(free.log_z, torch.logsumexp(logs, 0))
    assert close(free.p, torch.softmax(logs, 0))
    assert close(free.values[:, :3], mean)
    assert close(free.variances, torch.tensor([1 / beta] * 3 + [0.0] * 4, dtype=torch.float64).expand(16, -1))
    x = {("x", i): value for i, value in enumerate((0.3, -1.2, 0.7))}
    given = law(m, w, x)
    assert close(
        given.mean()[3:], torch.sigmoid(c + beta * torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64) @ weight)
    )


def test_gaussian_moments_and_density_by_quadrature() -> None:
    m = model((variable("x", "normal", precision=0.7), variable("h", "spin", 2)), edge("x", "h"))
    w = random_weights(m, 16)
    free = law(m, w)
    mean, second = free.mean()[0].item(), free.second()[0, 0].item()
    cross = free.second_statistics()[0, 1].item()

    def density(x: float) -> float:
        return math.exp(log_likelihood(m, w, [{Site("x", 0): x}]).item())

    def conditional(x: float) -> float:
        return law(m, w, {("x", 0): x}).mean()[1].item()

    assert integrate.quad(density, -25, 25)[0] == pytest.approx(1, rel=1e-8)
    assert integrate.quad(lambda x: x * density(x), -25, 25)[0] == pytest.approx(mean, rel=1e-7)
    assert integrate.quad(lambda x: x * x * density(x), -25, 25)[0] == pytest.approx(second, rel=1e-7)
    assert free.second_statistics()[0, 0].item() == pytest.approx(0.49 * second)
    found = integrate.quad(lambda x: 0.7 * x * conditional(x) * density(x), -25, 25)[0]
    assert found == pytest.approx(cross, rel=1e-7)


@pytest.mark.parametrize(
    ("word", "slope", "exact"),
    [
        ("normal", 1.3, stats.norm(1.3)),
        ("relu", -2.5, stats.truncnorm(2.5, np.inf, loc=-2.5)),
        ("relu", 3.0, stats.truncnorm(-3.0, np.inf, loc=3.0)),
        ("poisson", 1.7, stats.poisson(math.exp(1.7))),
        ("gamma", -0.3, stats.gamma(0.6, scale=1 / 0.3)),
        ("gamma", -8.0, stats.gamma(5.0, scale=1 / 8)),
    ],
)
def test_unbounded_sites_are_integrated(word: str, slope: float, exact: Any) -> None:
    """Moments, normalisers and chances of a site by sums over nodes, against scipy's closed forms."""
    site = variable("u", word, shape=float(exact.args[0]) if word == "gamma" else 1.0)
    at, one = torch.tensor([slope], dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    mean, variance = moments(site, at, 1.0)
    assert mean.item() == pytest.approx(exact.mean(), rel=1e-9)
    assert variance.item() == pytest.approx(exact.var(), rel=1e-9)
    for x in (1.0, 3.0):
        density = exact.pmf(x) if word == "poisson" else exact.pdf(x)
        log = slope * x + base(site, torch.tensor(x, dtype=torch.float64), 1.0) - log_integral(site, at, one)
        assert math.exp(log.item()) == pytest.approx(density, rel=1e-8)
        assert below(site, at, 1.0, torch.tensor([x + 0.5])).item() == pytest.approx(exact.cdf(x + 0.5), rel=1e-9)
    drawn = sample(site, at.expand(20_000), 1.0, 5)
    assert abs(drawn.mean().item() - exact.mean()) < 6 * exact.std() / 20_000**0.5


def test_coupled_normals_are_refused() -> None:
    m = model((variable("x", "normal", 2), variable("y", "normal", 2)), edge("x", "y"))
    with pytest.raises(ValueError, match="coupled"):
        law(m, random_weights(m, 17))


def test_joint_density_is_that_of_the_parts() -> None:
    m = gaussian()
    w = random_weights(m, 18)
    values = random_values(m, 19, n=4)
    free = law(m, w)
    found = joint_log_density(free, values)
    for row in range(4):
        x = {Site("x", i): values["x"][row, i].item() for i in range(3)}
        h = {Site("h", i): values["h"][row, i].item() for i in range(4)}
        posterior = log_partition(m, w, {**x, **h}) - log_partition(m, w, x)
        assert close(found[row], log_likelihood(m, w, [x])[0] + posterior)
