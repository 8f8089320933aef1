"""`gmc check`: every diagnostic of some files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from gmc.commands import errors
from gmc.commands.frame import USAGE, command
from gmc.commands.options import data_option, set_option
from gmc.commands.report import Reporter
from gmc.dsl.diagnostic import Diagnostic, GmcError


@command(
    "check",
    "Say everything that is wrong with files.",
    examples=["gmc check rbm.gm", "gmc check --set hidden=500 rbm.gm", "gmc check --format json *.gm"],
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@set_option
@data_option
@click.pass_context
def main(ctx: click.Context, files: tuple[str, ...], overrides: dict[str, str], data: str | None) -> None:
    """Check FILEs: say everything that is wrong with them, and run nothing.

    Data are not read. Exits 0 where there are no errors; warnings do not count.
    """
    reporter: Reporter = ctx.obj
    found: list[Diagnostic] = []
    codes = {0}
    for file in files:
        diagnostics, code = diagnose(file, overrides, data)
        reporter.show(diagnostics)
        found += diagnostics
        codes.add(code)
    reporter.say(summary(len(files), found))
    ctx.exit(1 if 1 in codes else max(codes))


def diagnose(file: str, overrides: Mapping[str, str], data: str | None) -> tuple[tuple[Diagnostic, ...], int]:
    """All that is to be said of a file, and the exit code that it deserves."""
    import gmc.runtime.words  # noqa: F401  fills the vocabulary
    from gmc.commands.loading import blame
    from gmc.dsl.check import load

    try:
        with blame(file, overrides, data):
            return load(file, overrides, data).warnings, 0
    except GmcError as error:
        return error.diagnostics, USAGE if error.exit_code == USAGE else errors.exit_code(error.diagnostics)


def summary(files: int, found: Sequence[Diagnostic]) -> str:
    """How many of each, in a line."""
    from gmc.dsl.errors.phrases import plural

    wrong = sum(diagnostic.is_error for diagnostic in found)
    rest = len(found) - wrong
    said = [plural(wrong, "error") if wrong else "no errors", *([plural(rest, "warning")] if rest else [])]
    return ("\n" if found else "") + f"{plural(files, 'file')}: {', '.join(said)}"
