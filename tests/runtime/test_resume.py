"""A run that is killed, interrupted or out of room, at whatever instant, and resumed ends with the bytes of one that never was."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from gmc.commands.compile import STAGES
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import training
from gmc.runtime.model import Model, compile_file
from gmc.runtime.storage import leftovers
from gmc.runtime.training import Interrupted, Progress
from tests.cli.invoking import invoke
from tests.runtime.training_runs import FILES, begun, contents, model_of, write_files

MUTATORS = ("open", "write", "fsync", "ftruncate", "replace", "unlink", "mkdir")
"""The calls by which a training changes the disk."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return model_of(folder)


@pytest.fixture(scope="module")
def reference(folder: Path, model: Model) -> dict[str, bytes]:
    """What the run leaves that nothing stops."""
    model.train(folder / "reference")
    found = contents(folder / "reference")
    assert len(found["metrics.jsonl"].splitlines()) == 4
    assert all(found.values())
    return found


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step."""
    monkeypatch.setattr(training, "SECONDS", -1.0)


# ── Killed, or refused, at one call of the operating system ──────────────────────────────────────────────────────────


class Killed(BaseException):
    """The process is gone: nothing catches this, and nothing is done after it."""


class Disk:
    """Counts the calls that change the disk, and lets the process die at one of them, or be refused."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int | None = None, refusal: OSError | None = None) -> None:
        self.calls, self.at, self.refusal, self.dead = 0, at, refusal, False
        for name in ("open", "write", "fsync", "ftruncate", "close"):
            patch.setattr(os, name, self._guard(name, getattr(os, name)))
        for name in ("replace", "unlink", "mkdir"):
            patch.setattr(Path, name, self._guard(name, getattr(Path, name)))

    def _guard(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "close":  # what the system does for a dead process too
                return real(*args, **kwargs)
            if self.dead:
                raise Killed
            if name in MUTATORS:
                self.calls += 1
            if self.calls != self.at:
                return real(*args, **kwargs)
            self.at = None
            if name == "write":
                real(args[0], args[1][: len(args[1]) // 2])  # half of it still got there
            if self.refusal is not None:
                raise self.refusal
            self.dead = True
            raise Killed

        return call


def trained(model: Model, run: Path, at: int | None = None, refusal: OSError | None = None) -> int:
    """Trains, goes on where something is there to go on with; gives how often the disk was changed."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, at, refusal)
        model.train(run, resume=begun(run))
        return disk.calls


def test_a_run_that_is_never_killed_does_not_depend_on_its_checkpoints(
    folder: Path, model: Model, reference: dict[str, bytes], each_step: None
) -> None:
    calls = trained(model, folder / "whole")
    assert contents(folder / "whole") == reference
    assert calls > 170, "the kills below would not be among the writes"
    trained(model, folder / "whole")
    assert contents(folder / "whole") == reference, "resuming what is finished changes nothing"


@pytest.mark.parametrize("first", [1, 9])
def test_killed_again_and_again(
    first: int, folder: Path, model: Model, reference: dict[str, bytes], each_step: None
) -> None:
    """Every life is some calls of the disk longer than the one before, the last long enough."""
    run, kills = folder / f"again-{first}", 0
    for at in count(first, 8):
        try:
            trained(model, run, at)
        except Killed:
            kills += 1
            continue
        break
    assert kills >= 5
    assert contents(run) == reference
    assert not leftovers(run)


@pytest.mark.parametrize("at", sorted(random.Random(7).sample(range(1, 175), 12)))
def test_killed_at_one_call(at: int, folder: Path, model: Model, reference: dict[str, bytes], each_step: None) -> None:
    run = folder / f"killed-{at}"
    with pytest.raises(Killed):
        trained(model, run, at)
    trained(model, run)
    assert contents(run) == reference
    assert not leftovers(run)


def test_every_kill_while_an_older_run_is_replaced(folder: Path, model: Model, reference: dict[str, bytes]) -> None:
    """The older run had another seed: either it is still whole, or the new one begins, and never does one go on as the other."""
    older = folder / "older"
    model.train(older, seed=1)
    kept = contents(older)
    begins = 0
    for at in range(1, 20):
        run = folder / f"replaced-{at}"
        shutil.copytree(older, run)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, at)
            with pytest.raises(Killed):
                model.train(run)
        if contents_of_some(run) == kept and seed_of(run) == 1:
            with pytest.raises(GmcError) as caught:
                model.train(run, resume=True)
            (found,) = caught.value.diagnostics
            assert (found.code, caught.value.exit_code) == ("GM724", 2)
            assert "began with seed 1, not 0" in found.message
            assert contents(run) == kept
            continue
        begins += 1
        model.train(run, resume=True)
        assert contents(run) == reference
        if begins == 5:
            return
    pytest.fail("no kill fell after the older run was given up")


def contents_of_some(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES if (run / name).exists()}


def seed_of(run: Path) -> int:
    return int(json.loads((run / "config.json").read_text())["seed"])


@pytest.mark.parametrize("at", [2, 5, 13, 17, 30, 64, 98, 150])
def test_a_full_disk(at: int, folder: Path, model: Model, reference: dict[str, bytes], each_step: None) -> None:
    run = folder / f"full-{at}"
    with pytest.raises(GmcError) as caught:
        trained(model, run, at, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    (found,) = caught.value.diagnostics
    assert (found.code, caught.value.exit_code) == ("GM700", 1)
    assert "No space left on device" in found.message
    assert not leftovers(run)
    trained(model, run)
    assert contents(run) == reference


# ── Interrupted ──────────────────────────────────────────────────────────────────────────────────────────────────────


def interrupt(progress: Progress | None = None) -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_after_every_step(folder: Path, model: Model, reference: dict[str, bytes]) -> None:
    """Also with no step between two of them: what waits for its first step since the resume is saved again."""
    run, stops = folder / "interrupted", 0
    handler = signal.getsignal(signal.SIGINT)
    while True:
        try:
            model.train(run, resume=begun(run), watch=interrupt)
        except Interrupted:
            stops += 1
            with pytest.MonkeyPatch.context() as patch:
                at_once(patch)
                with pytest.raises(Interrupted):
                    model.train(run, resume=True)
            continue
        break
    assert stops == 10
    assert contents(run) == reference
    assert signal.getsignal(signal.SIGINT) is handler


def at_once(patch: pytest.MonkeyPatch) -> None:
    """Lets a Ctrl-C come as soon as somebody listens."""
    real = signal.signal

    def listen(number: int, handler: Any) -> Any:
        before = real(number, handler)
        if not isinstance(handler, (int, signal.Handlers)) and handler.__name__ == "ask":
            interrupt()
        return before

    patch.setattr(signal, "signal", listen)


def test_a_second_ctrl_c_stops_at_once(folder: Path, model: Model, reference: dict[str, bytes]) -> None:
    def twice(progress: Progress) -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        model.train(folder / "twice", watch=twice)
    model.train(folder / "twice", resume=True)
    assert contents(folder / "twice") == reference


# ── In processes of their own ────────────────────────────────────────────────────────────────────────────────────────

DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
from gmc.runtime import training
from gmc.runtime.model import compile_file

model, run = compile_file(sys.argv[1]), Path(sys.argv[2])
training.SECONDS = -1.0


def life(path, limit=None):
    # no computation ran in this process yet, so a fork has all that torch needs
    child = os.fork()
    if child == 0:
        model.train(path, resume=(path / "config.json").exists())
        os._exit(0)
    if limit is not None:
        time.sleep(limit)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


began = time.monotonic()
assert life(run / "whole") == 0
whole = time.monotonic() - began
moments, kills = random.Random(20), 0
for number in range(5):
    for _ in range(4):
        kills += life(run / f"{number}", moments.uniform(0.0, 0.6 * whole)) == signal.SIGKILL
    assert life(run / f"{number}") == 0
print(kills)
"""


def environment() -> dict[str, str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_kills_at_random_moments(folder: Path, reference: dict[str, bytes]) -> None:
    """SIGKILL at moments of a fixed seed, four in a row for each of five runs, of processes that write after every step."""
    words = [sys.executable, "-c", DRIVER, str(write_files(folder)), str(folder / "random")]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10, "most moments must fall into the work"
    for number in ("whole", *map(str, range(5))):
        assert contents(folder / "random" / number) == reference
        assert not leftovers(folder / "random" / number)


def gmc(*words: str, cwd: Path, **extra: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gmc", *words],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **extra,
    )


@pytest.mark.slow
def test_the_command_goes_on_after_a_kill_and_a_ctrl_c(folder: Path) -> None:
    """The command that is printed is the one that goes on."""
    text = write_files(folder).read_text().replace("epochs 2", "epochs 20")
    (folder / "long.gm").write_text(text)
    compile_file(folder / "long.gm").train(folder / "whole run", seed=5)
    words = ["compile", "long.gm", "--train", "--out", "a run", "--seed", "5"]
    state = folder / "a run" / "state.safetensors"
    killed = gmc(*words, cwd=folder)
    while killed.poll() is None and not state.exists():
        time.sleep(0.002)
    killed.kill()
    killed.communicate()
    then = state.read_bytes()
    stopped = gmc(*words, "--resume", cwd=folder)
    while stopped.poll() is None and state.read_bytes() == then:
        time.sleep(0.002)
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, said
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("to go on:")]
    again = shlex.split(line.removeprefix("to go on:"))
    assert again[0] == "gmc"
    last = gmc(*again[1:], cwd=folder)
    _, said = last.communicate(timeout=120)
    assert last.returncode == 0, said
    assert contents(folder / "a run") == contents(folder / "whole run")


def test_the_command_on_a_disk_that_is_full(folder: Path, model: Model, reference: dict[str, bytes]) -> None:
    """The kernel refuses, in the middle of the checkpoint: what is larger than a limit is not written."""
    file = write_files(folder)
    limit = len(reference["state.safetensors"]) - 100

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = gmc("compile", str(file), "--train", "--out", "limited", cwd=folder, preexec_fn=limited)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "GM700" in said
    assert "Traceback" not in said
    assert sorted(entry.name for entry in (folder / "limited").iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "model.gm",
    ]
    model.train(folder / "limited", resume=True)
    assert contents(folder / "limited") == reference


# ── Determinism ──────────────────────────────────────────────────────────────────────────────────────────────────────


EVERYTHING = """
import sys
from pathlib import Path
from gmc.cli import main
from gmc.runtime.model import compile_file

file, folder = sys.argv[1], Path(sys.argv[2])
compile_file(file).train(folder / "threads")
for stage in ("ast", "model", "graph", "schedule", "fx", "fx-opt"):
    main(["compile", file, "--emit", stage], standalone_mode=False)
for ending in ("npz", "png"):
    out = str(folder / f"elsewhere.{ending}")
    main(["sample", str(folder / "reference"), "--chain", "negative", "--out", out], standalone_mode=False)
"""


@pytest.mark.slow
def test_the_same_bytes_whatever_the_threads_and_the_hashes(folder: Path, reference: dict[str, bytes]) -> None:
    """As long as no sum has tens of thousands of terms: torch splits such a one between threads, which rounds it differently."""
    file = write_files(folder)
    elsewhere = {**environment(), "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "12345"}
    words = [sys.executable, "-c", EVERYTHING, str(file), str(folder)]
    done = subprocess.run(words, env=elsewhere, capture_output=True, check=True)
    assert contents(folder / "threads") == reference
    emitted = [invoke("compile", str(file), "--emit", stage).stdout_bytes for stage in STAGES]
    assert all(emitted)
    assert done.stdout == b"".join(emitted)
    for ending in ("npz", "png"):
        for number in (1, 2):
            out = str(folder / f"here-{number}.{ending}")
            assert invoke("sample", str(folder / "reference"), "--chain", "negative", "--out", out).exit_code == 0
            assert Path(out).read_bytes() == (folder / f"elsewhere.{ending}").read_bytes()
