"""What is shown when gmc itself is wrong, and telling that from a machine that is too small."""

from __future__ import annotations

import platform
import shlex
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata, version

from gmc.commands import errors
from gmc.commands.report import Reporter

REFUSED = ("can't allocate memory", "out of memory", "not enough memory")
"""How torch says, in a plain RuntimeError, that it got no memory."""


def memory_reason(error: BaseException) -> str | None:
    """Why there was too little memory, in a line; None where something else is wrong."""
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError):
        return first or "an array does not fit"
    if isinstance(error, RuntimeError) and any(words in str(error) for words in REFUSED):
        return first
    return None


def report(reporter: Reporter, error: BaseException, command: Sequence[str]) -> None:
    """Says that gmc failed, how to report it, and what to put into the report."""
    what = f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
    reporter.show([errors.bug(None, what, address())])
    reporter.say("\nPut the lines below, and the .gm file if you may, into the report.\n")
    reporter.say("----------------------------------------------------------------------")
    reporter.say("\n".join(facts()))
    reporter.say(f"command   {shlex.join(command)}\n")
    reporter.say("".join(traceback.format_exception(error)).rstrip())
    reporter.say("----------------------------------------------------------------------")


def facts() -> list[str]:
    """Versions and the platform, a line each."""
    return [
        f"gmc       {_version('gmc-lang')}",
        f"python    {platform.python_version()} ({platform.python_implementation()})",
        f"torch     {_version('torch')}",
        f"platform  {platform.platform()}",
    ]


def address() -> str:
    """Where to report: the project's address if the installed package knows one."""
    try:
        urls = metadata("gmc-lang").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    pairs = [tuple(part.strip() for part in url.split(",", 1)) for url in urls]
    issues = [pair[-1] for pair in pairs if pair[0].casefold() in {"issues", "bug tracker", "tracker"}]
    return f"at {issues[0]}" if issues else "to those from whom you have gmc"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
