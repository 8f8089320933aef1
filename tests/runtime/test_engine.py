"""The engine: starts, clamps from chains, lengths, and states that are kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import gmc
from gmc.compiler.driver import Compiled
from gmc.runtime import chains
from gmc.runtime.chains import Given
from gmc.runtime.engine import Engine, Kept, Rows
from gmc.runtime.run import Run
from tests.compiler.replay import SEED, compile_example, encode
from tests.oracle import stats
from tests.oracle.laws import law, log_likelihood, rows_of
from tests.oracle.models import Example, random_weights
from tests.oracle.sites import as_columns

_folder = tempfile.TemporaryDirectory()
MODEL = Example(
    "engine",
    """
    observed v : bernoulli[4]
    latent   h : bernoulli[3]
    latent   g : bernoulli[2]
    edge v -- h
    edge h -- g
    """,
    ("",),
)
ROWS = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1]], dtype=torch.float64)


def compiled(chains: str) -> Compiled:
    path = Path(_folder.name) / "data.npz"
    np.savez(path, v=ROWS.numpy().astype(np.uint8))
    return compile_example(MODEL, "", f'data npz("{path.as_posix()}") {{ v = v }}\n{chains}\n')


def weights(c: Compiled, scale: float = 0.4) -> dict[str, Tensor]:
    return random_weights(c.checked.model, SEED, scale)


def engine(chains: str, seed: int = 1, **more: object) -> Engine:
    c = compiled(chains)
    return Engine(c, weights(c), seed, "test", **more)  # type: ignore[arg-type]


def rows(n: int = 3, numbers: list[int] | None = None, of: int = 0) -> Rows:
    picked = ROWS[torch.arange(n) % 3]
    return Rows({"v": picked}, n, None if numbers is None else torch.tensor(numbers), of)


def test_start_data_with_no_sweeps_keeps_the_data() -> None:
    e = engine("chain c { start v from data  sweeps 0 }")
    out = e.run("c", rows(9))
    assert torch.equal(out.value["v"], rows(9).values["v"])
    assert torch.equal(out.state["v"], rows(9).values["v"])


def test_one_sweep_from_data_is_cd_1() -> None:
    """Pass 0 draws h from the data; with certain weights the sweep then gives the data back."""
    c = compiled("chain c { start v from data  sweeps 1 }")
    params = {n: torch.zeros_like(w) for n, w in weights(c).items()}
    params["v_h.weight"][:3] = 200 * torch.eye(3, dtype=torch.float64)
    params["h.bias"][:] = params["v.bias"][:3] = -100
    params["v.bias"][3] = -100
    out = Engine(c, params, 1, "test").run("c", rows(6))
    assert torch.equal(out.value["v"][:, :3], rows(6).values["v"][:, :3])
    assert torch.equal(out.value["h"], out.value["v"][:, :3])


def test_start_noise_ignores_the_model() -> None:
    c = compiled("chain c { start noise  sweeps 0 }")
    params = {n: w + 50 for n, w in weights(c).items()}
    n = stats.SAMPLES
    out = Engine(c, params, 1, "test").run("c", rows(n))
    free = law(c.checked.model, {k: torch.zeros_like(w) for k, w in params.items()})
    assert stats.compare(free, dict(out.value.items())).ok


def test_clamps_to_constants_data_and_chains() -> None:
    e = engine("chain up { clamp v  sweeps 3 }\nchain c { clamp v[0:2] = 1  clamp v[2:4]  clamp g from up  sweeps 4 }")
    ended: dict = {}
    out = e.run("c", rows(30), ended=ended)
    assert torch.equal(out.value["v"][:, :2], torch.ones(30, 2, dtype=torch.float64))
    assert torch.equal(out.value["v"][:, 2:], rows(30).values["v"][:, 2:])
    assert torch.equal(out.value["g"], ended["up"].value["g"])
    assert torch.equal(ended["up"].value["v"], rows(30).values["v"])


def test_start_from_a_chain() -> None:
    e = engine("chain up { clamp v  sweeps 3 }\nchain c { start v, h, g from up  sweeps 0 }")
    ended: dict = {}
    out = e.run("c", rows(8), ended=ended)
    for name in "vhg":
        assert torch.equal(out.value[name], ended["up"].value[name])


def test_a_needed_chain_runs_once() -> None:
    e = engine("chain up { clamp v }\nchain a { clamp h from up }\nchain b { clamp h from up  start g from a }")
    ended: dict = {}
    e.run("a", rows(), ended=ended)
    first = ended["up"].value["h"]
    out = e.run("b", rows(), ended=ended)
    assert torch.equal(out.value["h"], first)
    assert e.kept["up"].turn == 2


@pytest.mark.parametrize("sweeps", [0, 1, 2, 5])
def test_turns_never_repeat(sweeps: int) -> None:
    """A run of n sweeps takes n + 1 turns, that of pass 0 first; the next goes on from there."""
    e = engine(f"chain c {{ start persistent(6)  sweeps {sweeps} }}")
    for run in range(1, 4):
        e.run("c", rows())
        assert e.kept["c"].turn == run * (sweeps + 1)
    e.run("c", rows(), sweeps=7)
    assert e.kept["c"].turn == 3 * (sweeps + 1) + 8


def test_every_draw_of_a_life_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No (key, site, sweep) is used for two draws, over batches, pass 0, restarts and several chains."""
    from gmc.compiler import draws

    seen: list[tuple[int, int, int, int]] = []
    plain = draws.words

    def words(key: Tensor, site: int, sweep: int, count: int) -> tuple[Tensor, Tensor]:
        seen.extend((int(a), int(b), site, sweep) for a, b in key.tolist())
        return plain(key, site, sweep, count)

    monkeypatch.setattr(draws, "words", words)
    e = engine(
        "chain up { clamp v  sweeps 2 }\nchain c { start persistent(5, restart = 0.4)  sweeps 2 }\n"
        "chain d { clamp v[0:2]  start persistent(2)  sweeps 1 }\nchain n { start noise  sweeps 1 }"
    )
    for numbers in ([0, 1, 2], [2, 0], [1]):
        for name in ("up", "c", "d", "n"):
            e.run(name, rows(len(numbers), numbers, 3))
    # pass 0 anew draws what the kept pass 0 would: the same site, seen twice in one run, is one draw of noise
    assert len(seen) == len(set(seen))


def test_ramps_of_sweeps_take_their_end() -> None:
    e = engine("chain c { sweeps 1 -> 4 }")
    e.run("c", rows())
    assert e.kept["c"].turn == 5


# ── Persistent states ────────────────────────────────────────────────────────────────────────────────────────────────


def test_kept_states_go_on() -> None:
    """Two runs of one sweep are the pass 0, the sweeps and the numbers of one chain that was never stopped."""
    e = engine("chain c { start persistent(50)  sweeps 1 }")
    first = e.run("c", rows())
    assert e.kept["c"].born is not None and bool(e.kept["c"].born.all())
    for name, states in e.kept["c"].states.items():
        assert states.dtype == torch.int8
        assert torch.equal(states.to(torch.float64), first.state[name])
    second = e.run("c", rows())
    assert first.value["v"].shape == (50, 4)
    program = e.compiled.program("c")
    keys = e._keys["c"][:50]
    again = chains.run(program, e.params, Given({}, dict(first.state), keys, 2), 1, torch.float64)
    assert all(torch.equal(again.value[n], second.value[n]) for n in "vhg")


def test_restart() -> None:
    """With `restart = 1` every state starts anew; with 0 none does; in between about that share."""
    for chance in (0.0, 0.3, 1.0):
        e = engine(f"chain c {{ start persistent(4000, restart = {chance})  sweeps 0 }}")
        first, second = e.run("c", rows()), e.run("c", rows())
        same = torch.stack([(first.value[n] == second.value[n]).all(1) for n in "vhg"]).all(0)
        if chance == 0:
            assert same.all()
        moved = float((~same).to(torch.float64).mean())
        assert chance * 0.9 <= moved + 0.1 * chance and moved <= chance + 0.05


def test_states_of_rows() -> None:
    """A chain that clamps data keeps n states for each training row, wherever the row stands in a batch."""
    e = engine("chain c { clamp v[0:2]  start persistent(2)  sweeps 0 }")
    a = e.run("c", rows(3, [0, 1, 2], 3))
    assert a.value["v"].shape == (6, 4)
    assert torch.equal(a.value["v"][:, :2], ROWS[:, :2].repeat_interleave(2, 0))
    picked = Rows({"v": ROWS[[2, 0]]}, 2, torch.tensor([2, 0]), 3)
    b = e.run("c", picked)
    for name in "vhg":
        assert torch.equal(b.value[name], a.value[name][[4, 5, 0, 1]])


def test_a_row_seen_late_begins_by_pass_zero() -> None:
    e = engine("chain c { clamp v  start persistent(1)  sweeps 1 }")
    e.run("c", rows(2, [0, 1], 3))
    assert e.kept["c"].born is not None
    assert e.kept["c"].born.tolist() == [True, True, False]
    e.run("c", Rows({"v": ROWS[[2]]}, 1, torch.tensor([2]), 3))
    assert e.kept["c"].born.all()


@pytest.mark.parametrize(("states", "count"), [(4, 6), (6, 4), (5, 5), (1, 7), (12, 3)])
def test_chains_of_different_numbers_can_follow_each_other(states: int, count: int) -> None:
    """A chain with a state a row that starts from one with n states takes them in turn."""
    e = engine(f"chain kept {{ start persistent({states})  sweeps 1 }}\nchain c {{ start v from kept  sweeps 0 }}")
    ended: dict = {}
    out = e.run("c", rows(count), ended=ended)
    assert out.value["v"].shape == (count, 4)
    have = {tuple(x) for x in ended["kept"].value["v"].tolist()}
    assert all(tuple(x) in have for x in out.value["v"].tolist())


def test_sample_leaves_the_runs_states_alone() -> None:
    c = compiled("chain c { start persistent(4)  sweeps 1 }")
    trained = Engine(c, weights(c), 1, "train")
    trained.run("c", rows())
    run = Run.of(c, weights(c), torch.device("cpu"))
    run.kept = {n: Kept(dict(k.states), k.born, k.turn) for n, k in trained.kept.items()}
    before = {n: s.clone() for n, s in run.kept["c"].states.items()}
    found = run.sample("c", chains=10, sweeps=3)
    again = run.sample("c", chains=10, sweeps=3)
    other = run.sample("c", chains=10, sweeps=3, seed=1)
    assert all(torch.equal(run.kept["c"].states[n], s) for n, s in before.items())
    assert all(torch.equal(found.values[n], again.values[n]) for n in "vhg")
    assert any(not torch.equal(found.values[n], other.values[n]) for n in "vhg")
    still = run.sample("c", chains=10, sweeps=0)
    for n in "vhg":
        assert torch.equal(still.values[n].to(torch.int8), before[n][torch.arange(10) % 4])


# ── Mean field ───────────────────────────────────────────────────────────────────────────────────────────────────────


def mean_field(params: dict[str, Tensor], v: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    """By hand: pass 0 bottom-up, then h from v and g, and g from h."""
    w, u = params["v_h.weight"], params["h_g.weight"]
    h = torch.sigmoid(params["h.bias"] + v @ w)
    g = torch.sigmoid(params["g.bias"] + h @ u)
    for _ in range(sweeps):
        h = torch.sigmoid(params["h.bias"] + v @ w + g @ u.T)
        g = torch.sigmoid(params["g.bias"] + h @ u)
    return h, g


@pytest.mark.parametrize("sweeps", [0, 1, 7])
def test_mean_field_is_the_fixed_point_iteration(sweeps: int) -> None:
    e = engine(f"chain c {{ clamp v  update mean  sweeps {sweeps} }}")
    out = e.run("c", rows())
    h, g = mean_field(e.params, ROWS, sweeps)  # type: ignore[arg-type]
    for found in (out.value, out.mean):
        torch.testing.assert_close(found["h"], h, rtol=0, atol=1e-12)
        torch.testing.assert_close(found["g"], g, rtol=0, atol=1e-12)
        assert torch.equal(found["v"], ROWS)


def test_the_mean_field_bound() -> None:
    """-E at the means plus their entropy is below log of the sum over the latents, for every v, and rises as it is iterated."""
    c = compiled("chain c { clamp v  update mean  sweeps 30 }\nchain early { clamp v  update mean  sweeps 1 }")
    params = weights(c, 1.0)
    v = ((torch.arange(16)[:, None] >> torch.arange(4)) & 1).to(torch.float64)
    about = Rows({"v": v}, 16)
    exact = (
        log_likelihood(c.checked.model, params, rows_of(c.checked.model, {"v": v})) + law(c.checked.model, params).log_z
    )
    bounds = []
    for name in ("early", "c"):
        out = Engine(c, params, 1, "test").run(name, about).mean
        h, g = out["h"], out["g"]
        minus_energy = v @ params["v.bias"] + h @ params["h.bias"] + g @ params["g.bias"]
        minus_energy = minus_energy + ((v @ params["v_h.weight"]) * h).sum(1) + ((h @ params["h_g.weight"]) * g).sum(1)
        entropy = sum(-torch.special.xlogy(p, p).sum(1) - torch.special.xlogy(1 - p, 1 - p).sum(1) for p in (h, g))
        bounds.append(minus_energy + entropy)
    assert (bounds[1] <= exact + 1e-12).all()
    assert (bounds[1] >= bounds[0] - 1e-12).all()
    assert (exact - bounds[1]).max() < 1.0
    assert encode(c.checked.model, as_columns(c.checked.model, {"v": v, "h": h, "g": g})).keys() == {"v", "h", "g"}


def test_schedules_of_chains_that_others_need_run_with_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    model m { observed v : bernoulli[3] latent h : bernoulli[2] edge v -- h }
    chain first { sweeps 2 -> 6 }
    chain second { start first  sweeps 1 }
    """
    compiled = gmc.compile(text).compiled
    engine = Engine(compiled, {p.name: torch.zeros(p.shape) for p in compiled.graph.parameters}, 0, "test")
    lengths: list[int] = []
    inner = chains.trace
    monkeypatch.setattr(chains, "trace", lambda *words: lengths.append(words[3]) or inner(*words))
    for progress in (0.0, 0.5, 1.0):
        engine.progress = progress
        engine.run("second", Rows({}, 4))
    assert lengths == [2, 1, 4, 1, 6, 1]
