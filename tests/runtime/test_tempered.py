"""Tempered chains as they are run: replicas that are kept, clamps, parts of samples, resumes, and modes that are crossed."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import gmc
from gmc.runtime.engine import Engine, Kept, Rows
from gmc.runtime.model import compile_file
from gmc.runtime.run import Run, open_run
from gmc.runtime.sampling import Stream, collect
from gmc.runtime.training import Interrupted, Progress
from tests.compiler.replay import SEED, compile_example
from tests.oracle import stats
from tests.oracle.laws import law
from tests.oracle.models import Example, random_weights

RBM = Example(
    "tempered",
    """
    observed v : bernoulli[4]
    latent   h : bernoulli[3]
    edge v -- h
    edge v -- v
    """,
    ("",),
)
MAGNET = Example(
    "magnet",
    """
    observed s : spin(bias = none)[4, 4]
    edge s -- s by lattice(coupling = 0.7, boundary = periodic)
    """,
    ("",),
)
ROWS = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1]], dtype=torch.float64)
BOTH = ["parallel_tempered(7, 4, 0.2)", "tempered(7, 4, 0.4)"]


def engine(items: str, example: Example = RBM, scale: float = 1.0) -> Engine:
    compiled = compile_example(example, "", f"chain c {{ {items} }}")
    return Engine(compiled, random_weights(compiled.checked.model, SEED, scale), 1, "test")


@pytest.mark.parametrize("start", BOTH)
@pytest.mark.parametrize("items", ["", "clamp h[1] = 1", "sweep {h} then {v} then {h}"])
def test_samples_have_the_law(start: str, items: str) -> None:
    e = engine(f"start {start.replace('7', '8000')}  {items}  sweeps 12")
    model = e.compiled.checked.model
    out = e.run("c", Rows({}, 0))
    clamped = {("h", 1): 1.0} if items.startswith("clamp") else {}
    exact = law(model, e.params, clamped)  # type: ignore[arg-type]
    verdict = stats.compare(exact, {n: x.reshape(8000, *model.variable(n).shape) for n, x in out.value.items()})
    assert verdict.ok, verdict
    # and with the block that was drawn last at its mean, the same expectations
    for name, x in out.mean.items():
        mine = [c for c, site in enumerate(exact.sites) if site.variable == name]
        for column, expected in zip(mine, exact.mean()[mine], strict=True):
            values = x[:, mine.index(column)].numpy()
            assert values.std() < 1e-9 or stats.mean_within(values, float(expected), 7).ok


@pytest.mark.parametrize("start", BOTH)
def test_states_are_kept(start: str) -> None:
    e = engine(f"start {start}  sweeps 3")
    out = e.run("c", Rows({}, 0))
    replicas = 4 if "parallel" in start else 1
    kept = e.kept["c"]
    assert {n: tuple(x.shape) for n, x in kept.states.items()} == {"v": (7 * replicas, 4), "h": (7 * replicas, 3)}
    assert out.value["v"].shape == (7, 4)
    assert torch.equal(kept.states["v"][replicas - 1 :: replicas].double(), out.value["v"])
    assert out.accepted is not None and out.accepted.shape == (7, 3 if replicas == 4 else 1)
    other = Engine(e.compiled, e.params, 1, "test")
    other.kept["c"] = Kept({n: x.clone() for n, x in kept.states.items()}, kept.born, kept.turn)
    again, resumed = e.run("c", Rows({}, 0)), other.run("c", Rows({}, 0))
    assert torch.equal(again.value["v"], resumed.value["v"]) and torch.equal(again.value["h"], resumed.value["h"])


@pytest.mark.parametrize("start", BOTH)
def test_states_of_rows(start: str) -> None:
    """A chain that clamps data has n states a row, each with its replicas."""
    e = engine(f"clamp v[0:2]  start {start.replace('7', '2')}  sweeps 2")
    replicas = 4 if "parallel" in start else 1
    for numbers in ([0, 2], [1]):
        at = torch.tensor(numbers)
        out = e.run("c", Rows({"v": ROWS[at]}, len(at), at, 3))
        assert torch.equal(out.value["v"][:, :2], ROWS[at].repeat_interleave(2, 0)[:, :2])
        assert out.value["h"].shape == (2 * len(at), 3)
    assert e.kept["c"].states["h"].shape == (3 * 2 * replicas, 3) and bool(e.kept["c"].born.all())  # type: ignore[union-attr]


@pytest.mark.parametrize("start", BOTH)
def test_samples_are_the_same_in_parts(start: str) -> None:
    compiled = compile_example(RBM, "", f"chain c {{ start {start}  sweeps 4 }}")
    run = Run.of(compiled, random_weights(compiled.checked.model, SEED), torch.device("cpu"))
    stream = run.stream("c", chains=9, every=2, seed=3)
    whole = collect(stream, stream)
    parts = Stream(stream.request, stream.kept, together=2)
    torch.testing.assert_close(collect(parts, parts).values, whole.values)
    torch.testing.assert_close(collect(parts, parts).notes, whole.notes)
    assert whole.notes["accepted"].shape[:2] == (9, 2)


def magnetisation(start: str, sweeps: int) -> tuple[Tensor, float]:
    """The mean spin of each of 60 chains that start with all spins up, and how many replicas there are."""
    e = engine(f"start {start}  sweeps {sweeps}", MAGNET)
    each = 60 * (10 if "parallel" in start else 1)
    up = torch.ones(each, 16, dtype=torch.int8)
    e.kept["c"] = Kept({"s": up}, torch.ones(each, dtype=torch.bool), 0)
    out = e.run("c", Rows({}, 0))
    assert out.value["s"].shape[0] == 60
    return out.value["s"].mean(1), 0.0 if out.accepted is None else float(out.accepted.double().mean())


def test_temperatures_cross_between_modes() -> None:
    """All up and all down are alike; plain sweeps stay where they began."""
    stuck, _ = magnetisation("persistent(60)", 60)
    assert float(stuck.min()) > 0
    for start in ("parallel_tempered(60, 10, 0.1)", "tempered(60, 12, 0.3)"):
        found, accepted = magnetisation(start, 60)
        assert found.abs().mean() > 0.8, "in one mode or the other"
        # a fair coin for each chain: outside of these with a chance below 1e-6
        assert 12 <= int((found > 0).sum()) <= 48, (start, int((found > 0).sum()))
        assert 0.05 < accepted < 1.0


TEXT = """
model m {
  observed v : bernoulli[2, 3]
  latent   h : bernoulli[3]
  edge v -- h
}
data npz("data.npz") { v = v }
chain positive { clamp v }
chain wide { start parallel_tempered(5, 3) }
chain tall { start tempered(5, 3, 0.5)  sweeps 2 }
objective a = likelihood(positive = positive, negative = wide)
objective b = likelihood(positive = positive, negative = tall)
train {
  minimize a of v_h, v using sgd(lr = 0.05)
  minimize b of h using sgd(lr = 0.05)
  batch 10
  epochs 3
}
"""


def test_a_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", v=np.random.default_rng(0).integers(0, 2, (40, 2, 3)).astype(np.uint8))
    (tmp_path / "m.gm").write_text(TEXT)
    model = compile_file(tmp_path / "m.gm")
    model.train(tmp_path / "whole")
    steps = iter(range(100))

    def interrupt(_: Progress) -> None:
        if next(steps) % 5 == 3:
            signal.raise_signal(signal.SIGINT)

    stops = 0
    while not (tmp_path / "cut").exists() or stops < 3:
        try:
            model.train(tmp_path / "cut", resume=stops > 0, watch=interrupt)
            break
        except Interrupted:
            stops += 1
    model.train(tmp_path / "cut", resume=True)
    assert stops > 1
    for name in ("weights.safetensors", "state.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    run = open_run(tmp_path / "whole")
    assert run.kept["wide"].states["v"].shape == (15, 6)
    assert run.sample("wide", chains=4).values["v"].shape == (4, 2, 3)


def test_a_tempered_chain_cannot_start_from_another() -> None:
    """Its start is what tempers it."""
    compiled = compile_example(RBM, "", "chain a { start tempered(5) }\nchain b { }")
    run = Run.of(compiled, random_weights(compiled.checked.model, SEED), torch.device("cpu"))
    with pytest.raises(gmc.GmcError, match="tempered"):
        run.sample("a", start="b")
