"""Training in centred coordinates: what a step does to the parameters, that inverted data give the inverted model, and what it is good for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import gmc
from gmc.compiler.driver import Compiled
from gmc.runtime.engine import Rows
from gmc.runtime.initial import initial_parameters
from gmc.runtime.tensor_data import TensorData
from gmc.runtime.train import Trainer
from tests.slopes import slope

RBM = """
model m {{
  observed v : bernoulli[4]
  latent h : bernoulli[3]
  edge v -- h
}}
data npz("none.npz") {{ v = v }}
chain up {{ clamp v }}
chain free {{ }}
objective nll = likelihood(exact(up), exact(free){centring})
train {{ minimize nll {of}using {optimizer}  batch {batch}  epochs {epochs} }}
"""
ROWS = torch.tensor(list(itertools.product((0, 1), repeat=4)))[[0, 1, 2, 4, 5, 8, 12, 0, 1]]
"""Mostly zeros."""


def compiled(centring: float | None, optimizer: str, epochs: int = 1, batch: int = 9, of: str = "") -> Compiled:
    text = "" if centring is None else f", centring = {centring}"
    return gmc.compile(RBM.format(centring=text, optimizer=optimizer, epochs=epochs, batch=batch, of=of)).compiled


def first() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"v.bias": (4,), "h.bias": (3,), "v_h.weight": (4, 3)}
    return {n: torch.randn(s, generator=generator, dtype=torch.float64) * 0.5 for n, s in shapes.items()}


def trained(
    model: Compiled, params: Mapping[str, Tensor], rows: Tensor, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Trainer:
    """The trainer at the end of all stages."""
    data = TensorData.of(model, {"v": rows}, torch.device("cpu"), dtype)
    trainer = Trainer(model, data, {n: p.to(dtype, copy=True) for n, p in params.items()}, seed)
    for _ in trainer.advance(lambda stage: {}):
        pass
    return trainer


def mirrored(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same law of 1 - v."""
    w = params["v_h.weight"]
    return {"v.bias": -params["v.bias"], "h.bias": params["h.bias"] + w.sum(0), "v_h.weight": -w}


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd(lr = 0.3 -> 0.1, momentum = 0.5, weight_decay = 1e-3, nesterov = true, max_norm = 0.9)",
        "adam(lr = 0.02, average = 0.9)",
    ],
)
def test_inverted_data_give_the_inverted_model(optimizer: str) -> None:
    """To rounding, after 200 exact steps; plain steps go another way."""
    ends = {}
    for centring in (0.1, None):
        model = compiled(centring, optimizer, epochs=100, batch=5)
        straight = trained(model, first(), ROWS).params
        inverted = trained(model, mirrored(first()), 1 - ROWS).params
        ends[centring] = max(float((mirrored(straight)[n] - p).abs().max()) for n, p in inverted.items())
        assert float((straight["v_h.weight"] - first()["v_h.weight"]).abs().max()) > 0.1
    assert ends[0.1] < 1e-8
    assert ends[None] > 1e-2  # type: ignore[index]


def test_a_step_moves_the_biases_by_what_the_weights_took() -> None:
    """dW by centred products, db = lr g_b - dW lambda, dc = lr g_c - dW' mu (Grosse and Salakhutdinov's code; Montavon and Mueller, 2012)."""
    lr, rate, params = 0.3, 0.25, first()
    model = compiled(rate, f"sgd(lr = {lr})")
    trainer = trained(model, params, ROWS)
    found = slope(model, params, Rows({"v": ROWS.to(torch.float64)}, 9))
    h = torch.sigmoid(params["h.bias"] + ROWS.to(torch.float64) @ params["v_h.weight"]).mean(0)
    v = ROWS.to(torch.float64).mean(0)
    torch.testing.assert_close(found.means["h"], h, rtol=0, atol=1e-12)
    # the data's mean stands still, and the first mean of h is where its offset begins
    g = {n: -value for n, value in found.gradient.items()}
    dw = lr * (g["v_h.weight"] - torch.outer(v, g["h.bias"]) - torch.outer(g["v.bias"], h))
    expected = {
        "v_h.weight": params["v_h.weight"] + dw,
        "v.bias": params["v.bias"] + lr * g["v.bias"] - dw @ h,
        "h.bias": params["h.bias"] + lr * g["h.bias"] - dw.T @ v,
    }
    for name, value in expected.items():
        torch.testing.assert_close(trainer.params[name], value, rtol=0, atol=1e-10)
    assert set(trainer.state()) >= {"offset/nll:v", "offset/nll:h"}


@pytest.mark.parametrize("sampled", [False, True])
def test_offsets_follow_the_positive_phase(sampled: bool) -> None:
    """mu <- (1 - rate) mu + rate <T>, from the data's mean and the first mean of what is latent."""
    rate = 0.25
    text = RBM.format(centring=f", centring = {rate}", optimizer="sgd(lr = 0.0)", epochs=1, batch=3, of="")
    model = gmc.compile(text.replace("exact(up)", "up") if sampled else text).compiled
    found = trained(model, first(), ROWS).stepping.centred.offsets["nll"]
    from gmc.runtime.dataset import order

    offsets = {"v": ROWS.to(torch.float64).mean(0)}
    for numbers in order(9, 0, "train", 0).split(3):
        v = ROWS[numbers].to(torch.float64)
        h = torch.sigmoid(first()["h.bias"] + v @ first()["v_h.weight"])
        for name, mean in (("v", v.mean(0)), ("h", h.mean(0))):
            offsets[name] = (1 - rate) * offsets[name] + rate * mean if name in offsets else mean
    for name, value in offsets.items():
        torch.testing.assert_close(found[name][0], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("of", "moves"), [("v_h", {"v_h.weight"}), ("v, h", {"v.bias", "h.bias"}), ("v_h, h", {"v_h.weight", "h.bias"})]
)
def test_a_line_moves_only_what_it_takes(of: str, moves: set[str]) -> None:
    trainer = trained(compiled(0.1, "sgd(lr = 0.3)", of=f"of {of} "), first(), ROWS)
    assert {n for n, p in trainer.params.items() if not torch.equal(p, first()[n])} == moves


def test_a_bias_a_channel_shares_takes_the_mean_of_the_field() -> None:
    """A convolution without padding sends each hidden channel the same field where v stands at one mean: its step is centred as with biases a site."""
    body = "model m {{ observed v : bernoulli(bias = channel)[1, 4, 4]  latent h : bernoulli(bias = channel)[2, 3, 3]  edge v -- h by conv(2, init = 0.3) }}"
    text = (
        RBM[RBM.index("data") :]
        .replace("exact(up)", "up")
        .replace("exact(free)", "down")
        .replace("chain free {{ }}", "chain down {{ start data }}")
    )
    model = gmc.compile(
        (body + text).format(centring=", centring = 0.0", optimizer="sgd(lr = 0.1)", epochs=1, batch=40, of="")
    ).compiled
    rows = (torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(2)) < 0.2).to(torch.float64)
    rows = torch.cat([rows.roll((i, j), (2, 3)) for i in range(4) for j in range(4)])
    data = TensorData.of(model, {"v": rows}, torch.device("cpu"), torch.float64)
    params = initial_parameters(model.graph, 0, data)
    trainer = Trainer(model, data, {n: p.clone() for n, p in params.items()}, 0)
    next(trainer.advance(lambda stage: {}))
    mu = trainer.stepping.centred.offsets["nll"]["v"]
    assert mu.std() < 1e-12  # all shifts of the rows are there
    dw = trainer.params["v_h.weight"] - params["v_h.weight"]
    held = (trainer.params["h.bias"] - params["h.bias"]) + dw.sum((1, 2, 3)) * mu[0, 0]
    plain = Trainer(
        gmc.compile((body + text).format(centring="", optimizer="sgd(lr = 0.1)", epochs=1, batch=40, of="")).compiled,
        data,
        {n: p.clone() for n, p in params.items()},
        0,
    )
    next(plain.advance(lambda stage: {}))
    torch.testing.assert_close(held, plain.params["h.bias"] - params["h.bias"], rtol=0, atol=1e-12)


DBM = """
model dbm {{
  observed v : bernoulli[3, 3]
  latent a : bernoulli[8]
  latent b : bernoulli[5]
  edge v -- a by dense(init = 0)
  edge a -- b by dense(init = 0)
}}
data npz("none.npz") {{ v = v }}
chain up {{ clamp v  start persistent(1)  sweeps 2 }}
chain down {{ start persistent(64) }}
objective nll = likelihood(up, down{centring})
train {{ minimize nll using sgd(lr = 0.5 -> 0)  batch 14  epochs 600 }}
"""


def bars_and_stripes() -> Tensor:
    lines = [torch.tensor(line) for line in itertools.product((0, 1), repeat=3)]
    return torch.stack([x for line in lines for x in (line.repeat(3, 1), line.repeat(3, 1).T)]).unique(dim=0)


def test_a_deep_machine_learns_from_zero_weights() -> None:
    """Bars and stripes, all layers at once: the exact log-likelihood of the 14 patterns, -36.9 at best; plain steps are 6 nats and more behind."""
    ends = {}
    for centring in ("", ", centring = 0.01"):
        model = gmc.compile(DBM.format(centring=centring))
        data = TensorData.of(model.compiled, {"v": bars_and_stripes()}, torch.device("cpu"), torch.float32)
        start = initial_parameters(model.compiled.graph, 0, data)
        trainer = trained(model.compiled, start, bars_and_stripes(), torch.float32)
        ends[centring] = float(model.run(trainer.params).log_likelihood({"v": bars_and_stripes()}).sum())
    plain, centred = ends.values()
    assert centred > -47.0
    assert centred > plain + 4.0
