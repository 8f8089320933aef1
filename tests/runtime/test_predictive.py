"""Predictive objectives in training: they learn, mix with others in a sum, and go on after a resume as if nothing had been."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gmc
from gmc.compiler.driver import Compiled
from gmc.runtime.tensor_data import TensorData
from gmc.runtime.train import Trainer
from gmc.runtime.training import Progress

MACHINE = """
model machine {
  observed v : bernoulli[6]
  observed y : categorical(8)
  latent h : bernoulli[12]
  latent g : bernoulli[deep]
  edge v -- h by dense(init = 0.1)
  edge y -- h by dense(init = 0.1)
  edge h -- g by dense(init = 0.1)
}
param deep = 0
data npz("rows.npz") { v = v  y = y }
chain posterior { clamp v, y }
chain negative { start persistent(16) }
chain infer { clamp v, y where observed  update mean  sweeps 4 }
"""


def twins(n: int = 64) -> dict[str, Tensor]:
    """Three fair bits, twice, and their number as a label."""
    number = torch.randint(0, 8, (n,), generator=torch.Generator().manual_seed(0))
    bits = torch.stack([number >> place & 1 for place in range(3)], dim=1)
    return {"v": torch.cat((bits, bits), dim=1), "y": number}


def losses(objective: str, train: str, **params: object) -> list[float]:
    """What an objective is at the end of each epoch."""
    found: list[float] = []

    def watch(progress: Progress) -> None:
        if progress.report is not None:
            found.append(progress.report.values["fit"])

    text = f"{MACHINE}objective fit = {objective}\ntrain {{ minimize fit {train} }}\n"
    gmc.compile(text, set=params).train(data=twins(), watch=watch)
    return found


def test_multi_prediction_trains_all_layers_at_once() -> None:
    """From small random weights: what is hidden is told from the rest far better than by each site's own frequency."""
    found = losses("multi_prediction(infer)", "using adam(lr = 0.05)  batch 32  epochs 60", deep=4)
    alone = 0.5 * (6 * math.log(2) + math.log(8))
    assert 0.9 * alone < found[0] < 1.1 * alone
    # a bit is lost where its twin and the label are hidden too, and with a pair the label loses a bit
    least = 3 * (2 + 1) * math.log(2) / 8
    assert 0.8 * least < sum(found[-10:]) / 10 < 0.6 * alone


def test_pseudo_likelihood_learns_what_bits_share() -> None:
    found = losses("pseudo_likelihood(sites = 4)", "using adam(lr = 0.1)  batch 32  epochs 60")
    alone = 6 * math.log(2) + math.log(8)
    assert found[0] > 0.7 * alone and sum(found[-10:]) / 10 < 0.25 * alone


def test_a_hybrid_is_a_sum() -> None:
    """Each term's loss with its weight, from one run of the chains that terms share."""
    train = "using sgd(lr = 0.0)  batch 64  epochs 1"
    parts = ("discriminative(y | v)", "likelihood(posterior, negative)", "sparsity(posterior, h, target = 0.2)")
    alone = [losses(part, train)[0] for part in parts]
    (together,) = losses(f"{parts[0]} + 0.1 * {parts[1]} + 2 * {parts[2]}", train)
    # chains are named alike in all of these files, so that they are the same draws
    assert math.isclose(together, alone[0] + 0.1 * alone[1] + 2 * alone[2], rel_tol=1e-6)
    assert math.isclose(alone[0], math.log(8), rel_tol=0.2)
    assert losses(f"{parts[0]} + 0.01 * {parts[1]}", "using adam(lr = 0.05)  batch 32  epochs 40")[-1] < 0.6


RESUMED = f"""{MACHINE}
objective fit = pseudo_likelihood(sites = 3) + 0.1 * sparsity(posterior, h) + discriminative(y | v)
objective guess = multi_prediction(infer)
train {{
  minimize fit of v_h, v using adam(lr = 0.02)
  minimize guess using sgd(lr = 0.1) times 2
  batch 24
  epochs 3
}}
"""


def test_a_resume_goes_on_to_the_same_bytes() -> None:
    """After any step: what is drawn hangs on counters, and running means are in the state."""
    compiled = gmc.compile(RESUMED).compiled

    def begin() -> Trainer:
        rows = TensorData.of(compiled, twins(), torch.device("cpu"), torch.float32)
        return Trainer(compiled, rows, first(compiled), seed=3)

    whole = begin()
    for _ in whole.advance(lambda stage: {}):
        pass
    assert any(key.startswith("memory/fit.1:") for key in whole.state())
    for steps in (1, 4):
        before = begin()
        for n, _ in enumerate(before.advance(lambda stage: {}), 1):
            if n == steps:
                break
        # what is saved is a copy: the trainer's own tensors go on changing
        saved, counters = {n: t.clone() for n, t in before.state().items()}, before.counters()
        after = begin()
        after.restore(saved, counters)
        for _ in after.advance(lambda stage: {}):
            pass
        found, expected = after.state(), whole.state()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def first(compiled: Compiled) -> dict[str, Tensor]:
    """Small random parameters."""
    generator = torch.Generator().manual_seed(5)
    return {p.name: 0.1 * torch.randn(p.shape, generator=generator) for p in compiled.graph.parameters}
