"""Reading a .gm file for a command: diagnostics, and whose mistake they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gmc.commands.frame import USAGE
from gmc.commands.report import Reporter
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Checked


def load(reporter: Reporter, file: str, overrides: Mapping[str, str], data: str | None = None) -> Checked:
    """The checked file; its warnings are shown.

    Raises:
        GmcError: with all that is wrong.
    """
    import gmc.runtime.words  # noqa: F401  fills the vocabulary
    from gmc.dsl import check

    with blame(file, overrides, data):
        loaded = check.load(file, overrides, data)
    reporter.show(loaded.warnings)
    return loaded.checked


@contextmanager
def blame(file: str, overrides: Mapping[str, str], data: str | None = None) -> Iterator[None]:
    """Gives a GmcError of the checker exit code 2 where the file is right without what the command line changes in it."""
    try:
        yield
    except GmcError as error:
        if error.exit_code != USAGE and (overrides or data is not None) and _right(file):
            raise GmcError(error.diagnostics, exit_code=USAGE) from None
        raise


def _right(file: str) -> bool:
    import gmc.runtime.words  # noqa: F401
    from gmc.dsl import check

    try:
        check.load(file)
    except GmcError:
        return False
    return True
