"""The ``gmc`` command."""

import click

from gmc import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gmc")
def main() -> None:
    """Compile, train and sample graphical models."""
