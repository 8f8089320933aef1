"""`gmc graph`: the model as a graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from gmc.commands.frame import command
from gmc.commands.loading import load
from gmc.commands.options import set_option
from gmc.commands.pictures import DRAWN, ending, output_option, write_picture
from gmc.commands.report import Reporter, put


@command(
    "graph",
    "Show a model as a graph.",
    examples=["gmc graph rbm.gm", "gmc graph rbm.gm -o rbm.svg", "gmc graph rbm.gm --set hidden=500 -o rbm.png"],
)
@click.argument("file")
@output_option("Write a picture (.svg, .png, .pdf) or its text (.dot) instead of a list on stdout.")
@set_option
@click.pass_obj
def main(reporter: Reporter, file: str, output: str | None, overrides: Mapping[str, str]) -> None:
    """Show the model of FILE: its variables, the terms of its energy, and their parameters."""
    if output is not None:
        ending(output, DRAWN)
    checked = load(reporter, file, overrides)

    from gmc.compiler.graph import build_graph

    graph = build_graph(checked.model)
    if output is None:
        from gmc.compiler.emit import emit_graph

        put(emit_graph(graph))
    else:
        from gmc.compiler.pictures.model import graph_dot

        write_picture(reporter, graph_dot(graph), Path(output))
