"""The schedule of a chain, unrolled in time, as DOT text.

Time runs left to right. A column holds what is drawn at once; an arrow is a message, from the value that is read to what is drawn from it.
"""

from __future__ import annotations

import graphviz

from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures import style
from gmc.compiler.pictures.listing import schedule_json as schedule_json
from gmc.compiler.pictures.listing import schedule_text as schedule_text
from gmc.compiler.pictures.names import blocks_text, count_text, part_name, shape_text, sweeps_text, type_text
from gmc.compiler.pictures.timeline import Group, Message, Node, Timeline, unroll
from gmc.compiler.schedule import Schedule

LOCK = "\N{BLACK SQUARE}"
"""The mark of a clamped value."""


def schedule_dot(graph: FactorGraph, schedule: Schedule, sweeps_shown: int = 2) -> str:
    """The chain as DOT text: clamped values and starts, pass 0, the first `sweeps_shown` sweeps, the last one, and what is drawn after it."""
    timeline = unroll(graph, schedule, max(1, sweeps_shown))
    picture = style.canvas(
        graphviz.Digraph, f"{graph.model.name}.{schedule.chain.name}", _title(graph, schedule, timeline)
    )
    picture.attr("graph", rankdir="LR", ranksep="0.55", nodesep="0.3", newrank="true", splines="true")
    for index, group in enumerate(timeline.groups):
        _draw_group(picture, index, group)
    _keep_order(picture, timeline)
    for number, message in enumerate(timeline.messages):
        _draw_message(picture, number, message, timeline)
    for before, node in timeline.carried:
        picture.edge(_name(before), _name(node), style="dotted", arrowhead="none", color=style.SOFT)
    return str(picture.source)


def _title(graph: FactorGraph, schedule: Schedule, timeline: Timeline) -> str:
    chain = schedule.chain
    update = {"sample": "Gibbs sampling", "mean": "mean field"}[chain.update]
    starts = [f"starts at {n.source}: {n.region.name}" for n in timeline.nodes if n.phase == "start"]
    first = f"chain {chain.name}", f"of model {graph.model.name}"
    facts = [f"update {chain.update} ({update})", sweeps_text(chain.sweeps), *(starts or ["starts with pass 0"])]
    if not schedule.blocks:
        facts.append("all that is free has clamped neighbours only: nothing to sweep")
    head = f'<font point-size="17">{style.bold(first[0])}</font> {style.soft(first[1], 14)}'
    lines = [head, style.soft(" \N{MIDDLE DOT} ".join(facts), 12), style.soft(_legend(timeline), 11)]
    return '<br align="left"/>'.join([*lines, style.soft(" ", 6)]) + '<br align="left"/>'


def _legend(timeline: Timeline) -> str:
    """What the signs mean, those that occur."""
    phases = {node.phase for node in timeline.nodes}
    said = ["a column is drawn at once", "an arrow is a message"]
    if "clamped" in phases:
        said.append(f"{LOCK} grey, doubled border: clamped, never drawn")
    if "start" in phases:
        said.append("dashed border: supplied by a start")
    if any(message.once for message in timeline.messages):
        said.append("dashed arrow: computed once, outside the sweeps")
    if any(node.folded for node in timeline.nodes):
        said.append("stacked border: blocks drawn one after another")
    if any(len(message.sources) > 1 for message in timeline.messages):
        said.append("small square: a product of two values")
    return " \N{MIDDLE DOT} ".join(said)


def _draw_group(picture: graphviz.Digraph, index: int, group: Group) -> None:
    with picture.subgraph(name=f"cluster_{index}") as box:
        framed = group.phase in ("pass", "sweep", "after")
        box.attr(
            label=f"<{style.bold(group.title)}>" if group.title else "",
            style="rounded,filled" if framed else "invis", color=style.FAINT, fillcolor=style.PANEL, fontsize="13",
            labeljust="c", margin="14",
        )  # fmt: skip
        for place, column in enumerate(group.columns):
            with box.subgraph(name=f"column_{index}_{place}") as lane:
                lane.attr(rank="same")
                lane.node(
                    f"head_{index}_{place}",
                    label=column.title,
                    shape="plaintext",
                    style="",
                    fontsize="10",
                    fontcolor=style.SOFT,
                    height="0.2",
                    margin="0.02",
                )
                for node in column.nodes:
                    lane.node(_name(node), **_look(node))


def _look(node: Node) -> dict[str, str]:
    """A node's attributes."""
    region = node.region
    look = {"shape": "box", "group": region.name, "tooltip": f"{part_name(region)} : {type_text(region.variable)}"}
    if node.phase == "carried":
        return look | {"label": "\N{MIDLINE HORIZONTAL ELLIPSIS}", "shape": "plaintext", "style": "", "fontsize": "20"}
    name = f'<font point-size="14">{style.bold(part_name(region))}</font>'
    lines = [name, style.icon(region), style.soft(type_text(region.variable)), style.soft(count_text(region))]
    if node.folded:
        lines.append(style.soft(blocks_text(node.sizes)))
    match node.phase:
        case "clamped":
            lines[0] = f'<font point-size="10">{LOCK}</font> {name}'
            lines.append(style.soft(_from(node)))
            look |= {"style": "filled", "fillcolor": style.CLAMPED, "peripheries": "2"}
        case "start":
            lines.append(style.soft(_from(node)))
            look |= {"style": "filled,rounded,dashed"}
        case _:
            look |= {"style": "filled,rounded"} | ({"peripheries": "3"} if node.folded else {})
    return look | {"label": style.stacked(lines)}


def _from(node: Node) -> str:
    if node.source.startswith("="):
        return f"constant {node.source}"
    return f"from {node.source if node.source != 'data' else 'the data'}"


def _keep_order(picture: graphviz.Digraph, timeline: Timeline) -> None:
    """Columns from left to right, and in each the variables from top to bottom, by edges that are not seen."""
    heads = [f"head_{i}_{p}" for i, group in enumerate(timeline.groups) for p in range(len(group.columns))]
    columns = [column for group in timeline.groups for column in group.columns]
    for before, after in zip(heads, heads[1:], strict=False):
        picture.edge(before, after, style="invis", weight="30")
    for head, column in zip(heads, columns, strict=True):
        down = [head, *(_name(node) for node in column.nodes)]
        for above, below in zip(down, down[1:], strict=False):
            picture.edge(above, below, style="invis")


def _draw_message(picture: graphviz.Digraph, number: int, message: Message, timeline: Timeline) -> None:
    term, target = message.term, _name(message.target)
    shapes = [shape_text(shape) for shape in term.factor.parameters(term.ends).values()]
    look = {"tooltip": f"{term.name}: {term.edge.factor.word} {', '.join(shapes)}".rstrip()}
    if message.once:
        look |= {"style": "dashed", "color": style.SOFT}
    if term.name != "_".join(end.name for end in term.ends):
        look["xlabel"] = term.name
    if len(message.sources) > 1:
        joint = f"product_{number}"
        picture.node(
            joint, label="", shape="square", width="0.13", fixedsize="true", fillcolor=style.INK, tooltip=term.name
        )
        for node in (n for end in message.sources for n in end):
            picture.edge(_name(node), joint, arrowhead="none", **_without_label(look))
        picture.edge(joint, target, **look)
        return
    for node in message.sources[0]:
        same = {"constraint": "false"} if _same_column(timeline, node, message.target) else {}
        picture.edge(_name(node), target, **look, **same)


def _without_label(look: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in look.items() if key != "xlabel"}


def _same_column(timeline: Timeline, a: Node, b: Node) -> bool:
    return any(a in column.nodes and b in column.nodes for group in timeline.groups for column in group.columns)


def _name(node: Node) -> str:
    return f"n{node.number}"
