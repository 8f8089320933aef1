"""Diagnostics of what the language has and this version cannot yet run: GM9xx."""

from __future__ import annotations

from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import kind_name
from gmc.dsl.source import Span


@diagnostic("GM901", "form not supported yet")
def form(span: Span, what: str) -> Finding:
    """A statement, an item or a clause of the language that this version parses and cannot run."""
    return Finding(f"{what} is part of the language and not supported yet")


@diagnostic("GM902", "word not supported yet")
def word(span: Span, kind: str, name: str) -> Finding:
    """A type, an objective, a start and so on that the language names and this version does not have."""
    return Finding(f"the {kind_name(kind)} `{name}` is part of the language and not supported yet")
