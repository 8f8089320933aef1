"""The reference of a registered word, from its class: arguments, bounds, defaults, docstring."""

from __future__ import annotations

import inspect
from typing import Any, get_origin

from pydantic.fields import FieldInfo

from gmc.dsl.check.arguments import Argument, arguments
from gmc.dsl.errors.phrases import kind_name, one_of
from gmc.dsl.vocabulary import Word

BOUNDS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


def reference(word: type[Word]) -> str:
    """A word's page, for a terminal."""
    found = arguments(word)
    lines = [f"{signature(word)}    {kind_name(word.kind)}", ""]
    lines += [f"  {line}".rstrip() for line in (inspect.getdoc(word) or "").splitlines()]
    if found:
        lines += ["", "  arguments:"]
        width = max(len(argument.name) for argument in found)
        lines += [f"    {a.name:<{width}}  {_told(a, word.model_fields[a.field])}" for a in found]
    return "\n".join(lines) + "\n"


def signature(word: type[Word]) -> str:
    """The word as it is called: `sgd(lr, momentum = 0.0)`."""
    parts = [
        argument.name if argument.required else f"{argument.name} = {_shown(word.model_fields[argument.field])}"
        for argument in arguments(word)
    ]
    return f"{word.word}({', '.join(parts)})" if parts else word.word


def _told(argument: Argument, field: FieldInfo) -> str:
    each = one_of(argument.sorts) or "a value"
    several = get_origin(field.annotation) is tuple
    said = [f"several, each {each}" if several else each, *_bounds(field)]
    said.append("required" if argument.required else f"{_shown(field)} unless given")
    return ", ".join(said)


def _bounds(field: FieldInfo) -> list[str]:
    """What keeps a number in bounds, in words."""
    return [
        f"{words} {value:g}"
        for mark in field.metadata
        for name, words in BOUNDS.items()
        if isinstance(value := getattr(mark, name, None), (int, float))
    ]


def _shown(field: FieldInfo) -> str:
    """A default as a .gm file writes it."""
    return _value(field.get_default(call_default_factory=True, validated_data={}))


def _value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case tuple():
            return f"({', '.join(map(_value, value))})"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
