"""`gmc fmt`: files in the one style."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

import click

from gmc.commands import errors, files
from gmc.commands.frame import command
from gmc.commands.report import Reporter, put
from gmc.dsl.diagnostic import GmcError

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Formatted:
    """A text before and after; `kept` says whether the bytes are already those that would be written."""

    path: str
    before: str
    after: str
    kept: bool


@command(
    "fmt",
    "Rewrite files in the one style.",
    examples=["gmc fmt rbm.gm", "gmc fmt --check *.gm", "gmc fmt --diff rbm.gm", "gmc fmt - < rbm.gm > tidy.gm"],
)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is not in the one style.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change, and exit 1 if anything would.")
@click.pass_context
def main(ctx: click.Context, paths: tuple[str, ...], check: bool, diff: bool) -> None:
    """Rewrite FILEs in the one style, every comment where it was; `-` reads stdin and prints to stdout.

    A file with a syntax error is left as it is.
    """
    reporter: Reporter = ctx.obj
    code, changed = 0, 0
    for path in paths:
        try:
            found = read(path)
            changed += not found.kept
            if diff:
                put(difference(found))
            elif not check:
                write(reporter, found)
            elif not found.kept:
                reporter.say(f"would format {path}")
        except GmcError as error:
            reporter.show(error.diagnostics)
            code = max(code, errors.exit_code(error.diagnostics)) if code != 1 else 1
    ctx.exit(code or int((check or diff) and changed > 0))


def read(path: str) -> Formatted:
    """A file, or stdin, in the one style.

    Raises:
        GmcError: it cannot be read, or its syntax is wrong.
    """
    from gmc.dsl.parser import decode
    from gmc.dsl.printer import format_source

    shown = "<stdin>" if path == STDIN else path
    content = sys.stdin.buffer.read() if path == STDIN else contents(path)
    text = decode(content, shown)
    after = format_source(text, shown)
    return Formatted(path, text, after, content == after.encode("utf-8"))


def contents(path: str) -> bytes:
    """A file's bytes (GmcError where there are none to be had)."""
    from gmc.dsl.parser import read_source

    source = read_source(path)  # which says what is wrong with the file, if anything is
    try:
        return Path(path).read_bytes()
    except OSError:
        return source.text.encode("utf-8")


def write(reporter: Reporter, found: Formatted) -> None:
    """Puts a formatted text where it came from, if it differs."""
    if found.path == STDIN:
        put(found.after)
    elif not found.kept:
        files.replace(Path(found.path), found.after.encode("utf-8"))
        reporter.say(f"formatted {found.path}")


def difference(found: Formatted) -> str:
    """What would change, as a unified diff; empty where nothing would."""
    name = "<stdin>" if found.path == STDIN else found.path
    before, after = (text.splitlines(keepends=True) for text in (found.before, found.after))
    lines = [
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in unified_diff(before, after, name, name)
    ]
    if not lines and not found.kept:
        return f"--- {name}\n+++ {name}\n\\ Line ends or a byte order mark would change\n"
    return "".join(lines)
