"""What all tests share: expected outputs kept as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

_FLAG = "--update-goldens"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        _FLAG,
        action="store_true",
        help="write the expected outputs anew; the run fails, so that the difference is read before it is kept",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compares a text with the one kept in a file."""

    def compare(path: Path, text: str) -> None:
        kept = path.read_text(encoding="utf-8") if path.exists() else None
        if request.config.getoption(_FLAG) and text != kept:
            path.write_text(text, encoding="utf-8")
            pytest.fail(f"{path.name} is written anew: read the difference, then run again without {_FLAG}")
        assert kept is not None, f"{path} is missing; {_FLAG} writes it"
        assert text == kept

    return compare


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.getoption(_FLAG) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
