"""Paths of annealing: their densities against the oracle's lists, and their steps as transition matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from gmc.compiler import annealing
from gmc.compiler.annealing import Annealing, build_annealing
from gmc.compiler.driver import Compiled
from gmc.compiler.graph import family
from gmc.compiler.region import Region
from gmc.compiler.verify import verify
from tests.compiler.replay import EXAMPLE, SEED, compile_example
from tests.compiler.steps import log_density, matrix
from tests.oracle.laws import law
from tests.oracle.models import random_weights
from tests.oracle.sites import Site

BETA = 0.37
LISTED = ["rbm", "dbm2", "label_rbm", "triangle", "third_order", "potts_lateral", "boltzmann", "tied", "single"]
"""Of finite families, with a bias a site and weights that the energy is linear in, and few enough kept states for a matrix."""
MIXED = [*LISTED, "gaussian_rbm", "sparse_lateral", "conv_padded", "waited"]
"""Whose kept sites can be listed."""


def prepared(name: str) -> tuple[Compiled, dict[str, Tensor], dict[str, Tensor]]:
    """An example with weights, and base rates off their rest."""
    compiled = compile_example(EXAMPLE[name])
    weights = random_weights(compiled.checked.model, SEED)
    generator = torch.Generator().manual_seed(5)
    base = {}
    for v in compiled.graph.variables:
        noise = torch.rand(v.size, generator=generator, dtype=torch.float64)
        base[v.name] = noise - 0.5 if v.family.word != "gamma" else -1.0 - noise
    return compiled, weights, base


def tempered(
    compiled: Compiled, weights: Mapping[str, Tensor], base: Mapping[str, Tensor], beta: float
) -> dict[str, Tensor]:
    """The weights of the model that has the law at beta: (1 - beta) b0 + beta b, and couplings times beta."""
    found = {name: value * beta for name, value in weights.items()}
    for v in compiled.graph.variables:
        name = f"{v.name}.bias"
        if name in found:
            assert v.family.bias == "site"
            found[name] = found[name] + (1 - beta) * base[v.name].reshape(found[name].shape)
    return found


@pytest.mark.parametrize("name", MIXED)
def test_densities_are_those_of_the_tempered_model(name: str) -> None:
    """Summed over the kept states they give the oracle's log Z of a model with tempered weights."""
    compiled, weights, base = prepared(name)
    base = {n: b if compiled.checked.model.variable(n).family.bias == "site" else b * 0 for n, b in base.items()}
    fixed = {v.name: v.family.bias for v in compiled.graph.variables if isinstance(v.family.bias, float)}
    base |= {n: torch.full_like(base[n], bias) for n, bias in fixed.items()}
    path = build_annealing(compiled.graph, {})
    for beta in (0.0, BETA, 1.0):
        found = torch.logsumexp(log_density(path, weights, base, beta), 0)
        expected = law(compiled.checked.model, tempered(compiled, weights, base, beta)).log_z
        assert found.item() == pytest.approx(expected, abs=1e-9)
    values = {**weights, **{f"base.{n}": b for n, b in base.items()}, "blank": torch.zeros(1, 1).double()}
    at_base = law(compiled.checked.model, tempered(compiled, weights, base, 0.0)).log_z
    assert path.base(values).item() == pytest.approx(at_base, abs=1e-9)


@pytest.mark.parametrize("name", ["rbm", "dbm2", "boltzmann", "third_order", "gaussian_rbm"])
def test_densities_given_what_is_clamped(name: str) -> None:
    """At beta = 1 they add up to the oracle's log Z given the clamped sites."""
    compiled, weights, base = prepared(name)
    first = compiled.graph.variables[0]
    half = Region(first, torch.arange(first.sites).numpy()[1:])
    generator = torch.Generator().manual_seed(2)
    values = torch.randint(0, 2, (half.sites.size,), generator=generator).double()
    path = build_annealing(compiled.graph, {first.name: half})
    found = torch.logsumexp(log_density(path, weights, base, 1.0, **{first.name: values}), 0)
    clamped = {Site(first.name, int(site)): float(x) for site, x in zip(half.sites, values, strict=True)}
    assert found.item() == pytest.approx(law(compiled.checked.model, weights, clamped).log_z, abs=1e-9)


@pytest.mark.parametrize("name", LISTED)
def test_steps_leave_their_law_and_down_reverses_up(name: str) -> None:
    compiled, weights, base = prepared(name)
    path = build_annealing(compiled.graph, {})
    check_steps(path, weights, base)


def check_steps(path: Annealing, weights: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> None:
    before, after = log_density(path, weights, base, 0.2), log_density(path, weights, base, BETA)
    p = torch.softmax(after, 0)
    up, gained = matrix(path, "up", weights, base, 0.2, BETA)
    down, lost = matrix(path, "down", weights, base, 0.2, BETA)
    for weight in (gained, lost):
        torch.testing.assert_close(weight, after - before, rtol=0, atol=1e-10)
    for step in (up, down):
        torch.testing.assert_close(step.sum(1), torch.ones(len(p), dtype=torch.float64), rtol=0, atol=1e-12)
        torch.testing.assert_close(p @ step, p, rtol=0, atol=1e-12)
    torch.testing.assert_close(p[:, None] * up, (p[:, None] * down).T, rtol=0, atol=1e-12)


def test_one_order_of_blocks_is_not_its_own_reversal() -> None:
    """Where several blocks are kept, going down in the same order would not reverse: the test above sees it."""
    compiled, weights, base = prepared("boltzmann")
    path = build_annealing(compiled.graph, {})
    up, _ = matrix(path, "up", weights, base, 0.2, BETA)
    p = torch.softmax(log_density(path, weights, base, BETA), 0)
    flow = p[:, None] * up
    assert (flow - flow.T).abs().max() > 1e-4


def test_biases_of_summed_sites_that_are_not_tempered_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake of forgetting beta before hidden biases: the law at beta is another, and steps and weights no longer agree with the oracle."""

    def untempered(self: Any, g: Any, region: Region, raw: Any, beta: Any) -> Any:
        return raw if region in self.summed else torch.lerp(self._b0(g, region), raw, beta)

    monkeypatch.setattr(annealing._Path, "_tempered", untempered)
    compiled, weights, base = prepared("rbm")
    path = build_annealing(compiled.graph, {})
    found = torch.logsumexp(log_density(path, weights, base, BETA), 0).item()
    assert abs(found - law(compiled.checked.model, tempered(compiled, weights, base, BETA)).log_z) > 0.05
    with pytest.raises(AssertionError):
        check_steps(path, weights, base)


def test_a_restricted_machine_takes_two_products_a_step() -> None:
    compiled, _, _ = prepared("rbm")
    path = build_annealing(compiled.graph, {})
    for step in (path.up, path.down):
        verify(step.whole)
        names = [getattr(node.target, "__name__", "") for node in step.each.graph.nodes if node.op == "call_function"]
        assert names.count("mm") + names.count("matmul") == 2


@pytest.mark.parametrize("name", [name for name in EXAMPLE if name not in LISTED])
def test_every_model_has_a_path(name: str) -> None:
    """Whatever the families and factors: the weights of a step are the differences of its densities."""
    compiled = compile_example(EXAMPLE[name])
    path = build_annealing(compiled.graph, {})
    weights = random_weights(compiled.checked.model, SEED)
    base = {v.name: torch.full((v.size,), family(v).rest).double() for v in compiled.graph.variables}
    values: dict[str, Any] = {**weights, **{f"base.{n}": b for n, b in base.items()}}
    values |= {"blank": torch.zeros(5, 1).double(), "key": torch.arange(10, dtype=torch.int32).reshape(5, 2)}
    state = path.first({**values, "sweep": 0})["state"]
    states = {f"state.{n}": x for n, x in state.items()}
    out = path.up({**values, **states, "beta": 0.1, "beta_next": 0.3, "sweep": 1})
    density = [path.density({**values, **states, "beta": beta}) for beta in (0.1, 0.3)]
    torch.testing.assert_close(out["weight"].expand(5), (density[1] - density[0]).expand(5), rtol=0, atol=1e-9)
    assert str(path).count("summed out in closed form") == 1
