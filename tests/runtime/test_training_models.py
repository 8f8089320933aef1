"""Every model of the oracle, trained end to end: its exact likelihood rises under exact gradients, and under sampled ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from gmc.dsl.model import Checked
from gmc.runtime.model import Model, compile_file
from tests.oracle.laws import law
from tests.oracle.models import EXAMPLES, Example, load, random_weights, write

ROWS = 40
FIXED = [
    Example("fixed_bias", "observed v : bernoulli(bias = -1)[4] latent h : spin(bias = 0.5)[3] edge v -- h", ("",)),
    Example("no_bias", "observed v : spin(bias = none)[4] latent h : bernoulli(bias = none)[3] edge v -- h", ("",)),
    Example("fixed_lattice", "observed s : spin[2, 3] edge s -- s by lattice(coupling = 0.3)", ("",)),
    Example("single_sites", "observed y : categorical(3) latent x : bernoulli edge y -- x", ("",)),
]
FINITE = [e for e in (*EXAMPLES, *FIXED) if not e.gaussian and "observed" in e.body]
SAMPLED = [e for e in FINITE if e in FIXED or e.name in ("rbm", "boltzmann", "dbm2", "third_order", "potts")]


def rows(checked: Checked, folder: Path, example: Example) -> dict[str, Tensor]:
    """Data that a model of the family with other weights would give."""
    other = load(example, folder)
    held = law(other.model, random_weights(other.model, seed=11, scale=0.8))
    drawn = held.draw(ROWS, seed=5)
    return {v.name: drawn[v.name] for v in checked.model.observed}


def compiled(example: Example, folder: Path, positive: str, negative: str, rate: float, epochs: int) -> Model:
    observed = ", ".join(v.name for v in load(example, folder).model.observed)
    extra = f"""
data npz("nowhere.npz") {{ {" ".join(f"{name} = {name}" for name in observed.split(", "))} }}
chain posterior {{ clamp {observed}  sweeps 5 }}
chain negative {{ start persistent(200)  sweeps 2 }}
objective nll = likelihood(positive = {positive}, negative = {negative})
train {{ minimize nll using sgd(lr = {rate})  batch {ROWS // 2}  epochs {epochs} }}
"""
    return compile_file(write(example, folder, extra=extra))


def likelihood(model: Model, data: dict[str, Tensor], weights: dict[str, Tensor]) -> float:
    return float(model.run(weights).log_likelihood(data).mean())


@pytest.mark.parametrize("example", FINITE, ids=str)
def test_exact_gradients_climb(example: Example, tmp_path: Path) -> None:
    model = compiled(example, tmp_path, "exact(posterior)", "exact(negative)", 0.1, 6)
    data = rows(model.checked, tmp_path, example)
    first = model.save(tmp_path / "first")
    trained = model.train(data=data)
    assert likelihood(model, data, trained.params) > likelihood(model, data, first.params)


@pytest.mark.parametrize("example", SAMPLED, ids=str)
def test_sampled_gradients_climb(example: Example, tmp_path: Path) -> None:
    model = compiled(example, tmp_path, "posterior", "negative", 0.05, 15)
    data = rows(model.checked, tmp_path, example)
    first = model.save(tmp_path / "first")
    trained = model.train(data=data)
    assert likelihood(model, data, trained.params) > likelihood(model, data, first.params)
    assert set(trained.kept["negative"].states) == {v.name for v in model.checked.model.variables}
