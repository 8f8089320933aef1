"""Files of a run: whole or not at all, whatever fails and whenever; damage and strangers are told."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from gmc.dsl.diagnostic import GmcError
from gmc.runtime import storage
from gmc.runtime.storage import MetricsLog, open_metrics, read_tensors, remove_leftovers, write_bytes, write_tensors

TENSORS = {
    "v.bias": torch.arange(6.0).reshape(2, 3),
    "chain/v": torch.tensor([[0, 1]], dtype=torch.uint8),
    "step": torch.tensor(7.0),
    "none": torch.zeros(0, 4, dtype=torch.int64),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
}
DESCRIPTION = {"fingerprint": "abc", "epoch": "3"}


def told(error: pytest.ExceptionInfo[GmcError], code: str) -> str:
    """The message of the one diagnostic, of that code."""
    (found,) = error.value.diagnostics
    assert (found.code, error.value.exit_code, found.span) == (code, 1, None)
    return found.message


# ── Tensor files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tensors_come_back(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", TENSORS, DESCRIPTION)
    tensors, metadata = read_tensors(tmp_path / "w.safetensors", "abc")
    assert metadata == DESCRIPTION
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, TENSORS[name])


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    script = """
import sys, torch
from pathlib import Path
from gmc.runtime.storage import write_tensors
names = sys.argv[2:]
write_tensors(Path(sys.argv[1]), {n: torch.ones(2) for n in names}, {n: n for n in names})
"""
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, names in zip(paths, (["x", "y", "z"], ["z", "y", "x"]), strict=True):
        subprocess.run([sys.executable, "-c", script, str(path), *names], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_views_that_share_memory_are_written(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "w", {"a": whole, "b": whole.T, "c": whole[1:]}, {})
    tensors, _ = read_tensors(tmp_path / "w")
    assert torch.equal(tensors["b"], whole.T)
    assert torch.equal(tensors["c"], whole[1:])


def test_every_cut_and_every_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "w"
    write_tensors(path, TENSORS, DESCRIPTION)
    good = path.read_bytes()
    for size in range(0, len(good), 7):
        path.write_bytes(good[:size])
        with pytest.raises(GmcError) as caught:
            read_tensors(path, "abc")
        assert ("empty" if size == 0 else "cut short") in told(caught, "GM702")
    end_of_words = good.index(b"}}")
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x04]) + good[at + 1 :])
        found = code_of_reading(path)
        # what goes unseen is the words of the description, and the padding of the header
        assert found in {"GM702", "GM703", "GM704"} or at < end_of_words or good[at] == 0x20, at


def code_of_reading(path: Path) -> str | None:
    """What is told of a file; None where it is read, and then its tensors are `TENSORS`."""
    try:
        tensors, _ = read_tensors(path, "abc")
    except GmcError as error:
        return error.diagnostics[0].code
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    return None


def test_foreign_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(save({"x": torch.ones(2)}))
    assert read_tensors(path)[1] == {}
    with pytest.raises(GmcError) as caught:
        read_tensors(path, "abc")
    assert "was not written by gmc" in told(caught, "GM703")
    write_tensors(path, TENSORS, {"fingerprint": "other"})
    with pytest.raises(GmcError) as caught:
        read_tensors(path, "abc")
    assert "belongs to another model" in told(caught, "GM704")
    torch.save({"x": torch.ones(2)}, path)
    with pytest.raises(GmcError) as caught:
        read_tensors(path)
    assert "another format" in told(caught, "GM702")
    with pytest.raises(GmcError) as caught:
        read_tensors(tmp_path / "nowhere")
    assert "there is no file" in told(caught, "GM701")
    with pytest.raises(GmcError) as caught:
        read_tensors(tmp_path)
    told(caught, "GM702")


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "close", "replace"])
def test_a_full_disk_leaves_the_last_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    path = tmp_path / "w"
    write_bytes(path, b"good")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real_write = os.write
    written = 0

    def write(handle: int, data: memoryview) -> int:
        nonlocal written
        if written:
            raise full
        written = real_write(handle, data[:3])  # part of it fits
        return written

    def fail(*args: object, **kwargs: object) -> int:
        raise full

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(storage.os, "write", write)
        elif failing == "replace":
            patch.setattr(Path, "replace", fail)
        else:
            patch.setattr(storage.os, failing, fail)
        with pytest.raises(GmcError) as caught:
            write_bytes(path, b"new bytes")
    message = told(caught, "GM700")
    assert "No space left on device; the last good version of the file is intact" in message
    assert path.read_bytes() == b"good"
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]


def test_a_first_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(GmcError) as caught:
        write_bytes(tmp_path / "w", b"new")
    assert "nothing of it was left behind" in told(caught, "GM700")
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_the_system_is_told(tmp_path: Path) -> None:
    """A real refusal by the kernel, with part of the file written: RLIMIT_FSIZE, in a process of its own."""
    script = """
import resource, sys, torch
from pathlib import Path
from gmc.dsl.diagnostic import GmcError
from gmc.runtime.storage import write_tensors, open_metrics
path = Path(sys.argv[1])
write_tensors(path, {"x": torch.ones(10)}, {})
log, _ = open_metrics(path.with_name("metrics.jsonl"))
log.append({"epoch": 0})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for attempt in (lambda: write_tensors(path, {"x": torch.ones(10_000)}, {}), lambda: log.append({"x": "y" * 9000})):
    try:
        attempt()
    except GmcError as error:
        print(error.exit_code, error.diagnostics[0].code)
log.append({"epoch": 1})
"""
    path = tmp_path / "w"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "GM700", "1", "GM700"]
    assert torch.equal(read_tensors(path)[0]["x"], torch.ones(10))
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 0}\n{"epoch": 1}\n'
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["metrics.jsonl", "w"]


def test_a_folder_that_is_not_there_or_is_in_the_way(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "w", tmp_path):
        with pytest.raises(GmcError) as caught:
            write_bytes(path, b"new")
        told(caught, "GM700")


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "w"
    write_bytes(path, b"good")
    monkeypatch.setattr(storage.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]
    assert path.read_bytes() == b"good"


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from gmc.runtime.storage import write_bytes
path = Path(sys.argv[1])
write_bytes(path, b"0" * 1_000_000)
print("ready", flush=True)
n = 0
while True:
    n = (n + 1) % 10
    write_bytes(path, str(n).encode() * 1_000_000)
"""
    path = tmp_path / "w"
    for attempt in range(3):
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(0.02 + 0.013 * attempt)
            writer.send_signal(signal.SIGKILL)
        data = path.read_bytes()
        assert len(data) == 1_000_000
        assert len(set(data)) == 1
    remove_leftovers(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]


def test_leftovers_are_all_that_is_removed(tmp_path: Path) -> None:
    for name in (".w.0123abcd.tmp", "w", ".hidden", "notes.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".hidden", "notes.tmp", "w"]


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    write_bytes(tmp_path / "w", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "plain").stat().st_mode


# ── Metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_are_appended_and_cut_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log, warnings = open_metrics(path)
    log.append({"epoch": 0, "loss": 1.5})
    log.append({"epoch": 1, "loss": float("nan"), "best": float("-inf"), "stage": "größer"})
    log.sync()
    kept = log.length
    assert kept == path.stat().st_size
    log.append({"epoch": 2})
    again, more = open_metrics(path, kept)
    assert (warnings, more) == ((), ())
    again.append({"epoch": "2 again"})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"epoch": 0, "loss": 1.5},
        {"epoch": 1, "loss": None, "best": None, "stage": "größer"},
        {"epoch": "2 again"},
    ]
    assert again.length == path.stat().st_size


def test_a_new_run_begins_with_no_metrics(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("old\n")
    open_metrics(tmp_path / "m")
    assert (tmp_path / "m").read_text() == ""


@pytest.mark.parametrize("present", [None, "12345"])
def test_metrics_that_were_removed_are_a_warning(tmp_path: Path, present: str | None) -> None:
    path = tmp_path / "m"
    if present is not None:
        path.write_text(present)
    log, (warning,) = open_metrics(path, 100)
    missing = 100 - len(present or "")
    assert (warning.code, warning.is_error) == ("GM705", False)
    assert f"lacks {missing} bytes" in warning.message
    log.append({"epoch": 5})
    assert path.read_text() == (present or "") + '{"epoch": 5}\n'
    assert log.length == path.stat().st_size


def test_a_line_that_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = open_metrics(tmp_path / "m")
    log.append({"epoch": 0})
    real_write = os.write
    calls = 0

    def write(handle: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(handle, data[:3])

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "write", write)
        with pytest.raises(GmcError) as caught:
            log.append({"epoch": 1})
    assert "No space left" in told(caught, "GM700")
    assert (tmp_path / "m").read_text() == '{"epoch": 0}\n'
    log.append({"epoch": 1})
    assert (tmp_path / "m").read_text() == '{"epoch": 0}\n{"epoch": 1}\n'


def test_metrics_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GmcError) as caught:
        open_metrics(tmp_path / "none" / "m")
    told(caught, "GM700")
    gone = MetricsLog(tmp_path / "none" / "m", 0)
    for attempt in (lambda: gone.append({}), gone.sync):
        with pytest.raises(GmcError) as caught:
            attempt()
        told(caught, "GM700")
