"""Where spaces stand between the tokens of a line, and where a long line may break."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lark import Token

from gmc.dsl.lexer import END

_ENDS_VALUE = {"NAME", "NUMBER", "STRING", "RPAR", "RSQB"}
_BREAK_BEFORE = {
    "BAR",
    "BY",
    "USING",
    "OF",
    "TIMES",
    "FROM",
    "UNLESS",
    "THEN",
    "WITHIN",
    "WITH",
    "WHERE",
    "EVERY",
    "IN",
}
_BLOCK_BEGINS = {"SWEEP", "THEN"}


def visible(tokens: Sequence[Token]) -> list[Token]:
    """The tokens to print: all but the end, and the brackets of calls without arguments."""
    kept = list[Token]()
    for token in tokens:
        if token.type == "RPAR" and kept and kept[-1].type == "LPAR":
            kept.pop()
        elif token.type != END:
            kept.append(token)
    return kept


class Spacing:
    """The spaces between the visible tokens of a text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._spaced = {token.start_pos for token, spaced in zip(tokens, _spaced(tokens), strict=True) if spaced}

    def before(self, token: Token) -> str:
        """What stands between a token and the one before it, if they are on one line."""
        return " " if token.start_pos in self._spaced else ""

    def line(self, tokens: Sequence[Token]) -> str:
        """Tokens on one line."""
        return "".join(f"{self.before(token)}{token}" for token in tokens).lstrip(" ")


def may_break(previous: Token, token: Token) -> bool:
    """Whether a long line may break between two tokens."""
    return previous.type == "COMMA" or token.type in _BREAK_BEFORE


def _spaced(tokens: Sequence[Token]) -> Iterator[bool]:
    """For each token whether a space stands before it."""
    brackets = list[str]()
    kinds = ["", "", *(token.type for token in tokens), ""]
    sign = False
    for index in range(2, len(kinds) - 1):
        earlier, previous, kind, following = kinds[index - 2 : index + 2]
        bracket = brackets[-1] if brackets else ""
        after_sign, sign = sign, kind == "MINUS" and previous not in _ENDS_VALUE
        if kind in {"LPAR", "LSQB", "LBRACE"}:
            brackets.append("BLOCK" if previous in _BLOCK_BEGINS else kind)
        elif kind in {"RPAR", "RSQB", "RBRACE"}:
            brackets.pop()
        if after_sign:
            # Two signs in a row would read as the `--` of an edge.
            yield kind == "MINUS"
        elif kind == "SLASH" or previous == "SLASH":
            ends = (previous, following) if kind == "SLASH" else (earlier, kind)
            yield ends != ("NUMBER", "NUMBER")
        else:
            yield not _glued(previous, kind, bracket)


def _glued(previous: str, kind: str, bracket: str) -> bool:
    """Whether a token stands right after the one before it, inside a bracket."""
    if previous in {"LPAR", "LSQB"} or kind in {"RPAR", "RSQB", "COMMA"}:
        return True
    if bracket == "BLOCK" and (previous == "LBRACE" or kind == "RBRACE"):
        return True
    if kind == "LPAR":
        return previous == "NAME"
    if kind == "LSQB":
        return previous in {"NAME", "RPAR"}
    return bracket == "LSQB" and "COLON" in {previous, kind} and previous != "COMMA"
