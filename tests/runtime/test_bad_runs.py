"""What users do wrong with runs and data: a clear message, the right exit code, no traceback, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file

import gmc
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import training
from gmc.runtime.storage import read_tensors, write_tensors
from tests.cli.invoking import codes, invoke

PROGRAM = """\
param hidden = 3

model small {
  observed v : bernoulli[2, 3]
  observed y : categorical(3)
  latent   h : bernoulli[hidden]
  edge v -- h
  edge y -- h
  edge h -- h
}

data npz("data.npz") {
  v = grey | threshold(0.5)
  y = label
  test v = grey | threshold(0.5)
  test y = label
}

chain posterior { clamp v, y }
chain negative { start persistent(4)  sweeps 1 }
chain complete { clamp v  sweeps 2 }

objective nll = likelihood(positive = posterior, negative = negative)

train { minimize nll using sgd(lr = 0.05, momentum = 0.5)  batch 10  epochs 2 }
"""
GREY = np.random.default_rng(0).random((20, 2, 3))
LABEL = np.arange(20) % 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, its data and its run; a copy of it is what each test spoils."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.gm").write_text(PROGRAM)
    np.savez(folder / "data.npz", grey=GREY, label=LABEL)
    gmc.compile(folder / "small.gm").train(folder / "run")
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(finished, folder)
    config = folder / "run" / "config.json"
    config.write_text(config.read_text().replace(str(finished), str(folder)))
    monkeypatch.chdir(folder)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(folder: Path, *words: str, code: str, exit_code: int, said: str = "") -> None:
    """The command line says what is wrong, and changes nothing."""
    before = everything(folder)
    result: Result = invoke(*words, "--format", "json")
    assert (codes(result), result.exit_code) == ([code], exit_code), result.output
    assert said in json.loads(result.stderr)["message"]
    assert not result.stdout
    assert everything(folder) == before


TRAIN = ("compile", "small.gm", "--train", "--out", "run")


# ── Data ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _nan() -> np.ndarray:
    grey = GREY.copy()
    grey[3, 1, 2] = np.nan
    return grey


@pytest.mark.parametrize(
    ("arrays", "code", "said"),
    [
        ({"label": LABEL}, "GM654", "no column `grey`"),
        ({"grey": GREY.reshape(20, 6), "label": LABEL}, "GM656", "has shape [6], but `v` has [2, 3]"),
        ({"grey": _nan(), "label": LABEL}, "GM657", "the first is in row 3 at [1, 2]"),
        ({"grey": GREY, "label": LABEL + 1}, "GM658", "but row 2 has 3"),
        ({"grey": GREY, "label": LABEL + 0.5}, "GM658", "but row 0 has 0.5"),
        ({"grey": GREY, "label": LABEL[:19]}, "GM659", "has 19 rows"),
        ({"grey": GREY, "label": np.array([None] * 20)}, "GM652", "Python objects"),
        ({"grey": GREY, "label": np.array(["1"] * 20)}, "GM655", "does not hold numbers"),
        ({"grey": GREY[:0], "label": LABEL[:0]}, "GM653", "is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("GM") else "",
)
def test_bad_data(here: Path, arrays: dict[str, np.ndarray], code: str, said: str) -> None:
    np.savez("data.npz", **arrays)
    result = invoke(*TRAIN, "--resume", "--format", "json")
    assert set(codes(result)) == {code}
    assert result.exit_code == 1
    assert said in " ".join(json.loads(line)["message"] for line in result.stderr.splitlines())


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (Path.unlink, "GM650"),
        (lambda path: path.write_bytes(b""), "GM653"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "GM651"),
        (lambda path: path.write_bytes(b"no archive"), "GM651"),
    ],
)
def test_bad_data_file(here: Path, spoil: Callable[[Path], object], code: str) -> None:
    spoil(here / "data.npz")
    for words in ((*TRAIN, "--resume"), TRAIN, ("eval", "run"), ("sample", "run", "--chain", "complete")):
        refused(here, *words, code=code, exit_code=1)


# ── Folders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_or_another_folder_is_in_the_way(here: Path) -> None:
    words = ("compile", "small.gm", "--train", "--out")
    for out in ("small.gm", "."):
        for resume in ((), ("--resume",)):
            refused(here, *words, out, *resume, code="GM725", exit_code=2)
    refused(here, *words, "small.gm/run", code="GM700", exit_code=1, said="Not a directory")
    refused(here, *words, "x" * 300, code="GM700", exit_code=1, said="File name too long")
    refused(here, *words, "nowhere", "--resume", code="GM721", exit_code=2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(here: Path) -> None:
    (here / "closed").mkdir(mode=0o500)
    refused(here, "compile", "small.gm", "--train", "--out", "closed/run", code="GM700", exit_code=1)
    (here / "run").chmod(0o500)
    refused(here, *TRAIN, code="GM700", exit_code=1)
    (here / "run").chmod(0o700)


def test_a_system_that_refuses_every_change(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a folder that may only be read does, for all users but root."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "unlink", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    refused(here, *TRAIN, code="GM700", exit_code=1, said="Permission denied")
    refused(here, *TRAIN, "--resume", code="GM700", exit_code=1, said="Permission denied")


def test_the_run_of_another_model(here: Path) -> None:
    for before, after, said in (
        ("bernoulli[2, 3]", "spin[2, 3]", "its variables or edges differ"),
        ("model small", "model other", "it is called small, and this one other"),
    ):
        text = PROGRAM.replace(before, after).replace("| threshold(0.5)", "| threshold(0.5) | spin" * ("spin" in after))
        (here / "other.gm").write_text(text.replace("| threshold(0.5)| threshold", "| threshold"))
        for resume in ((), ("--resume",)):
            refused(
                here,
                *("compile", "other.gm", "--train", "--out", "run"),
                *resume,
                code="GM720",
                exit_code=2,
                said=said,
            )
    refused(here, *TRAIN, "--set", "hidden=4", code="GM720", exit_code=2, said="its variables or edges differ")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seed", "1"), "began with seed 0, not 1"),
        (("--set", "hidden=3"), "began with set none, not hidden = 3"),
        (("--weights", "run/weights.safetensors"), "began with weights none, not run/weights.safetensors"),
        (("--data", "more.npz"), "began with data none, not "),
    ],
)
def test_resumed_with_other_settings(here: Path, more: tuple[str, ...], said: str) -> None:
    shutil.copy("data.npz", "more.npz")
    refused(here, *TRAIN, "--resume", *more, code="GM724", exit_code=2, said=said)


def test_resumed_after_an_edit(here: Path) -> None:
    (here / "small.gm").write_text(PROGRAM.replace("lr = 0.05", "lr = 0.01"))
    refused(here, *TRAIN, "--resume", code="GM720", exit_code=2, said="the .gm file was changed since")


def test_resumed_with_other_tensors(here: Path, tmp_path: Path) -> None:
    model = gmc.compile(here / "small.gm")
    rows = {"v": torch.ones(5, 2, 3), "y": torch.zeros(5)}
    model.train(tmp_path / "run", data=rows)
    model.train(tmp_path / "run", data=rows, resume=True)
    for other in ({**rows, "y": torch.ones(5)}, None):
        with pytest.raises(GmcError, match=r"GM724.*began with tensors"):
            model.train(tmp_path / "run", data=other, resume=True)


def test_resumed_without_the_first_weights(here: Path) -> None:
    """They are in the checkpoint."""
    words = ("compile", "small.gm", "--train", "--out", "second", "--weights", "w.safetensors")
    shutil.copy("run/weights.safetensors", "w.safetensors")
    assert invoke(*words).exit_code == 0
    Path("w.safetensors").unlink()
    assert invoke(*words, "--resume").exit_code == 0
    refused(here, *words, code="GM701", exit_code=1)


def test_a_checkpoint_that_was_removed(here: Path) -> None:
    """To begin anew would lose the weights that are left."""
    (here / "run" / "state.safetensors").unlink()
    refused(here, *TRAIN, "--resume", code="GM721", exit_code=2)


def test_metrics_that_were_removed_are_told(here: Path) -> None:
    (here / "run" / "metrics.jsonl").unlink()
    (warning,) = gmc.compile("small.gm").train(here / "run", resume=True).warnings
    assert warning.code == "GM705"


# ── Files of a run ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', "[" * 100_000, "\udc80"], ids=lambda t: t[:8])
def test_settings_that_are_damaged(here: Path, text: str) -> None:
    (here / "run" / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    for words in (TRAIN, (*TRAIN, "--resume"), ("eval", "run"), ("sample", "run", "--chain", "negative")):
        refused(here, *words, code="GM726", exit_code=1)


@pytest.mark.parametrize(
    ("name", "value"), [("set", 3), ("seed", "0"), ("data", {}), ("source", None), ("text", 1), ("weights", [])]
)
def test_settings_of_another_kind(here: Path, name: str, value: object) -> None:
    path = here / "run" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    for words in ((*TRAIN, "--resume"), ("eval", "run")):
        refused(here, *words, code="GM726", exit_code=1, said=f"`{name}` is")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


def _pickle(path: Path) -> None:
    torch.save({"v.bias": torch.zeros(2, 3)}, path)


@pytest.mark.parametrize("spoil", [_cut, _flip, _pickle, lambda path: path.write_bytes(b"")])
def test_damaged_tensors(here: Path, spoil: Callable[[Path], None]) -> None:
    spoil(here / "run" / "state.safetensors")
    refused(here, *TRAIN, "--resume", code="GM702", exit_code=1)
    refused(here, "sample", "run", "--chain", "negative", code="GM702", exit_code=1)
    spoil(here / "run" / "weights.safetensors")
    refused(here, "eval", "run", code="GM702", exit_code=1)
    refused(
        here, *TRAIN[:-1], "new", "--weights", "run/weights.safetensors", code="GM702", exit_code=1, said="tensor file"
    )


def test_counters_are_under_the_digest(here: Path) -> None:
    path = here / "run" / "state.safetensors"
    data = path.read_bytes()
    assert data.count(b'updates\\\\\\": 4') == 1
    path.write_bytes(data.replace(b'updates\\\\\\": 4', b'updates\\\\\\": 3'))
    refused(here, *TRAIN, "--resume", code="GM702", exit_code=1, said="not those that were written")


def test_weights_in_the_place_of_a_checkpoint(here: Path) -> None:
    shutil.copy("run/weights.safetensors", "run/state.safetensors")
    refused(here, *TRAIN, "--resume", code="GM702", exit_code=1, said="no checkpoint of a training")


def test_weights_of_another_model(here: Path) -> None:
    tensors, _ = read_tensors(Path("run/weights.safetensors"))
    for wrong, said in (
        ({**tensors, "v.bias": torch.zeros(3, 2)}, "v.bias has shape [3, 2], not [2, 3]"),
        ({name: t for name, t in tensors.items() if name != "h.bias"}, "it lacks h.bias"),
        ({**tensors, "more": torch.zeros(1)}, "it has more, which the model does not"),
        ({**tensors, "h_h.weight": torch.arange(9.0).reshape(3, 3)}, "the weight of h_h"),
        ({**tensors, "v.bias": torch.full((2, 3), torch.nan)}, "v.bias has values that are not finite"),
        ({**tensors, "h.bias": torch.full_like(tensors["h.bias"], torch.inf)}, "h.bias has values that are not finite"),
    ):
        save_file(wrong, "w.safetensors")
        for words in (TRAIN[:-1], ("compile", "small.gm", "--out")):
            refused(here, *words, "new", "--weights", "w.safetensors", code="GM723", exit_code=1, said=said)
    write_tensors(here / "run" / "weights.safetensors", tensors, {"fingerprint": "other"})
    refused(here, "eval", "run", code="GM704", exit_code=1)
    refused(here, *TRAIN[:-1], "new", "--weights", "nowhere", code="GM701", exit_code=1)


def test_folders_that_are_no_runs(here: Path) -> None:
    (here / "empty").mkdir()
    for folder in ("nowhere", "empty", "small.gm"):
        for words in (("eval", folder), ("sample", folder, "--chain", "negative")):
            refused(here, *words, code="GM722", exit_code=2)
    (here / "run" / "weights.safetensors").unlink()
    refused(here, "eval", "run", code="GM722", exit_code=2, said="no weights.safetensors")


# ── Sampling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def archives(here: Path) -> None:
    good = np.zeros((3, 2, 3))
    np.savez(
        "a.npz",
        big=good.astype(">f4"),
        objects=np.array([None]),
        text=np.array(["a"]),
        complex=good.astype(complex),
        wide=good.astype(np.longdouble),
        flat=good.reshape(3, 6),
        none=good[:0],
        nan=good * np.nan,
        half=good + 0.5,
        one=good[0],
    )
    np.save("single.npy", good)
    Path("single.npy").rename("single.npz")
    Path("empty.npz").touch()
    Path("junk.npz").write_bytes(b"junk" * 50)
    Path("cut.npz").write_bytes(Path("a.npz").read_bytes()[:900])
    with zipfile.ZipFile("members.npz", "w") as archive:
        archive.writestr("v", "text")
        archive.writestr("v.npy", "text")
    Path("folder.npz").mkdir()


@pytest.mark.parametrize(
    ("source", "exit_code", "said"),
    [
        ("a.npz:objects", 1, "Python objects, which are never loaded"),
        ("a.npz:text", 1, "holds no numbers"),
        ("a.npz:complex", 1, "holds no numbers"),
        ("a.npz:wide", 1, "64 bits at most"),
        ("a.npz:flat", 1, "a row must have shape [2, 3], that of v, not [6]"),
        ("a.npz:none", 1, "one row at least"),
        ("a.npz:nan", 1, "nan is not 0 or 1"),
        ("a.npz:half", 1, "0.5 is not 0 or 1"),
        ("a.npz:nowhere", 2, "has no array `nowhere`; it has big, objects"),
        ("a.npz", 2, "none of the forms"),
        ("a.csv:v", 2, "none of the forms"),
        ("single.npz:v", 1, "cannot be read as an .npz archive"),
        ("empty.npz:v", 1, "cannot be read as an .npz archive"),
        ("junk.npz:v", 1, "cannot be read as an .npz archive"),
        ("cut.npz:v", 1, "cannot be read as an .npz archive"),
        ("members.npz:v", 1, "cannot be read as an .npz archive"),
        ("folder.npz:v", 1, "cannot be read as an .npz archive"),
        ("nowhere.npz:v", 1, "there is no file nowhere.npz"),
        ("nan", 2, "nan is not 0 or 1"),
        ("1e999", 2, "inf is not 0 or 1"),
        ("2", 2, "2 is not 0 or 1"),
        ("data[20]", 2, "there are 20 train rows"),
        ("data[-21]", 2, "there are 20 train rows"),
        ("test[5:5]", 2, "must hold some of them"),
        ("valid[0]", 2, "no valid rows of v"),
        ("data[1:2:3]", 2, "none of the forms"),
        ("data[" + "9" * 5000 + "]", 2, "none of the forms"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
@pytest.mark.usefixtures("archives")
def test_bad_clamp_sources(here: Path, source: str, exit_code: int, said: str) -> None:
    words = ("sample", "run", "--chain", "complete", "--clamp", f"v={source}")
    refused(here, *words, code="GM731", exit_code=exit_code, said=said)


@pytest.mark.usefixtures("archives")
def test_good_clamp_sources(here: Path) -> None:
    for source in ("a.npz:big", "a.npz:one", "1", "data[-1]", "test[0:3]", "test"):
        assert invoke("sample", "run", "--chain", "complete", "--clamp", f"v={source}").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("--chain", "compleet"), "GM730", 2),
        (("--chain", "complete", "--clamp", "w=1"), "GM730", 2),
        (("--chain", "complete", "--clamp", "h=1"), "GM732", 2),
        (("--chain", "complete", "--chains", "21"), "GM734", 2),
        (("--chain", "complete", "--clamp", "v=test[0:3]", "--chains", "4"), "GM734", 2),
        (("--chain", "complete", "--device", "nowhere"), "GM735", 2),
        (("--chain", "negative", "--out", "a.png", "--chains", str(2**62)), "GM815", 1),
        (("--chain", "negative", "--out", "a.png", "--chains", str(2**45)), "GM815", 1),
        (("--chain", "negative", "--out", "a.npz", "--chains", str(2**45)), "GM700", 1),
        (("--chain", "negative", "--out", "a.bmp"), "GM813", 2),
        (("--chain", "negative", "--out", "nowhere/a.npz"), "GM700", 1),
        ((), "GM814", 2),
    ],
)
def test_bad_samples(here: Path, words: tuple[str, ...], code: str, exit_code: int) -> None:
    refused(here, "sample", "run", *words, code=code, exit_code=exit_code)


# ── From Python ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda run: run.sample("negative", chains=0), "GM738"),
        (lambda run: run.sample("negative", sweeps=-1), "GM738"),
        (lambda run: run.sample("negative", seed=-1), "GM738"),
        (lambda run: run.sample("nowhere"), "GM730"),
        (lambda run: run.sample("complete", clamp={"v": torch.zeros(2, 2)}), "GM715"),
        (lambda run: run.sample("complete", clamp={"v": torch.zeros(3, 2, 3, dtype=torch.complex64)}), "GM715"),
        (lambda run: run.sample("complete", clamp={"v": torch.full((2, 3), torch.nan)}), "GM715"),
        (lambda run: run.sample("complete", clamp={"v": np.array([[None] * 3] * 2)}), "GM715"),
        (lambda run: run.sample("complete", clamp={"v": 10**400}), "GM715"),
        (lambda run: run.log_likelihood({}), "GM739"),
        (lambda run: run.log_likelihood({"v": torch.zeros(2, 2, 3), "y": torch.zeros(3)}), "GM734"),
        (lambda run: run.log_likelihood({"y": torch.tensor(3)}), "GM715"),
        (lambda run: run.log_likelihood({"w": torch.tensor(3)}), "GM730"),
        (lambda run: run.evaluate("exakt"), "GM730"),
        (lambda run: run.evaluate("exact", "valid"), "GM741"),
    ],
)
def test_mistakes_in_python(finished: Path, call: Callable[[gmc.Run], object], code: str) -> None:
    run = gmc.load(finished / "run")
    with pytest.raises(GmcError) as caught:
        call(run)
    assert [found.code for found in caught.value.diagnostics] == [code]


def test_arrays_of_all_layouts_are_taken(finished: Path) -> None:
    run = gmc.load(finished / "run")
    values = (np.arange(12).reshape(2, 2, 3) % 2).astype(float)
    expected = run.log_likelihood({"v": torch.from_numpy(values)})
    for same in (values.astype(">f4"), np.asfortranarray(values), values.astype(bool), values.astype(np.uint16)):
        torch.testing.assert_close(run.log_likelihood({"v": same}), expected)
    torch.testing.assert_close(run.log_likelihood({"v": values[::-1]}), expected.flip(0))
    single = run.log_likelihood({"v": values[0], "y": 2})
    assert single.shape == (1,)


# ── Divergence ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_training_that_diverges_keeps_the_checkpoint_before(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where checkpoints fall between the steps of an epoch."""
    monkeypatch.setattr(training, "SECONDS", -1.0)
    text = PROGRAM.replace("sgd(lr = 0.05, momentum = 0.5)", "sgd(lr = 0.0 -> 1e38, weight_decay = 1e3)")
    (here / "wild.gm").write_text(text.replace("epochs 2", "epochs 5"))
    result = invoke("compile", "wild.gm", "--train", "--out", "wild", "--format", "json")
    assert (codes(result), result.exit_code) == (["GM710"], 1)
    for name in ("state.safetensors", "weights.safetensors"):
        tensors, _ = read_tensors(here / "wild" / name)
        assert all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
