"""Samples over sweeps: arrays that are written as they come, animations, starts from other chains, diagnostics, predictions."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gmc.commands import archive
from gmc.commands.archive import write_arrays, write_stream
from gmc.commands.progress import SECONDS, Share
from gmc.commands.report import Reporter
from gmc.dsl.diagnostic import GmcError
from gmc.runtime.run import Run, open_run
from gmc.runtime.sampling import Part
from tests.cli.invoking import Trained, environment, invoke


@pytest.fixture
def run(here: Path, trained: Trained) -> Path:
    """A copy of the run, as `run` in the working folder."""
    shutil.copytree(trained.folder, here / "run")
    return Path("run")


@pytest.fixture
def opened(run: Path) -> Run:
    return open_run(run)


def loaded(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


# ── Arrays ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_kept_sweeps_have_an_axis(run: Path, opened: Run) -> None:
    words = ["--chain", "dreaming", "--chains", "5", "--sweeps", "9", "--every", "3", "--burn", "2", "--out", "a.npz"]
    result = invoke("sample", "run", *words)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote a.npz\n")
    wanted = opened.sample("dreaming", chains=5, sweeps=9, every=3, burn=2)
    assert wanted.sweeps == (5, 8, 9)
    found = loaded("a.npz")
    assert found["v"].shape == (5, 3, 8, 8)
    for name, value in wanted.values.items():
        np.testing.assert_array_equal(found[name], value.numpy())


@pytest.mark.parametrize("every", [None, 1, 4])
def test_bytes_do_not_depend_on_the_parts(opened: Run, every: int | None) -> None:
    stream = opened.stream("dreaming", chains=10, sweeps=6, every=every, means=False)
    write_stream(Path("whole.npz"), stream, stream)
    for together in (1, 3):
        parts = replace(stream, together=together)
        write_stream(Path("parts.npz"), parts, parts)
        assert Path("parts.npz").read_bytes() == Path("whole.npz").read_bytes()
    # and they are what numpy writes of the whole arrays
    samples = opened.sample("dreaming", chains=10, sweeps=6, every=every)
    write_arrays(Path("arrays.npz"), samples.values)
    assert Path("arrays.npz").read_bytes() == Path("whole.npz").read_bytes()
    with zipfile.ZipFile("whole.npz") as found:
        assert {info.date_time for info in found.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        plain = io.BytesIO()
        np.save(plain, samples.values["v"].numpy())
        assert found.read("v.npy") == plain.getvalue()


def test_few_sweeps_at_once(opened: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = opened.stream("dreaming", chains=7, sweeps=11, every=1, means=False)
    write_stream(Path("whole.npz"), stream, stream)
    monkeypatch.setattr("gmc.runtime.sampling.HELD", 7 * 67 * 3)
    monkeypatch.setattr(archive, "PIECE", 100)
    assert len(list(stream)) == 4
    write_stream(Path("parts.npz"), stream, stream)
    assert Path("parts.npz").read_bytes() == Path("whole.npz").read_bytes()


def test_interrupted_writing_leaves_nothing(opened: Run, here: Path) -> None:
    Path("a.npz").write_bytes(b"before")
    before = sorted(here.iterdir())
    stream = replace(opened.stream("dreaming", chains=10, means=False), together=2)

    def parts() -> Iterator[Part]:
        for number, part in enumerate(stream):
            if number == 2:
                raise KeyboardInterrupt
            yield part

    with pytest.raises(KeyboardInterrupt):
        write_stream(Path("a.npz"), stream, parts())
    assert sorted(here.iterdir()) == before
    assert Path("a.npz").read_bytes() == b"before"


@pytest.mark.parametrize("where", ["put", "pack"])
def test_full_disk_leaves_nothing(opened: Run, here: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    Path("a.npz").write_bytes(b"before")
    before = sorted(here.iterdir())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(archive.Column, where, full)
    stream = opened.stream("dreaming", chains=10, means=False)
    with pytest.raises(GmcError) as caught:
        write_stream(Path("a.npz"), stream, stream)
    (found,) = caught.value.diagnostics
    assert found.code == "GM700"
    assert "No space left on device" in found.message
    assert sorted(here.iterdir()) == before
    assert Path("a.npz").read_bytes() == b"before"


def test_a_place_that_cannot_be_written_is_told_before_the_work(opened: Run, here: Path) -> None:
    def parts() -> Iterator[Part]:
        raise AssertionError("the chains ran")
        yield

    stream = opened.stream("dreaming", chains=2)
    with pytest.raises(GmcError) as caught:
        write_stream(here / "no" / "a.npz", stream, parts())
    assert caught.value.diagnostics[0].code == "GM700"


PEAK = """
import sys
from gmc.cli import main
code = main(sys.argv[1:], standalone_mode=False)
lines = open("/proc/self/status").read().splitlines()
print(code, next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def peak(*words: str) -> int:
    """The most memory that a command ever held, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words],
        check=False,
        env=environment() | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[0] == "0", done.stderr
    return int(done.stdout.split()[1]) // 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs the memory's high-water mark")
@pytest.mark.parametrize("kind", ["chains", "sweeps"])
def test_memory_does_not_grow_with_the_samples(run: Path, kind: str) -> None:
    """Held at once, 300,000 samples are 20 MB as bytes and 80 MB as the statistics that they are drawn as."""
    few, many = [
        ["--sweeps", "1", "--chains", str(count)] if kind == "chains" else ["--chains", "1000", "--sweeps", str(count // 1000), "--every", "1"]
        for count in (10_000, 300_000)
    ]  # fmt: skip
    base = peak("sample", "run", "--chain", "dreaming", *few, "--out", "few.npz")
    assert peak("sample", "run", "--chain", "dreaming", *many, "--out", "many.npz") < base + 40
    assert sum(v.size for v in loaded("many.npz").values()) == 300_000 * 67


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_a_chain_and_a_column_a_sweep(run: Path) -> None:
    words = [
        "sample",
        "run",
        "--chain",
        "dreaming",
        "--chains",
        "2",
        "--sweeps",
        "10",
        "--every",
        "2",
        "--out",
        "a.png",
    ]
    assert invoke(*words).exit_code == 0
    with Image.open("a.png") as image:
        assert image.width / image.height == pytest.approx((5 * 9 + 1) / (2 * 9 + 1))


def test_animation(run: Path) -> None:
    words = ["sample", "run", "--chain", "dreaming", "--chains", "4", "--sweeps", "10"]
    for more, count in (([], 10), (["--every", "4"], 3), (["--burn", "7"], 3)):
        assert invoke(*words, *more, "--out", "a.gif").exit_code == 0
        with Image.open("a.gif") as image:
            assert getattr(image, "n_frames", 1) == count
    assert invoke(*words[:-1], "250", "--out", "b.gif").exit_code == 0
    with Image.open("b.gif") as image:
        assert getattr(image, "n_frames", 1) <= 100


def test_from_another_chain(run: Path, opened: Run) -> None:
    words = ["sample", "run", "--chain", "dreaming", "--from", "negative", "--chains", "6", "--out", "a.npz"]
    assert invoke(*words).exit_code == 0
    np.testing.assert_array_equal(
        loaded("a.npz")["v"], opened.sample("dreaming", start="negative", chains=6).values["v"].numpy()
    )
    assert invoke("sample", "run", "--chain", "dreaming", "--from", "inpaint", "--clamp", "v=test[0:3]").exit_code == 0


def test_summary_over_sweeps(run: Path) -> None:
    result = invoke("sample", "run", "--chain", "dreaming", "--chains", "5", "--every", "1")
    assert "v  [5 x 3 x 8 x 8]  mean " in result.stdout
    with_parts = open_run(run).sample("dreaming", chains=5, every=1).values["h"].double()
    assert f"h  [5 x 3 x 3]  mean {float(with_parts.mean()):.4g}, from 0 to 1" in result.stdout


# ── Diagnostics ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_diagnosis(run: Path, opened: Run) -> None:
    words = ["sample", "run", "--chain", "dreaming", "--sweeps", "50", "--diagnose"]
    result = invoke(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "4 chains of 50 sweeps, every sweep kept; effective of 200" in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()[3:]] == ["energy", "v", "h"]
    found = json.loads(invoke(*words, "--json").stdout)
    assert found == {"run": "run", **opened.diagnose("dreaming", sweeps=50).json()}


def test_diagnosis_beside_the_samples(run: Path) -> None:
    words = ["sample", "run", "--chain", "dreaming", "--sweeps", "50", "--every", "5", "--burn", "10"]
    plain = invoke(*words, "--chains", "6", "--out", "a.npz")
    both = invoke(*words, "--chains", "6", "--out", "b.npz", "--diagnose")
    assert (plain.exit_code, both.exit_code) == (0, 0)
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    assert "6 chains of 50 sweeps, every 5 sweeps one kept after the first 10" in both.stdout
    assert both.stderr == "wrote b.npz\n"


# ── Predictions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prediction(run: Path, opened: Run) -> None:
    words = ["predict", "run", "--chain", "inpaint", "--of", "v", "--sweeps", "6", "--burn", "2"]
    result = invoke(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "v by chain inpaint: 100 rows of the test split, 3200 sites" in result.stdout
    assert "(standard error over the rows), nats a site" in result.stdout
    wanted = opened.predict("inpaint", "v", sweeps=6, burn=2)
    assert json.loads(invoke(*words, "--json").stdout) == {"run": "run", **wanted.json()}
    assert wanted.scores[0].value > 0.6, "better than a coin"


def test_predictions_as_arrays(run: Path, opened: Run) -> None:
    result = invoke("predict", "run", "--chain", "inpaint", "--of", "v", "--split", "train", "--out", "p.npz")
    assert (result.exit_code, result.stderr) == (0, "wrote p.npz\n")
    found, wanted = loaded("p.npz"), opened.predict("inpaint", "v", split="train")
    assert sorted(found) == ["best", "data", "drawn", "mean"]
    np.testing.assert_array_equal(found["mean"], wanted.mean.numpy())
    np.testing.assert_array_equal(found["data"], wanted.data.numpy())
    assert wanted.best is not None
    np.testing.assert_array_equal(found["best"], wanted.best.numpy())
    assert found["drawn"].sum() == wanted.sites


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["run", "--of", "v"], 2, "GM814"),
        (["run", "--chain", "inpaint"], 2, "GM810"),
        (["run", "--chain", "inpaint", "--of", "w"], 2, "GM730"),
        (["run", "--chain", "inpait", "--of", "v"], 2, "GM730"),
        (["run", "--chain", "posterior", "--of", "v"], 2, "GM745"),
        (["run", "--chain", "inpaint", "--of", "h"], 2, "GM746"),
        (["run", "--chain", "inpaint", "--of", "v", "--split", "valid"], 2, "GM741"),
        (["run", "--chain", "inpaint", "--of", "v", "--burn", "2"], 2, "GM749"),
        (["run", "--chain", "inpaint", "--of", "v", "--out", "p.png"], 2, "GM813"),
        (["run", "--chain", "inpaint", "--of", "v", "--out", "no/where.npz"], 1, "GM700"),
        (["missing", "--of", "v"], 2, "GM722"),
    ],
)
def test_predict_mistakes(run: Path, words: list[str], exit_code: int, code: str) -> None:
    result = invoke("predict", *words, "--format", "json")
    assert [json.loads(line)["code"] for line in result.stderr.splitlines()] == [code]
    assert result.exit_code == exit_code
    assert not result.stdout


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_progress_is_told_when_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    share = Share(Reporter(as_json=False), "dreaming", lambda: now[0])
    for time, done in (
        (1.0, 0.1),
        (SECONDS + 1, 0.4),
        (SECONDS + 2, 0.5),
        (2 * SECONDS + 2, 0.75),
        (2 * SECONDS + 3, 1.0),
    ):
        now[0] = time
        share(done)
    share.close()
    assert capsys.readouterr().err == "dreaming: 40%\ndreaming: 75%\n"
    silent = Share(Reporter(as_json=True), "dreaming", lambda: now[0])
    now[0] += 100
    silent(0.5)
    assert capsys.readouterr().err == ""
