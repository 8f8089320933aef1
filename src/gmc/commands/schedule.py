"""`gmc schedule`: what a chain draws, when, and from what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gmc.commands import errors, files
from gmc.commands.frame import USAGE, command
from gmc.commands.loading import load
from gmc.commands.options import chain_option, set_option
from gmc.commands.pictures import DRAWN, ending, output_option, write_picture
from gmc.commands.report import Reporter, put
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Chain, Checked

if TYPE_CHECKING:
    from gmc.compiler.graph import FactorGraph


@command(
    "schedule",
    "Show which blocks a chain draws, in turn.",
    examples=[
        "gmc schedule rbm.gm",
        "gmc schedule rbm.gm --chain inpaint -o inpaint.svg",
        "gmc schedule rbm.gm --chain dreaming --from posterior",
        "gmc schedule rbm.gm -o all.json",
    ],
)
@click.argument("file")
@chain_option("The chain; without it all of them, of which only text and .json can show more than one.")
@click.option(
    "--from", "start", metavar="CHAIN", help="Start every free variable from where CHAIN ends, as gmc sample does."
)
@output_option("Write a picture (.svg, .png, .pdf, .dot) or data (.json) instead of text on stdout.")
@set_option
@click.pass_obj
def main(
    reporter: Reporter,
    file: str,
    chain: str | None,
    start: str | None,
    output: str | None,
    overrides: Mapping[str, str],
) -> None:
    """Show the schedules of the chains of FILE: what is clamped, where the rest starts, and which blocks a sweep draws in turn."""
    kind = ending(output, (*DRAWN, ".json")) if output else None
    checked = load(reporter, file, overrides)
    chains = chosen(checked.chains, chain, alone=kind in DRAWN or start is not None)
    if start is not None:
        chains = [begun(checked, chains[0], start)]

    from gmc.compiler.graph import build_graph

    graph = build_graph(checked.model)
    if output is None:
        put(text(graph, chains))
    elif kind == ".json":
        files.replace(Path(output), data(graph, chains).encode("utf-8"))
    else:
        from gmc.compiler.pictures.schedule import schedule_dot
        from gmc.compiler.schedule import build_schedule

        write_picture(reporter, schedule_dot(graph, build_schedule(graph, chains[0])), Path(output))


def chosen(chains: Sequence[Chain], name: str | None, *, alone: bool) -> Sequence[Chain]:
    """The chain of that name, or all of them.

    Raises:
        GmcError: there is none of that name, or with `alone` not exactly one to choose.
    """
    from gmc.runtime.run_errors import unknown_choice

    names = [chain.name for chain in chains]
    if name is not None and name not in names:
        raise GmcError([unknown_choice(None, "chain", name, names)], exit_code=USAGE)
    found = [chain for chain in chains if name in (None, chain.name)]
    if not found or (alone and len(found) > 1):
        raise GmcError([errors.which_chain(None, names)], exit_code=USAGE)
    return found


def begun(checked: Checked, chain: Chain, other: str) -> Chain:
    """A chain whose free variables start from where another one ends.

    Raises:
        GmcError: there is no such chain, or it needs this one.
    """
    from gmc.compiler.driver import compile_checked
    from gmc.runtime.request import started

    return started(compile_checked(checked), chain.name, other).checked.chain(chain.name)


def text(graph: FactorGraph, chains: Sequence[Chain]) -> str:
    """The schedules for a terminal."""
    from gmc.compiler.pictures.listing import schedule_text
    from gmc.compiler.schedule import build_schedule

    return "\n".join(schedule_text(graph, build_schedule(graph, chain)) for chain in chains)


def data(graph: FactorGraph, chains: Sequence[Chain]) -> str:
    """The schedules as a JSON list, a chain each."""
    from gmc.compiler.pictures.listing import schedule_json
    from gmc.compiler.schedule import build_schedule

    found = [schedule_json(graph, build_schedule(graph, chain)) for chain in chains]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
