"""Diagnostics of chains against what is known: independent numbers, an autoregression, chains whose transition matrix is written down, and stuck ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import gmc
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import diagnosing
from gmc.runtime.diagnosing import Diary, diagnose, mixing

PAIR = """\
model m { observed v : bernoulli  latent h : bernoulli  edge v -- h }
chain free { sweeps 4000 }
chain noisy { start noise  sweeps 100 }
chain given { clamp v  sweeps 50 }
chain field { clamp v  update mean  sweeps 50 }
chain whole { clamp v, h }
chain bound { clamp h from free  sweeps 50 }
"""


def pair(weight: float, text: str = PAIR) -> gmc.Run:
    """Two sites, each of which is 1 in half of the states: sigmoid(weight / 2) is the chance to agree."""
    half = torch.tensor(-weight / 2)
    return gmc.compile(text).run({"v.bias": half, "h.bias": half, "v_h.weight": torch.tensor([[weight]])})


def autoregression(phi: float, chains: int, length: int, seed: int = 0) -> np.ndarray:
    """Stationary x_t = phi x_(t-1) + e_t, of variance 1."""
    noise = np.random.default_rng(seed).standard_normal((chains, length))
    tracks = np.empty_like(noise)
    tracks[:, 0] = noise[:, 0]
    for t in range(1, length):
        tracks[:, t] = phi * tracks[:, t - 1] + math.sqrt(1 - phi**2) * noise[:, t]
    return tracks


# ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_independent_numbers_are_worth_their_count() -> None:
    found = mixing(autoregression(0.0, 4, 4000))
    assert found.effective == pytest.approx(16000, rel=0.1)
    assert found.time == pytest.approx(1.0, rel=0.1)
    assert found.r_hat == pytest.approx(1.0, abs=0.002)


@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_autoregression_has_its_known_time(phi: float) -> None:
    """(1 + phi) / (1 - phi), as the sum over all lags of phi to their size."""
    found = mixing(autoregression(phi, 8, 20000))
    time = (1 + phi) / (1 - phi)
    assert found.time == pytest.approx(time, rel=0.1)
    assert found.effective == pytest.approx(8 * 20000 / time, rel=0.1)
    assert mixing(autoregression(phi, 8, 20000), every=5).time == pytest.approx(5 * found.time)


def test_chains_apart_have_a_large_r_hat() -> None:
    apart = autoregression(0.0, 4, 1000) + np.array([[0.0], [0.0], [5.0], [5.0]])
    assert mixing(apart).r_hat > 1.5
    assert mixing(apart).effective < 20
    stuck = np.repeat([[0.0], [1.0]], 100, axis=1)
    assert math.isinf(mixing(stuck).r_hat)
    wider = autoregression(0.0, 4, 1000) * np.array([[1.0], [1.0], [9.0], [9.0]])
    assert mixing(wider).r_hat > 1.2, "chains of one mean and another spread"


# ── Chains ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("every", [1, 3])
def test_chain_of_two_states(every: int) -> None:
    """v -> h -> v keeps a value with chance (1 + r) / 2 where r = (2 sigmoid(w / 2) - 1)^2 is its second eigenvalue."""
    r = (2 / (1 + math.exp(-2.0)) - 1) ** 2
    found = pair(4.0).diagnose("free", chains=8, every=every)
    for name in ("v", "h"):
        quantity = found.quantity(name)
        assert quantity.worst == quantity.median
        assert quantity.worst is not None
        assert quantity.worst.time == pytest.approx(every * (1 + r**every) / (1 - r**every), rel=0.12)
        assert quantity.worst.r_hat == pytest.approx(1.0, abs=0.01)
        # 5 standard errors of a share of 8 times 4000 / every pairs
        chance = (1 - r**every) / 2
        error = math.sqrt(chance * (1 - chance) / (8 * 4000 / every))
        assert quantity.change == pytest.approx(chance, abs=5 * error)
    assert (found.chains, found.sweeps, found.kept, found.every) == (8, 4000, -(-4000 // every), every)


def test_no_coupling_is_independent() -> None:
    found = pair(0.0).diagnose("free")
    assert found.chains == 4
    quantity = found.quantity("v")
    assert quantity.worst is not None
    assert quantity.worst.effective == pytest.approx(16000, rel=0.1)
    assert quantity.change == pytest.approx(0.5, abs=5 * 0.5 / 16000**0.5)


def test_stuck_chains_are_called_so() -> None:
    found = pair(80.0).diagnose("noisy", chains=8)
    for name in ("v", "h"):
        quantity = found.quantity(name)
        assert (quantity.sites, quantity.constant, quantity.stuck, quantity.change) == (1, 0, 1, 0.0)
        assert quantity.worst is not None and math.isinf(quantity.worst.r_hat)
    data = json.loads(json.dumps(found.json(), allow_nan=False))
    assert data["quantities"]["v"]["worst"]["r_hat"] is None
    assert data["quantities"]["v"]["stuck"] == 1


def test_sites_that_never_move_are_counted_apart() -> None:
    text = "model m { observed v : categorical(3)[4]  latent h : bernoulli  edge v -- h }\nchain c { sweeps 500 }\n"
    bias = torch.zeros(4, 3)
    bias[0, 2] = 60.0  # always the same state
    bias[1, 1] = -60.0  # never this one: an indicator that is constant, of a site that is not
    run = gmc.compile(text).run({"v.bias": bias, "h.bias": torch.zeros(()), "v_h.weight": torch.zeros(12, 1)})
    found = run.diagnose("c").quantity("v")
    assert (found.sites, found.constant, found.stuck) == (4, 1, 0)
    assert found.worst is not None and found.median is not None
    assert found.worst.effective <= found.median.effective == pytest.approx(2000, rel=0.15)
    # the second site changes half of the time, the others two thirds of it
    assert found.change == pytest.approx((0 + 1 / 2 + 2 / 3 + 2 / 3) / 4, abs=0.03)
    with pytest.raises(KeyError):
        run.diagnose("c").quantity("w")


def test_all_constant() -> None:
    run = gmc.compile(PAIR).run(
        {"v.bias": torch.tensor(60.0), "h.bias": torch.tensor(60.0), "v_h.weight": torch.zeros(1, 1)}
    )
    found = run.diagnose("free", sweeps=20)
    assert [(q.constant, q.worst, q.median, q.change) for q in found.quantities] == [(1, None, None, 0.0)] * 3


def test_energy_is_that_of_the_model() -> None:
    run = pair(1.5)
    stream = run.stream("free", chains=3, sweeps=6, every=1)
    diary = Diary(stream)
    (part,) = list(diary)
    v, h = (part.samples.values[n].double() for n in ("v", "h"))
    torch.testing.assert_close(diary.energy, 0.75 * v + 0.75 * h - 1.5 * v * h)


def test_only_free_sites_count() -> None:
    text = "model m { observed v : bernoulli[2, 3]  latent h : bernoulli[2]  edge v -- h }\nchain c { clamp v[:, 1:]  sweeps 50 }\n"
    run = gmc.compile(text).run(
        {"v.bias": torch.zeros(2, 3), "h.bias": torch.zeros(2), "v_h.weight": torch.full((6, 2), 0.1)}
    )
    found = run.diagnose("c", clamp={"v": torch.ones(2, 3)})
    assert {q.name: q.sites for q in found.quantities} == {"energy": 1, "v": 2, "h": 2}
    assert all(q.constant == 0 for q in found.quantities)


def test_parts_and_continuous_variables() -> None:
    text = "model m { observed x : normal[3]  latent h : bernoulli[2]  edge x -- h }\nchain c { sweeps 60 }\n"
    weight = torch.tensor([[0.5, -1.0], [1.5, 0.3], [0.0, 2.0]])
    run = gmc.compile(text).run({"x.bias": torch.zeros(3), "h.bias": torch.zeros(2), "x_h.weight": weight})
    stream = run.stream("c", chains=6, every=1, means=False)
    whole = diagnose(stream)
    assert whole.quantity("x").change == 1.0
    parts = diagnose(replace(stream, together=2))
    for one, other in zip(whole.quantities, parts.quantities, strict=True):
        assert one.worst is not None and other.worst is not None
        assert one.worst.effective == pytest.approx(other.worst.effective, rel=1e-3)
        assert one.change == other.change


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("chain", "more", "reason"),
    [
        ("free", {"chains": 1}, "there is one"),
        ("free", {"sweeps": 3}, "3 of its sweeps would be kept"),
        ("free", {"every": 2000}, "2 of its sweeps would be kept"),
        ("given", {"clamp": {"v": torch.tensor([0.0, 1.0])}}, "`v` is clamped to other values in each chain"),
        ("field", {"clamp": {"v": 1}}, "with `update mean` it takes no random steps"),
        ("whole", {"clamp": {"v": 1, "h": 1}, "sweeps": 50}, "it draws nothing"),
        ("bound", {}, "another end of `free`"),
    ],
)
def test_what_cannot_be_diagnosed(chain: str, more: dict[str, object], reason: str) -> None:
    with pytest.raises(GmcError) as caught:
        pair(1.0).diagnose(chain, **more)  # type: ignore[arg-type]
    (found,) = caught.value.diagnostics
    assert (found.code, caught.value.exit_code) == ("GM747", 2)
    assert reason in found.message
    assert found.help


def test_one_row_for_all_chains_is_fine() -> None:
    found = pair(1.0).diagnose("given", clamp={"v": torch.tensor(1.0)}, sweeps=500)
    assert found.chains == diagnosing.DEFAULT_CHAINS
    assert [q.name for q in found.quantities] == ["energy", "h"]
