"""The parser's automaton with its stack: what it would accept, and from which earlier state.

Lark drives the tables; what error recovery needs beside that (asking without acting, stepping back) is here.
"""

from __future__ import annotations

from typing import Any, cast

from lark import Token, Tree
from lark.parsers.lalr_analysis import Shift

from gmc.dsl.lexer import END, grammar


class Automaton:
    """One parse in progress."""

    def __init__(self) -> None:
        self._state = grammar().parse_interactive("").parser_state
        self._table: dict[Any, dict[str, tuple[Any, Any]]] = self._state.parse_conf.states
        self.tree: Tree[Token] | None = None

    @property
    def values(self) -> list[Any]:
        """What has been read and not yet been made part of a rule, bottom first: tokens, trees and lists of trees."""
        return self._state.value_stack

    def feed(self, token: Token) -> None:
        """Takes a token that is accepted."""
        result = self._state.feed_token(token, token.type == END)
        if token.type == END:
            self.tree = cast("Tree[Token]", result)

    def step_back(self, depth: int) -> None:
        """Forgets all but the lowest values."""
        del self._state.state_stack[depth + 1 :]
        del self._state.value_stack[depth:]

    def accepts(self, *kinds: str, depth: int | None = None) -> bool:
        """Whether tokens of these kinds could follow one another here, or with only the lowest `depth` values read."""
        stack = list(self._state.state_stack if depth is None else self._state.state_stack[: depth + 1])
        return all(self._shift(stack, kind) for kind in kinds)

    def accepted(self) -> frozenset[str]:
        """The kinds of token that could come next."""
        # Lark names terminals in capitals and rules in small letters.
        return frozenset(kind for kind in self._table[self._state.position] if kind.isupper() and self.accepts(kind))

    def _shift(self, stack: list[Any], kind: str) -> bool:
        while True:
            action, argument = self._table[stack[-1]].get(kind, (None, None))
            if action is None:
                return False
            if action is Shift:
                stack.append(argument)
                return True
            size = len(argument.expansion)
            if size:
                del stack[-size:]
            _, state = self._table[stack[-1]][argument.origin.name]
            stack.append(state)
            if kind == END and state == self._state.parse_conf.end_state:
                return True
