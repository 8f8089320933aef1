"""Log-likelihoods and pseudo-likelihoods of data against the oracle's lists."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.dsl.diagnostic import GmcError
from gmc.runtime.dataset import Dataset, Datasets, load_data
from gmc.runtime.evaluation import Evaluation
from gmc.runtime.evaluations import exact as exactly
from gmc.runtime.evaluations.exact import exact
from gmc.runtime.evaluations.method import METHODS, Task
from gmc.runtime.evaluations.pseudo import pseudo
from gmc.runtime.exact import TooLarge
from gmc.runtime.likelihood import Likelihood
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
        monkeypatch.setattr(exactly, "PART", part)
        found = exact(Task(compiled, weights, data.train))
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
    found = pseudo(Task(compiled, weights, data.train))
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-9)
    assert found.log_z is None
    assert "not a log-likelihood" in found.quantity


def test_pseudo_of_normals_is_refused() -> None:
    compiled, weights, _, data = prepared("gaussian_rbm")
    assert data.train is not None
    with pytest.raises(TooLarge, match="x is not finite"):
        pseudo(Task(compiled, weights, data.train))


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


# ── What is said of a number ─────────────────────────────────────────────────────────────────────────────────────────


def evaluations(name: str, scale: float = 1.0) -> dict[str, Evaluation]:
    """Each method at few temperatures, in reverse where it can."""
    compiled, weights, _, data = prepared(name)
    assert isinstance(data.train, Dataset)
    task = Task(compiled, {n: w * scale for n, w in weights.items()}, data.train)
    quick = {"chains": 20, "temperatures": 20, "reverse": True}
    options = {n: {k: v for k, v in quick.items() if k in m.options} for n, m in METHODS.items()}
    return {n: METHODS[n].run(task, **options[n]) for n in ("exact", "ais", "raise", "bound", "pseudo")}


def test_what_is_no_likelihood_is_not_called_one() -> None:
    """A bound says so, in its kind and its quantity, and nowhere says that it is a log-likelihood; an estimate says in words which way it is off."""
    found = evaluations("dbm2")
    assert {n: e.kind for n, e in found.items()} == {
        "exact": "exact",
        "ais": "estimate",
        "raise": "estimate of a lower bound",
        "bound": "lower bound",
        "pseudo": "pseudo-likelihood",
    }
    assert "lower bound" in found["bound"].quantity and "below" in found["raise"].quantity
    for name in ("raise", "bound"):
        assert "log-likelihood" not in json.dumps(found[name].json())
    assert found["ais"].bias == "log Z is biased low in expectation, so this log-likelihood is biased high"
    for each in found.values():
        assert json.loads(json.dumps(each.json(), allow_nan=False))["kind"] == each.kind


def test_errors_are_combined() -> None:
    found = evaluations("dbm2", 3.0)["ais"]
    assert found.partition is not None and found.partition.forward is not None
    assert found.log_z_error == found.partition.forward.standard_error > 0
    assert found.standard_error == pytest.approx((found.rows_error**2 + found.log_z_error**2) ** 0.5)
    assert found.reverse == pytest.approx(found.mean - (found.partition.gap or 0.0))
    data = found.json()
    assert (data["standard_error_rows"], data["standard_error_log_z"]) == (found.rows_error, found.log_z_error)
    assert data["effective_sample_size"] == found.partition.forward.effective
    exact = evaluations("dbm2", 3.0)["exact"]
    assert exact.log_z_error == 0.0 and exact.json()["partition"]["exact"] is True  # type: ignore[index]


def test_log_z_of_the_bound_is_estimated_where_it_cannot_be_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmc.runtime.evaluations.bound.EXACT_BITS", 1.0)
    found = evaluations("dbm2")
    assert found["bound"].kind == "estimate of a lower bound"
    assert "biased high" in found["bound"].bias and found["bound"].log_z == found["ais"].log_z


def test_rows_of_which_the_latent_variables_do_not_sum_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has chains of its own, and which way the difference of two estimates is off nobody knows."""
    monkeypatch.setattr("gmc.runtime.evaluations.ais.ROW_BITS", 1.0)
    compiled, weights, _, data = prepared("dbm2")
    assert data.train is not None
    task = Task(compiled, weights, data.train)
    found = METHODS["ais"].run(task, chains=200, temperatures=40)
    expected = METHODS["exact"].run(task).values
    assert float((found.values - expected).abs().max()) < 0.1
    assert "the direction is not known" in found.bias and "200 chains a row" in found.how


def test_some_of_the_rows() -> None:
    compiled, weights, _, data = prepared("rbm")
    assert data.train is not None
    whole = exact(Task(compiled, weights, data.train)).values
    found = [exact(Task(compiled, weights, data.train, rows=3, seed=seed)).values for seed in range(6)]
    assert {len(each) for each in found} == {3}
    assert all(torch.isin(each, whole).all() for each in found)
    assert len({tuple(each.tolist()) for each in found}) > 1
    assert len(exact(Task(compiled, weights, data.train, rows=300)).values) == ROWS
