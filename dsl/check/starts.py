"""Starts: which source supplies the first state of which variable."""

from __future__ import annotations

from dataclasses import dataclass

from gmc.dsl import model, syntax
from gmc.dsl.check import planned
from gmc.dsl.check.bind import START, bind
from gmc.dsl.check.context import Context
from gmc.dsl.check.surroundings import Held, Surroundings
from gmc.dsl.errors import chains as errors
from gmc.dsl.errors import names as name_errors
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import StartWord

DATA = "data"
"""The start that takes a variable's column."""


def check_starts(context: Context, tree: syntax.Chain, held: Held, around: Surroundings) -> tuple[model.Start, ...]:
    """The start lines; one without a list takes every free variable that no other line names."""
    items = [item for item in tree.items if isinstance(item, syntax.Start)]
    lines = _Lines(context, held, around, {})
    listless: syntax.Start | None = None
    for item in items:
        for name in item.names:
            lines.take(name, from_data=_is_data(item))
        if not item.names and listless is not None:
            context.add(errors.started_twice(item.span, None, listless.span))
        elif not item.names:
            listless = item
    found: list[model.Start] = []
    for item in items:
        source = _source(context, item, around)
        if source is None:
            continue
        names = lines.supplied(item)
        if not names and not item.names and _is_data(item):
            lines.refuse_only_gaps(item)
        if isinstance(source, StartWord):
            _refuse_misfits(context, item, source, names, around.graph)
        found.append(model.Start(names, source, item.span))
    return tuple(found)


def refuse_starts(context: Context, chain: model.Chain, graph: model.Model) -> None:
    """Diagnostics of starts that do not go with the rest of their chain."""
    for start in chain.starts:
        for problem in start.source.problems(chain, graph) if isinstance(start.source, StartWord) else ():
            context.add(errors.start_refused(start.span, problem.message, problem.help, problem.related))


@dataclass(frozen=True, slots=True)
class _Lines:
    """The start lines of a chain: which variables they name, and where each is named first."""

    context: Context
    held: Held
    around: Surroundings
    named: dict[str, Span]

    def take(self, name: syntax.Name, *, from_data: bool) -> None:
        """Notes a variable that a line names, with a diagnostic where it cannot have that start."""
        variable = self.around.variable(self.context, name)
        if variable is None:
            return
        columns, gaps = self.around.columns, self.held.gaps
        if name.text in self.named:
            self.context.add(errors.started_twice(name.span, name.text, self.named[name.text]))
        elif variable.sites and name.text not in self.held.free:
            self.context.add(errors.start_of_clamped(name.span, name.text, self.held.chain))
        elif from_data and columns is not None and name.text not in columns:
            self.context.add(errors.start_without_column(name.span, name.text))
        elif from_data and name.text in gaps:
            self.context.add(errors.start_from_missing(name.span, name.text, gaps[name.text]))
        self.named.setdefault(name.text, name.span)

    def supplied(self, item: syntax.Start) -> tuple[str, ...]:
        """The variables that a line supplies, once all lines are taken."""
        free = self.held.free
        if item.names:
            return tuple(name.text for name in item.names if name.text in free)  # a layer without sites has no state
        names = tuple(v.name for v in self.around.graph.variables if v.name in free - set(self.named))
        if not _is_data(item):
            return names
        # what a row has of a variable that is clamped where observed is clamped: it has nothing for the rest
        return tuple(n for n in names if n in (self.around.columns or ()) and n not in self.held.gaps)

    def refuse_only_gaps(self, item: syntax.Start) -> None:
        """Diagnostics of a line that takes all data there are, where they are clamped already."""
        for name, clamp in self.held.gaps.items():
            if name in (self.around.columns or ()) and name not in self.named:
                self.context.add(errors.start_from_missing(item.source.span, name, clamp))


def _refuse_misfits(
    context: Context, item: syntax.Start, word: StartWord, names: tuple[str, ...], graph: model.Model
) -> None:
    places = {name.text: name.span for name in item.names}
    for name in dict.fromkeys(names):
        variable = graph.variable(name)
        why = word.misfit(variable)
        if why is not None:
            place = places.get(name, item.source.span)
            context.add(errors.start_misfit(place, name, word.word, why, variable.span))


def _is_data(tree: syntax.Start) -> bool:
    return isinstance(tree.source, syntax.Name) and tree.source.text == DATA


def _source(context: Context, tree: syntax.Start, around: Surroundings) -> StartWord | str | None:
    name = tree.source if isinstance(tree.source, syntax.Name) else tree.source.name
    if _is_data(tree) and around.columns is not None and not around.columns:
        context.add(errors.start_without_data(tree.source.span))
        return None
    if context.vocabulary.get("start", name.text) is not None:
        bound = bind(context, tree.source, START)
        return None if bound is None else bound.word
    declared = context.scope.get(name.text)
    if declared is not None and declared.what == "chain":
        if isinstance(tree.source, syntax.Call):
            context.add(errors.chain_with_arguments(tree.source.span, name.text))
            return None
        return name.text
    if declared is not None:
        wanted = ("start", "chain")
        context.add(name_errors.wrong_kind(name.span, name.text, declared.what, wanted, declared.span))
        return None
    strange = not context.vocabulary.kinds(name.text) and not planned.is_planned("start", name.text)
    if isinstance(tree.source, syntax.Name) and strange:
        known = (*context.scope.names("chain"), *context.vocabulary.names("start"))
        context.add(name_errors.unknown_name(name.span, name.text, ("start", "chain"), known))
        return None
    bind(context, tree.source, START)
    return None
