"""Writing pictures of graphs and schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gmc.commands import errors
from gmc.commands.report import Reporter
from gmc.dsl.diagnostic import GmcError

F = TypeVar("F", bound=Callable[..., Any])

DRAWN = (".svg", ".png", ".pdf", ".dot")


def output_option(help: str) -> Callable[[F], F]:
    """`-o FILE`, as `output`."""
    return click.option("-o", "--output", metavar="FILE", help=help)


def ending(path: str, known: Sequence[str]) -> str:
    """The kind of file that a name asks for.

    Raises:
        GmcError: none of those that are known.
    """
    found = Path(path).suffix.lower()
    if found not in known:
        raise GmcError([errors.unknown_ending(None, path, known)], exit_code=2)
    return found


def write_picture(reporter: Reporter, dot: str, path: Path) -> None:
    """Draws DOT text into a file, and says where it is if that is elsewhere."""
    from gmc.compiler.pictures.render import render

    rendered = render(dot, path)
    reporter.show(rendered.diagnostics)
    reporter.say(f"wrote {rendered.path}")
