"""Diagnostics of data statements: GM6xx."""

from __future__ import annotations

from gmc.dsl.diagnostic import Related
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.source import Span

_ROWS = {"train": "training rows", "valid": "validation rows", "test": "test rows"}


@diagnostic("GM601", "data without columns")
def no_bindings(span: Span) -> Finding:
    """A data statement that gives no variable anything."""
    return Finding("these data are given to no variable", "write `VARIABLE = COLUMN` in the braces")


@diagnostic("GM602", "column expected")
def column_expected(span: Span) -> Finding:
    """A number, a call or a sum where the name of a column belongs."""
    return Finding("the name of a column belongs here", 'write a name or a string, such as image or "pixel 1"')


@diagnostic("GM603", "variable given twice")
def bound_twice(span: Span, variable: str, split: str, first: Span) -> Finding:
    """Two columns for one variable in one split."""
    related = (Related(first, "the first is here"),)
    return Finding(f"the {_ROWS[split]} of `{variable}` are given twice", "keep one", related)


@diagnostic("GM604", "source without a path")
def no_path_to_override(span: Span | None, source: str) -> Finding:
    """`--data` for a source that reads no file."""
    return Finding(f"--data: the data source `{source}` reads no file", "leave --data out")
