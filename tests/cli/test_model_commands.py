"""The commands about models: graph, schedule, compile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gmc.commands.compile import STAGES, resume_command
from gmc.commands.progress import Watch
from gmc.commands.report import Reporter
from gmc.compiler import emit
from gmc.runtime.folder import METRICS, STATE, WEIGHTS
from gmc.runtime.storage import read_tensors, write_tensors
from gmc.runtime.train import EpochReport
from gmc.runtime.training import Progress
from tests.cli.invoking import TINY, Trained, codes, invoke

# ── schedule and graph ───────────────────────────────────────────────────────────────────────────────────────────────


def test_schedules_as_text(here: Path) -> None:
    result = invoke("schedule", "tiny.gm")
    assert (result.exit_code, result.stderr) == (0, "")
    for name in ("posterior", "negative", "dreaming", "inpaint"):
        assert f"chain {name} of tiny" in result.stdout
    one = invoke("schedule", "tiny.gm", "--chain", "inpaint").stdout
    assert one in result.stdout
    assert "v[:, 4:]" in one


def test_schedules_started_from_another_chain(here: Path) -> None:
    text = invoke("schedule", "tiny.gm", "--chain", "inpaint", "--from", "posterior").stdout
    assert "from chain posterior" in text
    plain = invoke("schedule", "tiny.gm", "--chain", "inpaint").stdout
    assert "pass 0" in plain and "pass 0   1." not in text
    assert invoke("schedule", "tiny.gm", "--chain", "inpaint", "--from", "posterior", "-o", "s.dot").exit_code == 0
    assert "from chain posterior" in (here / "s.dot").read_text()


def test_schedules_say_whether_their_energy_is_stationary(here: Path) -> None:
    text = invoke("schedule", "tiny.gm", "--chain", "dreaming").stdout
    assert "  law      stationary energy: that of the model\n" in text
    assert "  law      stationary energy: that of the model\n" in invoke("info", "tiny.gm").stdout
    invoke("schedule", "tiny.gm", "-o", "all.json")
    found = json.loads((here / "all.json").read_text())
    assert all(chain["stationary"] is True and chain["why"].startswith("stationary energy") for chain in found)


def test_schedules_as_data(here: Path) -> None:
    assert invoke("schedule", "tiny.gm", "-o", "all.json").exit_code == 0
    found = json.loads((here / "all.json").read_text())
    assert [chain["chain"] for chain in found] == ["posterior", "negative", "dreaming", "inpaint"]


def test_pictures_as_dot(here: Path) -> None:
    result = invoke("schedule", "tiny.gm", "--chain", "dreaming", "-o", "s.dot")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote s.dot\n")
    assert (here / "s.dot").read_text().startswith("digraph")
    assert invoke("graph", "tiny.gm", "-o", "g.dot").exit_code == 0
    assert (here / "g.dot").read_text().startswith("graph")


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs graphviz")
@pytest.mark.parametrize(("kind", "begin"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_pictures_by_graphviz(here: Path, kind: str, begin: bytes) -> None:
    assert invoke("graph", "tiny.gm", "-o", f"g.{kind}").exit_code == 0
    assert invoke("schedule", "tiny.gm", "--chain", "inpaint", "-o", f"s.{kind}").exit_code == 0
    assert (here / f"g.{kind}").read_bytes().startswith(begin)
    assert (here / f"s.{kind}").read_bytes().startswith(begin)


def test_pictures_without_graphviz(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = invoke("graph", "tiny.gm", "-o", "g.svg")
    assert result.exit_code == 0
    assert "warning[GM801]" in result.stderr
    assert "wrote g.dot" in result.stderr
    assert (here / "g.dot").exists()
    assert not (here / "g.svg").exists()


def test_graph_as_text(here: Path) -> None:
    result = invoke("graph", "tiny.gm", "--set", "hidden=7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "bernoulli[7]" in result.stdout


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["schedule", "tiny.gm", "--chain", "dreamin"], 2, "GM730"),
        (["schedule", "tiny.gm", "-o", "s.svg"], 2, "GM814"),
        (["schedule", "tiny.gm", "--from", "posterior"], 2, "GM814"),
        (["schedule", "tiny.gm", "--chain", "inpaint", "--from", "nowhere"], 2, "GM730"),
        (["schedule", "tiny.gm", "--chain", "inpaint", "--from", "inpaint"], 2, "GM744"),
        (["schedule", "tiny.gm", "-o", "s.gif"], 2, "GM813"),
        (["schedule", "tiny.gm", "-o", "s"], 2, "GM813"),
        (["schedule", "tiny.gm", "-o", "no/where.json"], 1, "GM700"),
        (["schedule", "tiny.gm", "--chain", "inpaint", "-o", "no/where.dot"], 1, "GM804"),
        (["schedule", "missing.gm"], 2, "GM120"),
        (["graph", "tiny.gm", "-o", "g.json"], 2, "GM813"),
        (["graph", "tiny.gm", "--set", "hidden=0"], 2, "GM306"),
        (["graph", "."], 2, "GM121"),
    ],
)
def test_mistakes(here: Path, words: list[str], exit_code: int, code: str) -> None:
    result = invoke(*words, "--format", "json")
    assert codes(result) == [code]
    assert result.exit_code == exit_code
    assert not result.stdout
    assert [path.name for path in here.iterdir()] == ["tiny.gm"]


def test_near_chain_is_named(here: Path) -> None:
    assert "did you mean `dreaming`?" in invoke("schedule", "tiny.gm", "--chain", "dreamin").stderr
    assert "`posterior`, `negative`, `dreaming` or `inpaint`" in invoke("schedule", "tiny.gm", "-o", "s.svg").stderr


def test_schedule_of_a_file_without_chains(here: Path) -> None:
    (here / "none.gm").write_text("model m {\n  observed v : bernoulli[2]\n}\n")
    result = invoke("schedule", "none.gm", "--format", "json")
    assert codes(result) == ["GM814"]
    assert result.exit_code == 2


# ── compile without training ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", STAGES)
def test_emit(here: Path, stage: str) -> None:
    result = invoke("compile", "tiny.gm", "--emit", stage)
    assert result.exit_code == 0, result.output
    assert not result.stderr
    assert result.stdout.endswith("\n")
    assert result.stdout == invoke("compile", "tiny.gm", "--emit", stage).stdout
    assert [path.name for path in here.iterdir()] == ["tiny.gm"]


def test_every_stage_can_be_asked_for() -> None:
    assert STAGES == emit.STAGES


def test_passes_can_be_switched_off(here: Path) -> None:
    whole = invoke("compile", "tiny.gm", "--emit", "fx-opt").stdout
    assert invoke("compile", "tiny.gm", "--emit", "fx-opt", "--passes=-hoist").stdout != whole
    result = invoke("compile", "tiny.gm", "--passes=-hoits", "--format", "json")
    assert codes(result) == ["GM730"]
    assert result.exit_code == 2


def test_syntax_tree_of_a_file_that_is_wrong_otherwise(here: Path) -> None:
    (here / "bad.gm").write_text("model m {\n  observed v : bernouli[2]\n}\n")
    assert invoke("compile", "bad.gm", "--emit", "ast").exit_code == 0
    assert invoke("compile", "bad.gm", "--emit", "model").exit_code == 1
    (here / "bad.gm").write_text("model {")
    assert invoke("compile", "bad.gm", "--emit", "ast").exit_code == 1


def test_compile_alone_lists_and_writes_a_run_to_sample_from(here: Path) -> None:
    result = invoke("compile", "tiny.gm")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "2 variables, 1 edge, 259 parameters" in result.stdout
    assert "negative: 2 blocks" in result.stdout
    assert {path.name for path in (here / "runs" / "tiny").iterdir()} == {
        "config.json",
        "model.gm",
        "weights.safetensors",
    }
    assert invoke("sample", "runs/tiny", "--chain", "negative").exit_code == 0


def test_compile_alone_leaves_a_trained_run(here: Path) -> None:
    invoke("compile", "tiny.gm", "--train")
    weights = (here / "runs" / "tiny" / "weights.safetensors").read_bytes()
    assert invoke("compile", "tiny.gm").exit_code == 0
    assert (here / "runs" / "tiny" / "weights.safetensors").read_bytes() == weights
    assert codes(invoke("compile", "tiny.gm", "--out", "runs/tiny", "--format", "json")) == ["GM727"]


def test_untrained_run(here: Path) -> None:
    result = invoke("compile", "tiny.gm", "--out", "runs/raw")
    assert result.exit_code == 0, result.output
    assert "config.json, model.gm, weights.safetensors" in result.stdout
    sampled = invoke("sample", "runs/raw", "--chain", "dreaming")
    assert sampled.exit_code == 0, sampled.output


def test_untrained_run_of_given_weights(here: Path, trained: Trained) -> None:
    given = trained.folder / WEIGHTS
    assert invoke("compile", "tiny.gm", "--weights", str(given)).exit_code == 0
    before, after = (read_tensors(path)[0] for path in (given, here / "runs" / "tiny" / WEIGHTS))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_untrained_run_of_a_model_without_data(here: Path) -> None:
    (here / "m.gm").write_text(
        "model m {\n  observed v : spin[4, 4]\n  edge v -- v by lattice\n}\nchain c { sweeps 2 }\n"
    )
    assert invoke("compile", "m.gm", "--out", "run").exit_code == 0
    assert invoke("sample", "run").exit_code == 0


def test_nothing_trained_is_lost(here: Path, trained: Trained) -> None:
    shutil.copytree(trained.folder, here / "run")
    result = invoke("compile", "tiny.gm", "--out", "run", "--format", "json")
    assert codes(result) == ["GM727"]
    assert result.exit_code == 2
    assert (here / "run" / STATE).read_bytes() == (trained.folder / STATE).read_bytes()
    (here / "bare").mkdir()
    shutil.copy(trained.folder / METRICS, here / "bare")
    assert codes(invoke("compile", "tiny.gm", "--out", "bare", "--format", "json")) == ["GM725"]


def test_weights_that_do_not_fit(here: Path, trained: Trained) -> None:
    given = str(trained.folder / WEIGHTS)
    result = invoke("compile", "tiny.gm", "--set", "hidden=5", "--weights", given, "--format", "json")
    assert codes(result) == ["GM723"]
    assert result.exit_code == 1
    (here / "broken.safetensors").write_bytes(b"no tensors")
    assert codes(invoke("compile", "tiny.gm", "--weights", "broken.safetensors", "--format", "json")) == ["GM702"]
    assert codes(invoke("compile", "tiny.gm", "--weights", "missing.safetensors", "--format", "json")) == ["GM701"]
    assert not (here / "runs").exists()


def test_folder_in_the_way(here: Path) -> None:
    for words in (
        ["--out", "tiny.gm"],
        ["--train", "--out", "tiny.gm"],
        ["--out", "."],
        ["--train", "--out", "."],
    ):
        result = invoke("compile", "tiny.gm", *words, "--format", "json")
        assert codes(result) == ["GM725"], words
        assert result.exit_code == 2
    assert codes(invoke("compile", "tiny.gm", "--out", "tiny.gm/run", "--format", "json")) == ["GM700"]
    assert (here / "tiny.gm").read_text() == TINY


# ── training ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_training_sums_up_on_stdout_and_moves_on_stderr(trained: Trained) -> None:
    lines = trained.result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "files", "loss", "time"]
    assert str(trained.folder) in lines[0]
    for name in (WEIGHTS, METRICS, "model.gm", "config.json", "filters-v_h.png"):
        assert name in lines[1]
        assert (trained.folder / name).is_file()
    assert lines[2].endswith("(stage train, epoch 2)")
    assert "train: epoch 2 of 2, nll " in trained.result.stderr


def test_json_of_a_training_is_nothing_but_diagnostics(here: Path) -> None:
    result = invoke("compile", "tiny.gm", "--train", "--format", "json")
    assert result.exit_code == 0
    assert codes(result) == ([] if shutil.which("dot") else ["GM801"])
    assert (here / "runs" / "tiny" / WEIGHTS).is_file()


def test_resume(here: Path, trained: Trained) -> None:
    shutil.copytree(trained.folder, here / "runs" / "tiny")
    before = (here / "runs" / "tiny" / WEIGHTS).read_bytes()
    result = invoke("compile", "tiny.gm", "--train", "--resume")
    assert result.exit_code == 0, result.output
    assert (here / "runs" / "tiny" / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["--resume"], 2, "GM721"),
        (["--device", "abacus"], 2, "GM735"),
        (["--device", "cuda:99"], 2, "GM735"),
        (["--set", "hidden=99"], 2, "GM306"),
    ],
)
def test_training_refused(here: Path, words: list[str], exit_code: int, code: str) -> None:
    result = invoke("compile", "tiny.gm", "--train", *words, "--format", "json")
    assert codes(result) == [code]
    assert result.exit_code == exit_code
    assert not result.stdout
    assert not (here / "runs").exists()


def test_training_of_a_file_without_a_stage(here: Path) -> None:
    (here / "m.gm").write_text(TINY.partition("train {")[0])
    result = invoke("compile", "m.gm", "--train", "--format", "json")
    assert codes(result) == ["GM712"]
    assert result.exit_code == 1


def test_training_without_its_data(here: Path) -> None:
    (here / "m.gm").write_text(TINY.replace("digits(held_out = 100)", 'npz("missing.npz")'))
    result = invoke("compile", "m.gm", "--train", "--format", "json")
    assert codes(result) == ["GM650"]
    assert result.exit_code == 1
    assert codes(invoke("compile", "m.gm", "--train", "--data", "also_missing.npz", "--format", "json")) == ["GM650"]


def test_data_of_the_command_line_lie_where_the_shell_is(here: Path) -> None:
    (here / "elsewhere").mkdir()
    np.savez(here / "rows.npz", x=np.ones((5, 8, 8)))
    text = TINY.replace("digits(held_out = 100)", 'npz("missing.npz")').replace(
        "test v = test_image | threshold(0.5)", ""
    )
    (here / "elsewhere" / "m.gm").write_text(text.replace("image |", "x |"))
    result = invoke("compile", "elsewhere/m.gm", "--train", "--data", "rows.npz")
    assert result.exit_code == 0, result.output
    assert invoke("eval", "runs/m", "--split", "train").exit_code == 0


def test_folder_of_another_model(here: Path, trained: Trained) -> None:
    shutil.copytree(trained.folder, here / "run")
    before = {path.name: path.read_bytes() for path in (here / "run").iterdir()}
    for words in (["--train"], []):
        result = invoke("compile", "tiny.gm", "--set", "hidden=5", "--out", "run", *words, "--format", "json")
        assert codes(result) == ["GM720"]
        assert result.exit_code == 2
    assert {path.name: path.read_bytes() for path in (here / "run").iterdir()} == before


def test_resume_with_other_settings(here: Path, trained: Trained) -> None:
    shutil.copytree(trained.folder, here / "runs" / "tiny")
    result = invoke("compile", "tiny.gm", "--train", "--resume", "--seed", "7", "--format", "json")
    assert codes(result) == ["GM724"]
    assert result.exit_code == 2


def test_command_that_resumes_repeats_what_was_given() -> None:
    told = resume_command("a b.gm", {"n": "3"}, "d.npz", None, "out", "cuda", 7, "-hoist")
    assert (
        told
        == "gmc compile 'a b.gm' --train --resume --set n=3 --data d.npz --out out --seed 7 --device cuda --passes=-hoist"
    )


# ── progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _steps(epochs: int) -> list[Progress]:
    """Two steps an epoch."""
    found = []
    for epoch in range(epochs):
        found.append(Progress("first", epoch, epochs, 1, 2, 2 * epoch + 1, None))
        report = EpochReport("first", epoch + 1, 2 * epoch + 2, {"nll": 1.5})
        found.append(Progress("first", epoch + 1, epochs, 0, 2, 2 * epoch + 2, report))
    return found


def test_lines_come_seconds_apart_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    watch = Watch(Reporter(as_json=False), lambda: now)
    for progress in _steps(10):
        watch(progress)
        now += 1.0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "first: epoch 1 of 10, nll 1.5"
    assert [line.split()[2] for line in said] == ["1", "4", "7", "10"]
    assert watch.last is not None
    assert watch.last.epoch == 10
    assert watch.seconds == 20.0


@pytest.mark.parametrize("columns", ["0", "100"])
def test_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    watch = Watch(Reporter(as_json=False))
    for progress in _steps(3):
        watch(progress)
    watch.close()
    said = capsys.readouterr()
    assert not said.out
    assert "first: 100%" in said.err
    assert "6/6" in said.err
    assert "epoch 3/3, nll 1.5" in said.err


def test_training_goes_on_when_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(Reporter(as_json=False))

    def broken(progress: Progress) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(watch, "_show", broken)
    for progress in _steps(2):
        watch(progress)
    assert watch.last is not None


def test_write_tensors_of_other_models_is_told_apart(here: Path, trained: Trained) -> None:
    shutil.copytree(trained.folder, here / "run")
    params, _ = read_tensors(here / "run" / WEIGHTS)
    write_tensors(here / "run" / WEIGHTS, params, {"fingerprint": "another"})
    result = invoke("sample", "run", "--chain", "dreaming", "--format", "json")
    assert codes(result) == ["GM704"]
    assert result.exit_code == 1
