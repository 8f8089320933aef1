"""What is the same for every command: help, exit codes, which stream, JSON, bugs, and what is imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from gmc import __version__
from gmc.cli import COMMANDS, main
from gmc.commands import check
from gmc.commands.frame import wants_json
from tests.cli.invoking import codes, environment, invoke, json_lines, subprocess_of


def test_help_lists_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert not result.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_examples(name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert f"\nExamples:\n  gmc {name}" in result.stdout
    assert "--format" in result.stdout
    assert invoke(name, "-h").stdout == result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_of_known_options(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = {flag for parameter in command.params for flag in parameter.opts} | {"--help"}
    lines = [line.split() for line in invoke(name, "--help").stdout.partition("Examples:")[2].splitlines()]
    for words in lines:
        if words[:2] == ["gmc", name]:
            assert {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"} <= options


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert __version__ in result.stdout


def test_no_command_shows_help() -> None:
    result = invoke()
    assert (result.exit_code, result.stdout) == (0, invoke("--help").stdout)
    assert codes(invoke("--format=json")) == ["GM810"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chekc", "a.gm"], "Did you mean 'check'?"),
        (["a.gm"], "Did you mean 'gmc check a.gm'?"),
        (["qqqq"], "No such command 'qqqq'."),
        (["check"], "Missing argument 'FILE...'"),
        (["check", "--sett", "a=1", "a.gm"], "--set"),
        (["check", "--set", "a", "a.gm"], "is not of the form PARAM=VALUE"),
        (["check", "--set", "a=", "a.gm"], "is not of the form PARAM=VALUE"),
        (["check", "--set", "a=1", "--set", "a=2", "a.gm"], "'a' is given twice"),
        (["compile", "a.gm", "--emit", "shedule"], "Did you mean 'schedule'?"),
        (["compile", "a.gm", "--emit", "qqqq"], "is not one of ast, model, graph, schedule, fx, fx-opt."),
        (["compile", "a.gm", "--emit", "fx", "--train"], "leave --train out"),
        (["compile", "a.gm", "--emit", "fx", "--out", "x"], "leave --out out"),
        (["compile", "a.gm", "--resume"], "add --train"),
        (["compile", "a.gm", "--tensorboard"], "add --train"),
        (["compile", "a.gm", "--seed", "-1"], "not in the range"),
        (["compile", "a.gm", "--seed", "1.5"], "not a whole number"),
        (["compile", "a.gm", "--seed", str(2**63)], "not in the range"),
        (["sample", "run", "--chains", "0"], "not in the range"),
        (["sample", "run", "--sweeps", "-1"], "not in the range"),
        (["sample", "run", "--clamp", "v"], "is not of the form VAR=SOURCE"),
        (["eval", "run", "--method", "exakt"], "Did you mean 'exact'?"),
        (["eval", "run", "--split", "tset"], "Did you mean 'test'?"),
        (["info", "bernoulli", "--set", "a=1"], "--set goes with a .gm file"),
    ],
)
def test_wrong_command_line(words: list[str], said: str) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert not result.stdout
    assert "Usage: gmc" in result.stderr
    assert said in result.stderr.replace("\n", " ")
    told = invoke(*words, "--format=json")
    assert told.exit_code == 2
    assert codes(told) == ["GM810"]
    assert not told.stdout


def test_unknown_format() -> None:
    result = invoke("check", "--format", "yaml", "a.gm")
    assert result.exit_code == 2
    assert "yaml" in result.stderr


def test_where_json_is_asked_for() -> None:
    assert wants_json(["check", "--format", "json", "a.gm"])
    assert wants_json(["--format=json"])
    assert not wants_json(["check", "--format", "text"])
    assert not wants_json(["check", "--", "--format=json"])
    assert not wants_json(["check", "json", "--format"])


def _raise(error: BaseException) -> object:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    return fail


def test_bug_says_what_to_report(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "diagnose", _raise(KeyError("a thing")))
    result = invoke("check", "tiny.gm")
    assert result.exit_code == 70
    assert not result.stdout
    for part in (
        "GM899",
        "KeyError: 'a thing'",
        "python ",
        "torch ",
        "platform ",
        __version__,
        "Traceback",
        "gmc check tiny.gm",
        "report",
    ):
        assert part in result.stderr
    told = invoke("check", "tiny.gm", "--format", "json")
    assert told.exit_code == 70
    assert codes(told) == ["GM899"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")])
def test_too_little_memory_is_no_bug(here: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(check, "diagnose", _raise(error))
    result = invoke("check", "tiny.gm", "--format", "json")
    assert result.exit_code == 1
    assert codes(result) == ["GM815"]


def test_interrupt(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "diagnose", _raise(KeyboardInterrupt()))
    result = invoke("check", "tiny.gm")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_diagnostics_as_data_have_places(here: Path) -> None:
    (here / "bad.gm").write_text("model m {\n  observed v : bernouli[2]\n}\n")
    (found,) = json_lines(invoke("check", "bad.gm", "--format=json"))
    assert (found["code"], found["severity"], found["file"], found["line"], found["column"]) == (
        "GM205",
        "error",
        "bad.gm",
        2,
        16,
    )
    assert found["help"] == "did you mean `bernoulli`?"


# ── In processes of their own ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["check", "tiny.gm"],
        ["fmt", "--check", "tiny.gm"],
        ["explain", "GM101"],
        ["new", "x"],
        ["compile", "--help"],
        ["info", "sgd"],
    ],
    ids=" ".join,
)
def test_without_torch(here: Path, words: list[str]) -> None:
    code = f"import sys; from gmc.cli import main; code = main({words!r}, standalone_mode=False); print(code, 'torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "0 False"


@pytest.mark.parametrize(("words", "code"), [(["info", "sgd"], 0), (["--help"], 0), (["check", "missing.gm"], 2)])
def test_closed_pipes(here: Path, words: list[str], code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess_of(*words, cwd=here, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in said
    assert b"Broken pipe" not in said
    assert (b"GM120" in said) == (code == 2)


def test_nobody_reads_stderr(here: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess_of("check", "missing.gm", cwd=here, stderr=writing)
    os.close(writing)
    assert process.wait(timeout=60) == 2


def test_stdout_is_full(here: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb") as full:
        process = subprocess_of("explain", "GM101", cwd=here, stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"GM700" in said
    assert b"Traceback" not in said


def test_ctrl_c_while_training_saves_and_says_how_to_go_on(here: Path) -> None:
    text = (here / "tiny.gm").read_text().replace("epochs 2", "epochs 100000")
    (here / "long.gm").write_text(text)
    process = subprocess_of(
        "compile", "long.gm", "--train", "--seed", "3", cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    metrics = here / "runs" / "long" / "metrics.jsonl"
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not out
    assert b"gmc compile long.gm --train --resume --seed 3" in said
    assert b"Traceback" not in said
    assert (here / "runs" / "long" / "state.safetensors").exists()
    assert json.loads(metrics.read_text().splitlines()[0])["epoch"] == 1
