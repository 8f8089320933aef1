"""How pictures look: black, white and greys that print, one font, no colour that carries meaning alone."""

from __future__ import annotations

from html import escape

import graphviz

from gmc.compiler.region import Region

FONT = "Helvetica,Arial,sans-serif"
INK = "#1a1a1a"
SOFT = "#6b6b6b"
FAINT = "#b4b4b4"
CLAMPED = "#d4d4d4"
OBSERVED = "#e4e4e4"
PANEL = "#f6f6f6"
PAPER = "#ffffff"

ICON = 8
"""Cells along a side of the small picture of a part."""


def canvas(
    kind: type[graphviz.Digraph] | type[graphviz.Graph], name: str, title: str
) -> graphviz.Graph | graphviz.Digraph:
    """An empty picture with a title in HTML-like markup above it."""
    picture = kind(name=name)
    picture.attr(
        "graph",
        label=f"<{title}>",
        labelloc="t",
        labeljust="l",
        fontname=FONT,
        fontsize="12",
        fontcolor=INK,
        bgcolor=PAPER,
        pad="0.25",
    )
    picture.attr(
        "node", fontname=FONT, fontsize="12", fontcolor=INK, color=INK, fillcolor=PAPER, style="filled", penwidth="1.2"
    )
    picture.attr("edge", fontname=FONT, fontsize="10", fontcolor=SOFT, color=INK, penwidth="1.1", arrowsize="0.8")
    return picture


def bold(text: str) -> str:
    """Bold, escaped."""
    return f"<b>{escape(text, quote=False)}</b>"


def soft(text: str, size: int = 10) -> str:
    """Small and grey, escaped."""
    return f'<font point-size="{size}" color="{SOFT}">{escape(text, quote=False)}</font>'


def icon(region: Region) -> str:
    """A small picture of a part of a variable with two axes, black where the region is; '' where it would say nothing.

    A larger variable shows its upper left corner, so that the pattern is that of single sites.
    """
    shape = region.variable.shape
    if region.whole or len(shape) != 2 or region.variable.sites < 4:
        return ""
    inside = set(region.sites.tolist())
    rows = []
    for row in range(min(shape[0], ICON)):
        cells = "".join(
            f'<td width="6" height="6" fixedsize="true" bgcolor="{INK if row * shape[1] + column in inside else PAPER}"></td>'
            for column in range(min(shape[1], ICON))
        )
        rows.append(f"<tr>{cells}</tr>")
    return f'<table border="1" color="{FAINT}" cellborder="0" cellspacing="0" cellpadding="0">{"".join(rows)}</table>'


def stacked(lines: list[str]) -> str:
    """Lines of markup above one another, as an HTML-like label."""
    rows = "".join(f"<tr><td>{line}</td></tr>" for line in lines if line)
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>>'
