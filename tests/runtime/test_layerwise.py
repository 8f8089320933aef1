"""Greedy pretraining as training runs it: where biases and recognition weights go, resumes, and what comes of it."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gmc.compiler.pretraining import Pretraining
from gmc.runtime.initial import initial_parameters
from gmc.runtime.model import Model, compile_file
from gmc.runtime.tensor_data import TensorData
from gmc.runtime.train import Trainer
from gmc.runtime.training import Interrupted, Progress
from tests.runtime.training_runs import begun, contents

BODIES = {
    "boltzmann": "edge v -- h1 edge h1 -- h2 edge h2 -- y",
    "belief": "edge h1 -> v edge v ~> h1 edge h1 -- h2 edge h2 -- y",
}
TEXT = """
model stack {{
  observed v : bernoulli[6]
  observed y : categorical(2)
  latent h1 : bernoulli[4]
  latent h2 : bernoulli[3]
  {edges}
}}
data npz("data.npz") {{ v = v  y = y }}
objective greedy = layerwise({each})
train {{
  minimize greedy {of} using sgd(lr = 0.2 -> 0.05, momentum = 0.5, weight_decay = 1e-3) {times}
  batch 20
  epochs {epochs}
}}
"""
ROWS = 50


def model_of(
    folder: Path, body: str = "boltzmann", each: str = "cd(1 -> 2)", of: str = "", times: str = "", epochs: int = 2
) -> Model:
    """A stack with labels, and data in which both halves of v and y go together."""
    generator = np.random.default_rng(3)
    y = generator.integers(0, 2, ROWS)
    noise = generator.random((ROWS, 6)) < 0.1
    np.savez(folder / "data.npz", v=(np.repeat(y[:, None], 6, 1) ^ noise).astype(np.int64), y=y)
    file = folder / f"{body}.gm"
    file.write_text(TEXT.format(edges=BODIES[body], each=each, of=of, times=times, epochs=epochs), encoding="utf-8")
    return compile_file(file)


def trainer_of(model: Model, folder: Path) -> Trainer:
    with np.load(folder / "data.npz") as data:
        values = {name: torch.from_numpy(data[name]) for name in data.files}
    rows = TensorData.of(model.compiled, values, torch.device("cpu"), torch.float64)
    return Trainer(model.compiled, rows, initial_parameters(model.compiled.graph, 0, rows), 0)


def copied(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.params.items()}


def phase_of(trainer: Trainer) -> int:
    return trainer.cursor.epoch // trainer.stage.epochs


# ── Where it goes ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("times", ["", "times 2"])
def test_a_middle_bias_is_the_sum_of_two_layers(times: str, tmp_path: Path) -> None:
    """h1.bias = c + b at every step: c as phase 1 left it, and what RBM 2 has is b, which begins at zero."""
    trainer = trainer_of(model_of(tmp_path, times=times), tmp_path)
    (descent,) = trainer.descents["greedy"]
    assert isinstance(descent, Pretraining)
    seen: dict[int, set[str]] = {0: set(), 1: set()}
    before, phase, c = copied(trainer), 0, None
    for _ in trainer.advance(lambda _: {}):
        changed = {name for name, value in trainer.params.items() if not torch.equal(value, before[name])}
        seen[phase] |= changed
        if phase == 0:
            c = trainer.params["h1.bias"].clone()
        else:
            assert c is not None
            memory = trainer.memories["greedy.0"]
            assert memory.keys() == {"phase2.h1.bias"}
            assert torch.equal(memory["phase2.h1.bias"], c)
            bottom, top = (trainer.works.inner[f"greedy.0/phase{n}"].engine.params["h1.bias"] for n in (1, 2))
            assert torch.equal(bottom, c)
            if not times:
                # the engine last ran before the step that has just been taken
                assert torch.equal(top, before["h1.bias"] - c)
        before = copied(trainer)
        if not trainer.done and trainer.cursor.step == 0:
            phase = phase_of(trainer)
    assert seen == {
        0: {"v.bias", "h1.bias", "v_h1.weight"},
        1: {"h1.bias", "h1_h2.weight", "h2.bias", "y.bias", "h2_y.weight"},
    }


def test_recognition_follows_the_layer_that_it_is_the_transpose_of(tmp_path: Path) -> None:
    """In a deep belief network c is the bias of the `~>` edge, and h1.bias is the top RBM's alone."""
    trainer = trainer_of(model_of(tmp_path, "belief"), tmp_path)
    first = copied(trainer)
    for _ in trainer.advance(lambda _: {}):
        params = trainer.params
        assert torch.equal(params["v_h1.weight"], params["h1_v.weight"].T)
        if trainer.cursor.updates == 6:
            assert not torch.equal(params["v_h1.bias"], first["v_h1.bias"])
            assert torch.equal(params["h1.bias"], first["h1.bias"])
            c = params["v_h1.bias"].clone()
    assert torch.equal(trainer.params["v_h1.bias"], c)
    assert not torch.equal(trainer.params["h1.bias"], first["h1.bias"])
    assert not trainer.memories["greedy.0"]


def test_of_takes_some_of_it(tmp_path: Path) -> None:
    trainer = trainer_of(model_of(tmp_path, "belief", of="of h1_v, h2_y"), tmp_path)
    first = copied(trainer)
    for _ in trainer.advance(lambda _: {}):
        pass
    changed = {name for name, value in trainer.params.items() if not torch.equal(value, first[name])}
    assert changed == {"h1_v.weight", "h2_y.weight"}


def test_a_second_stage_begins_anew(tmp_path: Path) -> None:
    """What the phases of one stage set aside is not what those of the next stand on."""
    file = model_of(tmp_path).checked.source
    text = file.text + file.text[file.text.index("train {") :].replace("train {", "train again {")
    (tmp_path / "twice.gm").write_text(text, encoding="utf-8")
    trainer = trainer_of(compile_file(tmp_path / "twice.gm"), tmp_path)
    kept = []
    for _ in trainer.advance(lambda _: {}):
        kept += [trainer.memories["greedy.0"].get("phase2.h1.bias")]
    steps = 3 * 2
    assert len(kept) == 4 * steps
    assert kept[:steps] == kept[2 * steps : 3 * steps] == [None] * steps
    first, second = kept[steps], kept[3 * steps]
    assert first is not None and second is not None and not torch.equal(first, second)


# ── Killed and resumed ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("body", "each"), [("boltzmann", "pcd(1, chains = 5)"), ("belief", "cd(1 -> 2)")])
def test_stopped_after_every_step(body: str, each: str, tmp_path: Path) -> None:
    """A run that is interrupted after each step, in every phase, ends with the bytes of one that never was."""
    model = model_of(tmp_path, body, each, epochs=1)
    model.train(tmp_path / "whole")
    stops = 0

    def interrupt(progress: Progress) -> None:
        signal.raise_signal(signal.SIGINT)

    while True:
        try:
            model.train(tmp_path / "parts", resume=begun(tmp_path / "parts"), watch=interrupt)
        except Interrupted:
            stops += 1
            continue
        break
    assert stops >= 5
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


# ── What comes of it ─────────────────────────────────────────────────────────────────────────────────────────────────

BARS = """
model bars {
  observed v : bernoulli[3, 3]
  latent h1 : bernoulli[6]
  latent h2 : bernoulli[4]
  latent h3 : bernoulli[3]
  edge v -- h1 by dense(init = 0.5)
  edge h1 -- h2 by dense(init = 0.5)
  edge h2 -- h3 by dense(init = 0.5)
}
data npz("bars.npz") { v = v }
objective greedy = layerwise(cd(1))
train {
  minimize greedy using sgd(lr = 2.0 -> 0.5)
  batch 140
  epochs 25
}
"""


def test_composed_it_is_likelier(tmp_path: Path) -> None:
    """Three layers, each trained alone, then joined: the exact likelihood of the whole is well above that of the start, and of noise."""
    lines = [np.array(bits)[:, None] for bits in np.ndindex(2, 2, 2)]
    patterns = np.unique([np.broadcast_to(x, (3, 3)) for line in lines for x in (line, line.T)], axis=0)
    (tmp_path / "bars.gm").write_text(BARS, encoding="utf-8")
    model = compile_file(tmp_path / "bars.gm")
    data = {"v": torch.from_numpy(patterns)}
    rows = TensorData.of(model.compiled, {"v": data["v"].repeat(20, 1, 1)}, torch.device("cpu"), torch.float64)
    trainer = Trainer(model.compiled, rows, initial_parameters(model.compiled.graph, 0, rows), 0)
    start = float(model.run(copied(trainer)).log_likelihood(data).mean())
    for _ in trainer.advance(lambda _: {}):
        pass
    end = float(model.run(copied(trainer)).log_likelihood(data).mean())
    # noise has -9 log 2 nats, and the data are of 14 patterns
    assert start < -9 * np.log(2) < end - 1.0 < -np.log(14), (start, end)


def test_without_upper_weights_it_is_an_rbm(tmp_path: Path) -> None:
    """The layers join at h1.bias: with h1_h2 = 0 the whole gives data the likelihood of an RBM with that bias."""
    (tmp_path / "bars.gm").write_text(BARS, encoding="utf-8")
    (tmp_path / "rbm.gm").write_text("model rbm { observed v : bernoulli[3, 3] latent h1 : bernoulli[6] edge v -- h1 }")
    whole, rbm = compile_file(tmp_path / "bars.gm"), compile_file(tmp_path / "rbm.gm")
    generator = torch.Generator().manual_seed(1)
    weights = {
        p.name: torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in whole.compiled.graph.parameters
    }
    weights["h1_h2.weight"].zero_()
    data = {"v": torch.randint(0, 2, (20, 3, 3), generator=generator)}
    found = whole.run(weights).log_likelihood(data)
    lower = {p.name: weights[p.name] for p in rbm.compiled.graph.parameters}
    torch.testing.assert_close(found, rbm.run(lower).log_likelihood(data), rtol=0, atol=1e-10)
