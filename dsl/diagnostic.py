"""Diagnostics: what is wrong, where, and what to do; as text and as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from gmc.dsl.excerpt import excerpt, gutter_width
from gmc.dsl.source import Span


class Severity(Enum):
    """How bad it is: an error stops the compilation, a warning and a note do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that explains a diagnostic, such as a first declaration."""

    span: Span
    message: str

    def to_json(self) -> dict[str, object]:
        """As data for `--format json`."""
        return {"message": self.message, **_place(self.span)}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. The title belongs to the code, the message to this case."""

    code: str
    title: str
    message: str
    severity: Severity = Severity.ERROR
    span: Span | None = None
    related: tuple[Related, ...] = ()
    help: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether this stops the compilation."""
        return self.severity is Severity.ERROR

    def to_json(self) -> dict[str, object]:
        """As data for `--format json`; places are null when there is no span."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "title": self.title,
            "message": self.message,
            **_place(self.span),
            "related": [related.to_json() for related in self.related],
            "help": self.help,
        }

    def render(self) -> str:
        """As text for a terminal, without a final newline."""
        spans = [self.span] if self.span else []
        width = gutter_width([*spans, *(related.span for related in self.related)])
        lines = [f"{self.severity.value}[{self.code}]: {self.message}"]
        if self.span:
            lines += _located(self.span, width)
        for related in self.related:
            lines += [f"note: {related.message}", *_located(related.span, width)]
        if self.help:
            first, *rest = self.help.splitlines()
            lines += [f"help: {first}", *(f"      {line}" for line in rest)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


class GmcError(Exception):
    """A user's mistake: carries diagnostics; exit code 1 for the model or the data, 2 for the command line."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic], exit_code: int = 1) -> None:
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        super().__init__(render_all(found))
        self.diagnostics: tuple[Diagnostic, ...] = found
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[GmcError], tuple[tuple[Diagnostic, ...], int]]:
        return type(self), (self.diagnostics, self.exit_code)


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether any of these stops the compilation."""
    return any(diagnostic.is_error for diagnostic in diagnostics)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By place; what has no place comes first; what is at one place stays as found."""

    def key(diagnostic: Diagnostic) -> tuple[str, int]:
        span = diagnostic.span
        return (span.source.path, span.start) if span else ("", -1)

    return tuple(sorted(diagnostics, key=key))


def render_all(diagnostics: Sequence[Diagnostic]) -> str:
    """All of them as text, with an empty line between."""
    return "\n\n".join(diagnostic.render() for diagnostic in diagnostics)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that the writer of an unknown name most likely meant, if one is near enough."""
    unique = sorted(set(candidates) - {name})
    folded: dict[str, str] = {}
    for candidate in unique:
        folded.setdefault(candidate.casefold(), candidate)
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def _located(span: Span, width: int) -> list[str]:
    return [f"{' ' * width}--> {span}", *excerpt(span, width)]


def _place(span: Span | None) -> dict[str, object]:
    if span is None:
        return {
            "file": None,
            "line": None,
            "column": None,
            "end_line": None,
            "end_column": None,
            "start": None,
            "end": None,
        }
    return {
        "file": span.source.path,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
        "start": span.start,
        "end": span.end,
    }
