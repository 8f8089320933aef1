"""One set of names for params, nets, variables, edges, chains and objectives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from gmc.dsl import syntax
from gmc.dsl.diagnostic import Diagnostic
from gmc.dsl.errors import names as errors
from gmc.dsl.source import Span
from gmc.dsl.vocabulary import Vocabulary

What = Literal["param", "net", "variable", "edge", "chain", "objective"]

BUILTIN = frozenset({"cosine", "false", "learned", "mean", "mode", "patience", "sample", "torch", "true", "uniform"})
"""Names with a meaning of their own that no word is registered under."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A name of the file: what it is and where it was first declared; `made` for an edge called by its variables."""

    name: str
    what: What
    span: Span
    made: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """The names of a file, in the order of declaration. A name that clashes keeps its first meaning."""

    vocabulary: Vocabulary
    report: list[Diagnostic]
    _declared: dict[str, Declared] = field(default_factory=dict)
    _clashing: set[tuple[str, What]] = field(default_factory=set)

    def declare(self, name: str, what: What, span: Span, *, made: bool = False) -> bool:
        """Adds a name; False, with a diagnostic, where it is taken or hides a word."""
        first = self._declared.get(name)
        if first is not None:
            made_edge = made or first.made
            self._clashing.add((name, what))
            self.report.append(errors.clash(span, name, what, first.what, first.span, made_edge=made_edge))
            return False
        self._declared[name] = Declared(name, what, span, made)
        kinds = self.vocabulary.kinds(name)
        if kinds or name in BUILTIN:
            self.report.append(errors.hides_word(span, name, kinds))
        return True

    def get(self, name: str) -> Declared | None:
        """What a name is, if the file declares it."""
        return self._declared.get(name)

    def names(self, *what: What) -> tuple[str, ...]:
        """The names of these kinds, in the order of declaration."""
        return tuple(d.name for d in self._declared.values() if d.what in what)

    def is_a(self, name: syntax.Name, *what: What, others: Iterable[str] = ()) -> bool:
        """Whether a name is declared as one of these; if not, a diagnostic says what it is or which name is near.

        `others` are names that would also do there, for the nearest name.
        """
        declared = self._declared.get(name.text)
        if declared is None:
            self.report.append(errors.unknown_name(name.span, name.text, what, (*self.names(*what), *others)))
            return False
        if any((name.text, w) in self._clashing for w in what):
            return True  # it was meant so, and the clash was reported
        if declared.what not in what:
            self.report.append(errors.wrong_kind(name.span, name.text, declared.what, what, declared.span))
            return False
        return True
