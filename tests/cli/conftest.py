"""One small model, as a file and as a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.invoking import TINY, Trained, invoke


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with tiny.gm in it."""
    (tmp_path / "tiny.gm").write_text(TINY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The run of tiny.gm; nothing may be written into it."""
    folder = tmp_path_factory.mktemp("trained")
    file = folder / "tiny.gm"
    file.write_text(TINY, encoding="utf-8")
    result = invoke("compile", str(file), "--train", "--out", str(folder / "runs" / "tiny"))
    assert result.exit_code == 0, result.output
    return Trained(folder / "runs" / "tiny", result)
