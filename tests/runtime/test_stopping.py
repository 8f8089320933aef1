"""Early stopping: when a stage stops, which parameters it keeps, what the folder holds, and that a resume does not change it."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from gmc.dsl.diagnostic import GmcError
from gmc.runtime import training
from gmc.runtime.best import Best
from gmc.runtime.metrics.pseudo import Pseudo
from gmc.runtime.model import Model, compile_file
from gmc.runtime.stops.patience import Patience
from gmc.runtime.storage import read_tensors
from gmc.runtime.training import Interrupted, Progress
from tests.runtime.training_runs import begun

PROGRAM = """\
model m {{
  observed v : bernoulli[6]
  latent   h : bernoulli[8]
  edge v -- h
}}
data npz("rows.npz") {{ v = few  valid v = others }}
chain posterior {{ clamp v }}
chain negative {{ start persistent(20) }}
objective nll = likelihood(posterior, negative, centring = 0.1)
train first {{ minimize nll using {optimizer}  batch 4  epochs {epochs}  {items} }}
{more}
"""
STEEP = "sgd(lr = 0.5, momentum = 0.5)"
STOP = "watch pseudo  stop patience(3)"
FILES = ("weights.safetensors", "last.safetensors", "state.safetensors", "metrics.jsonl")


def written(folder: Path, epochs: int, items: str, more: str = "", optimizer: str = STEEP) -> Model:
    """The program, whose few rows are soon learned by heart."""
    generator = np.random.default_rng(1)
    np.savez(folder / "rows.npz", few=generator.integers(0, 2, (8, 6)), others=generator.integers(0, 2, (20, 6)))
    file = folder / f"program{len(list(folder.glob('*.gm')))}.gm"
    file.write_text(PROGRAM.format(epochs=epochs, items=items, more=more, optimizer=optimizer))
    return compile_file(file)


def lines(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path, name: str = "weights.safetensors") -> dict[str, torch.Tensor]:
    return read_tensors(run / name)[0]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("optimizer", [STEEP, "adam(lr = 0.3, average = 0.8)"])
def test_it_stops_and_keeps_the_best(tmp_path: Path, optimizer: str) -> None:
    run = tmp_path / "run"
    written(tmp_path, 60, STOP, optimizer=optimizer).train(run)
    rows = lines(run)
    values = [float(row["pseudo"]) for row in rows]  # type: ignore[arg-type]
    best = max(range(len(values)), key=values.__getitem__) + 1
    assert len(rows) == best + 3 < 60
    assert rows[-1]["stopped"] == f"pseudo was no better in 3 looks than {values[best - 1]:.6g} after epoch {best}"
    assert not any("stopped" in row for row in rows[:-1])
    # a training that ends there has the same parameters: nothing ramps
    for epochs, name in ((best, "weights.safetensors"), (len(rows), "last.safetensors")):
        written(tmp_path, epochs, "", optimizer=optimizer).train(tmp_path / name)
        assert same(weights(run, name), weights(tmp_path / name)), name
        assert not (tmp_path / name / "last.safetensors").exists()


def test_a_stage_that_is_not_stopped_keeps_the_best_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    written(tmp_path, 60, STOP).train(run)
    rows = lines(run)
    best = len(rows) - 3
    whole = written(tmp_path, best + 2, STOP)
    whole.train(tmp_path / "whole")
    assert len(lines(tmp_path / "whole")) == best + 2
    assert same(weights(tmp_path / "whole"), weights(run))
    assert not same(weights(tmp_path / "whole", "last.safetensors"), weights(run))


def test_the_next_stage_goes_on_from_the_best(tmp_path: Path) -> None:
    more = "train second { minimize nll using sgd(lr = 0.0)  batch 4  epochs 1 }"
    written(tmp_path, 60, STOP).train(tmp_path / "alone")
    written(tmp_path, 60, STOP, more).train(tmp_path / "both")
    # to the last bits, that is, for a step of zero goes to the centred biases and back
    alone, both = weights(tmp_path / "alone"), weights(tmp_path / "both")
    assert all(torch.allclose(alone[name], both[name], rtol=0, atol=1e-6) for name in alone)
    assert not (tmp_path / "both" / "last.safetensors").exists()
    assert [row["stage"] for row in lines(tmp_path / "both")][-1] == "second"


@pytest.fixture
def each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step."""
    monkeypatch.setattr(training, "SECONDS", -1.0)


def test_a_resume_after_every_step_changes_nothing(tmp_path: Path, each_step: None) -> None:
    """Averages, offsets, looks and the best parameters so far all come back."""
    items = "watch pseudo every 2  stop patience(2)"
    more = "train second { minimize nll of v_h, v using adam(lr = 0.1, average = 0.7, max_norm = 1.0)  batch 4  epochs 3  watch pseudo  stop patience(5) }"
    model = written(tmp_path, 8, items, more, "sgd(lr = 0.5, momentum = 0.5, average = 0.9)")
    model.train(tmp_path / "whole")
    run, stops = tmp_path / "again", 0

    def interrupt(progress: Progress) -> None:
        signal.raise_signal(signal.SIGINT)

    while True:
        try:
            model.train(run, resume=begun(run), watch=interrupt)
        except Interrupted:
            stops += 1
            continue
        break
    assert stops > 10
    for name in FILES:
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    (run / "last.safetensors").unlink()  # a kill between the writes
    model.train(run, resume=True)
    assert (run / "last.safetensors").read_bytes() == (tmp_path / "whole" / "last.safetensors").read_bytes()


def test_a_new_training_removes_the_last_parameters_of_an_older_one(tmp_path: Path) -> None:
    written(tmp_path, 20, STOP).train(tmp_path / "run")
    assert (tmp_path / "run" / "last.safetensors").exists()
    written(tmp_path, 2, "").train(tmp_path / "run")
    assert not (tmp_path / "run" / "last.safetensors").exists()


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """The metric says these, one after another, then the last one."""
    left = list(values)
    monkeypatch.setattr(Pseudo, "measure", lambda *given: left.pop(0) if len(left) > 1 else left[0])


@pytest.mark.parametrize(
    ("values", "epochs", "why"),
    [
        (
            [-3.0, math.nan, -2.0, math.inf, -2.0, -2.5, -9.0],
            6,
            "pseudo was no better in 3 looks than -2 after epoch 3",
        ),
        ([math.nan], 3, "pseudo was not finite in 3 looks"),
        ([-5.0 + 0.1 * n for n in range(9)], 9, None),
    ],
)
def test_what_counts_as_better(
    values: list[float], epochs: int, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, values)
    written(tmp_path, 9, STOP).train(tmp_path / "run")
    rows = lines(tmp_path / "run")
    assert len(rows) == epochs
    assert rows[-1].get("stopped") == why
    if not any(map(math.isfinite, values)):
        assert same(weights(tmp_path / "run"), weights(tmp_path / "run", "last.safetensors"))


def test_a_metric_that_should_be_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pseudo, "better", "less")
    scripted(monkeypatch, [5.0, 4.0, 4.5, 6.0, 7.0, 1.0])
    written(tmp_path, 9, STOP).train(tmp_path / "run")
    assert len(lines(tmp_path / "run")) == 5


def test_looks() -> None:
    best = Best()
    for epoch, value in enumerate([math.nan, 2.0, 1.0, 3.0, math.inf], 1):
        best.look(value, "greater", epoch, {"w": torch.full((1,), float(epoch))})
    assert (best.looks, best.at, best.epoch, best.value) == (5, 4, 4, 3.0)
    again = Best.of(json.loads(json.dumps(best.counters())), best.params)
    assert again == best
    empty = Best.of(json.loads(json.dumps(Best().counters())), {})
    assert math.isnan(empty.value) and empty.at == 0
    assert [Patience(looks=2).stops(looks, 1) for looks in (1, 2, 3, 4)] == [False, False, True, True]


def test_tensors_have_no_valid_rows(tmp_path: Path) -> None:
    model = written(tmp_path, 3, STOP)
    with pytest.raises(GmcError) as caught:
        model.train(data={"v": torch.zeros(8, 6)})
    (found,) = caught.value.diagnostics
    assert found.code == "GM716"
