"""DOT text, the language of graphviz, built line by line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal


class Dot:
    """A graph under construction. A `label` in angle brackets is HTML-like markup, all else is text."""

    def __init__(self, kind: Literal["graph", "digraph"], name: str) -> None:
        self._arrow = "->" if kind == "digraph" else "--"
        self._lines = [f"{kind} {quoted(name)} {{"]
        self._depth = 1

    def attr(self, what: Literal["graph", "node", "edge"], **attributes: str) -> None:
        """Attributes of the graph that is open, or of all nodes or edges from here on."""
        self._line(f"{what} {_listed(attributes)}")

    def node(self, name: str, **attributes: str) -> None:
        """A node."""
        self._line(f"{quoted(name)} {_listed(attributes)}")

    def edge(self, tail: str, head: str, tail_port: str = "", head_port: str = "", **attributes: str) -> None:
        """An edge between two nodes, at ports of their labels."""
        ends = [quoted(n) + (f":{quoted(p)}" if p else "") for n, p in ((tail, tail_port), (head, head_port))]
        self._line(f"{f' {self._arrow} '.join(ends)} {_listed(attributes)}")

    @contextmanager
    def subgraph(self, name: str) -> Iterator[None]:
        """What is added inside belongs to a subgraph."""
        self._line(f"subgraph {quoted(name)} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self._line("}")

    def text(self) -> str:
        """The whole, with a final newline."""
        return "\n".join([*self._lines, "}", ""])

    def _line(self, text: str) -> None:
        self._lines.append("  " * self._depth + text)


def quoted(text: str) -> str:
    """Text as a string of DOT."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _listed(attributes: dict[str, str]) -> str:
    return f"[{', '.join(f'{key}={_value(key, value)}' for key, value in attributes.items())}]"


def _value(key: str, value: str) -> str:
    return value if key == "label" and value.startswith("<") and value.endswith(">") else quoted(value)
