"""Exact sums over what rows lack: log-likelihoods and gradients against the oracle's lists, row by row."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.graph import family
from gmc.runtime import exact, missing
from gmc.runtime.dataset import load_data
from gmc.runtime.engine import Rows
from gmc.runtime.evaluations import exact as exactly
from gmc.runtime.evaluations.method import Task
from gmc.runtime.evaluations.pseudo import pseudo
from gmc.runtime.exact import Marginals, TooLarge
from gmc.runtime.likelihood import Likelihood
from tests.compiler.replay import EXAMPLE, SEED, case, compile_example
from tests.oracle.laws import gradient, log_likelihood, rows_of
from tests.oracle.models import random_values, random_weights
from tests.oracle.sites import clamped_sites
from tests.slopes import slope

ROWS = 7
NAMES = ["rbm", "boltzmann", "potts_lateral", "dbm2", "label_rbm", "third_mixed", "lowrank_lateral", "conv", "single"]
GAUSSIAN = ["gaussian_rbm", "gaussian_mixed"]
_folder = tempfile.TemporaryDirectory()


def holed(compiled: Compiled, names: list[str], share: float = 0.4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random values with gaps, the first row whole and the last one empty, and their statistics."""
    model = compiled.checked.model
    generator = torch.Generator().manual_seed(9)
    values = {}
    for name, x in random_values(model, 41, n=ROWS).items():
        if name in names:
            holes = torch.rand(x.shape, generator=generator) < share
            holes[0], holes[-1] = False, True
            values[name] = x.masked_fill(holes, torch.nan)
    return values, {name: missing.encode(family(model.variable(name)), x) for name, x in values.items()}


def seen(compiled: Compiled) -> list[str]:
    return [v.name for v in compiled.checked.model.observed]


@pytest.mark.parametrize("name", [*NAMES, *GAUSSIAN])
def test_log_likelihood_of_what_is_there(name: str) -> None:
    given = case(name)
    values, statistics = holed(given.compiled, seen(given.compiled))
    expected = log_likelihood(given.model, given.weights, rows_of(given.model, values))
    held = Likelihood(given.compiled, given.weights)
    found = held.log_likelihood(statistics)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert found[-1] == pytest.approx(0.0, abs=1e-12)  # of nothing
    alone = torch.cat([held.log_likelihood({n: x[i : i + 1] for n, x in statistics.items()}) for i in range(ROWS)])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-12)


def test_conditioned_on_what_is_there() -> None:
    given = case("label_rbm")
    values, statistics = holed(given.compiled, ["v", "y"])
    whole = log_likelihood(given.model, given.weights, rows_of(given.model, values))
    part = log_likelihood(given.model, given.weights, rows_of(given.model, {"v": values["v"]}))
    found = Likelihood(given.compiled, given.weights).log_likelihood(statistics, given=("v",))
    torch.testing.assert_close(found, whole - part, rtol=0, atol=1e-9)


def close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(value.abs().max().item(), 1e-3)
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5 * scale, msg=lambda m, n=name: f"{n}: {m}")


NLL = "objective nll = likelihood(positive = exact(up), negative = exact(down))\n"


@pytest.mark.parametrize("name", [*NAMES, *GAUSSIAN])
def test_gradient_of_the_observed_data_likelihood(name: str) -> None:
    """Each row is summed over what it lacks: the loss is minus the mean log p(what is observed), and its gradient the derivative."""
    names = seen(case(name).compiled)
    up = f"chain up {{ clamp {', '.join(names)} where observed }}\nchain down {{ }}\n"
    compiled = compile_example(EXAMPLE[name], "", up + NLL)
    model, weights = compiled.checked.model, random_weights(case(name).model, SEED)
    values, statistics = holed(compiled, names)
    rows = rows_of(model, values)
    found = slope(compiled, weights, Rows(statistics, ROWS))
    assert found.loss.item() == pytest.approx(-log_likelihood(model, weights, rows).mean().item(), abs=1e-8)
    close({n: -g for n, g in found.gradient.items()}, gradient(model, weights, rows))


@pytest.mark.parametrize(
    ("name", "up", "down", "lacks"),
    [
        ("boltzmann", "clamp v[0], v[1]  clamp v[2:] where observed", "clamp v[0]", ["v"]),
        ("label_rbm", "clamp y  clamp v where observed", "clamp y", ["v"]),
        ("label_rbm", "clamp v, y where observed", "clamp v where observed", ["v", "y"]),
        ("lowrank_lateral", "clamp v[0:2] where observed  clamp v[2:], y", "", ["v"]),
    ],
)
def test_plain_and_observed_clamps_together(name: str, up: str, down: str, lacks: list[str]) -> None:
    compiled = compile_example(EXAMPLE[name], "", f"chain up {{ {up} }}\nchain down {{ {down} }}\n{NLL}")
    model, weights = compiled.checked.model, random_weights(case(name).model, SEED)
    values, _ = holed(compiled, seen(compiled))
    whole = random_values(model, 41, n=ROWS)
    for clamp in compiled.checked.chain("up").clamps:
        if not clamp.observed:  # what is clamped plainly is there in every row
            at = (slice(None), *(slice(*ends) for ends in clamp.part or ()))
            values[clamp.variable][at] = whole[clamp.variable][at]
    statistics = {name: missing.encode(family(model.variable(name)), x) for name, x in values.items()}
    rows = rows_of(model, values)
    given = clamped_sites(model, compiled.checked.chain("down"))
    found = slope(compiled, weights, Rows(statistics, ROWS))
    assert found.loss.item() == pytest.approx(-log_likelihood(model, weights, rows, given).mean().item(), abs=1e-8)
    close({n: -g for n, g in found.gradient.items()}, gradient(model, weights, rows, given))
    assert any(values[n].isnan().any() for n in lacks)


def test_sums_are_worked_out_once_for_each_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    given = case("rbm")
    _, statistics = holed(given.compiled, ["v"])
    marginals = Marginals(given.compiled)
    first = marginals.log_partition(given.weights, statistics, ROWS).log_z
    kept = dict(marginals._kept)
    again = marginals.log_partition(given.weights, statistics, ROWS).log_z
    assert torch.equal(first, again)
    assert list(marginals._kept.values()) == list(kept.values())
    monkeypatch.setattr(exact, "KEPT", 2)
    few = Marginals(given.compiled)
    assert torch.equal(few.log_partition(given.weights, statistics, ROWS).log_z, first)
    assert len(few._kept) == 2


@pytest.mark.parametrize("part", [1024, 3])
def test_evaluation_of_data_with_gaps(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values, _ = holed(case("label_rbm").compiled, ["v", "y"])
    path = Path(_folder.name) / "label_rbm.npz"
    np.savez(path, v=values["v"].numpy(), y=values["y"].numpy())
    more = f'data npz("{path.as_posix()}") {{ v = v  y = y }}\nchain fill {{ clamp v, y where observed }}\n'
    compiled = compile_example(EXAMPLE["label_rbm"], "", more)
    weights = random_weights(compiled.checked.model, SEED)
    train = load_data(compiled.checked, 0, torch.device("cpu"), torch.float64).train
    assert train is not None
    monkeypatch.setattr(exactly, "PART", part)
    found = exactly.exact(Task(compiled, weights, train))
    expected = log_likelihood(compiled.checked.model, weights, rows_of(compiled.checked.model, values))
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-9)
    assert found.quantity == "log p(what is observed of v, y)"
    assert "missing values of v, y summed out" in found.how
    with pytest.raises(TooLarge, match="rows lack values of v, y"):
        pseudo(Task(compiled, weights, train))
