"""`gmc fmt`: a text in the one style, with every comment where it was.

The printer works on tokens, which it never changes (but for the empty brackets of a call without arguments, which it
drops), and asks the syntax tree only where statements and items begin. So what it prints parses to the same tree.

A statement is cut into groups (a docstring, the head up to `{`, each item, `}`), a line each, longer ones broken. A
block written on one line stays on one line if it fits. A comment after code stays after that code, and any other stays
on its own line before what it stood before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from lark import Token

from gmc.dsl import syntax
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.lexer import END, lex
from gmc.dsl.parser import parse
from gmc.dsl.source import Source
from gmc.dsl.spacing import Spacing, may_break, visible

WIDTH = 100
_INDENT = "  "
_CONTINUED = "    "

Blank = Literal["keep", "need", "none"]
"""An empty line before a group: where there was one, in any case, or never."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Tokens that stand on one line if they fit."""

    tokens: Sequence[Token]
    indent: str = ""
    blank: Blank = "keep"
    opens: bool = False
    """No empty line follows it."""


def format_source(text: str, path: str = "<text>") -> str:
    """The text in the one style; GmcError with the diagnostics where it does not parse."""
    source = Source(path, text)
    parsed = parse(source)
    if not parsed.ok:
        raise GmcError(parsed.diagnostics)
    tokens = [token for token in lex(source).tokens if token.type != END]
    grouping = _Grouping(source, parsed.file, visible(tokens))
    writer = _Writer(source, tokens, parsed.file.comments, grouping.spacing)
    for group in grouping.groups():
        writer.write(group)
    return writer.finish()


# ── Groups ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Grouping:
    """Cuts a file into groups."""

    def __init__(self, source: Source, file: syntax.File, tokens: Sequence[Token]) -> None:
        self.source = source
        self.file = file
        self.tokens = tokens
        self.starts = [token.start_pos or 0 for token in tokens]
        self.spacing = Spacing(tokens)

    def groups(self) -> Iterator[_Group]:
        """All groups in order."""
        if self.file.docstring:
            yield _Group(self._within(self.file.docstring))
        before: syntax.Statement | None = None
        for statement in self.file.statements:
            blank: Blank = "keep" if before is None or type(before) is type(statement) else "need"
            if statement.docstring:
                yield _Group(self._within(statement.docstring), "", blank, opens=True)
            yield from self._statement(statement, blank)
            before = statement

    def _statement(self, statement: syntax.Statement, blank: Blank) -> Iterator[_Group]:
        tokens, items = self._within(statement), _items(statement)
        if items is None:
            yield _Group(tokens, "", blank)
            return
        opening = next(index for index, token in enumerate(tokens) if token.type == "LBRACE") + 1
        whole = self._one_line(statement, tokens, opening, items)
        if whole:
            yield _Group([whole], "", blank)
            return
        yield _Group(tokens[:opening], "", blank, opens=True)
        for item in items:
            if item.docstring:
                yield _Group(self._within(item.docstring), _INDENT, opens=True)
            yield _Group(self._within(item), _INDENT)
        yield _Group(tokens[-1:], _INDENT, "none")

    def _one_line(
        self, statement: syntax.Statement, tokens: Sequence[Token], opening: int, items: Sequence[syntax.Item]
    ) -> Token | None:
        """A statement with its block on one line, as one token, if it was written so and fits."""
        start, end = tokens[opening - 1].start_pos, tokens[-1].start_pos
        if "\n" in self.source.text[start:end] or any(item.docstring for item in items):
            return None
        if any(statement.span.start <= comment.span.start < statement.span.end for comment in self.file.comments):
            return None
        inside = "  ".join(self.spacing.line(self._within(item)) for item in items)
        text = f"{self.spacing.line(tokens[:opening])} {inside}{' ' if inside else ''}}}"
        if len(text) > WIDTH:
            return None
        return Token("ONE_LINE", text, tokens[0].start_pos, end_pos=tokens[-1].end_pos)

    def _within(self, node: syntax.Statement | syntax.Item | syntax.Docstring) -> Sequence[Token]:
        first, last = (bisect_right(self.starts, offset - 1) for offset in (node.span.start, node.span.end))
        return self.tokens[first:last]


def _items(statement: syntax.Statement) -> Sequence[syntax.Item] | None:
    """What stands in a statement's block; None if it has no block."""
    match statement:
        case syntax.Model() | syntax.Chain() | syntax.Train():
            return statement.items
        case syntax.Data():
            return statement.bindings
        case syntax.Test():
            return statement.asserts
        case _:
            return None


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Writer:
    """Writes groups, and the comments before and in them, line by line."""

    def __init__(
        self, source: Source, tokens: Sequence[Token], comments: Sequence[syntax.Comment], spacing: Spacing
    ) -> None:
        self.source = source
        self.comments = list(reversed(comments))
        self.spacing = spacing
        self.ends = sorted([token.end_pos or 0 for token in tokens] + [comment.span.end for comment in comments])
        self.lines = list[str]()
        self.after_comment = False
        self.opened = False

    def write(self, group: _Group) -> None:
        """Writes a group and the comments before and in it."""
        first = group.tokens[0]
        self._write_before(first.start_pos or 0, group)
        closes = group.blank == "none"
        self._line("" if closes else group.indent, str(first))
        previous, column = first, group.indent + _CONTINUED
        for chunk in self._chunks(group.tokens):
            broken = self._write_within(chunk[0].start_pos or 0, column)
            text = self.spacing.line(chunk)
            joined = f"{self.lines[-1]}{self.spacing.before(chunk[0])}{text}"
            if broken or (len(joined) > WIDTH and may_break(previous, chunk[0])):
                self._line(column, text)
            else:
                self.lines[-1] = joined
            previous = chunk[-1]
        self.opened = group.opens

    def finish(self) -> str:
        """The whole text, with the comments after the last group."""
        self._write_before(len(self.source.text), None)
        return "".join(f"{line}\n" for line in self.lines)

    def _chunks(self, tokens: Sequence[Token]) -> Iterator[list[Token]]:
        """The tokens after the first, in runs between which a line may break or a comment stands."""
        chunk = list[Token]()
        for previous, token in pairwise(tokens):
            commented = any(
                (previous.start_pos or 0) < comment.span.start < (token.start_pos or 0)
                for comment in reversed(self.comments)
            )
            if chunk and (commented or may_break(previous, token)):
                yield chunk
                chunk = []
            chunk.append(token)
        if chunk:
            yield chunk

    def _write_before(self, offset: int, group: _Group | None) -> None:
        """The comments before a group, and the empty lines between them and it."""
        comments = self._take(offset)
        if comments and self._trails(comments[0]):
            self._append(comments.pop(0))
        places = [comment.span.start for comment in comments]
        blanks = [self._is_blank_before(place) for place in [*places, offset]]
        blank = group.blank if group else "none"
        if blank == "none":
            blanks[-1] = False
        if blank == "need" and not any(blanks):
            blanks[0] = True
        if self.opened or not self.lines:
            blanks[0] = False
        for comment, after_blank in zip(comments, blanks, strict=False):
            self._blank(after_blank)
            self._line(group.indent if group else "", comment.text, comment=True)
        self._blank(blanks[-1])

    def _write_within(self, offset: int, column: str) -> bool:
        """The comments before a token inside a group; whether there were any."""
        comments = self._take(offset)
        for comment in comments:
            if self._trails(comment):
                self._append(comment)
            else:
                self._line(column, comment.text, comment=True)
        return bool(comments)

    def _take(self, offset: int) -> list[syntax.Comment]:
        taken = list[syntax.Comment]()
        while self.comments and self.comments[-1].span.start < offset:
            taken.append(self.comments.pop())
        return taken

    def _trails(self, comment: syntax.Comment) -> bool:
        """Whether a comment stands after code on its line, and can do so here."""
        start = comment.span.start
        line_start = self.source.text.rfind("\n", 0, start) + 1
        own_line = not self.source.text[line_start:start].strip()
        return bool(self.lines) and not self.after_comment and not own_line

    def _append(self, comment: syntax.Comment) -> None:
        self.lines[-1] += f"  {comment.text}"
        self.after_comment = True

    def _line(self, indent: str, text: str, comment: bool = False) -> None:
        self.lines.append(f"{indent}{text}")
        self.after_comment = comment
        self.opened = False

    def _blank(self, wanted: bool) -> None:
        if wanted:
            self.lines.append("")

    def _is_blank_before(self, offset: int) -> bool:
        """Whether an empty line stands between a place and the token or comment before it."""
        index = bisect_right(self.ends, offset)
        end = self.ends[index - 1] if index else 0
        return self.source.text.count("\n", end, offset) > 1
