"""What the parser expected, in words, and what it found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from lark import Token

from gmc.dsl.lexer import END, grammar, reserved_words

STATEMENTS = frozenset({"IMPORT", "PARAM", "NET", "MODEL", "DATA", "CHAIN", "OBJECTIVE", "TRAIN", "TEST"})
ITEMS = {
    "MODEL": frozenset({"OBSERVED", "LATENT", "EDGE"}),
    "DATA": frozenset({"VALID", "TEST"}),
    "CHAIN": frozenset({"CLAMP", "POTENT", "IMPOTENT", "START", "SWEEP", "SWEEPS", "UPDATE", "BACKPROP"}),
    "TRAIN": frozenset({"MINIMIZE", "BATCH", "EPOCHS", "WATCH", "STOP"}),
    "TEST": frozenset({"ASSERT"}),
}
"""The reserved words that begin an item, by the statement they stand in."""

ALL_ITEMS = frozenset().union(*ITEMS.values())
OPERATORS = frozenset({"BAR", "PLUS", "MINUS", "STAR", "SLASH"})
_VALUE = frozenset({"NAME", "NUMBER", "STRING", "LPAR", "MINUS"})
_COMPARISONS = frozenset({"LESS", "LESS_EQUAL", "EQUALS", "GREATER_EQUAL", "GREATER"})
_CLOSING = {"LBRACE": "RBRACE", "LPAR": "RPAR", "LSQB": "RSQB"}

_HOMES = {
    "MODEL": "a model",
    "DATA": "`data`",
    "CHAIN": "a chain",
    "TRAIN": "`train`",
    "TEST": "a test",
}
_ITEM_WORDS = {
    "MODEL": ["a variable", "an edge"],
    "DATA": ["a binding, such as `v = image`"],
    "CHAIN": ["an item of the chain"],
    "TRAIN": ["an item of the training"],
    "TEST": ["`assert`"],
}

_AFTER = {
    "IMPORT": "a file name in double quotes",
    "PARAM": "a name for the parameter",
    "NET": "a name for the net",
    "MODEL": "a name for the model",
    "CHAIN": "a name for the chain",
    "OBJECTIVE": "a name for the objective",
    "OBSERVED": "a name for the variable",
    "LATENT": "a name for the variable",
    "EDGE": "a variable, or a name for the edge",
    "DATA": "a data source, such as `digits`",
    "CLAMP": "a variable to clamp",
    "POTENT": "a variable or an edge",
    "IMPOTENT": "a variable",
    "START": "where to start, such as `noise`, `data` or a chain",
    "SWEEP": "`{` and the variables of a block",
    "THEN": "`{` and the variables of a block",
    "SWEEPS": "a number of sweeps",
    "UPDATE": "`sample`, `mean` or `mode`",
    "BACKPROP": "a number of passes",
    "MINIMIZE": "the name of an objective",
    "USING": "an optimiser, such as `sgd(lr = 0.1)`",
    "OF": "the name of an edge, a net or a variable",
    "TIMES": "a number of updates",
    "TRAIN": "a name for the stage, or `{`",
    "BATCH": "a batch size",
    "EPOCHS": "a number of epochs",
    "WATCH": "a metric",
    "EVERY": "a number of updates",
    "STOP": "a rule, such as `patience(5)`",
    "TEST": "a title in double quotes",
    "WITH": "`(` and settings, such as `(hidden = 3)`",
    "ASSERT": "a metric or a value",
    "WITHIN": "a tolerance",
    "UNLESS": "a comparison, such as `surprise(v) > 0.5`",
    "WHERE": "`observed`",
    "IN": "a range, such as `[1 .. 10]`",
    "JOIN": "a variable",
    "RECOGNIZE": "a variable, or several in parentheses",
    "VALID": "a variable",
}
"""What is expected right after a token, wherever that does not depend on what is around it."""

_AFTER_IN = {
    ("MODEL", "COLON"): "a variable type, such as `bernoulli`",
    ("MODEL", "ARROW"): "a variable, or several in parentheses",
    ("MODEL", "BY"): "a factor, such as `dense`, or a net",
    ("CHAIN", "BY"): "the name of an edge or a relaxation",
    ("CHAIN", "FROM"): "a chain",
    ("DATA", "TEST"): "a variable",
}

_MANY = 5


def found_words(token: Token) -> str:
    """A token as a message speaks of it."""
    if token.type == END:
        return "the end of the file"
    if token.type == "DOCSTRING":
        return "a docstring"
    if token.type == "STRING":
        return "a string"
    if str(token) in reserved_words():
        return f"the reserved word `{token}`"
    text = str(token)
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"


def spelling(kind: str) -> str:
    """A kind of token as it is written, such as `}` for RBRACE."""
    return next(str(terminal.pattern.value) for terminal in grammar().terminals if terminal.name == kind)


def enclosing(values: Sequence[Any]) -> str | None:
    """The statement that is open here, as the kind of its reserved word; None after a block has closed."""
    kinds = [value.type for value in values if isinstance(value, Token)]
    if kinds and kinds[-1] == "RBRACE" and open_bracket(values) is None:
        return None
    return next((kind for kind in kinds if kind in STATEMENTS), None)


def home_words(statement: str | None) -> str:
    """A kind of block as a message speaks of it; None is the file itself."""
    return _HOMES.get(statement or "", "outside of any block" if statement is None else "a statement")


def open_brackets(values: Sequence[Any]) -> list[Token]:
    """The brackets that are open, outermost first."""
    opened = list[Token]()
    for value in values:
        if isinstance(value, Token) and value.type in _CLOSING:
            opened.append(value)
        elif isinstance(value, Token) and value.type in _CLOSING.values() and opened:
            opened.pop()
    return opened


def open_bracket(values: Sequence[Any]) -> Token | None:
    """The innermost bracket that is open."""
    return next(reversed(open_brackets(values)), None)


def closing_of(bracket: Token) -> str:
    """The kind of token that closes an open bracket."""
    return _CLOSING[bracket.type]


def expected_words(accepted: Collection[str], values: Sequence[Any]) -> str:
    """What may come next, in words."""
    statement = enclosing(values)
    last = values[-1].type if values and isinstance(values[-1], Token) else None
    if last == "ARROW" and statement == "CHAIN" and "NUMBER" not in accepted:
        return "a variable"
    if statement == "MODEL" and accepted == {"COLON"}:
        return "`:` and a variable type"
    direct = _AFTER_IN.get((statement or "", last or "")) or _AFTER.get(last or "")
    if direct:
        return direct
    return _listed(_alternatives(frozenset(accepted), statement))


def _alternatives(accepted: frozenset[str], statement: str | None) -> list[str]:
    rest, words = set(accepted), list[str]()
    if "NUMBER" in rest:
        words.append("a value")
        rest -= _VALUE
    elif rest >= OPERATORS:
        words.append("an operator")
        rest -= OPERATORS
    if rest >= _COMPARISONS:
        words.append("a comparison, such as `>`")
        rest -= _COMPARISONS
    items = ITEMS.get(statement or "", frozenset())
    ends = list[str]()
    if items and rest >= items:
        ends += _ITEM_WORDS[statement or ""]
        rest -= items | {"DOCSTRING"} | ({"NAME"} if statement == "DATA" else set())
    elif rest >= STATEMENTS:
        ends.append("a statement, such as `model` or `chain`")
        rest -= STATEMENTS | {"DOCSTRING", END}
    if "NAME" in rest:
        words.append("a name")
    if "DOCSTRING" in rest:
        ends.append("a docstring")
    if END in rest:
        ends.append("the end of the file")
    named = sorted(rest - {"NAME", "DOCSTRING", "STRING", END})
    if len(words) + len(named) + len(ends) > 2:
        # Arguments or sizes that could follow a name are seldom what is missing.
        named = [kind for kind in named if kind not in {"LPAR", "LSQB"}]
    if "STRING" in rest:
        words.append("a string")
    return words + [f"`{spelling(kind)}`" for kind in named] + ends


def _listed(words: list[str]) -> str:
    if len(words) > _MANY:
        # The nearest continuations say most; the others are what may follow anything.
        words = words[: _MANY - 1] + words[-1:]
    if len(words) < 2:
        return words[0] if words else "nothing more"
    return f"{', '.join(words[:-1])} or {words[-1]}"
