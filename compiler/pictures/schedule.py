"""The schedule of a chain, unrolled in time, as DOT text.

Time runs left to right. A column holds what is drawn at once; an arrow is a message, from the value that is read to what is drawn from it. The
places are computed here (`layout=nop2`), so that the picture is the same whatever the version of graphviz.
"""

from __future__ import annotations

from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures import style
from gmc.compiler.pictures.dot import Dot
from gmc.compiler.pictures.layout import BORDER, Box, Layout, across, arrivals, beside, lay_out, loop, wire
from gmc.compiler.pictures.listing import schedule_json as schedule_json
from gmc.compiler.pictures.listing import schedule_text as schedule_text
from gmc.compiler.pictures.names import blocks_text, count_text, part_name, shape_text, sweeps_text, type_text
from gmc.compiler.pictures.timeline import Message, Node, Timeline, unroll
from gmc.compiler.schedule import Schedule

LOCK = "\N{BLACK SQUARE}"
"""The mark of a clamped value."""
BEND = 36.0
"""How far before a node a message leaves the lane of its source."""
JOINT = 7.0
"""The side of the square that stands for a product."""


def schedule_dot(graph: FactorGraph, schedule: Schedule, sweeps_shown: int = 2) -> str:
    """The chain as DOT text: clamped values and starts, pass 0, the first `sweeps_shown` sweeps, the last one, and what is drawn after it."""
    timeline = unroll(graph, schedule, max(1, sweeps_shown))
    layout = lay_out(graph, timeline, _size)
    picture = style.picture("digraph", f"{graph.model.name}.{schedule.chain.name}", _title(graph, schedule, timeline))
    picture.attr("graph", layout="nop2", outputorder="nodesfirst")
    for index in range(len(timeline.groups)):
        _draw_group(picture, index, timeline, layout)
    ends = arrivals(timeline.messages, layout)
    for place, message in enumerate(timeline.messages):
        if len(message.sources) > 1:
            _draw_product(picture, place, message, layout, ends[place, -1])
        else:
            for node in (n for end in message.sources for n in end):
                _draw_message(picture, message, node, layout, ends.get((place, node.number)))
    for before, node in timeline.carried:
        path = wire(layout.nodes[before.number].right, layout.nodes[node.number].left, BEND, arrow=False)
        picture.edge(_name(before), _name(node), pos=path, style="dotted", arrowhead="none", color=style.SOFT)
    return picture.text()


def _title(graph: FactorGraph, schedule: Schedule, timeline: Timeline) -> str:
    chain = schedule.chain
    update = {"sample": "Gibbs sampling", "mean": "mean field"}[chain.update]
    sources = dict.fromkeys(n.source for n in timeline.nodes if n.phase == "start")
    starts = [f"{', '.join(_started(timeline, source))} from {source}" for source in sources]
    facts = [f"update {chain.update} ({update})", sweeps_text(chain.sweeps)]
    facts.append(f"starts: {'; '.join(starts)}" if starts else "starts with pass 0" if schedule.pass_0 else "")
    if not schedule.blocks:
        facts = [facts[0], "nothing to sweep: no free site has a free neighbour"]
    head = f'<font point-size="18">{style.bold(f"chain {chain.name}")}</font>  {style.soft(f"of model {graph.model.name}", 14)}'
    lines = [head, style.soft(_joined([f for f in facts if f]), 12), style.soft(_legend(timeline), 10)]
    return "".join(f'{line}<br align="left"/>' for line in [*lines, style.soft(" ", 8)])


def _started(timeline: Timeline, source: str) -> list[str]:
    return [n.region.name for n in timeline.nodes if n.phase == "start" and n.source == source]


def _joined(said: list[str]) -> str:
    return "  \N{MIDDLE DOT}  ".join(said)


def _legend(timeline: Timeline) -> str:
    """What the signs mean, those that occur."""
    phases = {node.phase for node in timeline.nodes}
    said = ["column: drawn at once", "arrow: a message"]
    if "clamped" in phases:
        said.append(f"{LOCK} grey: clamped, never drawn")
    if "start" in phases:
        said.append("dashed border: a start")
    if any(message.once for message in timeline.messages):
        said.append("dashed arrow: computed once, not in each sweep")
    if any(node.folded for node in timeline.nodes):
        said.append("three borders: blocks drawn one after another")
    if any(len(message.sources) > 1 for message in timeline.messages):
        said.append("small square: product of what it joins")
    return _joined(said)


def _draw_group(picture: Dot, index: int, timeline: Timeline, layout: Layout) -> None:
    group, panel = timeline.groups[index], layout.panels[index]
    framed = group.phase in ("pass", "sweep", "after")
    look = {"style": "invis", "label": ""}
    if framed:
        at = f"{panel.x:g},{layout.group_title:g}"
        look = {"style": "rounded,filled", "color": style.FAINT, "fillcolor": style.PANEL}
        look |= {"label": f"<{style.bold(group.title)}>", "lp": at, "fontsize": "13"}
    with picture.subgraph(f"cluster_{index}"):
        picture.attr("graph", bb=panel.corners(), **look)
        for place, column in enumerate(group.columns):
            with picture.subgraph(f"column_{index}_{place}"):
                _draw_head(picture, f"head_{index}_{place}", column.title, layout.columns[index][place], layout)
                for node in column.nodes:
                    box = layout.nodes[node.number]
                    picture.node(_name(node), **_look(node), **_place(box, _borders(node)), fixedsize="true")


def _draw_head(picture: Dot, name: str, title: str, x: float, layout: Layout) -> None:
    if title:
        look = {"shape": "plaintext", "style": "", "fontsize": "10", "fontcolor": style.SOFT}
        picture.node(name, label=title, pos=f"{x:g},{layout.column_title:g}", width="0.5", height="0.15", **look)


def _place(box: Box, borders: int) -> dict[str, str]:
    """A node's place and size, its outer border on the box."""
    beyond = 2 * BORDER * (borders - 1)
    width, height = (box.width - beyond) / 72, (box.height - beyond) / 72
    return {"pos": f"{box.x:g},{box.y:g}", "width": f"{width:.3f}", "height": f"{height:.3f}"}


def _borders(node: Node) -> int:
    return 3 if node.folded else 2 if node.phase == "clamped" else 1


def _lines(node: Node) -> list[tuple[str, int]]:
    """What a node says below its name, with the sizes of the letters."""
    lines = [(type_text(node.region.variable), 10), (count_text(node.region), 10)]
    if node.folded:
        lines.append((blocks_text(node.sizes), 10))
    if node.source:
        lines.append((_from(node), 10))
    return lines


def _size(node: Node) -> tuple[float, float]:
    """The width and height of a node in points, by the widths of Helvetica's letters, roughly."""
    if node.phase == "carried":
        return 30.0, 20.0
    name = len(part_name(node.region)) * 9.0 + (16.0 if node.phase == "clamped" else 0.0)
    width = max(name, *(len(text) * points * 0.53 for text, points in _lines(node)))
    rows, _ = style.icon_size(node.region)
    beyond = 2 * BORDER * (_borders(node) - 1)
    return max(width + 18.0, 64.0) + beyond, 30.0 + 14.0 * len(_lines(node)) + rows + beyond


def _look(node: Node) -> dict[str, str]:
    """A node's attributes but for its place."""
    region = node.region
    look = {"shape": "box", "tooltip": f"{part_name(region)} : {type_text(region.variable)}"}
    if node.phase == "carried":
        return look | {"label": "\N{MIDLINE HORIZONTAL ELLIPSIS}", "shape": "plaintext", "style": "", "fontsize": "18"}
    name = f'<font point-size="14">{style.bold(part_name(region))}</font>'
    if node.phase == "clamped":
        name = f'<font point-size="10">{LOCK}</font> {name}'
        look |= {"style": "filled", "fillcolor": style.CLAMPED}
    else:
        look |= {"style": "filled,rounded,dashed" if node.phase == "start" else "filled,rounded"}
    if _borders(node) > 1:
        look["peripheries"] = str(_borders(node))
    lines = [name, style.icon(region), *(style.soft(text, points) for text, points in _lines(node))]
    return look | {"label": style.stacked(lines)}


def _from(node: Node) -> str:
    if node.source.startswith("="):
        return f"constant {node.source}"
    return "from the data" if node.source == "data" else f"from {node.source}"


def _arrow(message: Message) -> dict[str, str]:
    term = message.term
    shapes = [shape_text(shape) for shape in term.factor.parameters(term.ends).values()]
    look = {"tooltip": " ".join((f"{term.name}:", term.edge.factor.word, *shapes))}
    return look | ({"style": "dashed", "color": style.SOFT} if message.once else {})


def _draw_message(
    picture: Dot, message: Message, source: Node, layout: Layout, end: tuple[float, float] | None
) -> None:
    start, target = layout.nodes[source.number], layout.nodes[message.target.number]
    if source is message.target:
        path = loop(start)
    elif end is None or beside(layout, source, message.target):
        path = across(start, target)
    else:
        path = wire(start.right, end, BEND, arrow=True)
    picture.edge(_name(source), _name(message.target), pos=path, **_arrow(message), **_label(message, end))


def _label(message: Message, end: tuple[float, float] | None) -> dict[str, str]:
    """The name of an edge that has one of its own."""
    if end is None or message.term.name == "_".join(v.name for v in message.term.ends):
        return {}
    left = end[0] - 10 - 2.4 * len(message.term.name)
    return {"label": message.term.name, "lp": f"{left:.1f},{end[1] + 7:.1f}", "fontsize": "9"}


def _draw_product(picture: Dot, place: int, message: Message, layout: Layout, end: tuple[float, float]) -> None:
    joint, look = f"product_{place}", _arrow(message)
    middle = (end[0] - 26.0, end[1])
    side = f"{JOINT / 72:.3f}"
    picture.node(joint, label="", shape="square", pos=f"{middle[0]:.1f},{middle[1]:.1f}", width=side, height=side, fixedsize="true", fillcolor=style.INK, tooltip=message.term.name)  # fmt: skip
    for node in (n for sources in message.sources for n in sources):
        path = wire(layout.nodes[node.number].right, (middle[0] - JOINT / 2, middle[1]), BEND, arrow=False)
        picture.edge(_name(node), joint, pos=path, arrowhead="none", **look)
    path = wire((middle[0] + JOINT / 2, middle[1]), end, BEND, arrow=True)
    picture.edge(joint, _name(message.target), pos=path, **look, **_label(message, end))


def _name(node: Node) -> str:
    return f"n{node.number}"
