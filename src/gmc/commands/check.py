"""`gmc check`: every diagnostic of some files."""

from __future__ import annotations

import click

from gmc.commands import errors
from gmc.commands.frame import command
from gmc.commands.options import data_option, set_option
from gmc.commands.report import Reporter
from gmc.dsl.diagnostic import Diagnostic, GmcError


@command("check", examples=["gmc check rbm.gm", "gmc check --set hidden=500 rbm.gm", "gmc check --format json *.gm"])
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@set_option
@data_option
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], overrides: dict[str, str], data: str | None) -> None:  # type: ignore[no-redef]
    """Check FILEs: say everything that is wrong with them, and run nothing.

    Data are not read. Exits 0 if there are no errors; warnings do not count.
    """
    reporter: Reporter = ctx.obj
    found: list[Diagnostic] = []
    for file in files:
        diagnostics = diagnose(file, overrides, data)
        reporter.show(diagnostics)
        found += diagnostics
    reporter.say(summary(len(files), found))
    ctx.exit(errors.exit_code(found))


def diagnose(file: str, overrides: dict[str, str], data: str | None) -> tuple[Diagnostic, ...]:
    """All that is to be said of a file."""
    import gmc.runtime.words  # noqa: F401  fills the vocabulary
    from gmc.dsl.check import load

    try:
        return load(file, overrides, data).warnings
    except GmcError as error:
        return error.diagnostics


def summary(files: int, found: list[Diagnostic]) -> str:
    """How many of each, in a line."""
    from gmc.dsl.errors.phrases import plural

    wrong = sum(diagnostic.is_error for diagnostic in found)
    rest = len(found) - wrong
    said = [plural(wrong, "error") if wrong else "no errors", *([plural(rest, "warning")] if rest else [])]
    return f"{chr(10) if found else ''}{plural(files, 'file')}: {', '.join(said)}"
