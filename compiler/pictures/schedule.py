"""The schedule of a chain, unrolled in time, as DOT text.

Time runs left to right. A column holds what is drawn at once; an arrow is a message, from the value that is read to what is drawn from it. The
places are computed here (`layout=nop2`), so that the picture is the same whatever the version of graphviz.
"""

from __future__ import annotations

from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures import style
from gmc.compiler.pictures.dot import Dot
from gmc.compiler.pictures.layout import BORDER, Box, Layout, Point, across, arrivals, beside, lay_out, loop, wire
from gmc.compiler.pictures.legend import title
from gmc.compiler.pictures.listing import schedule_json as schedule_json
from gmc.compiler.pictures.listing import schedule_text as schedule_text
from gmc.compiler.pictures.looks import borders, label_width, message_label, message_look, node_look, size
from gmc.compiler.pictures.timeline import Message, Node, Timeline
from gmc.compiler.pictures.walk import unroll
from gmc.compiler.schedule import Schedule

BEND = 36.0
"""How far before a node, or before its labels, a message leaves the lane of its source."""
JOINT = 7.0
"""The side of the square that stands for a product."""
VALVE = 10.0
"""The width of the diamond where a gate lets a message through."""


def schedule_dot(graph: FactorGraph, schedule: Schedule, sweeps_shown: int = 2) -> str:
    """The chain as DOT text: what is given, pass 0, the first `sweeps_shown` sweeps, the last one, and what is drawn after it."""
    timeline = unroll(graph, schedule, max(1, sweeps_shown))
    layout = lay_out(graph, timeline, size, label_width)
    above = title(graph, schedule, timeline, layout.width)
    picture = style.picture("digraph", f"{graph.model.name}.{schedule.chain.name}", above)
    picture.attr("graph", layout="nop2", outputorder="nodesfirst")
    for index in range(len(timeline.groups)):
        _draw_group(picture, index, timeline, layout)
    ends = arrivals(timeline.messages, layout)
    for place, message in enumerate(timeline.messages):
        if message.joined:
            _draw_joint(picture, place, message, layout, ends[place, -1])
        else:
            for node in message.origins:
                _draw_message(picture, message, node, layout, ends.get((place, node.number)))
    for source, gate in timeline.tests:
        path = wire(layout.nodes[source.number].right, layout.nodes[gate.number].left, BEND, arrow=False)
        look = {"style": "solid", "color": style.SOFT, "penwidth": "0.6", "arrowhead": "none"}
        picture.edge(_name(source), _name(gate), pos=path, tooltip="looked at as the sweep starts", **look)
    for before, node in timeline.carried:
        path = wire(layout.nodes[before.number].right, layout.nodes[node.number].left, BEND, arrow=False)
        picture.edge(_name(before), _name(node), pos=path, style="dotted", arrowhead="none", color=style.SOFT)
    return picture.text()


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
                    picture.node(_name(node), **node_look(node), **_place(box, borders(node)), fixedsize="true")


def _draw_head(picture: Dot, name: str, text: str, x: float, layout: Layout) -> None:
    if text:
        look = {"shape": "plaintext", "style": "", "fontsize": "10", "fontcolor": style.SOFT}
        picture.node(name, label=text, pos=f"{x:g},{layout.column_title:g}", width="0.5", height="0.15", **look)


def _place(box: Box, count: int) -> dict[str, str]:
    """A node's place and size, the outermost of its borders on the box."""
    beyond = 2 * BORDER * (count - 1)
    width, height = (box.width - beyond) / 72, (box.height - beyond) / 72
    return {"pos": f"{box.x:g},{box.y:g}", "width": f"{width:.3f}", "height": f"{height:.3f}"}


def _draw_message(picture: Dot, message: Message, source: Node, layout: Layout, end: Point | None) -> None:
    start, target = layout.nodes[source.number], layout.nodes[message.target.number]
    if source is message.target:
        path = loop(start)
    elif end is None or beside(layout, source, message.target):
        path = across(start, target)
    else:
        path = wire(start.right, end, BEND, arrow=True, room=layout.rooms[message.target.number])
    look = message_look(message, thin=message.once)
    picture.edge(_name(source), _name(message.target), pos=path, **look, **_label(message, end))


def _label(message: Message, end: Point | None) -> dict[str, str]:
    """The name of an edge that has one of its own, and its gain, above the last part of the arrow."""
    text = message_label(message)
    if end is None or not text:
        return {}
    return {"label": text, "lp": f"{end[0] - 7 - label_width(message) / 2:.1f},{end[1] + 6:.1f}", "fontsize": "9"}


def _draw_joint(picture: Dot, place: int, message: Message, layout: Layout, end: Point) -> None:
    """What several things must come together for: a square for their product, a diamond where a gate is among them."""
    joint = f"product_{place}"
    room = layout.rooms[message.target.number]
    middle = (end[0] - 26.0 - room, end[1])
    across_it = VALVE if message.gates else JOINT
    shape = (
        {"shape": "diamond", "fillcolor": style.PAPER} if message.gates else {"shape": "square", "fillcolor": style.INK}
    )
    side = f"{across_it / 72:.3f}"
    at = {"pos": f"{middle[0]:.1f},{middle[1]:.1f}", "width": side, "height": side, "fixedsize": "true"}
    picture.node(joint, label="", tooltip=message.term.name, **shape, **at)
    for node in message.origins:
        path = wire(layout.nodes[node.number].right, (middle[0] - across_it / 2, middle[1]), BEND, arrow=False)
        look = message_look(message, thin=node.phase == "once")
        picture.edge(_name(node), joint, pos=path, arrowhead="none", **look)
    path = wire((middle[0] + across_it / 2, middle[1]), end, BEND, arrow=True, room=room)
    look = message_look(message, thin=False)
    picture.edge(joint, _name(message.target), pos=path, **look, **_label(message, end))


def _name(node: Node) -> str:
    return f"n{node.number}"
