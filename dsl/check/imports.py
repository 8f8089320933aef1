"""Imports: the params and nets of other files, where their `import` stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path

from gmc.dsl import syntax
from gmc.dsl.diagnostic import Diagnostic, GmcError, has_errors
from gmc.dsl.errors import names as errors
from gmc.dsl.parser import parse
from gmc.dsl.source import Source, Span

Loader = Callable[[Path], Source]


@dataclass(slots=True)
class Imports:
    """Reads imported files, each once however many files import it."""

    report: list[Diagnostic]
    loader: Loader
    seen: set[Path] = field(default_factory=set)

    def flatten(self, file: syntax.File, source: Source) -> tuple[syntax.Statement, ...]:
        """The statements of a file, with the params and nets of what it imports in place of each `import`."""
        path = _normal(Path(source.path))
        self.seen.add(path)
        return tuple(self._statements(file, source, (path,), own=True))

    def _statements(
        self, file: syntax.File, source: Source, above: tuple[Path, ...], *, own: bool
    ) -> Iterator[syntax.Statement]:
        here: dict[Path, Span] = {}
        for statement in file.statements:
            if isinstance(statement, syntax.Import):
                path = _normal(Path(source.path).parent / statement.path.value)
                if path in here:
                    first = here[path]
                    self.report.append(errors.imported_twice(statement.span, statement.path.value, first))
                    continue
                here[path] = statement.span
                yield from self._import(statement, path, above)
            elif own or isinstance(statement, (syntax.Param, syntax.Net)):
                yield statement

    def _import(self, statement: syntax.Import, path: Path, above: tuple[Path, ...]) -> Iterator[syntax.Statement]:
        name = statement.path.value
        if path in above:
            circle = [each.name for each in (*above[above.index(path) :], path)]
            self.report.append(errors.import_circle(statement.path.span, name, circle))
            return
        if path in self.seen:
            return
        self.seen.add(path)
        try:
            source = self.loader(path)
        except GmcError as error:
            reasons = [found.message for found in error.diagnostics]
            self.report.append(errors.import_failed(statement.path.span, name, reasons))
            return
        parsed = parse(source)
        self.report.extend(parsed.diagnostics)
        if has_errors(parsed.diagnostics):
            self.report.append(errors.import_failed(statement.path.span, name, ()))
        yield from self._statements(parsed.file, source, (*above, path), own=False)


def _normal(path: Path) -> Path:
    return Path(normpath(path))
