"""Writes words.md, the reference of every registered word, from the registry itself: `python docs/make_words.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from gmc.commands.words import BOUNDS
from gmc.dsl.check.arguments import Argument, arguments
from gmc.dsl.vocabulary import Kind, Word
from gmc.runtime.words import VOCABULARY

PAGE = Path(__file__).parent / "words.md"
HEAD = """\
# Words

Every word that a .gm file may use, as it is registered: its arguments, their bounds and defaults, and what it means. `gmc info WORD` shows the
same in a terminal. A word without arguments is written without parentheses; arguments go by position, in the order shown, or by name.

This page is made from the registry by `python docs/make_words.py`; a test fails where it is out of date.
"""
TITLES: dict[Kind, tuple[str, str]] = {
    "family": ("Types", "of variables: `latent h : WORD[SHAPE]`"),
    "factor": ("Factors", "of edges: `edge a -- b by WORD`"),
    "source": ("Data sources", "`data WORD { ... }`"),
    "transform": ("Transforms", "of columns: `v = COLUMN | WORD | WORD`"),
    "start": ("Starts", "of chains: `start WORD`"),
    "update": ("Updates", "of chains: `update WORD`"),
    "condition": ("Conditions", "of gates, in chains: `impotent v unless WORD(v) > 0.5`"),
    "objective": ("Objectives", "`objective NAME = WORD(...)`"),
    "expectation": ("Expectations", "in place of a chain, in an objective"),
    "optimizer": ("Optimisers", "`minimize OBJECTIVE using WORD(...)`"),
    "metric": ("Metrics", "`watch WORD`, in a stage"),
    "stop": ("Stopping rules", "`stop WORD`, in a stage"),
}


def page() -> str:
    """The whole page."""
    words = {kind: list(found) for kind, found in groupby(VOCABULARY.words(), key=lambda word: word.kind)}
    parts = [HEAD]
    for kind in sorted(words, key=lambda kind: list(TITLES).index(kind)):
        title, where = TITLES[kind]
        parts += [f"## {title}\n\n{where[0].upper()}{where[1:]}.\n", *(_entry(word) for word in words[kind])]
    return "\n".join(parts)


def _entry(word: type[Word]) -> str:
    """A word's section."""
    lines = [f"### {word.word}\n", f"`{_signature(word)}`\n", f"{inspect.getdoc(word) or ''}\n"]
    found = arguments(word)
    if found:
        lines += ["| argument | takes | default |", "|---|---|---|"]
        lines += [_row(argument, word.model_fields[argument.field]) for argument in found]
        lines += [""]
    return "\n".join(lines)


def _signature(word: type[Word]) -> str:
    """The word as it is called: `sgd(lr, momentum = 0)`."""
    parts = [
        a.name if a.required else f"{a.name} = {_shown(word.model_fields[a.field].default)}" for a in arguments(word)
    ]
    return f"{word.word}({', '.join(parts)})" if parts else word.word


def _row(argument: Argument, field: FieldInfo) -> str:
    takes = "; ".join([", ".join(argument.sorts), *_bounds(field)])
    default = "required" if argument.required else f"`{_shown(field.default)}`"
    # a bar would end the cell
    return f"| `{argument.name}` | {takes.replace('|', chr(92) + '|')} | {default} |"


def _bounds(field: FieldInfo) -> Iterator[str]:
    """The bounds of an argument, or of the numbers in it, each once."""
    marks = [*field.metadata, *_marks(field.annotation)]
    bounds = [
        f"{words} {value:g}"
        for mark in marks
        for name, words in BOUNDS.items()
        if isinstance(value := getattr(mark, name, None), (int, float))
    ]
    yield from dict.fromkeys(bounds)


def _marks(annotation: Any) -> Iterator[object]:
    """The marks inside an annotation such as `tuple[Annotated[float, MARK], ...]`."""
    if get_origin(annotation) is Annotated:
        for mark in get_args(annotation)[1:]:
            yield from getattr(mark, "metadata", ()) or (mark,)
    for inner in get_args(annotation):
        yield from _marks(inner)


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case str() if not value.isidentifier():
            return f'"{value}"'
        case _:
            return str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
