"""`gmc info`: this installation, the words of the language, or what a file holds."""

from __future__ import annotations

import inspect
from itertools import groupby
from pathlib import Path

import click

from gmc.commands.describe import describe
from gmc.commands.frame import USAGE, command
from gmc.commands.loading import load
from gmc.commands.options import set_option
from gmc.commands.report import Reporter, put
from gmc.dsl.diagnostic import GmcError


@command(
    "info",
    "Show versions, words, or what a file holds.",
    examples=["gmc info", "gmc info bernoulli", "gmc info rbm.gm", "gmc info rbm.gm --set hidden=64"],
)
@click.argument("name", required=False)
@set_option
@click.pass_context
def main(ctx: click.Context, name: str | None, overrides: dict[str, str]) -> None:
    """Show versions and all words of the language; of NAME, a word, its arguments and meaning; of NAME, a file, what it holds."""
    reporter: Reporter = ctx.obj
    is_file = name is not None and (Path(name).suffix == ".gm" or "/" in name)
    if overrides and not is_file:
        raise click.UsageError("--set goes with a .gm file.", ctx)
    if name is None:
        put(installation() + "\n" + index())
    elif is_file:
        put(describe(load(reporter, name, overrides)))
    else:
        put(page(name))


def installation() -> str:
    """Versions, and what torch computes with."""
    import torch

    from gmc.commands.bugs import facts

    devices = ["cpu"] + [f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return "\n".join([*facts(), f"threads   {torch.get_num_threads()}", f"devices   {', '.join(devices)}"]) + "\n"


def index() -> str:
    """All registered words by kind, a line each."""
    import gmc.runtime.words
    from gmc.dsl.errors.phrases import kind_name

    lines = []
    for kind, words in groupby(gmc.runtime.words.VOCABULARY.words(), key=lambda word: word.kind):
        found = [(word.word, (inspect.getdoc(word) or "").partition("\n")[0]) for word in words]
        width = max(len(name) for name, _ in found)
        lines += [f"{kind_name(kind)}:", *(f"  {name:<{width}}  {first}".rstrip() for name, first in found), ""]
    return "\n".join([*lines, "gmc info WORD says more of each."]) + "\n"


def page(name: str) -> str:
    """The reference of a word, once for each kind in which it is registered.

    Raises:
        GmcError: there is no such word.
    """
    import gmc.runtime.words
    from gmc.commands.words import reference
    from gmc.runtime.run_errors import unknown_choice

    known = gmc.runtime.words.VOCABULARY.words()
    found = [word for word in known if word.word == name]
    if not found:
        names = sorted({word.word for word in known})
        raise GmcError([unknown_choice(None, "word of the language", name, names)], exit_code=USAGE)
    return "\n".join(map(reference, found))
