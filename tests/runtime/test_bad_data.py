"""Every mistake in data, as the user sees it: bad/NAME.gm read with the files of `write_files`, and bad/NAME.expected."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import gmc.runtime.words  # noqa: F401
from gmc.dsl.check import load
from gmc.dsl.diagnostic import GmcError, Severity
from gmc.dsl.errors.catalogue import catalogue
from gmc.dsl.model import Checked
from gmc.runtime.dataset import load_data
from gmc.runtime.missing import refuse_training_gaps

BAD = Path(__file__).parent / "bad"
PROGRAMS = sorted(BAD.glob("*.gm"))


def write_files(folder: Path) -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 2, 3) * 11
    gaps = np.array([[0.5, 1.0], [np.nan, 2.0], [3.0, np.nan]])
    objects = np.array([[1], [2, 3]], dtype=object)
    np.savez(folder / "data.npz", grey=grey, gaps=gaps, objects=objects, none=np.zeros((0, 2)))
    (folder / "empty.npz").touch()
    (folder / "table.csv").write_text("name,a\nx,1\n")
    (folder / "ragged.csv").write_text("a,b\n0,1\n1\n")


def read(checked: Checked) -> None:
    """Reads the data as training does."""
    train = load_data(checked, 0, torch.device("cpu"), torch.float32).train
    assert train is not None
    refuse_training_gaps(checked, train)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_bad_data(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[Path, str], None]
) -> None:
    write_files(tmp_path)
    shutil.copy(program, tmp_path)
    monkeypatch.chdir(tmp_path)
    checked = load(program.name).checked
    with pytest.raises(GmcError) as caught:
        read(checked)
    assert caught.value.exit_code == 1
    assert {found.code for found in caught.value.diagnostics} == {program.stem[:5]}
    golden(program.with_suffix(".expected"), f"{caught.value}\n")


def test_every_code_about_data_has_a_program() -> None:
    codes = {
        code for code, entry in catalogue().items() if "GM650" <= code < "GM700" and entry.severity is Severity.ERROR
    }
    assert codes == {program.stem[:5] for program in PROGRAMS}
