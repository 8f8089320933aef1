"""Draws of rectified, Poisson and gamma sites: their laws over a grid of fields, purity, and special functions against many digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gmc.compiler import draws, rejection, truncated
from gmc.compiler.draws import fine, row_keys, threefry_cpu, words, words_at
from tests.oracle.stats import ALPHA

DTYPES = [torch.float32, torch.float64]
N = 200_000


def keys(count: int, seed: int = 5) -> Tensor:
    return row_keys(seed, "unbounded", torch.arange(count))


def many(draw: object, eta: float, dtype: torch.dtype, *options: float) -> np.ndarray:
    """N draws at one field, 400 sites a chain."""
    found = draw(torch.full((N // 400, 400), eta, dtype=dtype), keys(N // 400), 3, 7, *options)  # type: ignore[operator]
    assert found.dtype == dtype and bool(torch.isfinite(found).all())
    return found.to(torch.float64).flatten().numpy()


def mean_is(x: np.ndarray, mean: float, variance: float) -> None:
    """The mean of independent numbers, by its normal law."""
    assert 2 * stats.norm.sf(abs(x.mean() - mean) / math.sqrt(variance / x.size)) > ALPHA


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eta", [-1e4, -300.0, -30.5, -29.5, -8.0, -1.0, 0.0, 0.5, 3.0, 12.0, 300.0])
def test_relu_law(eta: float, dtype: torch.dtype) -> None:
    """Kolmogorov and Smirnov's test of P(X > x) = Phi(eta - x) / Phi(eta), whose logarithm is known far out."""
    x = many(truncated.relu, eta, dtype)
    assert x.min() >= 0
    survival = np.exp(stats.norm.logsf(x - eta) - stats.norm.logsf(-eta))
    if (
        eta < -100
    ):  # where the logarithms of scipy lose their digits, the hazard is -eta to one part in eta^2, and x is small
        survival = np.exp(eta * x - x * x / 2 - np.log1p(-x / eta))
    assert stats.kstest(survival, "uniform").pvalue > ALPHA
    field = torch.tensor([eta], dtype=torch.float64, requires_grad=True)
    mean = truncated.mean(field)
    (variance,) = torch.autograd.grad(mean.sum(), field)
    mean_is(x, mean.item(), variance.item())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [1e-4, 0.03, 0.7, 4.0, 9.99, 10.0, 11.0, 35.0, 1e3, 1e5, 4e6])
def test_poisson_law(rate: float, dtype: torch.dtype) -> None:
    """A chi-square test over single counts, or sixty cells of several where there are more, and the mean; also across both methods' border."""
    eta = torch.tensor(math.log(rate), dtype=dtype)
    exact = stats.poisson(math.exp(float(eta.to(torch.float64))))
    x = many(rejection.poisson, float(eta), dtype)
    assert (x == np.round(x)).all() and x.min() >= 0
    edges = np.unique(np.linspace(exact.ppf(1e-4), exact.ppf(1 - 1e-4), 60).astype(np.int64))
    chances = np.diff([0.0, *exact.cdf(edges), 1.0])
    counts = np.bincount(np.searchsorted(edges, x), minlength=len(chances))
    # cells in which little is expected are one
    rare = chances * N < 10
    groups = [np.append(a[~rare], a[rare].sum()) for a in (counts, chances * N)]
    kept = groups[1] >= 5
    seen, expected = (g[kept] for g in groups)
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > ALPHA
    mean_is(x, exact.mean(), exact.var())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0, 1.5, 4.0, 60.0])
@pytest.mark.parametrize("eta", [-0.01, -1.0, -300.0])
def test_gamma_law(shape: float, eta: float, dtype: torch.dtype) -> None:
    x = many(rejection.gamma, eta, dtype, shape)
    assert x.min() > 0
    rate = -float(torch.tensor(eta, dtype=dtype))
    exact = stats.gamma(shape, scale=1 / rate)
    assert stats.kstest(x, exact.cdf).pvalue > ALPHA
    mean_is(x, exact.mean(), exact.var())


def all_draws(eta: Tensor, key: Tensor, site: int = 2, sweep: int = 9) -> list[Tensor]:
    return [
        truncated.relu(eta, key, site, sweep),
        rejection.poisson(eta, key, site, sweep),
        rejection.gamma(-eta.abs() - 0.1, key, site, sweep, 2.5),
        rejection.gamma(-eta.abs() - 0.1, key, site, sweep, 0.5),
        draws.between(eta, key, site, sweep, 2.0),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_chain_in_a_batch_is_the_same_as_alone(dtype: torch.dtype) -> None:
    """Trials of one site leave all others as they are, whatever is drawn beside them: fields on both sides of every branch."""
    generator = torch.Generator().manual_seed(3)
    eta = (torch.randn(61, 7, generator=generator, dtype=torch.float64) * 4).to(dtype)
    eta[5, 2], eta[40, 6] = -200.0, 12.0
    key = keys(61)
    before = eta.clone(), key.clone()
    whole = all_draws(eta, key)
    assert torch.equal(eta, before[0]) and torch.equal(key, before[1])
    assert all(torch.equal(a, b) for a, b in zip(whole, all_draws(eta, key), strict=True))
    for size in (1, 8, 60):
        parts = [all_draws(eta[n : n + size], key[n : n + size]) for n in range(0, 61, size)]
        for number, expected in enumerate(whole):
            assert torch.equal(torch.cat([part[number] for part in parts]), expected)


def test_draws_depend_on_key_site_and_sweep() -> None:
    eta = torch.full((40, 50), 0.4, dtype=torch.float64)
    first = all_draws(eta, keys(40))
    for other in (all_draws(eta, keys(40, 6)), all_draws(eta, keys(40), 3), all_draws(eta, keys(40), 2, 10)):
        assert all(not torch.equal(a, b) for a, b in zip(first, other, strict=True))
    for x in first:  # sites, and with them trials, have counters of their own
        for a, b in ((0, 1), (3, 49)):
            assert abs(float(torch.corrcoef(torch.stack((x[:, a], x[:, b])))[0, 1])) < 0.85


def test_trials_are_independent() -> None:
    """The chance of needing another trial does not show in what is drawn: neighbours are uncorrelated where many are rejected."""
    n = 40_000
    eta = torch.full((n, 2), math.log(12.0), dtype=torch.float64)
    x = rejection.poisson(eta, keys(n), 1, 1).numpy()
    y = rejection.gamma(torch.full((n, 2), -1.0, dtype=torch.float64), keys(n), 1, 1, 1.0).numpy()
    for pair in (x, y):
        assert stats.pearsonr(pair[:, 0], pair[:, 1])[1] > ALPHA


def test_single_words_are_those_of_the_grid() -> None:
    key = keys(9)
    x, y = words(key, 12345, 2**31 + 5, 40)
    rows, units = torch.tensor([0, 3, 8, 8]), torch.tensor([39, 0, 7, 8])
    a, b = words_at(key, 12345, 2**31 + 5, rows, units)
    assert torch.equal(a, x[rows, units]) and torch.equal(b, y[rows, units])


def test_fine_numbers() -> None:
    ends = fine(torch.tensor([0, -1], dtype=torch.int32), torch.tensor([0, -1], dtype=torch.int32))
    assert ends.tolist() == [2.0**-53, 1 - 2.0**-53]
    u = fine(*words(keys(1000), 1, 1, 1000)).flatten()
    assert stats.kstest(u[:100_000].numpy(), "uniform").pvalue > ALPHA
    assert len(torch.unique(u)) == u.numel()


def test_rates_beyond_the_limit_are_the_limit() -> None:
    """float32 counts exactly up to 2^24."""
    eta = torch.tensor([[16.0, 40.0, 200.0, math.inf, math.nan, -200.0]])
    x = rejection.poisson(eta.expand(2000, -1).contiguous(), keys(2000), 1, 1)
    assert bool((x[:, :4] < 2**24).all()) and bool(x[:, 4].isnan().all()) and not x[:, 5].any()
    for column in (1, 2, 3):
        mean_is(x[:, column].to(torch.float64).numpy(), rejection.LARGEST_RATE, rejection.LARGEST_RATE)


def test_a_gamma_without_a_law_is_not_a_number() -> None:
    eta = torch.tensor([[-1.0, 0.0, 2.0, math.nan]])
    x = rejection.gamma(eta, keys(1), 1, 1, 2.0)
    assert x.isnan().tolist() == [[False, True, True, True]]


def test_small_gammas_are_not_zero() -> None:
    """A shape of 0.01 puts more than half of its weight below what float32 can hold."""
    x = rejection.gamma(torch.full((10, 100), -1.0), keys(10), 1, 1, 0.01)
    assert float(x.min()) == torch.finfo(torch.float32).tiny


FIELDS = [-1e4, -1234.5, -100.0, -16.5, -16.0, -15.99, -6.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 6.0, 40.0, 1e4]


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_functions(dtype: torch.dtype) -> None:
    """Normaliser, mean and variance of the truncated law against fifty digits, relative to themselves."""
    tolerance = {torch.float32: 3e-7, torch.float64: 3e-11}[dtype]
    eta = torch.tensor(FIELDS, dtype=dtype, requires_grad=True)
    a, mean = truncated.log_partition(eta), truncated.mean(eta)
    slope = torch.autograd.grad(a.sum(), eta)[0]
    variance = torch.autograd.grad(mean.sum(), eta)[0]
    assert torch.equal(slope, mean)
    with mpmath.workdps(60):
        for n, x in enumerate(eta.tolist()):
            z = -mpmath.mpf(x)
            tail = mpmath.erfc(z / mpmath.sqrt(2)) / 2
            exact_a = mpmath.log(mpmath.sqrt(2 * mpmath.pi) * tail) + z * z / 2
            hazard = mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi) / tail
            exact = (exact_a, hazard - z, 1 - hazard * (hazard - z))
            for found, wanted in zip((a[n], mean[n], variance[n]), exact, strict=True):
                assert abs(found.item() - float(wanted)) <= tolerance * max(abs(float(wanted)), 1e-30), (x, found)


def test_second_derivatives_of_the_normaliser() -> None:
    eta = torch.linspace(-20, 20, 9, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(truncated.log_partition(eta).sum(), eta, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), eta)
    (expected,) = torch.autograd.grad(truncated.mean(eta).sum(), eta)
    torch.testing.assert_close(second, expected)


def test_fields_of_means() -> None:
    mean = torch.tensor([1e-3, 0.1, 0.79788, 3.0, 1e6], dtype=torch.float64)
    torch.testing.assert_close(truncated.mean(truncated.field_of(mean)), mean, rtol=1e-12, atol=0)


def test_the_cpu_words_are_threefry() -> None:
    """The words of a draw's first trial are those that the generator's test vectors vouch for."""
    key = np.array([[7]], dtype=np.uint32), np.array([[9]], dtype=np.uint32)
    x, y = threefry_cpu(key, (np.arange(4, dtype=np.uint32), np.array([3], dtype=np.uint32)))
    given = torch.tensor([[7, 9]], dtype=torch.int32)
    a, b = words_at(given, 0, 3, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    assert np.array_equal(a.numpy().view(np.uint32), x[0]) and np.array_equal(b.numpy().view(np.uint32), y[0])
