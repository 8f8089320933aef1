"""Deep belief networks, run: exact likelihoods, the one that is a restricted machine, its bound, samples, and training with both phases."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import gmc
from gmc.compiler.comparison import Comparison
from gmc.compiler.driver import Compiled
from gmc.compiler.emitter import inputs
from gmc.dsl.diagnostic import GmcError
from gmc.runtime.engine import Engine, Rows
from gmc.runtime.evaluations import recognised
from gmc.runtime.evaluations.bound import bound
from gmc.runtime.evaluations.method import Task
from gmc.runtime.exact import TooLarge
from gmc.runtime.initial import initial_parameters
from gmc.runtime.likelihood import Likelihood
from gmc.runtime.tensor_data import TensorData
from tests.oracle import stats
from tests.oracle.directed import recognition
from tests.oracle.laws import Law, law, log_likelihood, log_partition, rows_of
from tests.oracle.models import random_weights

CPU = torch.device("cpu")


def network(v: int, h1: int, h2: int, extra: str = "", recognise: str = "edge v ~> h1") -> Compiled:
    return gmc.compile(
        f"""
        model dbn {{
          observed v  : bernoulli[{v}]
          latent   h1 : bernoulli[{h1}]
          latent   h2 : bernoulli[{h2}]
          edge h1 -> v
          edge h1 -- h2
          {recognise}
        }}
        {extra}
        """
    ).compiled


def every(n: int) -> Tensor:
    """All states of n bits, `[2^n, n]`."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=torch.float64)


def task(compiled: Compiled, weights: Mapping[str, Tensor], rows: Tensor, seed: int = 0) -> Task:
    data = TensorData.of(compiled, {"v": rows}, CPU, torch.float64)
    return Task(compiled, weights, data, seed=seed)


# ── Likelihoods ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_likelihood_of_a_belief_network() -> None:
    compiled = network(6, 5, 4)
    model = compiled.checked.model
    weights = random_weights(model, 3, 0.8)
    found = Likelihood(compiled, weights).log_likelihood({"v": every(6)})
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-12)
    expected = log_likelihood(model, weights, rows_of(model, {"v": every(6)[[42]]}))
    torch.testing.assert_close(found[[42]], expected, rtol=0, atol=1e-9)


RBM = """
model rbm {
  observed v : bernoulli[6]
  latent   h : bernoulli[5]
  edge v -- h
}
"""


def untied() -> tuple[Compiled, dict[str, Tensor], Compiled, dict[str, Tensor]]:
    """A restricted machine, and the belief network whose top has its weights transposed and the biases of v on h2."""
    rbm = gmc.compile(RBM).compiled
    own = random_weights(rbm.checked.model, 5, 0.9)
    dbn = network(6, 5, 6, recognise="edge v ~> h1 by tied(h1_v)")
    weights = {
        "v.bias": own["v.bias"],
        "h1.bias": own["h.bias"],
        "h2.bias": own["v.bias"],
        "h1_v.weight": own["v_h.weight"].T,
        "h1_h2.weight": own["v_h.weight"].T,
        "v_h1.bias": own["h.bias"],
    }
    assert set(weights) == {p.name for p in dbn.graph.parameters}
    return rbm, own, dbn, weights


def test_an_infinite_stack_of_one_machine_is_that_machine() -> None:
    """In law and in conditionals: v, v with h1, h1 given v."""
    rbm, own, dbn, weights = untied()
    machine, stack = Likelihood(rbm, own), Likelihood(dbn, weights)
    v = every(6)
    torch.testing.assert_close(stack.log_likelihood({"v": v}), machine.log_likelihood({"v": v}), rtol=0, atol=1e-10)
    for h in every(5)[[0, 7, 21, 31]]:
        both = {"v": v, "h1": h.expand(64, -1)}, {"v": v, "h": h.expand(64, -1)}
        torch.testing.assert_close(stack.log_likelihood(both[0]), machine.log_likelihood(both[1]), rtol=0, atol=1e-10)
        torch.testing.assert_close(
            stack.log_likelihood(both[0], given=("v",)),
            machine.log_likelihood(both[1], given=("v",)),
            rtol=0,
            atol=1e-10,
        )


def test_the_bound_of_that_machine_is_exact() -> None:
    """What `~>` draws is the posterior, so that nothing is lost."""
    _, _, dbn, weights = untied()
    found = bound(task(dbn, weights, every(6)))
    expected = Likelihood(dbn, weights).log_likelihood({"v": every(6)})
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10)
    assert found.kind == "lower bound" and found.partition is not None and found.partition.exact


# ── The bound ────────────────────────────────────────────────────────────────────────────────────────────────────────


def by_enumeration(compiled: Compiled, weights: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """The bound by the oracle: q, log p*(v, h1) and log Z from its own sums."""
    model = compiled.checked.model
    n = model.variable("h1").sites
    q = recognition(model, weights, model.edge("v_h1"), rows)
    top = log_partition(model, weights)
    found = torch.zeros(len(rows), dtype=torch.float64)
    for row, v in enumerate(rows):
        for h in every(n):
            chance = torch.where(h == 1, q[row, :, 1], q[row, :, 0]).prod()
            given = rows_of(model, {"v": v[None], "h1": h[None]})[0]
            found[row] += chance * (log_partition(model, weights, given) - top - chance.log())
    return found


@pytest.mark.parametrize("scale", [0.3, 1.5])
def test_bound_is_below_everywhere(scale: float) -> None:
    compiled = network(4, 3, 3)
    weights = random_weights(compiled.checked.model, 4, scale)
    rows = every(4)
    found = bound(task(compiled, weights, rows))
    torch.testing.assert_close(found.values, by_enumeration(compiled, weights, rows), rtol=0, atol=1e-9)
    exact = Likelihood(compiled, weights).log_likelihood({"v": rows})
    assert bool((found.values <= exact).all()) and float((exact - found.values).max()) > 1e-3
    assert "h1 by `~>` edges, all states summed" in found.how and found.quantity.startswith("lower bound")


def test_bound_by_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bias, and each row's draws are its own whatever the batch."""
    compiled = network(4, 3, 3)
    weights = random_weights(compiled.checked.model, 4, 1.0)
    expected = bound(task(compiled, weights, every(4))).values
    monkeypatch.setattr(recognised, "EXACT_BITS", 0.0)
    again = 120
    found = bound(task(compiled, weights, every(4).repeat(again, 1)), samples=20)
    assert found.kind == "estimate of a lower bound" and "20 draws of each row" in found.how
    for row, many in enumerate(found.values.reshape(again, 16).T):
        verdict = stats.mean_within(many.numpy(), expected[row].item(), comparisons=16)
        assert verdict.ok, str(verdict)
    monkeypatch.setattr(recognised, "PART", 64)
    few = bound(task(compiled, weights, every(4)), samples=20).values
    assert torch.equal(few, found.values[:16])


def test_bound_of_rows_with_missing_values() -> None:
    """What a row lacks is summed out with the rest, and the bound is one of what it has."""
    compiled = network(4, 3, 3, "chain some { clamp v where observed }")
    weights = random_weights(compiled.checked.model, 4, 1.0)
    rows = every(4)[:6].clone()
    rows[1, 2] = rows[3, 0] = rows[3, 1] = torch.nan
    data = TensorData.of(compiled, {"v": rows}, CPU, torch.float64)
    found = bound(Task(compiled, weights, data))
    exact = Likelihood(compiled, weights).log_likelihood({"v": rows})
    assert bool((found.values <= exact).all())


def test_models_without_recognition_have_no_bound() -> None:
    compiled = network(4, 3, 3, recognise="")
    with pytest.raises(TooLarge, match="nothing draws h1 given the data: not by the joint: v lies below it"):
        bound(task(compiled, random_weights(compiled.checked.model, 1), every(4)))


# ── Samples ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def posterior_of(held: Law, weights: Mapping[str, Tensor], v: Tensor) -> Tensor:
    """q(h1 | v) p(h2 | h1) of the listed states."""
    n = held.model.variable("h1").sites
    q = recognition(held.model, weights, held.model.edge("v_h1"), v[None])[0]
    states = held.values[:, len(v) :]
    chance = torch.where(states[:, :n] == 1, q[:, 1], q[:, 0]).prod(1)
    top = torch.sigmoid(weights["h2.bias"] + states[:, :n] @ weights["h1_h2.weight"])
    return chance * torch.where(states[:, n:] == 1, top, 1 - top).prod(1)


@pytest.mark.parametrize("recognise", ["edge v ~> h1", "edge v ~> h1 by tied(h1_v)"])
def test_samples(recognise: str) -> None:
    """Dreams follow the joint, posterior samples recognition and what is above; the v of a dream is not that of a machine without normaliser."""
    compiled = network(4, 3, 3, "chain dreaming { sweeps 25 }\nchain posterior { clamp v }", recognise)
    weights = random_weights(compiled.checked.model, 2, 0.7)
    model, n = compiled.checked.model, stats.SAMPLES
    engine = Engine(compiled, weights, 7, "test")
    dreams = engine.run("dreaming", Rows({}, n)).value
    verdict = stats.compare(law(model, weights), dict(dreams))
    assert verdict.ok, str(verdict)
    v = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    drawn = engine.run("posterior", Rows({"v": v.expand(n, -1)}, n)).value
    held = law(model, weights, {("v", i): x for i, x in enumerate(v.tolist())})
    verdict = stats.compare(held, dict(drawn), posterior_of(held, weights, v))
    assert verdict.ok, str(verdict)
    assert not stats.compare(held, dict(drawn)).ok  # recognition is not the posterior


def test_a_dream_without_sweeps_is_no_sample() -> None:
    """A sampler that stops at pass 0, where h1 has not heard of h2, is caught."""
    compiled = network(4, 3, 3, "chain dreaming { sweeps 0 }")
    weights = random_weights(compiled.checked.model, 2, 1.2)
    drawn = Engine(compiled, weights, 7, "test").run("dreaming", Rows({}, stats.SAMPLES)).value
    assert not stats.compare(law(compiled.checked.model, weights), dict(drawn)).ok


# ── Training ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CHAINS = """
data npz("none.npz") { v = v }
chain posterior { clamp v }
chain dreaming { start persistent(50)  sweeps 5 }
"""
WAKE = CHAINS + "objective fit = likelihood(positive = posterior, negative = exact(dreaming))\n"


def test_the_wake_phase_against_autodiff() -> None:
    """The expectation over what `~>` draws of the gradient of log p*(v, h1), each state of h1 on its own, with h2 at its mean."""
    compiled = network(4, 3, 2, WAKE)
    model = compiled.checked.model
    weights = random_weights(model, 6, 0.8)
    (term,) = compiled.descents("fit")
    assert isinstance(term, Comparison) and term.sides == ("positive",)
    v = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    q = recognition(model, weights, model.edge("v_h1"), v[None])[0]
    found = {name: torch.zeros_like(w) for name, w in weights.items()}
    leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
    expected, loss = torch.zeros((), dtype=torch.float64), 0.0
    for h in every(3):
        chance = torch.where(h == 1, q[:, 1], q[:, 0]).prod()
        h2 = torch.sigmoid(weights["h2.bias"] + h @ weights["h1_h2.weight"])
        state = {"v": v[None], "h1": h[None], "h2": h2[None]}
        values: dict[str, Tensor] = dict(weights) | {"blank": torch.zeros(1, 1, dtype=torch.float64)}
        values |= {f"positive.{what}.{name}": x for what in ("mean", "value") for name, x in state.items()}
        out = term.module(*(values[name] for name in inputs(term.module)))
        for name, slope in out["gradient"].items():
            found[name] += chance * slope
        loss += float(chance * out["loss"])
        expected = expected - chance * log_partition(model, leaves, rows_of(model, {"v": v[None], "h1": h[None]})[0])
    slopes = torch.autograd.grad(expected, list(leaves.values()), materialize_grads=True, allow_unused=True)
    for name, slope in zip(leaves, slopes, strict=True):
        torch.testing.assert_close(found[name], slope, rtol=0, atol=1e-9)
    assert loss != 0.0


def test_the_negative_phase_leaves_out_what_is_below() -> None:
    compiled = network(4, 3, 2, CHAINS + "objective fit = likelihood(positive = posterior, negative = dreaming)\n")
    (term,) = compiled.descents("fit")
    assert isinstance(term, Comparison)
    names = inputs(term.module)
    assert "positive.mean.v" in names and "negative.mean.v" not in names and "negative.value.v" not in names


def patterns(rows: int = 192) -> Tensor:
    """Bits that go together: two of three pairs are copies of one coin, the third is the other."""
    coins = torch.randint(0, 2, (rows, 2), generator=torch.Generator().manual_seed(1))
    return torch.stack([coins[:, 0], coins[:, 0], coins[:, 1], coins[:, 1], coins[:, 0], 1 - coins[:, 0]], 1)


def test_training_the_top_alone() -> None:
    """`minimize fit of` the top changes nothing below, and raises the bound, since q stays what it is."""
    objective = "objective fit = likelihood(positive = posterior, negative = dreaming)\n"
    stage = "train { minimize fit of h1_h2, h1, h2 using sgd(lr = 0.1)  batch 64  epochs 25 }"
    model = network_model(objective + stage)
    data = TensorData.of(model.compiled, {"v": patterns()}, CPU, torch.float64)
    first = initial_parameters(model.compiled.graph, 2, data)
    first = {n: w.to(torch.float32).to(torch.float64) for n, w in first.items()}
    run = model.train(data={"v": patterns()}, seed=2)
    after = {n: w.to(torch.float64) for n, w in run.params.items()}
    for name in ("h1_v.weight", "v_h1.weight", "v_h1.bias"):
        assert torch.equal(after[name], first[name]), name
    before = {**after, **{n: first[n] for n in ("h1_h2.weight", "h1.bias", "h2.bias")}}
    rows = patterns().to(torch.float64)
    low, high = (bound(task(model.compiled, w, rows)).mean for w in (before, after))
    assert high >= low - 1e-3


def network_model(extra: str) -> gmc.Model:
    return gmc.compile(
        f"""
        model dbn {{
          observed v  : bernoulli[6]
          latent   h1 : bernoulli[5]
          latent   h2 : bernoulli[4]
          edge h1 -> v by dense(init = 1.0)
          edge h1 -- h2
          edge v ~> h1 by dense(init = 1.0)
        }}
        {CHAINS}
        {extra}
        """
    )


def test_exact_training_learns() -> None:
    objective = "objective fit = likelihood(positive = exact(posterior), negative = exact(dreaming))\n"
    stage = "train { minimize fit using adam(lr = 0.05)  batch 192  epochs 120 }"
    run = network_model(objective + stage).train(data={"v": patterns()}, seed=1)
    params = {n: w.to(torch.float64) for n, w in run.params.items()}
    mean = Likelihood(run.compiled, params).log_likelihood({"v": patterns().to(torch.float64)}).mean().item()
    assert mean > -2.0  # two fair coins: -1.386, six: -4.159


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("likelihood(positive = posterior, negative = recall)", "recall is a non-equilibrium chain"),
        ("likelihood(positive = settled, negative = dreaming)", "settled holds h1 at its mean"),
        ("likelihood(positive = posterior, negative = backwards)", "backwards is a non-equilibrium chain"),
    ],
)
def test_objectives_that_are_refused(objective: str, said: str) -> None:
    more = """
    chain recall { clamp v }
    chain settled { clamp v  update mean }
    chain backwards { sweep {v} then {h1} then {h2}  sweeps 5 }
    """
    with pytest.raises(GmcError) as refused:
        network(4, 3, 2, f"{CHAINS}{more}objective fit = {objective}\n")
    assert any(said in found.message for found in refused.value.diagnostics), str(refused.value)
