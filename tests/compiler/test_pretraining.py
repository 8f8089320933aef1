"""Phases of greedy pretraining against RBMs that are enumerated here, and contrastive divergence against chains written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

import gmc
from gmc.compiler.driver import Compiled
from gmc.compiler.pretraining import Pretraining
from gmc.dsl.model import Clamp
from gmc.runtime.engine import Engine, Rows
from gmc.runtime.exact import Marginals
from gmc.runtime.step import Place, TrainingStep, Works, wanted
from tests.oracle import stats
from tests.slopes import step_on

DEEP = """
model deep {
  observed v : bernoulli[3]
  latent a : bernoulli[3]
  latent b : bernoulli[2]
  latent c : bernoulli[3]
  edge v -- a
  edge a -- b
  edge b -- c
}
objective nll = layerwise(cd(1))
"""
BELIEF = """
model belief {
  observed v : bernoulli[3]
  latent a : bernoulli[3]
  latent b : bernoulli[2]
  latent c : bernoulli[3]
  edge a -> v
  edge b -> a
  edge b -- c
  edge v ~> a
  edge a ~> b by tied(b_a)
}
objective nll = layerwise(cd(1))
"""
RBM = """
model rbm { observed v : bernoulli[3]  latent h : bernoulli[2]  edge v -- h }
data npz("none.npz") { v = v }
chain positive { clamp v }
chain negative { start data  sweeps 2 }
chain fantasy { start persistent(7)  sweeps 2 }
objective by_hand = likelihood(positive = positive, negative = negative)
objective kept_by_hand = likelihood(positive = positive, negative = fantasy)
objective short = cd(2)
objective kept = pcd(2, chains = 7)
objective layered = layerwise(cd(2))
"""
STRENGTH = {"v": 1, "a": 2, "b": 2, "c": 1}
"""In `DEEP`, by hand."""


def weights_of(compiled: Compiled, seed: int = 0, scale: float = 0.7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        p.name: torch.randn(p.shape, generator=generator, dtype=torch.float64) * scale
        for p in compiled.graph.parameters
    }


def pretraining(compiled: Compiled, objective: str = "nll") -> Pretraining:
    (descent,) = compiled.descents(objective)
    assert isinstance(descent, Pretraining)
    return descent


def states(size: int) -> Tensor:
    return torch.tensor(list(product((0.0, 1.0), repeat=size)), dtype=torch.float64)


def softmax_means(fields: Tensor, strength: float) -> Tensor:
    """Means `[rows, units]` of units at fields, from their probabilities, which are enumerated: p(x) ~ exp(strength <field, x>)."""
    table = states(fields.shape[1])
    p = (strength * fields @ table.T).softmax(1)
    return p @ table


def mean_of(
    compiled: Compiled, chain: str, params: Mapping[str, Tensor], held: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    count = len(next(iter(held.values())))
    return dict(Engine(compiled, params, 0, "test", {chain: ("mean",)}).run(chain, Rows(held, count)).mean)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_conditionals_of_each_phase(number: int) -> None:
    """Up and down every layer of a deep Boltzmann machine against an RBM with the doubled weights, state by state."""
    compiled = gmc.compile(DEEP).compiled
    phase = pretraining(compiled).each[number]
    params = weights_of(phase.compiled)
    (lower,), (upper,) = phase.layer.lower, phase.layer.upper
    weight = params[f"{lower}_{upper}.weight"]
    below, above = states(weight.shape[0]), states(weight.shape[1])
    up = softmax_means(params[f"{upper}.bias"] + below @ weight, STRENGTH[upper])
    torch.testing.assert_close(mean_of(phase.compiled, "up", params, {lower: below})[upper], up)
    span = compiled.checked.model.span
    turned = phase.compiled.with_chain(replace(phase.compiled.checked.chain("up"), clamps=(Clamp(upper, None, span),)))
    down = softmax_means(params[f"{lower}.bias"] + above @ weight.T, STRENGTH[lower])
    torch.testing.assert_close(mean_of(turned, "up", params, {upper: above})[lower], down)


def test_conditionals_of_a_belief_network_are_not_doubled() -> None:
    compiled = gmc.compile(BELIEF).compiled
    for phase in pretraining(compiled).each:
        params = weights_of(phase.compiled)
        (lower,), (upper,) = phase.layer.lower, phase.layer.upper
        (name,) = (n for n in params if n.endswith("weight"))
        weight = params[name] if name.startswith(f"{lower}_") else params[name].T
        below = states(weight.shape[0])
        up = softmax_means(params[f"{upper}.bias"] + below @ weight, 1.0)
        torch.testing.assert_close(mean_of(phase.compiled, "up", params, {lower: below})[upper], up)


# ── Contrastive divergence ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "hand", "free"), [("short", "by_hand", "negative"), ("kept", "kept_by_hand", "fantasy")]
)
def test_it_is_the_likelihood_of_chains_written_by_hand(name: str, hand: str, free: str) -> None:
    """With the keys of the chains of one, those of the other give the same bytes, step after step."""
    compiled = gmc.compile(RBM).compiled
    weights = weights_of(compiled)
    rows = Rows({"v": states(3)}, 8)
    step = step_on(compiled, weights, rows, name)
    (given,) = compiled.descents(name)
    (written,) = compiled.descents(hand)
    # the chains in `cd` are called positive and negative, whatever those by hand are
    renamed = {f"train/{name}.0/contrast/{free}": f"train/{name}.0/contrast/negative"}
    engine = Engine(compiled, weights, 1, f"train/{name}.0/contrast", wanted(compiled, {hand: (written,)}))
    if free != "negative":
        engine = Renamed(engine, renamed)
    for turn in range(3):
        step.ended.clear()
        other = TrainingStep(Works(engine, Marginals(compiled)), rows, Place(turn, 0.0, 0), "x", {}, {})
        first, second = given.slope(step), written.slope(other)
        assert torch.equal(first.loss, second.loss)
        assert first.gradient.keys() == second.gradient.keys() == weights.keys()
        for parameter, value in first.gradient.items():
            assert torch.equal(value, second.gradient[parameter]), parameter


def exact_cd(
    start: Tensor, weight: Tensor, below: Tensor, above: Tensor, strength: tuple[float, float]
) -> dict[str, np.ndarray]:
    """The expected descent of CD-1 from a law of the lower states, by enumeration: minus the data's statistics plus those after a step down and up."""
    low, high = states(weight.shape[0]), states(weight.shape[1])
    up = (strength[1] * (above + low @ weight) @ high.T).softmax(1)  # [low states, high states]
    down = (strength[0] * (below + high @ weight.T) @ low.T).softmax(1)  # [high states, low states]
    end = start @ up @ down
    found = {}
    for p, sign in ((start, -1.0), (end, 1.0)):
        parts = {"below": p @ low, "above": p @ up @ high, "weight": low.T @ (p[:, None] * (up @ high))}
        found = {name: found.get(name, 0.0) + sign * value for name, value in parts.items()}
    return {name: value.numpy() for name, value in found.items()}


def sampled(
    compiled: Compiled, weights: Mapping[str, Tensor], phase: int, memory: dict[str, Tensor]
) -> list[dict[str, Tensor]]:
    """Descents of independent batches of all states of v, `BATCH` rows each."""
    found = []
    rows = Rows({"v": states(3).repeat(BATCH // 8, 1)}, BATCH)
    (descent,) = compiled.descents("nll")
    step = step_on(compiled, weights, rows, place=Place(0, 0.0, phase), memory=memory)
    for turn in range(RUNS):
        step.place = Place(turn, 0.0, phase)
        found.append(dict(descent.slope(step).gradient))
    return found


BATCH, RUNS = 64, 300


def same_in_expectation(found: list[dict[str, Tensor]], name: str, expected: np.ndarray) -> None:
    values = torch.stack([each[name].flatten() for each in found]).numpy()
    for column, target in enumerate(expected.flatten()):
        verdict = stats.mean_within(values[:, column], float(target), comparisons=100)
        assert verdict.ok, f"{name}[{column}]: {verdict}"


def test_the_descent_of_each_phase_is_that_of_cd_1() -> None:
    """What phase 1 and phase 2 of a deep Boltzmann machine descend, in expectation over all draws, those on the way up too."""
    compiled = gmc.compile(DEEP).compiled
    weights = weights_of(compiled)
    first = sampled(compiled, weights, 0, {})
    expected = exact_cd(
        torch.full((8,), 1 / 8).double(), weights["v_a.weight"], weights["v.bias"], weights["a.bias"], (1, 2)
    )
    assert first[0].keys() == {"v.bias", "a.bias", "v_a.weight"}
    for name, part in (("v.bias", "below"), ("a.bias", "above"), ("v_a.weight", "weight")):
        same_in_expectation(first, name, expected[part])
    # half of a's bias is from the phase below, and is what the rows go up with; the other is what its RBM has
    c = weights["a.bias"] * 0.5 + 0.3
    second = sampled(compiled, weights, 1, {"phase2.a.bias": c})
    assert second[0].keys() == {"a.bias", "b.bias", "a_b.weight"}
    table = states(3)
    p = (2 * (c + table @ weights["v_a.weight"]) @ table.T).softmax(1).mean(0)
    expected = exact_cd(p, weights["a_b.weight"], weights["a.bias"] - c, weights["b.bias"], (2, 2))
    for name, part in (("a.bias", "below"), ("b.bias", "above"), ("a_b.weight", "weight")):
        same_in_expectation(second, name, expected[part])


def test_one_layer_is_an_rbm() -> None:
    """With one hidden layer it is `cd` itself, and says so by bytes."""
    compiled = gmc.compile(RBM).compiled
    weights = weights_of(compiled)
    rows = Rows({"v": states(3)}, 8)
    phase = pretraining(compiled, "layered").each[0]
    (cd,) = compiled.descents("short")
    (layered,) = compiled.descents("layered")
    step = step_on(compiled, weights, rows, "layered")
    engine = Engine(
        phase.compiled, weights, 1, "train/layered.0/phase1", wanted(phase.compiled, {"": (phase.comparison,)})
    )
    inner = TrainingStep(Works(engine, Marginals(phase.compiled)), rows, Place(0, 0.0, 0), "x", {}, {})
    assert not phase.compiled.schedules["negative"].strength
    assert cd.slope(step_on(compiled, weights, rows, "short")).gradient.keys() == weights.keys()
    found, expected = layered.slope(step), phase.comparison.slope(inner)
    assert torch.equal(found.loss, expected.loss)
    assert all(torch.equal(found.gradient[name], expected.gradient[name]) for name in weights)


class Renamed(Engine):
    """An engine whose free chain draws by the keys of one of another name."""

    def __init__(self, engine: Engine, names: Mapping[str, str]) -> None:
        super().__init__(engine.compiled, engine.params, engine.seed, engine.stream, engine.wants)
        from gmc.compiler.draws import row_keys

        for here, there in names.items():
            count = torch.arange(64)
            self._keys[here.rpartition("/")[2]] = row_keys(self.seed, there, count)
