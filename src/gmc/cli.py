"""The ``gmc`` command."""

from __future__ import annotations

import click

from gmc import __version__
from gmc.commands.frame import Commands

COMMANDS = {
    name: f"gmc.commands.{name}"
    for name in ("new", "check", "fmt", "graph", "schedule", "compile", "sample", "predict", "eval", "info", "explain")
} | {"eval": "gmc.commands.evaluate"}


@click.group(cls=Commands, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gmc")
def main() -> None:
    """Compile, train and sample graphical models written as .gm files.

    Artefacts go to stdout or the file that is named, diagnostics and progress to stderr. Exit codes: 0 done, 1 the model or the data is
    wrong, 2 the command line is wrong, 70 a bug in gmc, 130 interrupted.
    """
