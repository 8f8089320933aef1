"""A limit on how deeply expressions nest, so that every later stage may recurse over the tree without a check."""

from __future__ import annotations

from dataclasses import dataclass, field

LIMIT = 150
"""The depth of tree allowed: 50 brackets, or 150 operators in a row."""

_BRACKET = 3
"""The most levels of tree a bracket adds: a call, a named argument in it, and an arrow or a pipe in that."""

_OPENING = {"LPAR", "LSQB", "LBRACE"}
_CLOSING = {"RPAR", "RSQB", "RBRACE"}
_OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH"}
_GO_ON = {"NAME", "NUMBER", "STRING", "DOCSTRING", "ARROW", "COLON", "DOTDOT"}


@dataclass(slots=True)
class _Level:
    """Inside one bracket: the expression being read, as operators and deepest bracket, and the deepest one before it."""

    operators: int = 0
    bracket: int = 0
    before: int = 0

    @property
    def depth(self) -> int:
        return max(self.before, self.operators + self.bracket)


@dataclass(slots=True)
class Nesting:
    """Bounds the depth of the tree from the tokens alone."""

    levels: list[_Level] = field(default_factory=lambda: [_Level()])

    def take(self, kind: str) -> bool:
        """Takes the next token into account; whether the tree is still within the limit."""
        if kind in _OPENING:
            self.levels.append(_Level())
        elif kind in _CLOSING:
            closed = self.levels.pop()
            self.levels = self.levels or [_Level()]
            outer = self.levels[-1]
            outer.bracket = max(outer.bracket, closed.depth + _BRACKET)
        elif kind in _OPERATORS:
            self.levels[-1].operators += 1
        elif kind in {"COMMA", "BAR"}:
            self.levels[-1] = _Level(before=self.levels[-1].depth)
        elif kind not in _GO_ON:
            # A reserved word, `=` or a comparison: what was read before is no part of the same expression.
            self.levels[-1] = _Level()
        return max(_BRACKET * (len(self.levels) - 1), self.levels[-1].depth) <= LIMIT
