"""`watch loss(OBJECTIVE)`: an objective's own loss on the valid rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gmc.dsl.diagnostic import GmcError
from gmc.runtime import metrics
from gmc.runtime.metrics import loss
from gmc.runtime.model import compile_file

PROGRAM = """
model m {
  observed v : bernoulli[5]
  observed y : bernoulli
  latent h : bernoulli[3]
  edge v -- h
  edge y -- h
}
data npz("rows.npz") { v = v  y = y  valid v = w  valid y = u }
chain up { clamp v, y }
chain given { clamp v }
chain free { }
chain short { start data }
objective nll = likelihood(exact(up), exact(free))
objective both = 2 * likelihood(exact(up), exact(free)) + (0.0 -> 1.0) * likelihood(exact(up), exact(given))
objective rough = likelihood(up, short)
train {
  minimize nll using adam(lr = 0.05)
  batch 10
  epochs 2
  watch loss(nll), exact, loss(both), loss(rough)
}
"""


def train(folder: Path, text: str = PROGRAM) -> list[dict[str, float]]:
    generator = np.random.default_rng(0)
    rows = {n: generator.integers(0, 2, shape) for n, shape in {"v": (30, 5), "y": 30, "w": (23, 5), "u": 23}.items()}
    np.savez(folder / "rows.npz", **rows)
    (folder / "m.gm").write_text(text)
    compile_file(folder / "m.gm").train(folder / "run")
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("rows", [7, 1000])
def test_it_is_the_objectives_loss(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a likelihood with both sides exact minus the log-likelihood, in whatever parts; weights stand at their end."""
    monkeypatch.setattr(loss, "ROWS", rows)
    for row in train(tmp_path):
        assert row["loss(nll)"] == pytest.approx(-row["exact"], abs=1e-6)
        conditional = row["loss(both)"] - 2 * row["loss(nll)"]
        assert 0.3 < conditional < 1.0  # -log p(y | v) of coins, log 2 at best
    assert metrics.loss.Loss.better == "less"


def test_chains_begin_anew_at_each_look(tmp_path: Path) -> None:
    """The same parameters have the same loss."""
    rows = train(tmp_path, PROGRAM.replace("lr = 0.05", "lr = 0.0"))
    assert rows[0]["loss(rough)"] == rows[1]["loss(rough)"] != 0.0


def test_it_stops_by_the_least(tmp_path: Path) -> None:
    rows = train(tmp_path, PROGRAM.replace("epochs 2", "epochs 90  stop patience(2)").replace("0.05", "0.2"))
    found = [row["loss(nll)"] for row in rows]
    assert len(found) == int(np.argmin(found)) + 3 < 90
    assert str(rows[-1]["stopped"]).startswith("loss(nll) was no better in 2 looks than")


def test_what_the_valid_rows_lack(tmp_path: Path) -> None:
    with pytest.raises(GmcError) as caught:
        train(tmp_path, PROGRAM.replace("valid y = u", "").replace("exact, ", ""))
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == (
        "GM740",
        "`loss(nll)` does not apply: `nll` reads `y`, which not all of these rows have",
    )


def test_what_is_trained_in_parts_has_no_loss_of_the_whole(tmp_path: Path) -> None:
    text = PROGRAM.replace("edge y -- h\n", "latent g : bernoulli[2]\n  edge h -- g\n  edge y -- h\n")
    text = text.replace("objective nll =", "objective stack = layerwise(cd(1))\nobjective nll =").replace(
        "loss(nll), exact", "loss(stack)"
    )
    with pytest.raises(GmcError, match="one part of the model after the other"):
        train(tmp_path, text)
