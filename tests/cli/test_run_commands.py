"""The commands about runs: sample and eval."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gmc.runtime.folder import CONFIG, MODEL, STATE, WEIGHTS
from gmc.runtime.run import open_run
from tests.cli.invoking import TINY, Trained, codes, invoke


@pytest.fixture
def run(here: Path, trained: Trained) -> Path:
    """A copy of the run, as `run` in the working folder."""
    shutil.copytree(trained.folder, here / "run")
    return Path("run")


def test_samples_as_arrays(run: Path) -> None:
    result = invoke("sample", "run", "--chain", "dreaming", "--chains", "5", "--seed", "2", "--out", "a.npz")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote a.npz\n")
    with np.load("a.npz", allow_pickle=False) as found:
        assert sorted(found) == ["h", "v"]
        assert found["v"].shape == (5, 8, 8)
        assert found["h"].shape == (5, 3)
        assert set(np.unique(found["v"])) <= {0, 1}
    invoke("sample", "run", "--chain", "dreaming", "--chains", "5", "--seed", "2", "--out", "b.npz")
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    invoke("sample", "run", "--chain", "dreaming", "--chains", "5", "--seed", "3", "--out", "b.npz")
    assert Path("a.npz").read_bytes() != Path("b.npz").read_bytes()


def test_variable_of_any_name_has_its_array(here: Path) -> None:
    Path("m.gm").write_text(
        "model m {\n  observed file : bernoulli[2]\n  latent allow_pickle : bernoulli\n  edge file -- allow_pickle\n}\nchain c { }\n"
    )
    assert invoke("compile", "m.gm", "--out", "m").exit_code == 0
    assert invoke("sample", "m", "--out", "m.npz").exit_code == 0
    with np.load("m.npz", allow_pickle=False) as found:
        assert sorted(found) == ["allow_pickle", "file"]


def test_samples_as_images(run: Path) -> None:
    result = invoke("sample", "run", "--chain", "dreaming", "--chains", "9", "--out", "a.png")
    assert (result.exit_code, result.stdout) == (0, "")
    with Image.open("a.png") as image:
        assert image.width == image.height
        assert image.width >= 3 * 8


def test_summary_without_a_file(run: Path) -> None:
    result = invoke("sample", "run", "--chain", "dreaming")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "v  [64 x 8 x 8]  mean " in result.stdout


def test_clamped_part_is_that_of_the_data(run: Path) -> None:
    result = invoke("sample", "run", "--chain", "inpaint", "--clamp", "v=test[0:6]", "--out", "a.npz")
    assert result.exit_code == 0, result.output
    rows = open_run(run).rows("test")
    assert rows is not None
    wanted = rows.batch(torch.arange(6), 0)["v"].reshape(6, 8, 8).numpy()
    with np.load("a.npz") as found:
        np.testing.assert_array_equal(found["v"][:, :, 4:], wanted[:, :, 4:])


def test_clamp_to_a_file_and_to_a_number(run: Path) -> None:
    np.savez("given.npz", rows=np.ones((3, 8, 8)))
    for source in ("given.npz:rows", "1"):
        assert invoke("sample", "run", "--chain", "inpaint", "--clamp", f"v={source}", "--out", "a.npz").exit_code == 0
        with np.load("a.npz") as found:
            assert found["v"][:, :, 4:].all()


def test_pass_0_alone(run: Path) -> None:
    assert invoke("sample", "run", "--chain", "dreaming", "--sweeps", "0").exit_code == 0


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["run"], 2, "GM814"),
        (["run", "--chain", "dreamin"], 2, "GM730"),
        (["run", "--chain", "dreaming", "--out", "a.jpg"], 2, "GM813"),
        (["run", "--chain", "dreaming", "--out", "a"], 2, "GM813"),
        (["run", "--chain", "dreaming", "--out", "no/where.npz"], 1, "GM700"),
        (["run", "--chain", "dreaming", "--out", "no/where.png"], 1, "GM700"),
        (["run", "--chain", "dreaming", "--out", "no/where.gif"], 1, "GM700"),
        (["run", "--chain", "dreaming", "--from", "negativ"], 2, "GM730"),
        (["run", "--chain", "dreaming", "--from", "dreaming"], 2, "GM744"),
        (["run", "--chain", "dreaming", "--burn", "1"], 2, "GM748"),
        (["run", "--chain", "dreaming", "--json"], 2, "GM748"),
        (["run", "--chain", "dreaming", "--every", "1", "--burn", "3"], 2, "GM749"),
        (["run", "--chain", "dreaming", "--burn", "3", "--out", "a.gif"], 2, "GM749"),
        (["run", "--chain", "dreaming", "--diagnose"], 2, "GM747"),
        (["run", "--chain", "inpaint", "--sweeps", "10", "--diagnose"], 2, "GM747"),
        (["run", "--chain", "dreaming", "--every", "0"], 2, "GM810"),
        (["run", "--chain", "dreaming", "--device", "abacus"], 2, "GM735"),
        (["run", "--chain", "dreaming", "--clamp", "v=1"], 2, "GM732"),
        (["run", "--chain", "inpaint", "--clamp", "w=1"], 2, "GM730"),
        (["run", "--chain", "inpaint", "--clamp", "v=nothing"], 2, "GM731"),
        (["run", "--chain", "inpaint", "--clamp", "v=missing.npz:x"], 1, "GM731"),
        (["run", "--chain", "inpaint", "--clamp", "v=test[0:3]", "--chains", "4"], 2, "GM734"),
        (["missing", "--chain", "dreaming"], 2, "GM722"),
        (["tiny.gm", "--chain", "dreaming"], 2, "GM722"),
        ([".", "--chain", "dreaming"], 2, "GM722"),
    ],
)
def test_sample_mistakes(run: Path, words: list[str], exit_code: int, code: str) -> None:
    result = invoke("sample", *words, "--format", "json")
    assert codes(result) == [code]
    assert result.exit_code == exit_code
    assert not result.stdout
    assert "did you mean `dreaming`" in result.stderr or code != "GM730" or "dreamin" not in words


@pytest.mark.parametrize("command", [["sample", "run", "--chain", "dreaming"], ["eval", "run"]], ids=["sample", "eval"])
@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        (WEIGHTS, b"", "GM702"),
        (WEIGHTS, b"no tensors at all", "GM702"),
        (WEIGHTS, None, "GM722"),
        (STATE, b"\0\0", "GM702"),
        (CONFIG, b"{", "GM726"),
        (CONFIG, b"[]", "GM726"),
        (CONFIG, b"\xff\xfe", "GM726"),
        (CONFIG, b'{"set": 3}', "GM726"),
        (CONFIG, None, "GM722"),
        (MODEL, None, "GM722"),
        (MODEL, b"\xff", "GM123"),
        (MODEL, TINY.replace("[8, 8]", "[64]").replace("[:, 4:]", "[4:]").encode(), "GM704"),
    ],
)
def test_damaged_run(run: Path, command: list[str], name: str, content: bytes | None, code: str) -> None:
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    result = invoke(*command, "--format", "json")
    assert code in codes(result)
    assert result.exit_code in (1, 2)
    assert not result.stdout


# ── eval ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_exact_evaluation(run: Path) -> None:
    result = invoke("eval", "run")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "log p(v)" in result.stdout
    assert "rows     100 of the test split" in result.stdout
    assert "(standard error of the mean), nats a row" in result.stdout
    assert "method   exact: " in result.stdout


def test_evaluation_as_data(run: Path) -> None:
    found = json.loads(invoke("eval", "run", "--json", "--split", "train").stdout)
    assert found["run"] == "run"
    assert (found["split"], found["method"], found["rows"]) == ("train", "exact", 1697)
    assert found["mean"] < 0 < found["standard_error"]
    assert isinstance(found["log_z"], float)


def test_pseudo_likelihood(run: Path) -> None:
    found = json.loads(invoke("eval", "run", "--json", "--method", "pseudo").stdout)
    assert found["log_z"] is None
    assert found["mean"] < 0


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["run", "--split", "valid"], 2, "GM741"),
        (["run", "--device", "abacus"], 2, "GM735"),
        (["missing"], 2, "GM722"),
    ],
)
def test_eval_mistakes(run: Path, words: list[str], exit_code: int, code: str) -> None:
    result = invoke("eval", *words, "--format", "json")
    assert codes(result) == [code]
    assert result.exit_code == exit_code
    assert not result.stdout
