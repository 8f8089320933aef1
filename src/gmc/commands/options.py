"""Options that several commands have, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gmc.dsl.diagnostic import nearest

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    TextChoice = click.Choice[str]
    NumberType = click.ParamType[int]
    PairType = click.ParamType[tuple[str, str]]
else:  # older versions of click do not know what their types hold
    TextChoice = click.Choice
    NumberType = PairType = click.ParamType


class Choice(TextChoice):
    """One of a few words; a mistyped one is told the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself; UsageError where it is none of them."""
        known = [str(choice) for choice in self.choices]
        if value not in known:
            guess = nearest(str(value), known)
            hint = f" Did you mean '{guess}'?" if guess else ""
            self.fail(f"'{value}' is not one of {', '.join(known)}.{hint}", param, ctx)
        return str(value)


class Whole(NumberType):
    """A whole number of at least `least` that 64 bits hold."""

    name = "integer"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; UsageError where it is none, or out of range."""
        try:
            number = int(str(value))
        except ValueError:
            self.fail(f"'{value}' is not a whole number.", param, ctx)
        if not self.least <= number < 2**63:
            self.fail(f"{value} is not in the range from {self.least} to 2^63 - 1.", param, ctx)
        return number


class Pair(PairType):
    """NAME=VALUE."""

    name = "pair"

    def __init__(self, example: str) -> None:
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The two sides of the first `=`; UsageError where one is missing."""
        if isinstance(value, tuple):
            return value
        name, equals, given = (part.strip() for part in str(value).partition("="))
        if not (name and equals and given):
            self.fail(f"'{value}' is not of the form {self.example}.", param, ctx)
        return name, given


def unique(ctx: click.Context, param: click.Parameter, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Pairs as a mapping; UsageError where a name is given twice."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise click.BadParameter(f"'{name}' is given twice.", ctx, param)
        found[name] = value
    return found


def pairs(flag: str, name: str, metavar: str, example: str, help: str) -> Callable[[F], F]:
    """A repeatable option whose values are NAME=VALUE."""
    return click.option(flag, name, type=Pair(example), metavar=metavar, multiple=True, callback=unique, help=help)


def set_option(function: F) -> F:
    """`--set PARAM=VALUE`, as a mapping `overrides`."""
    help = "Give a param of the file another value; may be repeated."
    return pairs("--set", "overrides", "PARAM=VALUE", "PARAM=VALUE, such as hidden=64", help)(function)


def data_option(function: F) -> F:
    """`--data PATH`, as `data`."""
    help = "Read the data from PATH, not from where the file says."
    return click.option("--data", metavar="PATH", callback=from_here, help=help)(function)


def from_here(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    """A path as the shell means it; one in a .gm file starts from the folder of that file."""
    return None if path is None else str(Path(path).expanduser().absolute())


def chain_option(help: str) -> Callable[[F], F]:
    """`--chain NAME`, as `chain`."""
    return click.option("--chain", metavar="NAME", help=help)


def device_option(function: F) -> F:
    """`--device NAME`, as `device`."""
    help = "Where to compute: cpu, cuda, cuda:1, mps."
    return click.option("--device", default="cpu", show_default=True, metavar="NAME", help=help)(function)


def seed_option(function: F) -> F:
    """`--seed N`, as `seed`."""
    help = "The seed of all random numbers  [default: 0]"
    return click.option("--seed", type=Whole(0), default=0, metavar="N", help=help)(function)
