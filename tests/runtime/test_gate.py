"""Gates: per chain exactly surprise > t, surprise computed anew from the states that a sweep started from; and on digits what gets through."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

import gmc

SMALL = """\
model m {
  observed v : bernoulli[2, 3]
  observed y : categorical(3)
  latent   h : bernoulli[4]
  edge v -- h
  edge y -- h
}
"""
CHAINS, SWEEPS = 60, 5


def run_of(chains: str) -> gmc.Run:
    model = gmc.compile(SMALL + chains)
    generator = torch.Generator().manual_seed(3)
    return model.run({p.name: torch.randn(p.shape, generator=generator) for p in model.compiled.graph.parameters})


def images() -> Tensor:
    return (torch.rand(CHAINS, 2, 3, generator=torch.Generator().manual_seed(1)) < 0.5).float()


def labels() -> Tensor:
    return torch.randint(0, 3, (CHAINS,), generator=torch.Generator().manual_seed(2))


def surprises(run: gmc.Run, v: Tensor, h: Tensor) -> Tensor:
    """-log p(v_i | h) of each pixel, `[chains, 6]`, by the formula of an RBM, in double precision."""
    eta = run.params["v.bias"].flatten().double() + h.double() @ run.params["v_h.weight"].double().T
    return -logsigmoid(torch.where(v.flatten(1) > 0.5, eta, -eta))


def states(run: gmc.Run, chain: str, clamp: Mapping[str, Tensor]) -> tuple[gmc.Samples, Tensor]:
    """All sweeps of a chain, and h `[chains, sweeps, 4]` as each of them started: where `predict` ended, then as the sweep before left it."""
    found = run.sample(chain, clamp=clamp, every=1, seed=5)
    first = run.sample("predict", clamp={n: v for n, v in clamp.items() if n == "v"}, seed=5).values["h"]
    return found, torch.cat([first[:, None], found.values["h"][:, :-1]], dim=1)


def gates(found: gmc.Samples, condition: str, op: str, level: float) -> tuple[Tensor, Tensor]:
    """What the condition came to and whether the gate was open, `[chains, sweeps]`; no more was measured than this."""
    assert list(found.measured) == [condition] and list(found.open) == [f"{condition} {op} {level}"]
    return found.measured[condition].double(), found.open[f"{condition} {op} {level}"]


@pytest.mark.parametrize("op", [">", ">="])
@pytest.mark.parametrize(
    ("clamp", "sites"),
    [("clamp v", range(6)), ("clamp v[:, 1:]", (1, 2, 4, 5))],
    ids=["whole", "part"],
)
def test_a_gate_is_open_where_surprise_is_above_the_threshold(clamp: str, sites: tuple[int, ...], op: str) -> None:
    level = 0.75
    chain = (
        f"chain gated {{ {clamp}  impotent v unless surprise(v) {op} {level}  start h from predict  sweeps {SWEEPS} }}"
    )
    run = run_of(f"chain predict {{ clamp v }}\n{chain}\n")
    found, started = states(run, "gated", {"v": images()})
    measured, opened = gates(found, "surprise(v)", op, level)
    for sweep in range(SWEEPS):
        expected = surprises(run, images(), started[:, sweep])[:, list(sites)].mean(1)
        torch.testing.assert_close(measured[:, sweep], expected, rtol=1e-5, atol=1e-6)
        # none is so near to the threshold that rounding decides
        assert float((expected - level).abs().min()) > 1e-5
        assert torch.equal(opened[:, sweep], expected > level)
        assert 0 < int(opened[:, sweep].sum()) < CHAINS
    assert bool((opened[:, 1:] != opened[:, :-1]).any())  # tested in each sweep anew


@pytest.mark.parametrize(
    ("clamps", "held", "sure"),
    [
        ("clamp v where observed", (0, 1, 2), ()),
        ("clamp v[:, 1:] where observed", (1, 2), ()),
        ("clamp v[:, 0]  clamp v[:, 1:] where observed", (0, 1, 2), (0,)),
    ],
    ids=["whole", "part", "and the rest clamped"],
)
def test_surprise_is_the_mean_over_what_a_row_has(clamps: str, held: tuple[int, ...], sure: tuple[int, ...]) -> None:
    """`held` are the columns of v that a row may hold, `sure` those that each does."""
    level = 0.75
    run = run_of(
        f"chain predict {{ {clamps} }}\n"
        f"chain gated {{ {clamps}  impotent v unless surprise(v) > {level}  start h from predict  sweeps {SWEEPS} }}\n"
    )
    gaps = torch.rand(CHAINS, 2, 3, generator=torch.Generator().manual_seed(4)) < 0.4
    gaps[0] = True
    gaps[:, :, list(sure)] = False
    found, started = states(run, "gated", {"v": images().masked_fill(gaps, float("nan"))})
    measured, opened = gates(found, "surprise(v)", ">", level)
    there = torch.zeros(CHAINS, 2, 3, dtype=torch.float64)
    there[:, :, list(held)] = (~gaps)[:, :, list(held)].double()
    there = there.flatten(1)
    for sweep in range(SWEEPS):
        each = surprises(run, images(), started[:, sweep]) * there
        expected = each.sum(1) / there.sum(1).clamp(min=1)
        torch.testing.assert_close(measured[:, sweep], expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(opened[:, sweep], expected > level)
        assert 0 < int(opened[:, sweep].sum()) < CHAINS
    if not sure:
        assert not bool(opened[0].any())  # nothing is there that could surprise


def test_only_open_gates_let_through() -> None:
    """h is drawn given the clamped image where the gate is open, and as if there were no image where it is closed."""
    level = 0.75
    run = run_of(
        "chain predict { clamp v }\n"
        f"chain gated {{ clamp v, y  impotent v unless surprise(v) > {level}  start h from predict  sweeps {SWEEPS} }}\n"
    )
    found, _ = states(run, "gated", {"v": images(), "y": labels()})
    _, opened = gates(found, "surprise(v)", ">", level)
    p = run.params
    from_v = images().flatten(1) @ p["v_h.weight"]
    from_y = one_hot(labels(), 3).float() @ p["y_h.weight"]
    for sweep in range(SWEEPS):
        eta = p["h.bias"] + from_y + opened[:, sweep, None] * from_v
        torch.testing.assert_close(found.means["h"][:, sweep], eta.sigmoid(), rtol=1e-5, atol=1e-6)


# ── Digits ───────────────────────────────────────────────────────────────────────────────────────────────────────────

DIGITS = """\
param level = 1.0

model digits_gate {
  observed v : bernoulli[8, 8]
  latent h : bernoulli[64]
  edge v -- h
}

data digits(held_out = 360) {
  v = image | threshold(0.5)
  test v = test_image | threshold(0.5)
}

chain posterior { clamp v }
chain negative { start persistent(100)  sweeps 1 }
chain predict { clamp v }
chain zoned_out { clamp v  impotent v unless surprise(v) > level  start h from predict }

objective nll = likelihood(positive = posterior, negative = negative)
train { minimize nll using sgd(lr = 0.05 -> 0.0, momentum = 0.5)  batch 100  epochs 30 }
"""


def flipped(v: Tensor, count: int) -> Tensor:
    """The rows with `count` pixels of each flipped."""
    order = torch.rand(v.shape[0], 64, generator=torch.Generator().manual_seed(0)).argsort(1)
    mask = torch.zeros(v.shape[0], 64).scatter(1, order[:, :count], 1.0).reshape(v.shape)
    return (v - mask).abs()


def test_the_unexpected_gets_through() -> None:
    """With the threshold at the 99 % quantile of training rows, few held-out digits, and nearly all with a fifth of their pixels flipped."""
    run = gmc.compile(DIGITS).train(seed=0)
    known, held = run.rows("train"), run.rows("test")
    assert known is not None and held is not None
    clean = held.external("v", torch.arange(held.rows), 0).float()
    rows = known.external("v", torch.arange(known.rows), 0)
    level = float(run.sample("zoned_out", clamp={"v": rows}).measured["surprise(v)"].double().quantile(0.99))
    gated = gmc.compile(DIGITS, {"level": level}).run(run.params)

    def through(v: Tensor) -> float:
        (gate,) = gated.sample("zoned_out", clamp={"v": v}, seed=1).open.values()
        return float(gate.double().mean())

    assert through(clean) <= 0.05
    assert through(flipped(clean, 13)) >= 0.95
    assert abs(through(rows.float()) - 0.01) < 0.01  # of the training rows about a hundredth, with other draws of h
