"""`gmc eval` by annealing and by mean field, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gmc.commands.evaluate import METHODS
from gmc.runtime.evaluations import METHODS as registered
from tests.cli.invoking import Trained, codes, invoke


@pytest.fixture
def run(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run in a working folder."""
    shutil.copytree(trained.folder, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def test_every_method_can_be_asked_for() -> None:
    assert set(METHODS) == set(registered)
    help = invoke("eval", "--help").stdout
    assert all(name in help for name in METHODS)


@pytest.mark.usefixtures("run")
def test_ais() -> None:
    result = invoke("eval", "run", "--method", "ais", "--temperatures", "50", "--chains", "40", "--reverse")
    assert (result.exit_code, result.stderr) == (0, "")
    first, mean, rows, kind, *rest = result.stdout.splitlines()
    assert first == "log p(v), estimated"
    assert mean.startswith("mean     -") and "of the rows" in mean and "of log Z), nats a row" in mean
    assert rows == "rows     100 of the test split"
    assert kind == "kind     estimate; bias: log Z is biased low in expectation, so this log-likelihood is biased high"
    for beginning in ("log Z    ", "weights  worth ", "reverse  ", "         gap ", "method   ais: "):
        assert any(line.startswith(beginning) for line in rest), beginning


@pytest.mark.usefixtures("run")
def test_one_chain_has_no_error_of_log_z() -> None:
    words = ["eval", "run", "--method", "ais", "--temperatures", "5", "--chains", "1"]
    mean = invoke(*words).stdout.splitlines()[1]
    assert "nan" not in mean and "of the rows alone; that of log Z is not known" in mean
    assert json.loads(invoke(*words, "--json").stdout)["standard_error"] is None


@pytest.mark.usefixtures("run")
def test_as_data() -> None:
    """All agree with the exact number on this small model, whose log Z they know."""
    exact = json.loads(invoke("eval", "run", "--json").stdout)
    assert (exact["kind"], exact["standard_error_log_z"]) == ("exact", 0.0)
    for method in ("ais", "raise", "bound"):
        words = ["--temperatures", "60", "--chains", "20", "--rows", "30", "--seed", "2", "--json"]
        found = json.loads(invoke("eval", "run", "--method", method, *words).stdout)
        same = json.loads(invoke("eval", "run", "--rows", "30", "--seed", "2", "--json").stdout)
        assert (found["method"], found["rows"], found["run"], found["split"]) == (method, 30, "run", "test")
        assert found["mean"] == pytest.approx(same["mean"], abs=0.1)
        assert (
            found["kind"] == {"ais": "estimate", "raise": "estimate of a lower bound", "bound": "lower bound"}[method]
        )
        assert ("log-likelihood" in json.dumps(found)) == (method == "ais")


@pytest.mark.usefixtures("run")
def test_devices_change_nothing() -> None:
    words = ["eval", "run", "--method", "ais", "--temperatures", "20", "--json"]
    assert invoke(*words, "--device", "cpu,cpu").stdout == invoke(*words).stdout


@pytest.mark.usefixtures("run")
def test_a_warning_goes_to_stderr_and_changes_no_exit_code() -> None:
    words = ["eval", "run", "--method", "ais", "--temperatures", "adaptive:0.5", "--chains", "2000"]
    assert invoke(*words).exit_code == 0
    assert "chosen by a pilot run" in invoke(*words).stdout


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--chains", "4"], "GM751", "chains"),
        (["--reverse"], "GM751", "reverse"),
        (["--device", "cpu,cpu"], "GM751", "several devices"),
        (["--method", "pseudo", "--temperatures", "5"], "GM751", "temperatures"),
        (["--method", "ais", "--temperatures", "cold"], "GM753", "cold"),
        (["--method", "ais", "--chains", "0"], "GM810", "--chains"),
        (["--method", "ais", "--device", "cpu,abacus"], "GM735", "abacus"),
        (["--method", "ais", "--probe", "y"], "GM810", "--method"),
    ],
)
def test_mistakes(words: list[str], code: str, said: str) -> None:
    result = invoke("eval", "run", *words, "--format", "json")
    assert (result.exit_code, codes(result), result.stdout) == (2, [code], "")
    assert said in result.stderr
