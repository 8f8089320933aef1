"""The library of small models: every program is right, small enough to list, and free of symmetries that hide mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gmc.dsl.model import Checked
from tests.oracle import stats
from tests.oracle.laws import Law, law
from tests.oracle.models import CHAIN, EXAMPLES, Example, load, program, random_values, random_weights, weight_shapes
from tests.oracle.sites import clamped_sites, clamping, sites
from tests.oracle.sweeps import LARGEST
from tests.oracle.tails import UNBOUNDED

PATTERNS = [(example, items) for example in EXAMPLES for items in example.clamps]


SEED = 1
"""Of weights and values with which every mistake here shows; tests of programs may use it too."""


def conditional(checked: Checked, seed: int = SEED) -> Law:
    """The law of its chain, with random weights, given random values."""
    model = checked.model
    given = clamping(model, checked.chain(CHAIN), random_values(model, seed))
    return law(model, random_weights(model, seed), given)


def test_names_differ_and_all_words_occur() -> None:
    assert len({example.name for example in EXAMPLES}) == len(EXAMPLES)
    text = "".join(program(example) for example in EXAMPLES)
    for word in (*UNBOUNDED, "bernoulli", "spin", "categorical", "conv", "lattice", "sparse", "lowrank", "tied"):
        assert word in text


@pytest.mark.parametrize(("example", "items"), PATTERNS, ids=str)
def test_every_pattern_is_a_right_program(example: Example, items: str, tmp_path: Path) -> None:
    checked = load(example, tmp_path, items)
    clamped = clamped_sites(checked.model, checked.chain(CHAIN))
    assert bool(clamped) == bool(items)
    assert len(clamped) < len(sites(checked.model))
    given = conditional(checked)
    assert len(given.p) <= LARGEST
    assert given.p.sum().item() == pytest.approx(1)
    for column in given.finite:  # no site is all but fixed, or a sampler that forgets it would pass
        assert given.marginal(column).max() < 0.999, given.sites[column]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_loss_of_any_weight_is_caught(example: Example, tmp_path: Path) -> None:
    """Samples of a model that has lost one weight array fail against the law, at the size that the suite uses."""
    model = load(example, tmp_path).model
    weights = random_weights(model, SEED)
    assert {name: tuple(w.shape) for name, w in weights.items()} == weight_shapes(model)
    right = law(model, weights)
    assert stats.compare(right, right.draw(stats.SAMPLES, 1)).ok
    for name, w in weights.items():
        # a gamma has no law at a bias of zero
        without = w / 3 if (w < -5).any() else torch.zeros_like(w)
        wrong = law(model, {**weights, name: without})
        assert not stats.compare(right, wrong.draw(stats.SAMPLES, 2)).ok, name


def test_the_parts_of_a_clamp(tmp_path: Path) -> None:
    rbm = next(example for example in EXAMPLES if example.name == "rbm")
    checked = load(rbm, tmp_path, "clamp v[:, 1:], h[3]")
    assert clamped_sites(checked.model, checked.chain(CHAIN)) == (("v", 1), ("v", 2), ("v", 4), ("v", 5), ("h", 3))
    checked = load(rbm, tmp_path, "clamp v[0, :] = 1")
    values = random_values(checked.model, 1)
    assert clamping(checked.model, checked.chain(CHAIN), values) == {("v", 0): 1.0, ("v", 1): 1.0, ("v", 2): 1.0}
