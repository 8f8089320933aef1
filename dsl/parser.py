"""Text to syntax tree, with as many mistakes found in a run as possible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lark import Tree

from gmc.dsl import syntax
from gmc.dsl.build import build
from gmc.dsl.diagnostic import Diagnostic, GmcError, has_errors, in_order
from gmc.dsl.errors import syntax as errors
from gmc.dsl.lexer import lex
from gmc.dsl.recovery import Recovering
from gmc.dsl.source import Source


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file as far as it could be read; where there are errors the tree lacks what they spoil."""

    file: syntax.File
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        """Whether the tree is the whole file."""
        return not has_errors(self.diagnostics)


def parse(source: Source) -> Parsed:
    """The syntax tree of a text and what is wrong with its syntax; raises nothing."""
    lexed = lex(source)
    recovering = Recovering(source, lexed)
    tree = recovering.run()
    whole = source.span(0, len(source.text))
    # Nothing but the start of a file is left where not even its end could be accepted.
    file, more = build(source, tree) if isinstance(tree, Tree) else (syntax.File(None, (), whole), ())
    file = syntax.File(file.docstring, file.statements, whole, lexed.comments)
    return Parsed(file, in_order((*lexed.diagnostics, *recovering.diagnostics, *more)))


def read_source(path: str | Path) -> Source:
    """A file's text under its path; GmcError where it is missing, no file, not readable, or not UTF-8."""
    shown = str(path)
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise GmcError(errors.file_not_found(None, shown)) from None
    except IsADirectoryError:
        raise GmcError(errors.not_a_file(None, shown)) from None
    except (OSError, ValueError) as error:
        # ValueError: a path with a NUL character, which no file has.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise GmcError(errors.unreadable_file(None, shown, reason)) from None
    return Source(shown, decode(content, shown))


def decode(content: bytes, path: str) -> str:
    """UTF-8 text, with or without a byte order mark; GmcError where it is something else."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = Source(path, content[: error.start].decode("utf-8") + "\N{REPLACEMENT CHARACTER}")
        span = before.span(len(before.text) - 1, len(before.text))
        raise GmcError(errors.not_utf8(span, path, content[error.start], error.start)) from None


def load(path: str | Path) -> Parsed:
    """Reads and parses a file; GmcError where it cannot be read."""
    return parse(read_source(path))
