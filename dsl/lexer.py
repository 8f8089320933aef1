"""Text to tokens: the lexer never stops, and what is no token becomes a diagnostic and, where possible, a token.

Comments are set aside here. Numbers, strings and nesting are checked here too, so that the parser sees only tokens that
mean something.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lark import Lark, Token

from gmc.dsl.diagnostic import Diagnostic
from gmc.dsl.errors import syntax as errors
from gmc.dsl.nesting import Nesting
from gmc.dsl.source import Source, Span
from gmc.dsl.syntax import Comment

END = "$END"

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}

_MEANT = {
    "→": ("ARROW", "->"),
    "⟶": ("ARROW", "->"),
    "—": ("JOIN", "--"),
    "–": ("JOIN", "--"),
    "−": ("MINUS", "-"),
    "×": ("STAR", "*"),
    "·": ("STAR", "*"),
    "≤": ("LESS_EQUAL", "<="),
    "≥": ("GREATER_EQUAL", ">="),
    "…": ("DOTDOT", ".."),
}
"""What a character was meant for, as a kind of token and its text."""

_HINTS = {
    ";": "nothing ends a statement; remove it",
    "“": 'strings stand in straight quotes: `"`',
    "”": 'strings stand in straight quotes: `"`',
    "'": 'strings stand in double quotes: `"`',
    "~": "an edge for inference is written `~>`",
    ".": "a range is written `1 .. 10`",
    "!": "there is no negation",
    "\N{NO-BREAK SPACE}": "this is a no-break space; put a space there",
    "\N{ZERO WIDTH NO-BREAK SPACE}": "this is a byte order mark; remove it",
}


class _KeepAll:
    """Makes lark keep the terminals that no rule mentions."""

    always_accept = (
        "COMMENT",
        "BAD_NAME",
        "BAD_QUOTES",
        "BAD_DOCSTRING",
        "BAD_STRING",
        "BAD_NUMBER",
        "BAD_CHARACTER",
    )

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


@functools.cache
def grammar(strict: bool = False) -> Lark:
    """The grammar's tables, built at first use; strict also proves that no two tokens collide (needs interegular)."""
    text = (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8")
    return Lark(
        text,
        parser="lalr",
        lexer="basic",
        strict=strict,
        postlex=_KeepAll(),
        keep_all_tokens=True,
        maybe_placeholders=False,
    )


@functools.cache
def reserved_words() -> dict[str, str]:
    """The reserved words of the language, and the name of each one's token."""
    words = {}
    for terminal in grammar().terminals:
        if terminal.pattern.type == "str" and terminal.pattern.value.isalpha():
            words[terminal.pattern.value] = terminal.name
    return words


@dataclass(frozen=True, slots=True)
class Lexed:
    """What the lexer found; `cut` when it gave up before the end of the text."""

    tokens: tuple[Token, ...]
    comments: tuple[Comment, ...]
    diagnostics: tuple[Diagnostic, ...]
    cut: bool


def lex(source: Source) -> Lexed:
    """The tokens of a text, ended by one of type END, its comments, and what was wrong with them."""
    return _Lexer(source).run()


def token_span(source: Source, token: Token) -> Span:
    """Where a token stands."""
    assert token.start_pos is not None and token.end_pos is not None
    return source.span(token.start_pos, token.end_pos)


def made_token(kind: str, text: str, start: int, end: int) -> Token:
    """A token that the text does not hold in this form."""
    return Token(kind, text, start, end_pos=end)


def string_value(text: str) -> str:
    """What a string token stands for."""
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])


class _Lexer:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens: list[Token] = []
        self.comments: list[Comment] = []
        self.diagnostics: list[Diagnostic] = []
        self.cut = False

    def run(self) -> Lexed:
        nesting = Nesting()
        for raw in _merged(_raw_tokens(self.source.text)):
            token = self._checked(raw)
            if token is not None:
                self.tokens.append(token)
                if not nesting.take(token.type):
                    self.diagnostics.append(errors.nested_too_deeply(token_span(self.source, token)))
                    self.cut = True
            if self.cut:
                break
        # The file ends, for a message, where its last token does: comments after that are not what is incomplete.
        end = (self.tokens[-1].end_pos or 0) if self.tokens else 0
        self.tokens.append(made_token(END, "", end, end))
        return Lexed(tuple(self.tokens), tuple(self.comments), tuple(self.diagnostics), self.cut)

    def _checked(self, token: Token) -> Token | None:
        """The token to go on with, if any."""
        span = token_span(self.source, token)
        match token.type:
            case "COMMENT":
                self.comments.append(Comment(str(token).rstrip(), span))
                return None
            case "NUMBER":
                if float(token) == float("inf"):
                    self.diagnostics.append(errors.number_too_large(span))
                    return _as(token, "NUMBER", "1")
            case "STRING":
                self._check_escapes(token)
            case "BAD_DOCSTRING":
                self.diagnostics.append(errors.unterminated_docstring(span))
                self.cut = True
                return None
            case "BAD_STRING":
                self.diagnostics.append(errors.unterminated_string(span))
                return _as(token, "STRING", '""')
            case "BAD_NUMBER":
                self.diagnostics.append(errors.malformed_number(span, _number_help(str(token))))
                return _as(token, "NUMBER", "1")
            case "BAD_NAME":
                self.diagnostics.append(
                    errors.illegal_character(span, "names are of the letters a-z, A-Z, digits and `_`")
                )
                return _as(token, "NAME", str(token))
            case "BAD_QUOTES":
                self.diagnostics.append(errors.illegal_character(span, 'strings stand in double quotes: `"`'))
                return _as(token, "STRING", '""')
            case "BAD_CHARACTER":
                return self._character(token, span)
        return token

    def _character(self, token: Token, span: Span) -> Token | None:
        meant = _MEANT.get(str(token))
        help = f"write `{meant[1]}`" if meant else _HINTS.get(str(token[0]))
        self.diagnostics.append(errors.illegal_character(span, help))
        return _as(token, *meant) if meant else None

    def _check_escapes(self, token: Token) -> None:
        assert token.start_pos is not None
        for found in _ESCAPE.finditer(token):
            if found[1] not in _ESCAPES:
                start = token.start_pos + found.start()
                self.diagnostics.append(errors.unknown_escape(self.source.span(start, start + 2)))


def _as(token: Token, kind: str, text: str) -> Token:
    assert token.start_pos is not None and token.end_pos is not None
    return made_token(kind, text, token.start_pos, token.end_pos)


def _raw_tokens(text: str) -> Iterator[Token]:
    interactive = grammar().parse_interactive(text)
    return iter(interactive.lexer_thread.lex(interactive.parser_state))


def _merged(tokens: Iterable[Token]) -> Iterator[Token]:
    """Runs of illegal characters as one token each, since they are one mistake."""
    held: Token | None = None
    for token in tokens:
        if held is not None and token.type == "BAD_CHARACTER" and token.start_pos == held.end_pos:
            held = made_token(held.type, str(held) + str(token), held.start_pos or 0, token.end_pos or 0)
            continue
        if held is not None:
            yield held
        held = token if token.type == "BAD_CHARACTER" else None
        if held is None:
            yield token
    if held is not None:
        yield held


def _number_help(text: str) -> str:
    sizes = re.fullmatch(r"([0-9]+(?:[xX][0-9]+)+)", text)
    if sizes and not re.match(r"0[xX]", text):
        return f"sizes are listed in brackets: `[{', '.join(re.split('[xX]', text))}]`"
    if re.fullmatch(r"[0-9]+\.", text):
        return f"write `{text[:-1]}` or `{text}0`"
    if "_" in text and re.fullmatch(r"[0-9_]+", text):
        return f"write `{text.replace('_', '')}`"
    return "numbers are written `2`, `0.5`, `.5` or `2e-4`, and what follows stands apart from them"
