"""Source text and spans: where in which file something stands.

Offsets count code points from 0; lines and columns count from 1, as editors show them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field


def _line_starts(text: str) -> tuple[int, ...]:
    starts = [0]
    at = text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    return tuple(starts)


@dataclass(frozen=True, slots=True)
class Source:
    """A text with the name it is shown under (usually its path)."""

    path: str
    text: str = field(repr=False)
    line_starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "line_starts", _line_starts(self.text))

    @property
    def line_count(self) -> int:
        """The number of lines; text after the last newline, even if empty, is a line."""
        return len(self.line_starts)

    def position(self, offset: int) -> tuple[int, int]:
        """The line and column of an offset, both from 1; the end of the text is a position too."""
        if not 0 <= offset <= len(self.text):
            raise ValueError(f"offset {offset} lies outside a text of {len(self.text)} characters")
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line (from 1) without its line break."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] - 1 if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].removesuffix("\r")

    def span(self, start: int, end: int) -> Span:
        """The span from start up to, not including, end."""
        return Span(self, start, end)

    def end_span(self) -> Span:
        """The empty span after the last character that is not white space."""
        end = len(self.text.rstrip())
        return Span(self, end, end)


@dataclass(frozen=True, slots=True)
class Span:
    """The characters from start up to, not including, end."""

    source: Source
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= len(self.source.text):
            raise ValueError(f"no span {self.start}..{self.end} in a text of {len(self.source.text)} characters")

    @property
    def text(self) -> str:
        """The spanned text."""
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line of the first character, from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """The column of the first character, from 1."""
        return self.source.position(self.start)[1]

    @property
    def end_line(self) -> int:
        """The line of the position after the last character, from 1."""
        return self.source.position(self.end)[0]

    @property
    def end_column(self) -> int:
        """The column of the position after the last character, from 1."""
        return self.source.position(self.end)[1]

    def to(self, other: Span) -> Span:
        """The smallest span that covers this one and another of the same source."""
        if other.source is not self.source and other.source != self.source:
            raise ValueError(f"spans of two sources, {self.source.path} and {other.source.path}, have no union")
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

    def __str__(self) -> str:
        return f"{self.source.path}:{self.line}:{self.column}"
