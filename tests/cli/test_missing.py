"""Data with gaps from the command line: training, evaluation and sampling on an .npz that holds NaN."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gmc.runtime.run import open_run
from tests.cli.invoking import codes, invoke
from tests.oracle.laws import log_likelihood, rows_of

HOLED = """\
model bars {
  observed v : bernoulli[2, 3]
  observed y : categorical(3)
  latent h : bernoulli[2]
  edge v -- h
  edge y -- h
}

data npz("data.npz") {
  v = image
  y = label
  test v = image
  test y = label
}

chain posterior { clamp v, y where observed }
chain whole { clamp v, y }
chain free { }
chain fill { clamp v where observed  sweeps 3 }

objective nll = likelihood(positive = exact(posterior), negative = exact(free))

train {
  minimize nll using adam(lr = 0.1)
  batch 30
  epochs 12
}
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A working folder with holed.gm and its data, and these data."""
    monkeypatch.chdir(tmp_path)
    return write_files(tmp_path)


def write_files(folder: Path) -> dict[str, np.ndarray]:
    """Bars with gaps, and how many there are in a row."""
    generator = np.random.default_rng(1)
    image = generator.integers(0, 2, (30, 2, 1)).repeat(3, axis=2).astype(np.float64)
    label = image[:, :, 0].sum(axis=1)
    image[generator.random(image.shape) < 0.3] = np.nan
    label[generator.random(label.shape) < 0.3] = np.nan
    image[0], label[0] = [[1, 1, 1], [0, np.nan, 0]], 1
    arrays = {"image": image, "label": label}
    np.savez(folder / "data.npz", image=image, label=label)
    (folder / "holed.gm").write_text(HOLED, encoding="utf-8")
    return arrays


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of holed.gm on its data; nothing may be written into it."""
    folder = tmp_path_factory.mktemp("holed")
    write_files(folder)
    result = invoke("compile", str(folder / "holed.gm"), "--train", "--out", str(folder / "run"))
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def run(desk: dict[str, np.ndarray], trained: Path) -> str:
    """A copy of the run, as `run` in the working folder."""
    shutil.copytree(trained, "run")
    return "run"


def test_train_and_evaluate(desk: dict[str, np.ndarray], run: str) -> None:
    losses = [json.loads(line)["nll"] for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.1
    result = invoke("eval", run, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    opened = open_run(run)
    values = {"v": torch.from_numpy(desk["image"]), "y": torch.from_numpy(desk["label"])}
    params = {name: p.to(torch.float64) for name, p in opened.params.items()}
    model = opened.compiled.checked.model
    expected = log_likelihood(model, params, rows_of(model, values))
    assert found["mean"] == pytest.approx(expected.mean().item(), abs=1e-6)
    assert found["quantity"] == "log p(what is observed of v, y)"
    torch.testing.assert_close(opened.log_likelihood(values), expected, rtol=0, atol=1e-6)
    refused = invoke("eval", run, "--method", "pseudo", "--format", "json")
    assert (codes(refused), refused.exit_code) == (["GM740"], 1)


@pytest.mark.usefixtures("desk")
def test_fill_in(run: str) -> None:
    given = np.full((4, 2, 3), np.nan)
    given[:2, 0], given[2] = 1.0, 0.0
    np.savez("given.npz", v=given)
    result = invoke("sample", run, "--chain", "fill", "--clamp", "v=given.npz:v", "--out", "a.npz")
    assert result.exit_code == 0, result.output
    with np.load("a.npz") as found:
        here = ~np.isnan(given)
        assert (found["v"][here] == given[here]).all()
        assert set(np.unique(found["v"])) <= {0, 1}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--chain", "whole"), "GM661"),
        (("--chain", "whole", "--clamp", "v=test[1:9]"), "GM661"),
        (("--chain", "whole", "--clamp", "v=data.npz:image"), "GM731"),
    ],
)
@pytest.mark.usefixtures("desk")
def test_chains_that_need_all(run: str, words: tuple[str, ...], code: str) -> None:
    result = invoke("sample", run, *words, "--format", "json")
    assert (codes(result)[0], result.exit_code) == (code, 1), result.output


@pytest.mark.usefixtures("desk")
def test_training_chains_that_need_all() -> None:
    text = HOLED.replace("exact(posterior)", "exact(whole)")
    Path("holed.gm").write_text(text, encoding="utf-8")
    result = invoke("compile", "holed.gm", "--train", "--out", "run", "--format", "json")
    assert (codes(result), result.exit_code) == (["GM661", "GM661"], 1), result.output
    assert not Path("run").exists()


@pytest.mark.usefixtures("desk")
def test_nothing_missing_is_a_warning() -> None:
    np.savez("data.npz", image=np.ones((8, 2, 3)), label=np.zeros(8))
    result = invoke("compile", "holed.gm", "--train", "--out", "run", "--format", "json")
    assert result.exit_code == 0, result.output
    assert codes(result) == ["GM663", "GM663"]
