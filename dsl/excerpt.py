"""Excerpts of source text with the spanned part underlined, for terminals.

A tab is shown as four spaces, a control character as its picture, and an underline counts terminal cells rather than
characters, so that it stands under wide (East Asian) and combining characters too. Long lines are cut around the span.
"""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import category, east_asian_width

from gmc.dsl.source import Span

_TAB = "    "
_WIDEST = 120
_LEAD = 40
"""Cells kept before the underline when a long line is cut."""


def gutter_width(spans: Iterable[Span]) -> int:
    """The width of the widest line number among the spans' lines."""
    return max((len(str(span.end_line)) for span in spans), default=1)


def excerpt(span: Span, width: int) -> list[str]:
    """The span's line with carets under it; of several lines the first and the last."""
    last = span.source.position(max(span.start, span.end - 1))[0]
    bar = f"{' ' * width} |"
    out = [bar]
    if last == span.line:
        out += _underlined(span.source.line(span.line), span.line, span.column - 1, span.end - span.start, width)
        return out
    first_line, last_line = span.source.line(span.line), span.source.line(last)
    out += _underlined(first_line, span.line, span.column - 1, len(first_line) - span.column + 1, width)
    if last > span.line + 1:
        out.append("...")
    indent = len(last_line) - len(last_line.lstrip())
    length = span.end - span.source.line_starts[last - 1] - indent
    out += _underlined(last_line, last, indent, length, width)
    return out


def _underlined(line: str, number: int, start: int, length: int, width: int) -> list[str]:
    start = min(start, len(line))
    end = max(start, min(start + length, len(line)))
    before, marked = _shown(line[:start]), _shown(line[start:end])
    shown, before, marked = _cut(before, marked, _shown(line[end:]))
    carets = "^" * max(1, _cells(marked))
    return [f"{number:>{width}} | {shown}".rstrip(), f"{' ' * width} | {' ' * _cells(before)}{carets}"]


def _cut(before: str, marked: str, after: str) -> tuple[str, str, str]:
    """The line to show, what of it stands before the carets, and what they mark; no wider than the widest line."""
    if len(before) + len(marked) + len(after) <= _WIDEST:
        return before + marked + after, before, marked
    if len(before) > _LEAD:
        before = "..." + before[-_LEAD:]
    if len(before) + len(marked) > _WIDEST:
        marked, after = marked[: _WIDEST - len(before)], "..."
    room = _WIDEST - len(before) - len(marked)
    if len(after) > max(room, 3):
        after = after[:room] + "..."
    return before + marked + after, before, marked


def _shown(text: str) -> str:
    return "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if character == "\t":
        return _TAB
    if character < " ":
        return chr(0x2400 + ord(character))
    # Bidirectional controls reorder what a terminal shows; surrogates cannot be written at all.
    return "\N{REPLACEMENT CHARACTER}" if category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else character


def _cells(text: str) -> int:
    return sum(map(_character_cells, text))


def _character_cells(character: str) -> int:
    if category(character) in {"Mn", "Me"}:
        return 0
    return 2 if east_asian_width(character) in {"W", "F"} else 1
