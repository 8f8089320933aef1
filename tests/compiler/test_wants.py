"""What comes out of chains besides states: the fields of the laws that sites were updated by, and the mean-field pass over the latent ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.runtime.engine import Engine, Rows
from tests.compiler.replay import SEED, case, compile_example, part, replay
from tests.oracle.models import Example, random_weights

DBM = Example(
    "wants",
    """
    observed v : bernoulli[4]
    latent   h : bernoulli[3]
    latent   g : categorical(3)[2]
    edge v -- h
    edge h -- g
    """,
    ("",),
)
ROWS = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1]], dtype=torch.float64)


def compiled(chain: str) -> Compiled:
    return compile_example(DBM, "", chain)


def run(chain: str, rows: Tensor = ROWS, *want: str) -> tuple[Compiled, dict[str, Tensor], object]:
    """How a chain of the model called `c` ends on some rows."""
    c = compiled(chain)
    params = random_weights(c.checked.model, SEED)
    engine = Engine(c, params, 1, "test", {"c": ("value", "mean", "field", "settled", *want)})  # type: ignore[dict-item]
    return c, params, engine.run("c", Rows({"v": rows}, rows.shape[0]))


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("rbm", ""),
        ("rbm", "clamp v[0, 0:2], h[3]"),
        ("boltzmann", "clamp v[1:3]"),
        ("boltzmann", "sweep {h} then {v} then {h}"),
        ("dbm2", "clamp v"),
        ("potts_lateral", "sweep {h} then {y}"),
        ("third_order", "sweep {h} then {x} then {y} then {x}"),
    ],
)
def test_fields_are_those_of_the_last_draws(name: str, items: str) -> None:
    given = case(name, items)
    program = given.compiled.program("given", ("value", "field"))
    current = given.statistics()
    noted, out = replay(program.last.whole, given.values(current), program.drawn, current)
    expected = {n: torch.zeros_like(x) for n, x in current.items()}
    for _, region, eta in noted:
        expected[region.name][:, torch.from_numpy(region.columns)] = eta
    for variable, field in expected.items():
        assert torch.equal(out["field"][variable], field)


def test_fields_at_sites_that_rows_hold() -> None:
    """They are computed like the others, and are not looked at by the update."""
    rows = ROWS.clone()
    rows[0, 1] = rows[2, 3] = torch.nan
    _, params, out = run("chain c { clamp v where observed  sweep {h} then {v, g}  update mean  sweeps 2 }", rows)
    there = ~torch.isnan(rows)
    h = out.value["h"]
    torch.testing.assert_close(out.field["v"], params["v.bias"] + h @ params["v_h.weight"].T, rtol=1e-12, atol=1e-12)
    assert torch.equal(out.value["v"][there], rows[there])
    assert torch.equal(out.value["v"][~there], torch.sigmoid(out.field["v"])[~there])


def test_what_was_not_updated_has_no_field() -> None:
    _, _, out = run("chain c { clamp v[1:]  start h from noise  sweeps 0 }")
    assert not out.field["h"].any() and not out.field["v"][:, 1:].any()
    assert out.field["v"][:, 0].all() and out.field["g"].all()


def test_settled_is_a_mean_field_pass_over_the_latent_ones() -> None:
    """Blocks are {v, g} and {h}: g has its mean given the draw of h, h its mean given the draw of v and the mean of g."""
    c, params, out = run("chain c { sweeps 3 }", ROWS)
    assert [[r.name for r in block] for block in c.schedules["c"].blocks] == [["v", "g"], ["h"]]
    drawn, settled = out.value, out.settled
    eta = params["g.bias"].flatten() + drawn["h"] @ params["h_g.weight"]
    g = torch.softmax(eta.unflatten(1, (2, 3)), 2).flatten(1)
    h = torch.sigmoid(params["h.bias"] + drawn["v"] @ params["v_h.weight"] + g @ params["h_g.weight"].T)
    torch.testing.assert_close(settled["g"], g, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(settled["h"], h, rtol=1e-12, atol=1e-12)
    assert torch.equal(settled["v"], drawn["v"]) and set(drawn["v"].unique().tolist()) <= {0.0, 1.0}


def test_settled_leaves_what_is_clamped() -> None:
    _, _, out = run("chain c { clamp v[0:2]  clamp h[0] = 1 }")
    assert torch.equal(out.settled["v"], out.value["v"])
    assert torch.equal(out.settled["h"][:, 0], torch.ones(3, dtype=torch.float64))
    assert not torch.equal(out.settled["h"], out.value["h"])


def test_what_mean_field_chains_hold_is_settled_after_one_more_pass() -> None:
    """At a fixed point the pass changes nothing."""
    _, _, out = run("chain c { clamp v  update mean  sweeps 200 }")
    for name in ("h", "g"):
        torch.testing.assert_close(out.settled[name], out.value[name], rtol=0, atol=1e-12)


def test_settled_where_what_is_left_to_the_end_is_latent() -> None:
    """With v and g clamped h is drawn once, and its mean needs nothing else."""
    _, params, out = run("chain c { clamp v  clamp g = 2 }")
    h = torch.sigmoid(params["h.bias"] + ROWS @ params["v_h.weight"] + out.value["g"] @ params["h_g.weight"].T)
    torch.testing.assert_close(out.settled["h"], h, rtol=1e-12, atol=1e-12)
    assert part(out.value["h"], compiled("chain c { }").schedules["c"].free["h"]).shape == (3, 3)
