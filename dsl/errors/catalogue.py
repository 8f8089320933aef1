"""The catalogue of diagnostics: which codes there are, their titles, constructors and pages.

A constructor takes the span first and what it speaks of after it, and is registered by its decorator:

    @diagnostic("GM104", "unterminated docstring")
    def unterminated_docstring(span: Span) -> Finding:
        return Finding("this docstring never ends", help='close it with three quotes')

Called, it gives the whole `Diagnostic`. No other module holds the text of a message.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Concatenate, ParamSpec

from gmc.dsl.diagnostic import Diagnostic, Related, Severity
from gmc.dsl.source import Span

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a constructor says of one case; code, title and span are added to it."""

    message: str
    help: str | None = None
    related: tuple[Related, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered diagnostic."""

    code: str
    title: str
    severity: Severity
    constructor: Callable[..., Diagnostic]


_ENTRIES: dict[str, Entry] = {}


def diagnostic(
    code: str, title: str, severity: Severity = Severity.ERROR
) -> Callable[[Callable[Concatenate[Span, P], Finding]], Callable[Concatenate[Span | None, P], Diagnostic]]:
    """Registers a constructor under a code of its own; the title is the code's, in a few words."""

    def register(say: Callable[Concatenate[Span, P], Finding]) -> Callable[Concatenate[Span | None, P], Diagnostic]:
        def construct(span: Span | None, /, *args: P.args, **kwargs: P.kwargs) -> Diagnostic:
            # Only what has no place in a text (a file that is missing) is told without a span, and never looks at it.
            found = say(span, *args, **kwargs)  # type: ignore[arg-type]
            return Diagnostic(code, title, found.message, severity, span, found.related, found.help)

        if code in _ENTRIES:
            raise ValueError(f"{code} is registered twice: {_ENTRIES[code].title} and {title}")
        functools.update_wrapper(construct, say)
        _ENTRIES[code] = Entry(code, title, severity, construct)
        return construct

    return register


def catalogue() -> dict[str, Entry]:
    """All registered diagnostics by code, in order of code; reads every module of this package first."""
    package = Path(__file__).parent
    for module in iter_modules([str(package)]):
        import_module(f"gmc.dsl.errors.{module.name}")
    return dict(sorted(_ENTRIES.items()))


def page_path(code: str) -> Path:
    """Where the page about a code is, whether or not there is one."""
    return Path(__file__).parent.parent / "explain" / f"{code}.md"


def explain(code: str) -> str:
    """The page about a code, in Markdown; KeyError for a code that does not exist."""
    entry = catalogue()[code.upper()]
    return page_path(entry.code).read_text(encoding="utf-8")
