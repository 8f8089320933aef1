"""The arguments of a registered word, read off its pydantic fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from gmc.dsl.vocabulary import Conditional, Kind, Nested, Ramp, Reference, Word

Referred = Literal["chain", "variable", "edge", "net", "objective"]
"""What an argument can name."""

_SORTS: dict[type, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
    Path: "a string",
    Ramp: "a number or `a -> b`",
    Conditional: "names on both sides of a bar, as in `y | v` or `(y, z) | v`",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument: its name, and every sort of value that its field, or an item of it, takes."""

    name: str
    field: str
    required: bool
    types: tuple[type, ...]
    choices: tuple[str, ...]
    references: tuple[Referred, ...]
    kinds: tuple[Kind, ...]

    def takes(self, kind: type) -> bool:
        """Whether a value of that Python type may do."""
        return kind in self.types

    @property
    def numeric(self) -> bool:
        """Whether a number may do."""
        return any(t in self.types for t in (int, float, Ramp))

    @property
    def sorts(self) -> tuple[str, ...]:
        """What it takes, in words."""
        named = [f"`{choice}`" for choice in self.choices]
        # of a conditional they are those of the names on its sides
        named += [f"the name of {_article(what)}" for what in self.references if not self.takes(Conditional)]
        named += [_article(kind) for kind in self.kinds]
        plain = [_SORTS[t] for t in self.types if t in _SORTS and not (t is str and self.references)]
        if "a number or `a -> b`" in plain:
            plain = [sort for sort in plain if sort not in {"a number", "an integer"}]
        return tuple(dict.fromkeys([*named, *plain]))


@cache
def arguments(word: type[Word]) -> tuple[Argument, ...]:
    """The arguments of a word in the order of its fields."""
    return tuple(_argument(name, info.alias or name, info) for name, info in word.model_fields.items())


def _argument(field: str, name: str, info: Any) -> Argument:
    leaves = [*info.metadata, *_leaves(info.annotation)]
    return Argument(
        name=name,
        field=field,
        required=bool(info.is_required()),
        types=tuple(leaf for leaf in leaves if isinstance(leaf, type)),
        choices=tuple(leaf for leaf in leaves if isinstance(leaf, str)),
        references=tuple(leaf.what for leaf in leaves if isinstance(leaf, Reference)),
        kinds=tuple(leaf.kind for leaf in leaves if isinstance(leaf, Nested)),
    )


def _leaves(annotation: Any) -> Iterator[object]:
    """The types, choices (as strings) and marks in an annotation, however deep."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield from get_args(annotation)
    elif origin is Annotated:
        inner, *marks = get_args(annotation)
        yield from marks
        yield from _leaves(inner)
    elif origin in (Union, UnionType, tuple, list):
        for inner in get_args(annotation):
            yield from _leaves(inner)
    elif isinstance(annotation, type):
        yield annotation


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
