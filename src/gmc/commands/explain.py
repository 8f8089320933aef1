"""`gmc explain`: the page about a diagnostic's code."""

from __future__ import annotations

import inspect

import click

from gmc.commands import errors
from gmc.commands.frame import USAGE, command
from gmc.commands.report import put
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.errors.catalogue import Entry, catalogue, page_path


@command("explain", "Say what a diagnostic's code means.", examples=["gmc explain GM417", "gmc explain"])
@click.argument("code", required=False)
def main(code: str | None) -> None:
    """Say what the diagnostic CODE means, with an example and how to mend it; without CODE list them all."""
    entries = every()
    if code is None:
        put("".join(f"{entry.code}  {entry.title}\n" for entry in entries.values()))
        return
    entry = entries.get(code.strip().upper())
    if entry is None:
        raise GmcError([errors.unknown_code(None, code, entries)], exit_code=USAGE)
    put(page(entry))


def every() -> dict[str, Entry]:
    """All diagnostics, also those of the compiler and the runtime."""
    import gmc.compiler.errors
    import gmc.runtime.words  # noqa: F401

    return catalogue()


def page(entry: Entry) -> str:
    """A code's page, in Markdown; what its source says of it where no page is installed."""
    path = page_path(entry.code)
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return f"# {entry.code}: {entry.title}\n\n{inspect.getdoc(entry.constructor) or ''}\n"
