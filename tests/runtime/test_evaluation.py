"""Log-likelihoods and pseudo-likelihoods of data against the oracle's lists."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import evaluation
from gmc.runtime.dataset import Datasets, load_data
from gmc.runtime.evaluation import Likelihood, exact, pseudo
from gmc.runtime.exact import TooLarge
from gmc.runtime.run import Run
from tests.compiler.replay import EXAMPLE, SEED, case, compile_example, encode
from tests.oracle.laws import joint_log_density, log_likelihood, rows_of
from tests.oracle.models import random_values, random_weights
from tests.oracle.sites import as_columns, supports

ROWS = 6
NAMES = [
    "rbm",
    "boltzmann",
    "potts_lateral",
    "dbm2",
    "label_rbm",
    "triangle",
    "third_mixed",
    "ising_periodic",
    "sparse",
    "conv",
    "single",
]
_folder = tempfile.TemporaryDirectory()


def prepared(name: str) -> tuple[Compiled, dict[str, Tensor], dict[str, Tensor], Datasets]:
    """The example with random data of its observed variables in a file."""
    model = case(name).model
    values = {n: x for n, x in random_values(model, 21, n=ROWS).items() if model.variable(n).observed}
    path = Path(_folder.name) / f"{name}.npz"
    np.savez(path, **{n: x.numpy() for n, x in values.items()})
    bindings = "  ".join(f"{n} = {n}" for n in values)
    compiled = compile_example(EXAMPLE[name], "", f'data npz("{path.as_posix()}") {{ {bindings} }}\n')
    data = load_data(compiled.checked, 0, torch.device("cpu"), torch.float64)
    return compiled, random_weights(model, SEED), values, data


@pytest.mark.parametrize("name", [*NAMES, "gaussian_rbm", "gaussian_mixed"])
def test_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, weights, values, data = prepared(name)
    assert data.train is not None
    expected = log_likelihood(compiled.checked.model, weights, rows_of(compiled.checked.model, values))
    for part in (1024, 2):
        monkeypatch.setattr(evaluation, "PART", part)
        found = exact(compiled, weights, data.train)
        torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-9)
    assert found.log_z == pytest.approx(case(name).law.log_z, abs=1e-9)
    assert found.mean == pytest.approx(expected.mean().item())
    assert found.standard_error == pytest.approx(expected.std().item() / ROWS**0.5)
    assert found.rows == ROWS
    assert found.quantity == f"log p({', '.join(values)})"
    assert "enumerat" in found.how
    assert found.json()["unit"] == "nats a row"


@pytest.mark.parametrize("name", NAMES)
def test_pseudo(name: str) -> None:
    """The sum of log p(site | all other observed sites), each from two likelihoods of whole rows."""
    compiled, weights, values, data = prepared(name)
    model = compiled.checked.model
    assert data.train is not None
    rows = rows_of(model, values)
    here = log_likelihood(model, weights, rows)
    expected = torch.zeros_like(here)
    observed = list(rows[0])
    takes = dict(zip(case(name).law.sites, supports(model), strict=True))
    for site in observed:
        others = [log_likelihood(model, weights, [{**row, site: x} for row in rows]) for x in takes[site] or ()]
        expected += here - torch.stack(others).logsumexp(0)
    found = pseudo(compiled, weights, data.train)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-9)
    assert found.log_z is None
    assert "not a log-likelihood" in found.quantity


def test_pseudo_of_normals_is_refused() -> None:
    compiled, weights, _, data = prepared("gaussian_rbm")
    assert data.train is not None
    with pytest.raises(TooLarge, match="x is not finite"):
        pseudo(compiled, weights, data.train)


def test_likelihood_of_any_variables() -> None:
    """Of all variables it is the joint density; of some, the rest is summed out."""
    given = case("dbm2")
    held = Likelihood(given.compiled, given.weights)
    values = random_values(given.model, 22, n=4)
    statistics = encode(given.model, as_columns(given.model, values))
    torch.testing.assert_close(held.log_likelihood(statistics), joint_log_density(given.law, values), rtol=0, atol=1e-9)
    for names in (("v",), ("h1", "h2"), ("h2",)):
        some = {n: x for n, x in values.items() if n in names}
        expected = log_likelihood(given.model, given.weights, rows_of(given.model, some))
        found = held.log_likelihood({n: statistics[n] for n in names})
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_likelihoods_add_up_to_one() -> None:
    given = case("label_rbm")
    held = Likelihood(given.compiled, given.weights)
    table = torch.unique(given.law.values[:, :5], dim=0)
    whole = torch.cat((table, torch.zeros(len(table), 4, dtype=torch.float64)), 1)
    statistics = encode(given.model, whole)
    total = held.log_likelihood({n: statistics[n] for n in ("v", "y")}).logsumexp(0)
    assert total.item() == pytest.approx(0, abs=1e-9)


def test_conditioned_on_some_of_the_values() -> None:
    compiled, weights, values, _ = prepared("label_rbm")
    model = compiled.checked.model
    run = Run.of(compiled, weights, torch.device("cpu"))
    rows = {name: values[name] for name in ("v", "y")}
    given = [(v.name, site) for v in model.variables if v.name == "v" for site in range(v.sites)]
    expected = log_likelihood(model, weights, rows_of(model, rows), given=given)
    torch.testing.assert_close(run.log_likelihood(rows, given=("v",)), expected, rtol=0, atol=1e-9)
    with pytest.raises(GmcError, match="h"):
        run.log_likelihood(rows, given=("h",))
