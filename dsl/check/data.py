"""The data statement: its source, and what it gives each variable of each split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gmc.dsl import model, syntax
from gmc.dsl.check.arguments import Argument, arguments
from gmc.dsl.check.bind import SOURCE, TRANSFORM, bind
from gmc.dsl.check.context import Context
from gmc.dsl.errors import data as errors
from gmc.dsl.source import Span

PATH = "path"
"""The field of a source that `--data` overrides."""


def check_data(context: Context, tree: syntax.Data, data_path: str | None) -> model.Data | None:
    """The data of a file, or None where something is wrong with them."""
    mark = context.mark
    source = bind(context, tree.source, SOURCE, given=_override(context, tree, data_path))
    bindings = tuple(binding for item in tree.bindings for binding in _binding(context, item))
    _refuse_repeats(context, bindings)
    if not tree.bindings:
        context.add(errors.no_bindings(tree.source.span))
    if source is None or context.errors_since(mark):
        return None
    return model.Data(source.word, bindings, tree.span, tree.source.span)


def _override(context: Context, tree: syntax.Data, data_path: str | None) -> dict[str, object]:
    if data_path is None:
        return {}
    name = tree.source if isinstance(tree.source, syntax.Name) else tree.source.name
    word = context.vocabulary.get("source", name.text)
    if word is None:
        return {}
    argument = next((a for a in arguments(word) if a.field == PATH), None)
    if argument is None:
        context.add(errors.no_path_to_override(None, name.text))
        return {}
    return {PATH: _path(argument, data_path)}


def _path(argument: Argument, data_path: str) -> str | Path:
    return Path(data_path) if argument.takes(Path) and not argument.takes(str) else data_path


def _binding(context: Context, tree: syntax.Binding) -> Iterator[model.Binding]:
    known = context.scope.is_a(tree.name, "variable")
    column, *pipe = tree.value.stages if isinstance(tree.value, syntax.Pipe) else (tree.value,)
    steps = [bind(context, stage, TRANSFORM) for stage in pipe]
    if not isinstance(column, (syntax.Name, syntax.String)):
        context.add(errors.column_expected(column.span))
        return
    done = tuple(model.Step(step.word, step.span) for step in steps if step is not None)
    if known and len(done) == len(steps):
        text = column.text if isinstance(column, syntax.Name) else column.value
        yield model.Binding(tree.split, tree.name.text, text, done, tree.span, column.span)


def _refuse_repeats(context: Context, bindings: tuple[model.Binding, ...]) -> None:
    first: dict[tuple[str, str], Span] = {}
    for binding in bindings:
        place = first.setdefault((binding.split, binding.variable), binding.span)
        if place is not binding.span:
            context.add(errors.bound_twice(binding.span, binding.variable, binding.split, place))
