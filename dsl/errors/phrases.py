"""Turns of phrase that several diagnostics share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gmc.dsl.diagnostic import nearest

_KINDS = {
    "family": "type",
    "factor": "factor",
    "layer": "layer",
    "objective": "objective",
    "expectation": "expectation",
    "condition": "condition",
    "optimizer": "optimizer",
    "transform": "transform",
    "source": "data source",
    "start": "start",
    "update": "update",
    "metric": "metric",
    "stop": "stopping rule",
}


def kind_name(kind: str) -> str:
    """What a user calls a kind of registered word."""
    return _KINDS.get(kind, kind)


def a(noun: str) -> str:
    """The noun with its article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def one_of(items: Sequence[str]) -> str:
    """`x`, `x or y`, `x, y or z`."""
    return _listed(items, "or")


def all_of(items: Sequence[str]) -> str:
    """`x`, `x and y`, `x, y and z`."""
    return _listed(items, "and")


def quoted(names: Iterable[str]) -> list[str]:
    """Each in back quotes."""
    return [f"`{name}`" for name in names]


def plural(count: int, noun: str) -> str:
    """`1 axis`, `2 axes`, `3 names`."""
    many = f"{noun[:-2]}es" if noun.endswith("is") else f"{noun}s"
    return f"{count} {noun if count == 1 else many}"


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The nearest of the candidates as a question, all of them where they are few, or nothing."""
    known = sorted(set(candidates))
    near = nearest(name, known)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"there {'is' if len(known) == 1 else 'are'} {all_of(quoted(known))}" if 0 < len(known) <= 12 else None


def _listed(items: Sequence[str], conjunction: str) -> str:
    if len(items) <= 1:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"
