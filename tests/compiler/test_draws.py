"""Draws: known answers, purity, independence, and each family's law."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from torch import Tensor

from gmc.compiler import draws, exchange, rejection, truncated
from gmc.compiler.draws import (
    gaussian,
    int32,
    row_keys,
    threefry,
    threefry_cpu,
    uniform,
    words,
)
from tests.oracle.stats import ALPHA

KNOWN = [
    ((0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0xFD36D048, 0x2D17272C)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
]
"""Counter, key and words of threefry2x32-13, from the authors' test vectors (Random123, kat_vectors)."""


def torch_words(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, ...]:
    found = threefry(
        tuple(torch.tensor([int32(k)], dtype=torch.int32) for k in key),
        tuple(torch.tensor([int32(c)], dtype=torch.int32) for c in counter),
    )
    return tuple(int(w) & 0xFFFFFFFF for w in found)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: tuple[int, int], key: tuple[int, int], expected: tuple[int, int]) -> None:
    assert torch_words(key, counter) == expected
    found = threefry_cpu(
        tuple(np.array([[k]], dtype=np.uint32) for k in key), tuple(np.array([c], dtype=np.uint32) for c in counter)
    )
    assert tuple(int(w[0, 0]) for w in found) == expected


def keys(count: int, seed: int = 5, stream: str = "test") -> Tensor:
    return row_keys(seed, stream, torch.arange(count))


def torch_path(key: Tensor, site: int, sweep: int, count: int) -> tuple[Tensor, Tensor]:
    """What other devices than the CPU compute."""
    unit = torch.arange(count).to(torch.int32)
    turn = torch.full((), int32(sweep), dtype=torch.int32)
    return threefry((key[:, :1], key[:, 1:] + int32(site * draws.GOLDEN)), (unit, turn))


@pytest.mark.parametrize(
    ("chains", "site", "sweep", "count"),
    [(1, 0, 0, 1), (3, 1, 7, 5), (70, 12345, 2**31, 700), (2, 1 << 24, 2**32 - 1, 1), (5, 7, 2**40 + 3, 33_000)],
)
def test_both_paths_give_the_same_bits(chains: int, site: int, sweep: int, count: int) -> None:
    """Also across the chunks of the CPU's path, and where numbers wrap."""
    key = keys(chains)
    for a, b in zip(words(key, site, sweep, count), torch_path(key, site, sweep, count), strict=True):
        assert a.dtype == b.dtype == torch.int32
        assert torch.equal(a, b)


def test_keys_of_rows_by_both_paths() -> None:
    """The keys are Threefry of the row's number under a digest of seed and stream; numbers beyond 32 bits count too."""
    import hashlib

    rows = torch.tensor([0, 1, 2, 2**31, 2**32 - 1, 2**32, 2**40 + 17])
    found = row_keys(9, "a/b", rows)
    digest = hashlib.blake2b(b"9/a/b", digest_size=8).digest()
    base = tuple(int.from_bytes(digest[i : i + 4], "little") for i in (0, 4))
    for row, key in zip(rows.tolist(), found.tolist(), strict=True):
        assert torch_words(base, (row & 0xFFFFFFFF, row >> 32)) == tuple(k & 0xFFFFFFFF for k in key)
    assert len({tuple(k) for k in found.tolist()}) == len(rows)


def test_keys_depend_on_seed_stream_and_row() -> None:
    one = keys(50)
    assert torch.equal(one, keys(50))
    assert torch.equal(one[:10], keys(10))
    for other in (keys(50, seed=6), keys(50, stream="other")):
        assert not (one == other).all(1).any()
    assert len(torch.unique(one, dim=0)) == 50


def test_draws_are_pure() -> None:
    """No state is read or left: the same arguments give the same bytes, whatever else was drawn."""
    key, eta = keys(20), torch.linspace(-1, 1, 60, dtype=torch.float64).reshape(20, 3)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = [draw() for draw in all_draws(eta, key, 2, 9)]
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    copies = eta.clone(), key.clone()
    again = [draw() for draw in all_draws(eta, key, 2, 9)]
    assert torch.equal(eta, copies[0]) and torch.equal(key, copies[1])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (all_draws(eta, key, 3, 9), all_draws(eta, key, 2, 10), all_draws(eta, keys(20, 6), 2, 9)):
        assert all(not torch.equal(a, draw()) for a, draw in zip(first, other, strict=True))


def all_draws(eta: Tensor, key: Tensor, site: int, sweep: int) -> list:
    return [
        lambda: draws.bernoulli(eta, key, site, sweep),
        lambda: draws.spin(eta, key, site, sweep),
        lambda: draws.categorical(eta, key, site, sweep, 3),
        lambda: draws.normal(eta, key, site, sweep, 2.0),
    ]


def test_a_chain_in_a_batch_is_the_same_as_alone() -> None:
    """Rows may be parted over devices and workers in any way."""
    key, eta = keys(37), torch.linspace(-2, 2, 37 * 6, dtype=torch.float64).reshape(37, 6)
    whole = [draw() for draw in all_draws(eta, key, 4, 3)]
    for size in (1, 5, 36):
        parts = [[draw() for draw in all_draws(eta[n : n + size], key[n : n + size], 4, 3)] for n in range(0, 37, size)]
        for number, expected in enumerate(whole):
            assert torch.equal(torch.cat([part[number] for part in parts]), expected)


def test_the_first_sites_do_not_depend_on_how_many_follow() -> None:
    """Uniform numbers use the first words of all counters, then the second: an even split of the count decides."""
    key = keys(4)
    u = uniform(key, 1, 1, 9, torch.float64)
    assert u.shape == (4, 9)
    assert torch.equal(u[:, :5], uniform(key, 1, 1, 10, torch.float64)[:, :5])
    assert len(torch.unique(u)) == 36


def bits_are_independent(columns: Tensor) -> float:
    """The p-value of a chi-square test of pairs of columns `[n, k]` in 4 x 4 cells, and of 3-fold cells of signs."""
    n, k = columns.shape
    cell = (columns * 4).long()
    worst, tests = 1.0, 0
    for a, b in itertools.combinations(range(k), 2):
        counts = torch.bincount(cell[:, a] * 4 + cell[:, b], minlength=16).numpy()
        worst, tests = min(worst, float(scipy_stats.chisquare(counts).pvalue)), tests + 1
    low = (columns < 0.5).long()
    for a, b, c in itertools.combinations(range(k), 3):
        counts = torch.bincount(low[:, a] * 4 + low[:, b] * 2 + low[:, c], minlength=8).numpy()
        worst, tests = min(worst, float(scipy_stats.chisquare(counts).pvalue)), tests + 1
    assert n / 16 > 100
    return worst * tests


def test_independent_across_chains_units_sites_and_sweeps() -> None:
    """Neighbouring chains, units, sites and sweeps: pairs and triples of uniform numbers fill their cells evenly."""
    n = 40_000
    key = keys(n)
    samples = {
        "units": uniform(key, 3, 5, 6, torch.float64),
        "sites": torch.cat([uniform(key, s, 5, 1, torch.float64) for s in (0, 1, 2, 3, 1 << 24)], 1),
        "sweeps": torch.cat([uniform(key, 3, t, 1, torch.float64) for t in (0, 1, 2, 3, 1 << 31)], 1),
        "chains": uniform(keys(5 * n), 3, 5, 1, torch.float64).reshape(n, 5),
        "seeds": torch.cat([uniform(keys(n, s), 3, 5, 1, torch.float64) for s in range(4)], 1),
        "streams": torch.cat([uniform(keys(n, 1, f"train/{s}"), 3, 5, 1, torch.float64) for s in "abcd"], 1),
        "site against sweep": torch.cat([uniform(key, s, t, 1, torch.float64) for s, t in ((1, 2), (2, 1), (3, 0))], 1),
    }
    for name, columns in samples.items():
        assert bits_are_independent(columns) > ALPHA, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform(dtype: torch.dtype) -> None:
    u = uniform(keys(1000), 2, 4, 1001, dtype)
    assert u.dtype == dtype
    assert u.min() > 0 and u.max() < 1
    flat = u.flatten().to(torch.float64)
    counts = torch.bincount((flat * 256).long(), minlength=256).numpy()
    assert scipy_stats.chisquare(counts).pvalue > ALPHA
    assert scipy_stats.kstest(flat[:100_000].numpy(), "uniform").pvalue > ALPHA
    # 23 bits at the middle of their cells
    assert torch.equal((flat * 2**23 - 0.5).round() + 0.5, flat * 2**23)
    # the ends are met as often as they should
    assert scipy_stats.binomtest(int((flat < 1e-4).sum()), flat.numel(), 1e-4).pvalue > ALPHA
    assert scipy_stats.binomtest(int((flat > 1 - 1e-4).sum()), flat.numel(), 1e-4).pvalue > ALPHA


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_word_gives_the_ends(dtype: torch.dtype) -> None:
    """A uniform number of 1 would draw what has no chance, and one of 0 has no logarithm."""
    ends = draws._unit_interval(torch.tensor([0, -1, 1 << 31 - 1, -(1 << 31)], dtype=torch.int32), dtype)
    assert ends.min().item() == 2.0**-24
    assert ends.max().item() == 1 - 2.0**-24


def test_float32_and_float64_see_the_same_numbers() -> None:
    single, double = (uniform(keys(100), 1, 1, 100, dtype) for dtype in (torch.float32, torch.float64))
    assert torch.equal(single.to(torch.float64), double)


def test_gaussian() -> None:
    """Moments, cells and tails of 10^6 normal numbers, and both halves of Box and Muller's pairs."""
    z = gaussian(keys(1000), 1, 1, 1000, torch.float64)
    flat = z.flatten().numpy()
    n = flat.size
    assert abs(flat).max() < 5.8
    edges = scipy_stats.norm.ppf(np.arange(1, 200) / 200)
    assert scipy_stats.chisquare(np.bincount(np.searchsorted(edges, flat), minlength=200)).pvalue > ALPHA
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = ((flat**power).mean() - mean) / (variance / n) ** 0.5
        assert 2 * scipy_stats.norm.sf(abs(error)) > ALPHA, power
    for bound in (2.0, 3.0, 4.0):
        for count in ((flat > bound).sum(), (flat < -bound).sum()):
            assert scipy_stats.binomtest(int(count), n, float(scipy_stats.norm.sf(bound))).pvalue > ALPHA
    pairs = torch.special.ndtr(torch.stack((z[:, :500].flatten(), z[:, 500:].flatten()), 1))
    cells = (pairs * 8).long()
    counts = torch.bincount(cells[:, 0] * 8 + cells[:, 1], minlength=64).numpy()
    assert scipy_stats.chisquare(counts).pvalue > ALPHA
    assert gaussian(keys(3), 1, 1, 5).shape == (3, 5)


FIELDS = torch.tensor([-6.0, -1.5, -0.2, 0.0, 0.7, 3.0], dtype=torch.float64)
CHAINS = 200_000


def binomials(counts: Tensor, p: Tensor) -> None:
    for count, chance in zip(counts.tolist(), p.tolist(), strict=True):
        assert scipy_stats.binomtest(int(count), CHAINS, chance).pvalue > ALPHA


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_and_spin(dtype: torch.dtype) -> None:
    """1.2 million draws each; P(1) = sigmoid(eta), P(+1) = sigmoid(2 eta)."""
    eta = FIELDS.to(dtype).expand(CHAINS, -1)
    ones = draws.bernoulli(eta, keys(CHAINS), 1, 1)
    assert ones.dtype == dtype
    assert set(torch.unique(ones).tolist()) == {0.0, 1.0}
    binomials((ones == 1).sum(0), torch.sigmoid(FIELDS))
    signs = draws.spin(eta, keys(CHAINS), 2, 1)
    assert set(torch.unique(signs).tolist()) == {-1.0, 1.0}
    binomials((signs == 1).sum(0), FIELDS.exp() / (FIELDS.exp() + (-FIELDS).exp()))


def test_categorical() -> None:
    eta = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0], [-9.0, 9.0, -9.0, 1.0]], dtype=torch.float64)
    drawn = draws.categorical(eta.reshape(1, 12).expand(CHAINS, -1), keys(CHAINS), 1, 1, 4).reshape(CHAINS, 3, 4)
    assert torch.equal(drawn.sum(2), torch.ones(CHAINS, 3, dtype=torch.float64))
    assert set(torch.unique(drawn).tolist()) == {0.0, 1.0}
    for site in range(3):
        binomials(drawn[:, site].sum(0), torch.softmax(eta[site], 0))
    state = drawn.argmax(2)
    both = torch.bincount(state[:, 0] * 4 + state[:, 1], minlength=16).numpy()
    expected = (torch.softmax(eta[0], 0)[:, None] * torch.softmax(eta[1], 0)).flatten().numpy() * CHAINS
    assert scipy_stats.chisquare(both, expected).pvalue > ALPHA


def test_categorical_of_certain_states() -> None:
    """A state without any chance is never drawn, at whatever place it stands."""
    for state in range(3):
        eta = torch.full((5000, 3), -1e4, dtype=torch.float64)
        eta[:, state] = 1e4
        assert (draws.categorical(eta, keys(5000), 1, 1, 3)[:, state] == 1).all()


@pytest.mark.parametrize("precision", [0.25, 1.0, 4.0])
def test_normal(precision: float) -> None:
    """x is N(eta, 1 / precision), with a number for all sites or one a site."""
    drawn = draws.normal(FIELDS.expand(CHAINS, -1), keys(CHAINS), 1, 1, precision)
    each = torch.full_like(FIELDS, precision)
    assert torch.equal(draws.normal(FIELDS.expand(CHAINS, -1), keys(CHAINS), 1, 1, each), drawn)
    for column, mean in enumerate(FIELDS.tolist()):
        u = torch.special.ndtr((drawn[:, column] - mean) * precision**0.5)
        counts = torch.bincount((u * 100).long().clamp(max=99), minlength=100).numpy()
        assert scipy_stats.chisquare(counts).pvalue > ALPHA


def test_extreme_fields_do_not_break() -> None:
    eta = torch.tensor([[-1e30, 1e30, -800.0, 800.0]], dtype=torch.float64).expand(1000, -1)
    expected = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64).expand(1000, -1)
    assert torch.equal(draws.bernoulli(eta, keys(1000), 1, 1), expected)
    assert torch.equal(draws.spin(eta, keys(1000), 1, 1), 2 * expected - 1)


def test_proxies_emit_one_node() -> None:
    """A draw of a proxy is a node whose target is in DRAWS, with its numbers in the arguments."""
    from torch import fx
    from torch.fx.proxy import GraphAppendingTracer, Proxy

    graph = fx.Graph()
    tracer = GraphAppendingTracer(graph)
    eta, key, sweep = (Proxy(graph.placeholder(n), tracer) for n in ("eta", "key", "sweep"))
    made = [
        draws.bernoulli(eta, key, 3, sweep),
        draws.spin(eta, key, 4, sweep),
        draws.categorical(eta, key, 5, sweep, 3),
        draws.normal(eta, key, 6, sweep, 2.0),
        draws.between(eta, key, 7, sweep, 2.0),
        truncated.relu(eta, key, 8, sweep),
        rejection.poisson(eta, key, 9, sweep),
        rejection.gamma(eta, key, 10, sweep, 2.0),
        exchange.exchange(eta, key, 11, sweep, (0.5, 1.0)),
    ]
    for number, proxy in enumerate(made, 3):
        assert proxy.node.op == "call_function"
        assert proxy.node.target in draws.DRAWS
        assert proxy.node.args[2] == number
    assert len(graph.nodes) == 3 + len(made)
    assert len(draws.DRAWS) == len(made)
