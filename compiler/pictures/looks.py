"""How nodes and messages of a schedule look: sizes, labels, borders, lines."""

from __future__ import annotations

from gmc.compiler.pictures import style
from gmc.compiler.pictures.layout import BORDER
from gmc.compiler.pictures.names import blocks_text, count_text, part_name, shape_text, type_text
from gmc.compiler.pictures.timeline import Message, Node

LOCK = "\N{BLACK SQUARE}"
"""The mark of a clamped value."""
PARTLY = "\N{SQUARE WITH LEFT HALF BLACK}"
"""The mark of a value that rows may hold in part."""
LETTER = 0.53
"""The width of a letter, roughly, as a share of its height."""
FULL_LINE = 1.1
THIN_LINE = 0.6
LINES = (0.3, 4.5)
"""Widths of lines in points: at gain 1, of what was computed once, and the least and the most."""


def borders(node: Node) -> int:
    """How many borders a node has: three where it is folded, two where it is clamped."""
    return 3 if node.folded else 2 if node.phase == "clamped" else 1


def lines(node: Node) -> list[tuple[str, int]]:
    """What a node says below its name, with the sizes of the letters."""
    found = [(type_text(node.region.variable), 10), (count_text(node.region), 10)]
    if node.folded:
        found.append((blocks_text(node.sizes), 10))
    if node.source:
        found.append((_from(node), 10))
    if node.held and node.phase != "held":
        found.append(("where not observed", 10))
    return found


def _from(node: Node) -> str:
    if node.source.startswith("="):
        return f"constant {node.source}"
    return f"from the {node.source}" if node.source.startswith("data") else f"from {node.source}"


def size(node: Node) -> tuple[float, float]:
    """The width and height of a node in points, by the widths of Helvetica's letters, roughly."""
    if node.phase == "carried":
        return 30.0, 20.0
    if node.phase == "once":
        return len(_message_name(node)) * 9 * LETTER + 16.0, 16.0
    if node.gate is not None:
        # what fits in the middle of a diamond
        return len(str(node.gate)) * 10 * LETTER * 1.55 + 14.0, 42.0
    name = len(part_name(node.region)) * 9.0 + (16.0 if node.phase in ("clamped", "held") else 0.0)
    width = max(name, *(len(text) * points * LETTER for text, points in lines(node)))
    rows, _ = style.icon_size(node.region)
    beyond = 2 * BORDER * (borders(node) - 1)
    return max(width + 18.0, 64.0) + beyond, 30.0 + 14.0 * len(lines(node)) + rows + beyond


def _message_name(node: Node) -> str:
    assert node.term is not None
    return f"{node.term.name} \N{RIGHTWARDS ARROW} {node.region.name}"


def node_look(node: Node) -> dict[str, str]:
    """A node's attributes but for its place."""
    region = node.region
    if node.gate is not None:
        text = style.soft(str(node.gate), 10)
        tip = f"{node.gate.measure} in each chain as the sweep starts"
        return {"shape": "diamond", "style": "filled", "label": f"<{text}>", "tooltip": tip, "margin": "0"}
    if node.phase == "once":
        tip = f"what clamped values send along {_message_name(node)}, computed once a run"
        look = {"shape": "box", "style": "filled,rounded", "fillcolor": style.CLAMPED, "color": style.SOFT}
        return look | {"label": _message_name(node), "fontsize": "9", "tooltip": tip, "margin": "0"}
    look = {"shape": "box", "tooltip": f"{part_name(region)} : {type_text(region.variable)}"}
    if node.phase == "carried":
        return look | {"label": "\N{MIDLINE HORIZONTAL ELLIPSIS}", "shape": "plaintext", "style": "", "fontsize": "18"}
    name = f'<font point-size="14">{style.bold(part_name(region))}</font>'
    marks = {"clamped": LOCK, "held": PARTLY}
    if node.phase in marks:
        name = f'<font point-size="10">{marks[node.phase]}</font> {name}'
    look |= _fill(node)
    if borders(node) > 1:
        look["peripheries"] = str(borders(node))
    said = [name, style.icon(region), *(style.soft(text, points) for text, points in lines(node))]
    return look | {"label": style.stacked(said)}


def _fill(node: Node) -> dict[str, str]:
    if node.phase == "clamped":
        return {"style": "filled", "fillcolor": style.CLAMPED}
    corners = "" if node.phase == "held" else ",rounded"
    dashed = ",dashed" if node.phase == "start" else ""
    return {"style": f"filled{corners}{dashed}"} | ({"fillcolor": style.PARTLY} if node.held else {})


def message_look(message: Message, *, thin: bool) -> dict[str, str]:
    """A message's line: its weight is its gain, `thin` and grey what was computed once, dashed what a gate lets through."""
    term = message.term
    shapes = [shape_text(shape) for shape in term.factor.parameters(term.ends).values()]
    look = {"tooltip": " ".join((f"{term.name}:", term.edge.factor.word, *shapes))}
    full = THIN_LINE if thin else FULL_LINE
    gain = message.strength.at(0.5 if message.progress is None else message.progress)
    if gain != 1.0 or thin:
        look["penwidth"] = f"{min(max(full * gain, LINES[0]), LINES[1]):.2f}"
    if thin:
        look["color"] = style.SOFT
    return look | ({"style": "dashed"} if message.gates else {})


def message_label(message: Message) -> str:
    """The name of an edge that has one of its own, and the gain; '' where there is nothing to say."""
    own = message.term.name != "_".join(message.term.edge.ends) and message.target.phase != "once"
    times = f"\N{MULTIPLICATION SIGN} {message.gain}" if message.gain else ""
    return " ".join(([message.term.name] if own and not message.once else []) + ([times] if times else []))


def label_width(message: Message) -> float:
    """The width that a message's label needs, in points."""
    text = message_label(message)
    return len(text) * 9 * LETTER + 8.0 if text else 0.0
