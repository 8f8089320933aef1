"""Predictions against exact conditionals and scores computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import gmc
from gmc.compiler.graph import family
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import sampling
from gmc.runtime.predicting import Prediction, probabilities, ratio

ROWS = 37
DATA = """
data npz("d.npz") {
  v = v  y = y  x = x  s = s
  test v = v  test y = y  test x = x  test s = s
  valid v = v
}
"""
CHAINS = """
chain given { clamp v  sweeps 3 }
chain part { clamp v, s, y, x[1:]  sweeps 2 }
chain parts { clamp v[2:], x, s  sweeps 6 }
chain none { sweeps 1 }
chain starts { start data  sweeps 0 }
"""
MODEL = """\
model m {
  observed v : bernoulli[4]
  observed y : categorical(3)
  observed x : normal[2]
  observed s : spin[2]
  latent h : bernoulli[3]
  edge v -- y
  edge v -- x
  edge v -- s
  edge s -- h
}
"""


@pytest.fixture
def run(tmp_path: Path) -> gmc.Run:
    """A model in which y, x and s do not meet: given v one sweep has their exact law."""
    return make(tmp_path, MODEL + DATA + CHAINS)


def make(folder: Path, text: str) -> gmc.Run:
    rng = np.random.default_rng(5)
    arrays = {
        "v": rng.integers(0, 2, (ROWS, 4)),
        "y": rng.integers(0, 3, ROWS),
        "x": rng.standard_normal((ROWS, 2)),
        "s": 2 * rng.integers(0, 2, (ROWS, 2)) - 1,
    }
    np.savez(folder / "d.npz", **arrays)
    (folder / "m.gm").write_text(text)
    model = gmc.compile(folder / "m.gm")
    generator = torch.Generator().manual_seed(0)
    return model.run({p.name: torch.randn(p.shape, generator=generator) for p in model.compiled.graph.parameters})


def truth(run: gmc.Run, name: str) -> Tensor:
    rows = run.rows("test")
    assert rows is not None
    return rows.external(name, torch.arange(ROWS), 0)


def scores(found: Prediction) -> dict[str, tuple[float, float]]:
    return {score.name: (score.value, score.standard_error) for score in found.scores}


def of_rows(each: Tensor) -> tuple[float, float]:
    """Mean and standard error of the mean."""
    return float(each.mean()), float(each.std()) / math.sqrt(len(each))


# ── Finite families ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_categorical(run: gmc.Run) -> None:
    found = run.predict("given", "y")
    v, y = truth(run, "v").float(), truth(run, "y").long()
    p = (run.params["y.bias"] + v @ run.params["v_y.weight"]).softmax(1)
    torch.testing.assert_close(found.mean, p)
    assert found.best is not None and torch.equal(found.best.long(), p.argmax(1))
    assert torch.equal(found.data.long(), y)
    hit = (p.argmax(1) == y).double()
    assert scores(found)["accuracy"] == pytest.approx(of_rows(hit))
    assert scores(found)["log score"] == pytest.approx(of_rows(p.double().gather(1, y[:, None])[:, 0].log()), rel=1e-5)
    assert (found.rows, found.sites) == (ROWS, ROWS)
    assert "in sweep 3 of one chain a row" in found.how


def test_spins_are_scored_site_by_site(run: gmc.Run) -> None:
    found = run.predict("given", "s", sweeps=40, burn=39, chains=2)
    assert found.best is not None and found.best.shape == (ROWS, 2)
    right = (found.mean > 0) == (truth(run, "s") > 0)
    assert torch.equal(found.best > 0, found.mean > 0)
    assert scores(found)["accuracy"] == pytest.approx(of_rows(right.double().mean(1)))
    chance = (1 + found.mean.double() * truth(run, "s")) / 2
    assert scores(found)["log score"] == pytest.approx(of_rows(chance.log().mean(1)), rel=1e-4)


def test_free_sites_of_a_variable_clamped_in_part(run: gmc.Run) -> None:
    found = run.predict("parts", "v", burn=2)
    assert found.sites == 2 * ROWS
    assert not bool(found.drawn[:, 2:].any())
    assert torch.equal(found.mean[:, 2:], truth(run, "v")[:, 2:].float())
    assert found.best is not None
    right = (found.best == truth(run, "v"))[:, :2].double().mean(1)
    assert scores(found)["accuracy"] == pytest.approx(of_rows(right))
    assert "averaged over sweeps 3 to 6" in found.how


# ── Other families ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_normal(run: gmc.Run) -> None:
    found = run.predict("given", "x")
    assert found.best is None
    mean = run.params["x.bias"] + truth(run, "v").float() @ run.params["v_x.weight"]
    torch.testing.assert_close(found.mean, mean)
    off = (mean - truth(run, "x")).double()
    squares, error = of_rows((off**2).mean(1))
    root = math.sqrt(squares)
    assert scores(found)["root mean squared error"] == pytest.approx((root, error / (2 * root)))
    assert scores(found)["mean absolute error"] == pytest.approx(of_rows(off.abs().mean(1)))


def test_normal_in_part(run: gmc.Run) -> None:
    found = run.predict("part", "x")
    off = (found.mean - truth(run, "x"))[:, 0].double()
    assert scores(found)["mean absolute error"] == pytest.approx(of_rows(off.abs()))


# ── How it is run ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prediction_is_the_average_of_chains_on_each_row(run: gmc.Run) -> None:
    clamp = {n: truth(run, n).repeat_interleave(3, 0) for n in ("v", "x", "s")}
    averages = run.average("parts", clamp=clamp, burn=2, seed=4)["v"].unflatten(0, (ROWS, 3)).mean(1)
    torch.testing.assert_close(run.predict("parts", "v", chains=3, burn=2, seed=4).mean, averages)


def test_prediction_does_not_depend_on_the_parts(run: gmc.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run.predict("parts", "v", chains=2, burn=0)
    monkeypatch.setattr(sampling, "CELLS", 14 * 10)
    seen: list[float] = []
    parts = run.predict("parts", "v", chains=2, burn=0, watch=seen.append)
    assert len(seen) == 8 and seen[-1] == 1.0
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-6, atol=1e-7)
    assert parts.best is not None and whole.best is not None and torch.equal(parts.best, whole.best)


def test_starts_from_data_take_the_split(run: gmc.Run) -> None:
    found = run.predict("starts", "y")
    assert scores(found)["accuracy"] == (1.0, 0.0), "a chain that starts from the data and does not move"
    assert "in pass 0" in found.how


def test_missing_values_are_not_compared(tmp_path: Path) -> None:
    text = "model m { observed x : normal[2]  latent h : bernoulli[3]  edge x -- h }\n"
    text += 'data npz("d.npz") { x = gaps  test x = gaps }\n'
    text += "chain fill { clamp x where observed  sweeps 2 }\nchain free { sweeps 2 }\nchain plain { clamp x[0]  sweeps 2 }\n"
    gaps = np.random.default_rng(0).standard_normal((10, 2))
    gaps[3, 0] = gaps[5, 1] = gaps[6] = np.nan
    np.savez(tmp_path / "d.npz", gaps=gaps)
    (tmp_path / "m.gm").write_text(text)
    model = gmc.compile(tmp_path / "m.gm")
    run = model.run({p.name: torch.zeros(p.shape) for p in model.compiled.graph.parameters})
    found = run.predict("free", "x")
    assert (found.rows, found.sites) == (10, 16)
    assert scores(found)["mean absolute error"][0] == pytest.approx(float(np.nanmean(np.abs(gaps))))
    with pytest.raises(GmcError) as caught:
        run.predict("fill", "x")
    assert caught.value.diagnostics[0].code == "GM745", "where there is a value it is clamped"
    with pytest.raises(GmcError):
        run.predict("plain", "x")  # row 3 lacks what the chain clamps


# ── Pieces ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_probabilities_of_every_finite_family() -> None:
    variables = {
        "bernoulli": (torch.tensor([[0.2]]), [[[0.8, 0.2]]]),
        "spin": (torch.tensor([[-0.5, 1.0]]), [[[0.75, 0.25], [0.0, 1.0]]]),
        "categorical(3)": (torch.tensor([[0.2, 0.3, 0.5]]), [[[0.2, 0.3, 0.5]]]),
    }
    for word, (mean, wanted) in variables.items():
        variable = gmc.compile(f"model m {{ observed v : {word} }}").checked.model.variable("v")
        found = probabilities(family(variable), mean.double())
        assert found is not None
        order = np.argsort([float(v @ torch.arange(1.0, len(v) + 1).double()) for v in family(variable).values()])
        torch.testing.assert_close(found[..., torch.from_numpy(order)], torch.tensor(wanted).double())
    normal = gmc.compile("model m { observed v : normal }").checked.model.variable("v")
    assert probabilities(family(normal), torch.zeros(1, 1)) is None


def test_errors_of_ratios() -> None:
    each = torch.tensor([0.1, 0.5, 0.3, 0.9], dtype=torch.float64)
    assert ratio(3 * each, torch.full((4,), 3.0, dtype=torch.float64)) == pytest.approx(of_rows(each))
    value, error = ratio(torch.tensor([1.0]), torch.tensor([2.0]))
    assert value == 0.5 and math.isnan(error)
    # rows of unequal counts: the spread of many such samples is what the error says
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 6, (2000, 400), generator=generator).double()
    sums = counts * torch.rand(2000, 400, generator=generator).double()
    found = [ratio(s, c) for s, c in zip(sums, counts, strict=True)]
    spread = float(np.std([value for value, _ in found]))
    assert np.mean([error for _, error in found]) == pytest.approx(spread, rel=0.08)


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("chain", "of", "more", "code"),
    [
        ("givn", "y", {}, "GM730"),
        ("given", "w", {}, "GM730"),
        ("given", "v", {}, "GM745"),
        ("given", "h", {}, "GM746"),
        ("given", "y", {"split": "valid"}, "GM746"),
        ("parts", "v", {"split": "valid"}, "GM746"),
        ("given", "y", {"burn": 3}, "GM749"),
        ("given", "y", {"chains": 0}, "GM738"),
        ("given", "y", {"sweeps": -1}, "GM738"),
        ("given", "y", {"seed": -1}, "GM738"),
    ],
)
def test_mistakes(run: gmc.Run, chain: str, of: str, more: dict[str, object], code: str) -> None:
    with pytest.raises(GmcError) as caught:
        run.predict(chain, of, **more)  # type: ignore[arg-type]
    assert {found.code for found in caught.value.diagnostics} == {code}
    assert caught.value.exit_code == 2


def test_every_missing_variable_is_told(run: gmc.Run) -> None:
    with pytest.raises(GmcError) as caught:
        run.predict("parts", "v", split="valid")
    assert [found.message.split("`")[1] for found in caught.value.diagnostics] == ["x", "s"]


def test_no_such_rows(tmp_path: Path) -> None:
    run = make(tmp_path, (MODEL + DATA + CHAINS).replace("  valid v = v\n", ""))
    with pytest.raises(GmcError) as caught:
        run.predict("given", "y", split="valid")
    assert caught.value.diagnostics[0].code == "GM741"
