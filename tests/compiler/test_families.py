"""Families: encodings, means, log-partitions and noise, each against its definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from gmc.compiler.families.bernoulli import Bernoulli
from gmc.compiler.families.categorical import Categorical
from gmc.compiler.families.gamma import Gamma
from gmc.compiler.families.normal import LEAST_VARIANCE, LOG_PRECISION, Normal
from gmc.compiler.families.poisson import Poisson
from gmc.compiler.families.relu import Relu
from gmc.compiler.families.spin import Spin
from gmc.compiler.family import Family, Law
from tests.compiler.replay import key_of
from tests.oracle.stats import ALPHA

FINITE: list[Family] = [Bernoulli(), Spin(), Categorical(k=2), Categorical(k=5)]
ENDLESS: list[Family] = [
    Normal(),
    Normal(precision=2.5),
    Normal(precision=0.1),
    Relu(),
    Poisson(),
    Gamma(),
    Gamma(shape=0.4),
    Gamma(shape=7.5),
]
ALL: list[Family] = [*FINITE, *ENDLESS]
FIELDS = torch.tensor([[-30.0, -2.0, -0.3, 0.0, 0.4, 3.0, 25.0, 0.1, 1.0, -1.0]], dtype=torch.float64)


def user_values(kind: Family) -> list[float]:
    """The values a site takes, as a user writes them."""
    if kind.states or isinstance(kind, Poisson):
        return [float(x) for x in range(-3, 40) if kind.contains(float(x))]
    return [x for x in (-1.25, 0.0, 0.3, 3.5) if kind.contains(x)]


@pytest.mark.parametrize("kind", FINITE, ids=str)
def test_mean_and_log_partition_are_sums(kind: Family) -> None:
    """A = log of the sum of exp(<eta, T>), and the mean is its derivative."""
    eta = FIELDS.clone().requires_grad_()
    table = kind.values()
    assert table.shape == (kind.states, kind.width)
    exponents = eta.reshape(-1, kind.width) @ table.T
    a = kind.log_partition(eta)
    torch.testing.assert_close(a.flatten(), exponents.logsumexp(1), rtol=1e-13, atol=1e-13)
    (slope,) = torch.autograd.grad(a.sum(), eta)
    torch.testing.assert_close(kind.mean(eta), slope, rtol=1e-12, atol=1e-13)


def fields_of(kind: Family) -> tuple[float, ...]:
    """Fields at which there is a law."""
    return (-3.0, -0.5, -0.02) if isinstance(kind, Gamma) else (-6.0, -1.5, 0.0, 0.7, 3.5)


def expectation(kind: Law, eta: float, of: Callable[[float], float], whole: bool, low: float) -> float:
    """The sum (integral) of `of(x)` against exp(<eta, T> + base), by quadrature from the definition."""

    def weight(x: float) -> float:
        state = torch.tensor([[x]], dtype=torch.float64)
        base = kind.base_measure(state)
        return of(x) * math.exp(eta * float(kind.sent(state)) + (0.0 if base is None else float(base)))

    if whole:
        return math.fsum(weight(float(x)) for x in range(300))
    cuts = (-60.0, -8.0, 0.0, *(10.0**k for k in range(-29, 0)), 1.0, 8.0, 60.0, 400.0, 4000.0)
    parts = itertools.pairwise([low, *(x for x in cuts if x > low)])
    return math.fsum(integrate.quad(weight, a, b, limit=400, epsabs=1e-13)[0] for a, b in parts)


@pytest.mark.parametrize("kind", ENDLESS, ids=str)
def test_mean_and_log_partition_are_integrals(kind: Family) -> None:
    """A is the log of the sum (integral) of exp(<eta, T> + base), and the mean state the expectation of x; dA/deta is E[T]."""
    low = max(kind.bounds[0], -4000.0) if kind.bounds[0] else 1e-30
    for eta in fields_of(kind):
        field = torch.tensor([[eta]], dtype=torch.float64, requires_grad=True)
        a, mean = kind.log_partition(field), kind.mean(field)
        (slope,) = torch.autograd.grad(a.sum(), field)
        total = expectation(kind, eta, lambda x: 1.0, isinstance(kind, Poisson), low)
        assert a.item() == pytest.approx(math.log(total), abs=1e-9)
        first = expectation(kind, eta, lambda x: x, isinstance(kind, Poisson), low) / total
        assert mean.item() == pytest.approx(first, rel=1e-8, abs=1e-12)
        torch.testing.assert_close(slope, kind.sent(mean.detach()), rtol=1e-10, atol=1e-14)
        (variance,) = torch.autograd.grad(kind.mean(field).sum(), field)
        second = expectation(kind, eta, lambda x, first=first: (x - first) ** 2, isinstance(kind, Poisson), low) / total
        assert kind.sent(variance).item() == pytest.approx(float(kind.sent(kind.sent(torch.tensor(second)))), rel=1e-6)


@pytest.mark.parametrize("kind", [k for k in ALL if k.modeless is None], ids=str)
def test_the_mode_is_most_probable(kind: Family) -> None:
    """No other value has a greater density: of the finite ones, or of a fine grid."""
    fields = FIELDS if kind.states else torch.tensor([fields_of(kind)], dtype=torch.float64)
    mode = kind.mode(fields)
    assert mode.shape == fields.shape

    def density(state: Tensor, at: Tensor) -> Tensor:
        base = kind.base_measure(state)
        exponent = (at * kind.sent(state)).unflatten(1, (-1, kind.width)).sum(2)
        return exponent if base is None else exponent + base

    if kind.states:
        others = [row.repeat(fields.shape[1] // kind.width)[None] for row in kind.values()]
    else:
        step = 1.0 if isinstance(kind, Poisson) else 0.01
        others = [mode + n * step for n in range(-300, 300)]
        others = [x.where(~kind.unclaimed(x), mode) for x in others]
        assert not kind.unclaimed(mode).any()
    best = density(mode, fields)
    assert all((density(other, fields) <= best + 1e-12).all() for other in others)


def test_a_gamma_of_small_shape_has_no_mode() -> None:
    assert Gamma().modeless and Gamma(shape=0.5).modeless
    with pytest.raises(TypeError, match="no maximum"):
        Gamma().mode(torch.tensor([[-1.0]]))


def test_learned_precision() -> None:
    """The law is that of a fixed precision; a state is x, and the first precision is that of the data, but for a floor."""
    learned, fixed = Normal(precision="learned"), Normal(precision=2.5)
    assert learned.own((2, 3)) == {LOG_PRECISION: (2, 3)}
    assert fixed.own((2, 3)) == {}
    theta = {LOG_PRECISION: torch.full((4,), math.log(2.5), dtype=torch.float64)}
    law, eta = learned.at(theta), torch.linspace(-2, 2, 8, dtype=torch.float64).reshape(2, 4)
    for name in ("mean", "mode", "log_partition", "base_measure", "sent"):
        torch.testing.assert_close(getattr(law, name)(eta), getattr(fixed, name)(eta), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(law.draw(eta, key_of(2), 1, 1), fixed.draw(eta, key_of(2), 1, 1), rtol=1e-14, atol=1e-14)
    with pytest.raises(TypeError, match="no law without"):
        learned.log_partition(eta)
    variance = torch.tensor([4.0, 0.25, 0.0, 1e-9], dtype=torch.float64)
    first = learned.initial((2, 2), variance)[LOG_PRECISION]
    torch.testing.assert_close(first.exp().flatten()[:2], 1 / variance[:2])
    torch.testing.assert_close(first.exp().flatten()[2:], torch.full((2,), 1 / LEAST_VARIANCE, dtype=torch.float64))
    assert torch.equal(learned.initial((3,), None)[LOG_PRECISION], torch.zeros(3, dtype=torch.float64))


def test_slopes_by_the_log_precision_are_derivatives() -> None:
    """d/dlog beta of -E at a site: beta x eta - beta x^2 / 2 at draws, and the same with its expectation where a chain stands at means."""
    log_beta = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64, requires_grad=True)
    law = Normal(precision="learned").at({LOG_PRECISION: log_beta})
    generator = torch.Generator().manual_seed(1)
    x, eta = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    base = law.base_measure(x)
    assert base is not None
    minus = (law.sent(x) * eta + base).sum()
    (expected,) = torch.autograd.grad(minus, log_beta)
    torch.testing.assert_close(law.slopes(eta, x, x, None)[LOG_PRECISION].sum(0).detach(), expected)
    # at the mean of its law: the derivative of A, since E[d(-E)] = dA
    law = Normal(precision="learned").at({LOG_PRECISION: log_beta})
    (expected,) = torch.autograd.grad(law.log_partition(eta).sum(), log_beta)
    mean = law.mean(eta)
    found = law.slopes(eta, mean, mean, torch.ones(3, dtype=torch.float64))[LOG_PRECISION]
    torch.testing.assert_close(found.sum(0).detach(), expected)


@pytest.mark.parametrize("kind", ALL, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_values_go_in_and_out(kind: Family, shape: tuple[int, ...]) -> None:
    values = user_values(kind)
    rows = torch.tensor(values, dtype=torch.float64).reshape(-1, *(1 for _ in shape)).expand(-1, *shape)
    statistic = kind.encode(rows)
    sites = math.prod(shape)
    assert statistic.shape == (len(values), sites * kind.width)
    assert statistic.dtype == torch.float64
    assert torch.equal(kind.decode(statistic, shape).to(torch.float64), rows)
    assert kind.encode(rows.to(torch.int64)).dtype == torch.float32
    assert kind.decode_mean(statistic, shape).shape == (len(values), *shape, *([kind.width] if kind.width > 1 else []))
    assert not kind.unclaimed(rows).any()
    if kind.states:
        assert torch.equal(statistic[:, : kind.width], kind.values())
        wrong = torch.tensor([-2.0, 0.5, 99.0, math.nan], dtype=torch.float64)
        assert kind.unclaimed(wrong).all()
        assert not any(kind.contains(x) for x in wrong[:3].tolist())
    else:
        assert kind.unclaimed(torch.tensor([math.nan, math.inf, 1.0])).tolist() == [True, True, False]
        for x in (-1.0, -1e-30, 0.0, 1e-30, 0.5, 3.0, 1e20):
            assert kind.contains(x) != bool(kind.unclaimed(torch.tensor([x], dtype=torch.float64)))


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_bias_for_a_mean(kind: Family) -> None:
    """The field at which the mean is the given one, where that is within reach."""
    if kind.states:
        p = torch.softmax(torch.linspace(-1, 1, kind.states or 0, dtype=torch.float64), 0)
        mean = (p[:, None] * kind.values()).sum(0).repeat(3)
    else:
        mean = torch.tensor([-1.0 if kind.bounds[0] < 0 else 0.004, 0.5, 2.0], dtype=torch.float64)
    torch.testing.assert_close(kind.mean(kind.bias_for(mean)[None])[0], mean, rtol=1e-9, atol=1e-9)
    ends = kind.encode(torch.tensor([user_values(kind)], dtype=torch.float64))[0]
    assert torch.isfinite(kind.bias_for(ends)).all()
    # what no row has is a field too, at which there is a law
    assert math.isfinite(kind.log_partition(torch.full((1, kind.width), kind.rest, dtype=torch.float64)).item())
    if not kind.states:
        for edge in (torch.zeros(2, dtype=torch.float64), torch.full((2,), 1e30, dtype=torch.float64)):
            assert torch.isfinite(kind.log_partition(kind.bias_for(edge)[None])).all() or isinstance(
                kind, Poisson | Normal
            )


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_noise(kind: Family) -> None:
    """Uniform over a finite support, else N(0, 1), its size, or the law at a field that the family says; whatever `like` holds."""
    n = 100_000
    like = torch.full((n, kind.width), 7.0, dtype=torch.float64)
    found: Tensor = kind.decode(kind.noise(like, key_of(n), 1, 1), (1,)).to(torch.float64)[:, 0]
    if kind.states:
        counts = [(found == x).sum().item() for x in user_values(kind)]
        assert sum(counts) == n
        assert stats.chisquare(counts).pvalue > ALPHA
    elif isinstance(kind, Poisson):
        counts = [*((found == k).sum().item() for k in range(8)), (found >= 8).sum().item()]
        chances = [*(stats.poisson.pmf(k, 1.0) for k in range(8)), stats.poisson.sf(7, 1.0)]
        assert stats.chisquare(counts, [n * p for p in chances]).pvalue > ALPHA
    else:
        shape = kind.shape if isinstance(kind, Gamma) else 1.0
        law = {"normal": stats.norm, "relu": stats.halfnorm, "gamma": stats.gamma(shape)}[kind.word]
        assert stats.kstest(found.numpy(), law.cdf).pvalue > ALPHA


def test_base_measure() -> None:
    """One number a site."""
    for kind in FINITE:
        assert kind.base_measure(kind.encode(torch.tensor([user_values(kind)[:2]], dtype=torch.float64))) is None
    x = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
    assert Gamma().base_measure(x) is None
    expected: list[tuple[Family, Tensor]] = [
        (Normal(precision=2.5), -1.25 * x * x),
        (Relu(), -0.5 * x * x),
        (Poisson(), torch.tensor([[-math.lgamma(1.5), -math.log(6)]], dtype=torch.float64)),
        (Gamma(shape=3), 2 * x.log()),
    ]
    for kind, base in expected:
        found = kind.base_measure(x)
        assert found is not None
        torch.testing.assert_close(found, base)


def test_counts_of_small_types_are_counts() -> None:
    """A type of eight or sixteen bits cannot hold 2^24, and is not to be compared with it as it is."""
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int64, torch.float16):
        assert Poisson().unclaimed(torch.tensor([0, 3, 100]).to(dtype)).tolist() == [False] * 3
    assert Poisson().unclaimed(torch.tensor([2.0**24, 2.0**24 + 2, 0.5, -1.0])).tolist() == [False, True, True, True]
    assert Poisson().contains(2.0**24) and not Poisson().contains(2.0**24 + 2)
