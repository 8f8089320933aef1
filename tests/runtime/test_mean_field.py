"""Mean field: fixed points to a tolerance, damping, chains that stop by themselves, and gradients through unrolled updates."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.emitter import inputs
from gmc.compiler.outcome import Outcome
from gmc.runtime.engine import Engine, Rows
from tests.compiler.replay import SEED, compile_example
from tests.oracle.models import Example, random_weights

DBM = Example(
    "mean_field",
    """
    observed v : bernoulli[4]
    latent   h : bernoulli[3]
    latent   g : bernoulli[2]
    edge v -- h
    edge h -- g
    """,
    ("",),
)
RING = Example(
    "ring",
    """
    observed a : spin
    observed b : spin
    observed c : spin
    edge a -- b
    edge b -- c
    edge a -- c
    """,
    ("",),
)
ROWS = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 1]], dtype=torch.float64)
WANT = ("state", "value", "field")


def engine(
    items: str, scale: float = 2.0, example: Example = DBM, params: Mapping[str, Tensor] | None = None
) -> Engine:
    """An engine for a chain `c` of those items, with large weights."""
    compiled = compile_example(example, "", f"chain c {{ {items} }}")
    weights = random_weights(compiled.checked.model, SEED, scale) if params is None else params
    return Engine(compiled, weights, 1, "test", {"c": WANT})


def run(items: str, rows: Tensor = ROWS, scale: float = 2.0) -> Outcome:
    return engine(items, scale).run("c", Rows({"v": rows}, rows.shape[0]))


def residual(items: str, out: Outcome, scale: float = 2.0) -> Tensor:
    """How far one more undamped sweep moves the hidden means of each row."""
    e = engine(items, scale)
    params = e.params
    h = torch.sigmoid(params["h.bias"] + ROWS @ params["v_h.weight"] + out.value["g"] @ params["h_g.weight"].T)
    g = torch.sigmoid(params["g.bias"] + h @ params["h_g.weight"])
    return torch.cat([(h - out.value["h"]).abs(), (g - out.value["g"]).abs()], 1).amax(1)


@pytest.mark.parametrize("update", ["mean(tolerance = 1e-6)", "mean(0.5, 1e-6)"])
def test_a_fixed_point_to_a_tolerance(update: str) -> None:
    out = run(f"clamp v  update {update}  sweeps 1000")
    assert out.change is not None and out.sweeps is not None
    assert (out.change < 1e-6).all() and (out.sweeps < 1000).all() and (out.sweeps > 3).all()
    # a damped sweep moves half as far as an undamped one, and h moves again once g has
    assert (residual(f"clamp v  update {update}", out) < 1e-5).all()


def test_damping_leaves_fixed_points_as_they_are() -> None:
    plain = run("clamp v  update mean(tolerance = 1e-12)  sweeps 10000")
    damped = run("clamp v  update mean(damping = 0.7, tolerance = 1e-12)  sweeps 10000")
    assert plain.sweeps is not None and damped.sweeps is not None
    for name in ("h", "g"):
        torch.testing.assert_close(plain.value[name], damped.value[name], rtol=0, atol=1e-9)
    assert (damped.sweeps > plain.sweeps).all()


def test_a_damped_update_is_a_mixture_of_old_and_new() -> None:
    """One sweep, {g} then {h}, from pass 0, by hand."""
    e = engine("clamp v  update mean(damping = 0.25)")
    out = e.run("c", Rows({"v": ROWS}, 5))
    p = e.params
    assert [[r.name for r in block] for block in e.compiled.schedules["c"].blocks] == [["h"], ["g"]]
    h0 = torch.sigmoid(p["h.bias"] + ROWS @ p["v_h.weight"])
    g0 = torch.sigmoid(p["g.bias"] + h0 @ p["h_g.weight"])
    h1 = 0.75 * torch.sigmoid(p["h.bias"] + ROWS @ p["v_h.weight"] + g0 @ p["h_g.weight"].T) + 0.25 * h0
    g1 = 0.75 * torch.sigmoid(p["g.bias"] + h1 @ p["h_g.weight"]) + 0.25 * g0
    torch.testing.assert_close(out.value["h"], h1, rtol=0, atol=1e-12)
    torch.testing.assert_close(out.value["g"], g1, rtol=0, atol=1e-12)


def test_rows_end_alone_as_they_end_together() -> None:
    items = "clamp v  update mean(tolerance = 1e-4)  sweeps 500"
    together = run(items)
    assert together.sweeps is not None and len(set(together.sweeps.tolist())) > 2, "rows take different times"
    for n in range(len(ROWS)):
        alone = run(items, ROWS[n : n + 1])
        assert alone.sweeps is not None and int(alone.sweeps) == int(together.sweeps[n])
        for name in ("h", "g"):
            torch.testing.assert_close(alone.value[name][0], together.value[name][n], rtol=0, atol=1e-14)


def test_looking_on_changes_nothing() -> None:
    e = engine("clamp v  update mean(tolerance = 1e-4)  sweeps 300")
    rows = Rows({"v": ROWS}, 5)
    looks = list(e.trace("c", rows, every=7))
    end = engine("clamp v  update mean(tolerance = 1e-4)  sweeps 300").run("c", rows)
    assert [n for n, _ in looks] == [*range(7, 301, 7), 300]
    last = looks[-1][1]
    assert end.sweeps is not None and last.sweeps is not None and torch.equal(end.sweeps, last.sweeps)
    for name in ("h", "g"):
        assert torch.equal(last.value[name], end.value[name])


def test_what_is_drawn_only_once_is_where_it_belongs_at_once() -> None:
    """With v clamped an RBM's h hangs on nothing else."""
    out = run("clamp v  clamp g = 1  update mean(tolerance = 1e-6)  sweeps 9")
    assert out.change is not None and out.sweeps is not None
    assert not out.change.any() and not out.sweeps.any()


def ring(damping: float) -> list[Tensor]:
    """Means of a ring in which a hears only c, b only a and c only b, at strong couplings whose product is negative, after each sweep."""
    compiled = compile_example(
        RING,
        "",
        "chain swing { start a, b, c from noise  sweep {a} then {b} then {c}  potent b -> a = 0  potent c -> b = 0  potent a -> c = 0 "
        f" update mean({damping})  sweeps 200 }}",
    )
    weights = {name: torch.zeros_like(w) for name, w in random_weights(compiled.checked.model, SEED).items()}
    for name, w in {"a_b.weight": 1.4, "b_c.weight": 1.4, "a_c.weight": -1.4}.items():
        weights[name] = torch.full_like(weights[name], w)
    e = Engine(compiled, weights, 1, "test", {"swing": WANT})
    return [torch.cat([o.value[n] for n in "abc"], 1) for _, o in e.trace("swing", Rows({}, 4), every=1)]


def test_damping_settles_means_that_swing() -> None:
    plain, damped = ring(0.0), ring(0.5)
    assert (plain[-1] - plain[-2]).abs().min() > 1.0, "each mean changes its sign in every sweep"
    torch.testing.assert_close(plain[-1], plain[-3], rtol=0, atol=1e-9)
    assert damped[-1].abs().max() < 1e-6, "the only fixed point"


def free_energy(compiled: Compiled, params: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> Tensor:
    """E of the means less their entropies, `[rows]`."""
    values = {**params, **{f"value.{n}": x for n, x in means.items()}}
    total = compiled.energy(*(values[name] for name in inputs(compiled.energy)))
    for name in ("h", "g"):
        m = means[name]
        total = total + (torch.xlogy(m, m) + torch.xlogy(1 - m, 1 - m)).sum(1)
    return total


def test_each_block_lowers_the_free_energy() -> None:
    e = engine("clamp v  sweep {h} then {g}  start h, g from noise  update mean  sweeps 6", 3.0)
    states = [o.value for _, o in e.trace("c", Rows({"v": ROWS}, 5), every=1)]
    passed = []
    for before, after in pairwise(states):
        passed += [before, {**before, "h": after["h"]}]
    found = [free_energy(e.compiled, e.params, x) for x in [*passed, states[-1]]]
    falls = torch.stack([a - b for a, b in pairwise(found)])
    assert (falls > -1e-12).all() and falls[0].max() > 1e-3


def test_gradients_through_unrolled_updates() -> None:
    """Of masked rows, through what is computed once a run too, against differences."""
    rows = ROWS[:3].clone()
    rows[0, 1] = rows[1, 0] = rows[2, 2] = torch.nan
    for items in (
        "clamp v[0:2]  clamp v[2:] where observed  update mean(damping = 0.3)  sweeps 3",
        "clamp v where observed  update mean  sweeps 4",
        "clamp v where observed  update mean  sweeps 0",
        "clamp v where observed  update mean(0.2, 1e-3)  sweeps 4",
    ):
        e = engine(items, 0.8)
        given = torch.nan_to_num(rows) if "v[0:2]" in items else rows
        given = torch.where(torch.arange(4) < 2, given, rows) if "v[0:2]" in items else given
        names = sorted(e.params)
        share = torch.randn(3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

        def loss(*values: Tensor) -> Tensor:
            params = dict(zip(names, values, strict=True))  # noqa: B023
            out = e.run("c", Rows({"v": given}, 3), params=params, differentiate=True)  # noqa: B023
            return (torch.cat([out.field[n] for n in "vhg"], 1) * share).sum()  # noqa: B023

        at = tuple(e.params[n].clone().requires_grad_() for n in names)
        assert torch.autograd.gradcheck(loss, at, eps=1e-6, atol=1e-7)
        slopes = torch.autograd.grad(loss(*at), at)
        assert all(s.abs().max() > 1e-3 for s in slopes), "every parameter counts"


def test_runs_that_are_not_differentiated_keep_no_graph() -> None:
    e = engine("clamp v  update mean  sweeps 2")
    params = {n: p.clone().requires_grad_() for n, p in e.params.items()}
    out = e.run("c", Rows({"v": ROWS}, 5), params=params)
    assert not out.value["h"].requires_grad
    assert e.run("c", Rows({"v": ROWS}, 5), params=params, differentiate=True).value["h"].requires_grad


def test_kept_states_take_no_gradients() -> None:
    e = engine("start persistent(5)  update mean  sweeps 2")
    params = {n: p.clone().requires_grad_() for n, p in e.params.items()}
    out = e.run("c", Rows({}, 5), params=params, differentiate=True)
    assert out.value["h"].requires_grad and not any(x.requires_grad for x in e.kept["c"].states.values())
