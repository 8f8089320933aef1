"""Families: encodings, means, log-partitions and noise, each against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from gmc.compiler.families.bernoulli import Bernoulli
from gmc.compiler.families.categorical import Categorical
from gmc.compiler.families.normal import Normal
from gmc.compiler.families.spin import Spin
from gmc.compiler.family import Family
from tests.compiler.replay import key_of
from tests.oracle.stats import ALPHA

FINITE: list[Family] = [Bernoulli(), Spin(), Categorical(k=2), Categorical(k=5)]
ALL: list[Family] = [*FINITE, Normal(), Normal(precision=2.5), Normal(precision=0.1)]
FIELDS = torch.tensor([[-30.0, -2.0, -0.3, 0.0, 0.4, 3.0, 25.0, 0.1, 1.0, -1.0]], dtype=torch.float64)


def user_values(kind: Family) -> list[float]:
    """The values a site takes, as a user writes them."""
    return [float(x) for x in range(-3, 40) if kind.contains(float(x))] if kind.states else [-1.25, 0.0, 3.5]


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


@pytest.mark.parametrize("kind", [k for k in ALL if not k.states], ids=str)
def test_normal_integrals(kind: Normal) -> None:
    for eta in (-1.5, 0.0, 0.7):
        field = torch.tensor([[eta]], dtype=torch.float64, requires_grad=True)

        def weight(x: float, eta: float = eta) -> float:
            t = kind.encode(torch.tensor([[x]], dtype=torch.float64))
            base = kind.base_measure(t)
            assert base is not None
            return math.exp(eta * float(t) + float(base))

        wide = 40 / kind.precision**0.5
        a = kind.log_partition(field)
        assert math.exp(a.item()) == pytest.approx(integrate.quad(weight, -wide, wide, points=[eta])[0], rel=1e-7)
        (slope,) = torch.autograd.grad(a.sum(), field)
        torch.testing.assert_close(kind.mean(field), slope)


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


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_bias_for_a_mean(kind: Family) -> None:
    """The field at which the mean is the given one, where that is within reach."""
    if kind.states:
        p = torch.softmax(torch.linspace(-1, 1, kind.states or 0, dtype=torch.float64), 0)
        mean = (p[:, None] * kind.values()).sum(0).repeat(3)
    else:
        mean = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    torch.testing.assert_close(kind.mean(kind.bias_for(mean)[None])[0], mean, rtol=1e-9, atol=1e-9)
    ends = kind.encode(torch.tensor([user_values(kind)], dtype=torch.float64))[0]
    assert torch.isfinite(kind.bias_for(ends)).all()


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_noise(kind: Family) -> None:
    """Uniform over a finite support, N(0, 1) else, whatever `like` holds."""
    n = 100_000
    like = torch.full((n, kind.width), 7.0, dtype=torch.float64)
    found: Tensor = kind.decode(kind.noise(like, key_of(n), 1, 1), (1,)).to(torch.float64)[:, 0]
    if kind.states:
        counts = [(found == x).sum().item() for x in user_values(kind)]
        assert sum(counts) == n
        assert stats.chisquare(counts).pvalue > ALPHA
    else:
        assert stats.kstest(found.numpy(), "norm").pvalue > ALPHA


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_base_measure(kind: Family) -> None:
    t = kind.encode(torch.tensor([[user_values(kind)[0], user_values(kind)[1]]], dtype=torch.float64))
    base = kind.base_measure(t)
    if kind.states:
        assert base is None
    else:
        assert base is not None
        assert base.item() == pytest.approx(-0.5 * kind.precision * sum(x * x for x in user_values(kind)[:2]))  # type: ignore[attr-defined]
