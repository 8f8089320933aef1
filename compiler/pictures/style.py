"""How pictures look: black, white and greys that print, one font, no colour that carries meaning alone."""

from __future__ import annotations

from html import escape
from typing import Literal

from gmc.compiler.pictures.dot import Dot
from gmc.compiler.region import Region

FONT = "Helvetica,Arial,sans-serif"
INK = "#1a1a1a"
SOFT = "#6b6b6b"
FAINT = "#b4b4b4"
CLAMPED = "#d4d4d4"
OBSERVED = "#e4e4e4"
PARTLY = "#d4d4d4;0.5:#ffffff"
"""The fill of what rows may hold in part."""
PANEL = "#f6f6f6"
PAPER = "#ffffff"

ICON = 8
"""Cells along a side of the small picture of a part."""
CELL = 5


def picture(kind: Literal["graph", "digraph"], name: str, title: str) -> Dot:
    """An empty picture, with a title in HTML-like markup above it."""
    dot = Dot(kind, name)
    text = {"fontname": FONT, "fontcolor": INK}
    place = {"labelloc": "t", "labeljust": "l", "bgcolor": PAPER, "pad": "0.25"}
    dot.attr("graph", label=f"<{title}>", fontsize="12", **place, **text)
    dot.attr("node", fontsize="12", color=INK, fillcolor=PAPER, style="filled", penwidth="1.2", **text)
    dot.attr("edge", fontname=FONT, fontsize="10", fontcolor=SOFT, color=INK, penwidth="1.1", arrowsize="0.7")
    return dot


def bold(text: str) -> str:
    """Bold, escaped."""
    return f"<b>{escape(text, quote=False)}</b>"


def soft(text: str, size: int = 10) -> str:
    """Small and grey, escaped."""
    return f'<font point-size="{size}" color="{SOFT}">{escape(text, quote=False)}</font>'


def icon_size(region: Region) -> tuple[int, int]:
    """Height and width of a part's small picture in points; (0, 0) where it would say nothing."""
    shape = region.variable.shape
    if region.whole or len(shape) != 2 or min(shape) < 2:
        return 0, 0
    return CELL * min(shape[0], ICON) + 2, CELL * min(shape[1], ICON) + 2


def icon(region: Region) -> str:
    """A small picture of a part of a variable with two axes, black where the region is; '' where it would say nothing.

    A larger variable shows its upper left corner, so that the pattern is that of single sites.
    """
    shape = region.variable.shape
    if icon_size(region) == (0, 0):
        return ""
    inside = set(region.sites.tolist())
    rows = []
    for row in range(min(shape[0], ICON)):
        cells = "".join(
            f'<td width="{CELL}" height="{CELL}" fixedsize="true" bgcolor="{INK if row * shape[1] + column in inside else PAPER}"></td>'
            for column in range(min(shape[1], ICON))
        )
        rows.append(f"<tr>{cells}</tr>")
    height, width = icon_size(region)
    frame = f'border="1" color="{FAINT}" cellborder="0" cellspacing="0" cellpadding="0"'
    return f'<table {frame} fixedsize="true" width="{width}" height="{height}">{"".join(rows)}</table>'


def stacked(lines: list[str]) -> str:
    """Lines of markup above one another, as an HTML-like label."""
    return f"<{table(lines)}>"


def table(lines: list[str], padding: int = 1) -> str:
    """Lines of markup above one another."""
    rows = "".join(f"<tr><td>{line}</td></tr>" for line in lines if line)
    return f'<table border="0" cellborder="0" cellspacing="0" cellpadding="{padding}">{rows}</table>'


def beside(lines: list[str]) -> str:
    """A label of several lines that keeps off the line it belongs to."""
    return f'<<table border="0" cellspacing="0" cellpadding="5"><tr><td>{table(lines)}</td></tr></table>>'
