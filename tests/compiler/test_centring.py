"""Centred coordinates: the law stays as it is, and the gradient is the one in them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from gmc.compiler.centring import Centring, build_centring
from gmc.compiler.driver import Compiled
from gmc.compiler.emitter import inputs
from gmc.dsl.model import Edge, Model
from tests.compiler.replay import EXAMPLE, compile_example
from tests.oracle.energy import energy, statistics_of, tied_to
from tests.oracle.models import EXAMPLES, random_values, random_weights
from tests.oracle.sites import as_columns
from tests.oracle.terms import term

NAMES = [example.name for example in EXAMPLES]
STATES = 40


def compiled_of(name: str) -> tuple[Compiled, Model, dict[str, Tensor]]:
    """An example and weights for it."""
    compiled = compile_example(EXAMPLE[name], "")
    return compiled, compiled.checked.model, random_weights(compiled.checked.model, 1)


def offsets_of(model: Model, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {v.name: torch.rand(1, v.size, generator=generator, dtype=torch.float64) * 2 - 0.7 for v in model.variables}


def shift_of(centring: Centring, weights: Mapping[str, Tensor], offsets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    given = dict(weights) | {f"offset.{name}": value for name, value in offsets.items()}
    found: dict[str, Tensor] = centring.shift(*(given[name] for name in inputs(centring.shift)))
    return found


def biased(model: Model, name: str) -> bool:
    """Whether a variable has a bias at each site, which takes all of a field."""
    return model.variable(name).family.bias == "site"


def centred_term(
    model: Model, edge: Edge, weights: Mapping[str, Tensor], t: Mapping[str, Tensor], mu: Mapping[str, Tensor]
) -> Tensor:
    """f(T_a - mu_a, T_b - mu_b), an offset of 0 standing for that of an end whose neighbour's bias cannot take the field."""
    moved = dict(t)
    for name, other in (edge.ends, edge.ends[::-1]) if len(edge.ends) == 2 else ():
        if biased(model, other):
            moved[name] = t[name] - mu[name].reshape(1, *t[name].shape[1:])
    return term(model, tied_to(model, edge), edge, weights, moved)


@pytest.mark.parametrize("name", [n for n in NAMES if "channel" not in next(e for e in EXAMPLES if e.name == n).body])
def test_the_law_does_not_depend_on_the_offsets(name: str) -> None:
    """A centred energy -<b_c, T> - f(T - mu) is that of the model with b_c - b as the graph gives it, up to a constant, by the oracle's own terms."""
    compiled, model, centred = compiled_of(name)
    offsets = offsets_of(model, 3)
    shift = shift_of(build_centring(compiled.graph), centred, offsets)
    plain = {n: centred[n] - shift[n] if n in shift else w for n, w in centred.items()}
    values = as_columns(model, random_values(model, 4, n=STATES))
    t = statistics_of(model, values, (), centred)
    found = energy(model, centred, values)
    for edge in model.edges:
        found = (
            found + term(model, tied_to(model, edge), edge, centred, t) - centred_term(model, edge, centred, t, offsets)
        )
    apart = found - energy(model, plain, values)
    assert (apart - apart[0]).abs().max() < 1e-8
    touched = {end for edge in model.edges if len(edge.ends) == 2 for end in edge.ends}
    assert set(shift) == {f"{end}.bias" for end in touched if biased(model, end)}


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_in_centred_coordinates(name: str) -> None:
    """Of any loss: one that is linear in the parameters has any gradient there is. Autodiff goes through b = b_c - shift."""
    compiled, model, weights = compiled_of(name)
    graph = compiled.graph
    centring, offsets = build_centring(graph), offsets_of(model, 5)
    slopes = random_weights(model, 6)
    leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
    shift = shift_of(centring, leaves, offsets)
    loss = sum((slopes[n] * (w - shift[n] if n in shift else w)).sum() for n, w in leaves.items())
    assert isinstance(loss, Tensor)
    expected = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    lost = correction_of(centring, weights, offsets, slopes)
    assert set(lost) <= {p.name for p in graph.parameters if p.role == "weight"}
    lateral = {t.parameter("weight"): t.ends[0] for t in graph.terms if t.edge.lateral and t.factor.word == "dense"}
    for n, variable in lateral.items():
        # the derivative of a pair's weight, in both places that hold it
        free = expected[n] - slopes[n]
        sites = torch.arange(variable.size) // variable.family.width
        expected[n] = slopes[n] + (free + free.T) * (sites[:, None] != sites)
    for n, value in expected.items():
        found = slopes[n] - lost[n] if n in lost else slopes[n]
        torch.testing.assert_close(found, value, rtol=0, atol=1e-10, msg=lambda m, n=n: f"{n}: {m}")


def correction_of(
    centring: Centring, weights: Mapping[str, Tensor], offsets: Mapping[str, Tensor], slopes: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    given = dict(weights) | {f"offset.{n}": v for n, v in offsets.items()}
    given |= {f"slope.{v.name}": slopes[f"{v.name}.bias"] for v in centring.biased}
    found: dict[str, Tensor] = centring.correction(*(given[n] for n in inputs(centring.correction)))
    return found


def test_the_statistics_of_two_centred_sides() -> None:
    """<(v - mu)(h - lambda)'>_positive - <..>_negative, whatever the means of both sides are (Montavon and Mueller, 2012, eq. 8)."""
    compiled, model, weights = compiled_of("rbm")
    v, h = offsets_of(model, 7).values()
    generator = torch.Generator().manual_seed(8)

    def side() -> dict[str, Tensor]:
        return {n: torch.rand(9, s, generator=generator, dtype=torch.float64) for n, s in (("v", 6), ("h", 4))}

    def slope(at: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"v.bias": at["v"].mean(0), "h.bias": at["h"].mean(0), "v_h.weight": at["v"].T @ at["h"] / 9}

    up, down = side(), side()
    plain = {n: slope(up)[n] - slope(down)[n] for n in slope(up)}
    lost = correction_of(build_centring(compiled.graph), weights, {"v": v, "h": h}, plain)
    expected = (up["v"] - v).T @ (up["h"] - h) / 9 - (down["v"] - v).T @ (down["h"] - h) / 9
    torch.testing.assert_close(plain["v_h.weight"] - lost["v_h.weight"], expected, rtol=0, atol=1e-12)
