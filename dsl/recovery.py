"""Parsing past mistakes.

A token that cannot come next is mended where the writer's meaning is plain (a misspelt keyword, a reserved word used as
a name, a bracket not closed), and parsing goes on as if it had been written so. Otherwise the mistake is reported and
text is skipped up to the next reserved word that begins a statement or an item, or `}`, that some earlier state of the
parser accepts; what was read after that state is forgotten. So one mistake gives one diagnostic.
"""

from __future__ import annotations

from lark import Token, Tree

from gmc.dsl.automaton import Automaton
from gmc.dsl.diagnostic import Diagnostic, nearest
from gmc.dsl.errors import syntax as errors
from gmc.dsl.expected import (
    ALL_ITEMS,
    ITEMS,
    OPERATORS,
    STATEMENTS,
    closing_of,
    enclosing,
    expected_words,
    found_words,
    home_words,
    open_bracket,
    open_brackets,
    spelling,
)
from gmc.dsl.lexer import END, Lexed, made_token, reserved_words, token_span
from gmc.dsl.source import Source, Span

_SYNC = STATEMENTS | ALL_ITEMS | {"RBRACE", "DOCSTRING", END}
_CLOSERS = {"RPAR", "RSQB", "RBRACE"}
_UNIQUE = STATEMENTS - {"TEST"}
"""Reserved words that can only begin a statement of the file."""


class Recovering:
    """One parse of a lexed text."""

    def __init__(self, source: Source, lexed: Lexed) -> None:
        self.source = source
        self.tokens = lexed.tokens
        self.cut = lexed.cut
        self.diagnostics: list[Diagnostic] = []
        self.automaton = Automaton()
        self.skipping = False
        self.skipped_braces = 0
        self.end_before = 0

    def run(self) -> Tree[Token] | None:
        """The parse tree of what could be read; None where that is nothing."""
        for index, token in enumerate(self.tokens):
            if self.skipping:
                self._skip_or_resume(index, token)
            elif self.automaton.accepts(token.type):
                self.automaton.feed(token)
            else:
                self._meet(index, token)
            self.end_before = self._span(token).end
        return self.automaton.tree

    # ── Mending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _meet(self, index: int, token: Token) -> None:
        """Deals with a token that cannot come next."""
        if self.cut and token.type == END:
            # The lexer has said why the rest is missing.
            self._start_skipping(index, token)
        elif not (
            self._drop_docstring(index, token)
            or self._mend_word(index, token)
            or self._mend_bracket(token)
            or self._mend_missing_name(token)
        ):
            self.diagnostics.append(self._diagnose(index, token))
            self._start_skipping(index, token)

    def _start_skipping(self, index: int, token: Token) -> None:
        self.skipping, self.skipped_braces = True, 0
        self._skip_or_resume(index, token)

    def _report(self, diagnostic: Diagnostic) -> bool:
        self.diagnostics.append(diagnostic)
        return True

    def _drop_docstring(self, index: int, token: Token) -> bool:
        values = self.automaton.values
        last = values[-1] if values else None
        if not (isinstance(last, Token) and last.type == "DOCSTRING"):
            return False
        if not self.automaton.accepts(token.type, depth=len(values) - 1):
            return False
        self.automaton.step_back(len(values) - 1)
        self.automaton.feed(token)
        return self._report(errors.dangling_docstring(self._span(last)))

    def _mend_word(self, index: int, token: Token) -> bool:
        """A reserved word where a name belongs, or a name where one reserved word belongs."""
        following = self.tokens[index + 1].type if index + 1 < len(self.tokens) else END
        if token.type in reserved_words().values() and self.automaton.accepts("NAME", following):
            self.automaton.feed(made_token("NAME", str(token), *self._place(token)))
            return self._report(errors.reserved_word(self._span(token)))
        if token.type != "NAME":
            return False
        accepted = self.automaton.accepted()
        words = {word: kind for word, kind in reserved_words().items() if kind in accepted}
        meant = nearest(token, words)
        if meant is None or not self.automaton.accepts(words[meant], following):
            return False
        expected = expected_words(accepted, self.automaton.values)
        self.automaton.feed(made_token(words[meant], meant, *self._place(token)))
        return self._report(errors.unknown_keyword(self._span(token), expected, meant))

    def _mend_bracket(self, token: Token) -> bool:
        """A bracket that closes nothing, that closes another kind, or that is missing."""
        opening = open_bracket(self.automaton.values)
        if opening is None:
            extra = token.type in _CLOSERS and self.automaton.accepts(END)
            return extra and self._report(errors.unmatched_closing(self._span(token), None, None))
        closing = closing_of(opening)
        if token.type in {"RPAR", "RSQB"} and closing != token.type and self.automaton.accepts(closing):
            return self._mend_unmatched(token, opening, closing)
        before_end = token.type in {"RBRACE", END} or token.type in reserved_words().values()
        return before_end and self._close_before(token)

    def _mend_unmatched(self, token: Token, opening: Token, closing: str) -> bool:
        span = self._span(token)
        if closing == "RBRACE":
            # A `)` too many between two items; the block goes on.
            return self._report(errors.unmatched_closing(span, None, None))
        self.automaton.feed(made_token(closing, spelling(closing), *self._place(token)))
        return self._report(errors.unmatched_closing(span, self._span(opening), spelling(closing)))

    def _close_before(self, token: Token) -> bool:
        """Closes the brackets whose closing ones are missing before a token that cannot stand inside them."""
        closings = self._missing_closings(token, len(self.automaton.values))
        at = self._gap()
        for opening, closing in closings:
            self.automaton.feed(made_token(closing, "", at.start, at.end))
            self._report(errors.missing_closing(at, spelling(closing), self._span(opening)))
        if closings:
            self.automaton.feed(token)
        return bool(closings)

    def _missing_closings(self, token: Token, depth: int) -> list[tuple[Token, str]]:
        """The closing brackets that, written before a token, make it acceptable; none where that does not help."""
        closings: list[tuple[Token, str]] = []
        for opening in reversed(open_brackets(self.automaton.values[:depth])):
            closings.append((opening, closing_of(opening)))
            kinds = [kind for _, kind in closings]
            if self.automaton.accepts(*kinds, token.type, depth=depth):
                return closings
        return []

    def _mend_missing_name(self, token: Token) -> bool:
        """A block without its name is still read, for the mistakes in it."""
        values = self.automaton.values
        if not (values and isinstance(values[-1], Token) and values[-1].type in {"MODEL", "CHAIN"}):
            return False
        if token.type != "LBRACE":
            return False
        self._report(self._diagnose_unexpected(token))
        at = self._gap()
        self.automaton.feed(made_token("NAME", "", at.start, at.end))
        self.automaton.feed(token)
        return True

    # ── Skipping ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _skip_or_resume(self, index: int, token: Token) -> None:
        if token.type == "LBRACE":
            self.skipped_braces += 1
        elif token.type == "RBRACE" and self.skipped_braces:
            self.skipped_braces -= 1
        elif token.type in _UNIQUE | {END} or (not self.skipped_braces and self._begins_item(index, token)):
            self._resume(token)

    def _begins_item(self, index: int, token: Token) -> bool:
        """Whether a token may begin an item, or end a block; a binding of `data` begins with a name."""
        if token.type != "NAME":
            return token.type in _SYNC
        values = self.automaton.values
        kinds = [value.type for value in values if isinstance(value, Token)]
        return self.tokens[index + 1].type == "EQUAL" and enclosing(values) == "DATA" and "LBRACE" in kinds

    def _resume(self, token: Token) -> None:
        """Goes on from the latest state that accepts the token, if there is one."""
        for depth in range(len(self.automaton.values), -1, -1):
            if self.automaton.accepts(token.type, depth=depth):
                self.automaton.step_back(depth)
                self.automaton.feed(token)
                self.skipping = False
                return
            if token.type in _UNIQUE | {END} and self._block_ends(token, depth):
                return

    def _block_ends(self, token: Token, depth: int) -> bool:
        """Ends an open block before a statement of the file; its `}` is missing, or was skipped."""
        closings = self._missing_closings(token, depth)
        if not closings or any(kind != "RBRACE" for _, kind in closings):
            return False
        self.automaton.step_back(depth)
        at = self._gap()
        for opening, closing in closings:
            self.automaton.feed(made_token(closing, "", at.start, at.end))
            if not self.cut:
                self._report(errors.missing_closing(at, spelling(closing), self._span(opening)))
        self.automaton.feed(token)
        self.skipping = False
        return True

    # ── Saying what is wrong ────────────────────────────────────────────────────────────────────────────────────────

    def _diagnose(self, index: int, token: Token) -> Diagnostic:
        values, span = self.automaton.values, self._span(token)
        statement = enclosing(values)
        opening = open_bracket(values)
        kinds = [value.type if isinstance(value, Token) else "" for value in values]
        if token.type in ALL_ITEMS - STATEMENTS and token.type not in ITEMS.get(statement or "", frozenset()):
            home = next(kind for kind, items in ITEMS.items() if token.type in items)
            return errors.item_out_of_place(span, home_words(home), _here(statement, opening))
        accepted = self.automaton.accepted()
        if token.type == "ARROW" and accepted >= OPERATORS:
            return errors.schedule_out_of_place(span)
        if token.type == "COLON" and "COLON" in kinds[_last(kinds, "LSQB") :] and statement == "CHAIN":
            return errors.slice_with_step(span)
        if token.type in _CLOSERS and kinds and kinds[-1] == "COMMA":
            return errors.trailing_comma(self._span(values[-1]))
        if token.type in _CLOSERS and opening is None and self._closes_nothing(kinds):
            return errors.unmatched_closing(span, None, None)
        return self._diagnose_unexpected(token)

    def _closes_nothing(self, kinds: list[str]) -> bool:
        return not kinds or kinds[-1] not in set(reserved_words().values()) | OPERATORS | {"EQUAL", "JOIN", "ARROW"}

    def _diagnose_unexpected(self, token: Token) -> Diagnostic:
        expected = expected_words(self.automaton.accepted(), self.automaton.values)
        return errors.unexpected(self._span(token), found_words(token), expected, self._hint(token))

    def _hint(self, token: Token) -> str | None:
        accepted = self.automaton.accepted()
        if token.type == "EQUAL" and "EQUALS" in accepted:
            return "values are compared with `==`"
        if token.type == "EQUALS" and "EQUAL" in accepted:
            return "a value is given with a single `=`"
        if token.type == "NAME" and accepted >= STATEMENTS:
            return f"statements begin with {', '.join(sorted(_word(kind) for kind in STATEMENTS))}"
        return None

    def _span(self, token: Token) -> Span:
        return token_span(self.source, token)

    def _place(self, token: Token) -> tuple[int, int]:
        span = self._span(token)
        return span.start, span.end

    def _gap(self) -> Span:
        """The empty span after the token before the present one, where what is missing would stand."""
        return self.source.span(self.end_before, self.end_before)


def _here(statement: str | None, opening: Token | None) -> str:
    return home_words(statement if opening is not None else None)


def _last(kinds: list[str], kind: str) -> int:
    return max((index for index, other in enumerate(kinds) if other == kind), default=len(kinds))


def _word(kind: str) -> str:
    return f"`{spelling(kind)}`"
