"""Optimisers: the formulas of their docstrings, ramps, weight decay on weights only, and states that go on exactly."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from gmc.dsl.vocabulary import Ramp
from gmc.runtime.optimizer import Optimizer
from gmc.runtime.optimizers.adam import Adam
from gmc.runtime.optimizers.sgd import Sgd

OPTIMIZERS: list[Optimizer] = [
    Sgd(lr=Ramp(0.1, 0.1)),
    Sgd(lr=Ramp(0.1, 0.0), momentum=Ramp(0.5, 0.9), weight_decay=Ramp(0.01, 0.01)),
    Sgd(lr=Ramp(0.1, 0.1), momentum=Ramp(0.0, 0.9)),
    Sgd(lr=Ramp(0.1, 0.05), momentum=Ramp(0.5, 0.9), weight_decay=Ramp(0.01, 0.01), nesterov=True),
    Sgd(lr=Ramp(0.1, 0.1), momentum=Ramp(0.5, 0.5), average=0.9),
    Adam(lr=Ramp(0.1, 0.1)),
    Adam(lr=Ramp(0.1, 0.0), betas=(0.5, 0.99), eps=1e-3, weight_decay=Ramp(0.0, 0.1)),
]


def params() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator)
        for name, shape in {"v.bias": (3,), "h.bias": (2,), "v_h.weight": (3, 2), "s.bias": ()}.items()
    }


def grads(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return {name: torch.randn(value.shape, generator=generator) for name, value in params().items()}


def by_hand(optimizer: Optimizer, steps: int) -> dict[str, torch.Tensor]:
    """The docstrings' formulas, in float64."""
    values = {name: value.double() for name, value in params().items()}
    first = {name: torch.zeros_like(value) for name, value in values.items()}
    second = {name: torch.zeros_like(value) for name, value in values.items()}
    for t in range(1, steps + 1):
        progress = (t - 1) / (steps - 1)
        for name, w in values.items():
            assert isinstance(optimizer, (Sgd, Adam))
            decay = optimizer.weight_decay.at(progress) if name == "v_h.weight" else 0.0
            g = grads(t - 1)[name].double() + decay * w
            lr = optimizer.lr.at(progress)
            if isinstance(optimizer, Sgd):
                first[name] = optimizer.momentum.at(progress) * first[name] + g
                ahead = g + optimizer.momentum.at(progress) * first[name] if optimizer.nesterov else first[name]
                values[name] = w - lr * (ahead if optimizer.momentum.at(progress) else g)
                if not optimizer.momentum.at(progress):
                    first[name] = torch.zeros_like(w)  # no buffer yet
            else:
                one, two = optimizer.betas
                first[name] = one * first[name] + (1 - one) * g
                second[name] = two * second[name] + (1 - two) * g**2
                m, s = first[name] / (1 - one**t), second[name] / (1 - two**t)
                values[name] = w - lr * m / (s.sqrt() + optimizer.eps)
    return values


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_steps_are_those_of_the_docstring(optimizer: Optimizer) -> None:
    own = params()
    stepper = optimizer.build(own, {"v_h.weight"})
    for t in range(12):
        stepper.step(grads(t), t / 11)
    for name, value in by_hand(optimizer, 12).items():
        assert torch.allclose(own[name].double(), value, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_steps_are_torchs_own(optimizer: Optimizer) -> None:
    own, theirs = params(), params()
    stepper = optimizer.build(own, {"v_h.weight"})
    groups = [{"params": [theirs["v_h.weight"]]}, {"params": [v for k, v in theirs.items() if k != "v_h.weight"]}]
    reference: torch.optim.Optimizer
    if isinstance(optimizer, Adam):
        reference = torch.optim.Adam(groups, betas=optimizer.betas, eps=optimizer.eps, foreach=True)
    else:
        reference = torch.optim.SGD(groups, lr=1.0, foreach=True)
    for t in range(8):
        stepper.step(grads(t), t / 7)
        assert isinstance(optimizer, (Sgd, Adam))
        for i, group in enumerate(reference.param_groups):
            group["lr"] = optimizer.lr.at(t / 7)
            group["weight_decay"] = 0.0 if i else optimizer.weight_decay.at(t / 7)
            if isinstance(optimizer, Sgd):
                group["momentum"] = optimizer.momentum.at(t / 7)
                group["nesterov"] = optimizer.nesterov
        for name, gradient in grads(t).items():
            theirs[name].grad = gradient
        reference.step()
    assert all(torch.equal(own[name], theirs[name]) for name in own)


@pytest.mark.parametrize("stop", [0, 1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_loaded_state_goes_on_to_the_bit(optimizer: Optimizer, stop: int) -> None:
    whole, half = params(), params()
    straight, first = optimizer.build(whole, {"v_h.weight"}), optimizer.build(half, {"v_h.weight"})
    for t in range(6):
        straight.step(grads(t), t / 5)
        straight.average()
        if t < stop:
            first.step(grads(t), t / 5)
            first.average()
    kept = {name: value.clone() for name, value in first.state().items()}
    resumed = {name: value.clone() for name, value in half.items()}
    second = optimizer.build(resumed, {"v_h.weight"})
    second.load(kept)
    assert second.state().keys() == kept.keys()
    for t in range(stop, 6):
        second.step(grads(t), t / 5)
        second.average()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    straight_state, second_state = straight.state(), second.state()
    assert straight_state.keys() == second_state.keys()
    assert all(torch.equal(straight_state[key], second_state[key]) for key in straight_state)


def test_an_average_is_corrected_for_its_beginning() -> None:
    """sum of d^(t-i) w_i over sum of d^(t-i): the first is w_1 itself, and of a parameter that stands still it is that."""
    own, keep, seen = params(), 0.9, []
    stepper = Sgd(lr=Ramp(0.1, 0.1), average=keep).build(own, set())
    assert stepper.averages == {}
    for t in range(20):
        stepper.step({name: g for name, g in grads(t).items() if name != "s.bias"}, 0.0)
        stepper.average()
        seen.append({name: value.double() for name, value in own.items()})
        shares = [keep ** (t - i) for i in range(t + 1)]
        for name, found in stepper.averages.items():
            expected = sum(share * w[name] for share, w in zip(shares, seen, strict=True)) / sum(shares)
            assert torch.allclose(found.double(), expected, rtol=0, atol=1e-6), name
    assert torch.allclose(stepper.averages["s.bias"], own["s.bias"], rtol=0, atol=1e-6)
    stepper = Sgd(lr=Ramp(0.1, 0.1)).build(params(), set())
    stepper.average()
    assert stepper.averages == {} == stepper.state()


@pytest.mark.parametrize("kind", [Sgd, Adam])
def test_the_norm_of_a_units_incoming_weights(kind: type[Sgd] | type[Adam]) -> None:
    """Columns above the bound come to it in their own direction, others and all other parameters stay."""
    own = {
        "w": torch.tensor([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]]),
        "k": torch.ones(2, 1, 2, 2),
        "b": torch.full((3,), 9.0),
    }
    own["k"][1] *= 0.1
    stepper = kind(lr=Ramp(0.0, 0.0), max_norm=1.0).build(own, set(), {"w": (0,), "k": (1, 2, 3)})
    stepper.step({name: torch.ones_like(value) for name, value in own.items()}, 0.0)
    torch.testing.assert_close(own["w"], torch.tensor([[0.6, 0.3, 0.0], [0.8, 0.4, 0.0]]))
    torch.testing.assert_close(own["k"], torch.stack([torch.full((1, 2, 2), 0.5), torch.full((1, 2, 2), 0.1)]))
    assert own["b"].tolist() == [9.0] * 3
    stepper.step({"w": torch.ones(2, 3) * torch.nan}, 0.0)
    assert own["w"].isnan().all(), "what is not finite is not hidden"


def test_states_have_flat_names() -> None:
    stepper = Sgd(lr=Ramp(0.1, 0.1), momentum=Ramp(0.0, 0.5)).build(params(), set())
    stepper.step(grads(0), 0.0)
    assert stepper.state() == {}
    stepper.step(grads(1), 0.5)
    assert set(stepper.state()) == {f"{name}/momentum_buffer" for name in params()}
    stepper = Adam(lr=Ramp(0.1, 0.1)).build(params(), set())
    stepper.step({"v.bias": torch.ones(3)}, 0.0)
    assert set(stepper.state()) == {"v.bias/exp_avg", "v.bias/exp_avg_sq", "v.bias/step"}
    assert stepper.state()["v.bias/step"].item() == 1.0


def test_loading_copies_and_replaces() -> None:
    stepper = Sgd(lr=Ramp(0.1, 0.1), momentum=Ramp(0.5, 0.5)).build(params(), set())
    stepper.step(grads(0), 0.0)
    given = {"v.bias/momentum_buffer": torch.ones(3)}
    stepper.load(given)
    assert set(stepper.state()) == set(given)
    stepper.step(grads(1), 0.0)
    assert given["v.bias/momentum_buffer"].tolist() == [1.0, 1.0, 1.0]


def test_states_of_something_else_are_refused() -> None:
    stepper = Sgd(lr=Ramp(0.1, 0.1)).build(params(), set())
    for key in ("w.bias/momentum_buffer", "v.bias/exp_avg", "v.bias"):
        with pytest.raises(KeyError):
            stepper.load({key: torch.zeros(3)})
    with pytest.raises(ValueError, match="shape"):
        stepper.load({"v.bias/momentum_buffer": torch.zeros(2)})
    with pytest.raises(KeyError):
        stepper.step({"w.bias": torch.zeros(3)}, 0.0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_what_has_no_gradient_stays(optimizer: Optimizer) -> None:
    own = params()
    stepper = optimizer.build(own, {"v_h.weight"})
    stepper.step({"v.bias": torch.ones(3)}, 0.5)
    assert not torch.equal(own["v.bias"], params()["v.bias"])
    assert all(torch.equal(own[name], params()[name]) for name in ("h.bias", "v_h.weight", "s.bias"))


def test_parameters_of_autograd_are_stepped_in_place() -> None:
    w = torch.ones(2, requires_grad=True)
    Sgd(lr=Ramp(0.5, 0.5)).build({"w": w}, {"w"}).step({"w": torch.tensor([1.0, 2.0])}, 0.0)
    assert w.tolist() == [0.5, 0.0]
    assert w.requires_grad
    assert w.is_leaf


@pytest.mark.parametrize(
    "arguments",
    [
        {"lr": -0.1},
        {"lr": Ramp(0.1, -0.1)},
        {"lr": 0.1, "momentum": 1.0},
        {"lr": 0.1, "weight_decay": Ramp(-1.0, 0.0)},
        {"lr": "fast"},
        {"lr": 0.1, "max_norm": 0.0},
        {"lr": 0.1, "average": 1.0},
        {"lr": 0.1, "average": -0.1},
        {},
    ],
)
def test_arguments_are_bounded(arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sgd(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [{"betas": (0.9, 1.0)}, {"betas": (-0.1, 0.9)}, {"betas": (0.9,)}, {"eps": 0.0}])
def test_adams_arguments_are_bounded(arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Adam(lr=0.1, **arguments)  # type: ignore[arg-type]
