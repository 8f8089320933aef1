"""What every part of the checker needs at hand."""

from __future__ import annotations

from dataclasses import dataclass

from gmc.dsl.check.scope import Scope
from gmc.dsl.diagnostic import Diagnostic, has_errors
from gmc.dsl.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Context:
    """The words, the file's names, the values of its params (None where a param is wrong), and what was found so far."""

    vocabulary: Vocabulary
    scope: Scope
    params: dict[str, int | float | None]
    report: list[Diagnostic]

    def add(self, *found: Diagnostic) -> None:
        """Reports diagnostics."""
        self.report.extend(found)

    def errors_since(self, mark: int) -> bool:
        """Whether an error was found since the report was `mark` long."""
        return has_errors(self.report[mark:])

    @property
    def mark(self) -> int:
        """How many diagnostics were found so far."""
        return len(self.report)
