"""Where the nodes of a timeline stand: as in a score, a lane for each part of a variable, a column for each block.

A value is held from where it is drawn until it is drawn again, so its lane is empty there: a message runs along the lane of what it reads and
turns into what it reaches just before that one's column, where no node is in its way. Lengths are points, y runs upwards, the first variable is at the bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures.timeline import Column, Group, Message, Node, Timeline

GUTTER = 44.0
PRODUCT_ROOM = 34.0
SIDE = 16.0
BETWEEN = 14.0
LANE_GAP = 20.0
LOOP = 22.0
HEAD = 46.0
FOOT = 12.0
TIP = 7.0
CARRIED = 30.0
BORDER = 4.0
"""What graphviz puts between the borders of a node that has several, outwards."""

Point = tuple[float, float]
Lane = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle by its centre."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> Point:
        """The middle of the left side."""
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        """The middle of the right side."""
        return self.x + self.width / 2, self.y

    def corners(self) -> str:
        """As DOT's `bb`."""
        low, high = self.x - self.width / 2, self.x + self.width / 2
        return f"{low:g},{self.y - self.height / 2:g},{high:g},{self.y + self.height / 2:g}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes of nodes by number, panels of groups, the middle of each column by group and place, and the height of titles."""

    nodes: Mapping[int, Box]
    panels: tuple[Box, ...]
    columns: tuple[tuple[float, ...], ...]
    gutters: Mapping[int, float]
    group_title: float
    column_title: float


def lay_out(graph: FactorGraph, timeline: Timeline, size: Callable[[Node], tuple[float, float]]) -> Layout:
    """Places everything; `size` is the width and height that a node's text needs."""
    sizes = {node.number: size(node) for node in timeline.nodes}
    loops = {m.target.number for m in timeline.messages if any(m.target in end for end in m.sources)}
    lanes, top = _lanes(graph, timeline, sizes, loops)
    joined = {m.target.number for m in timeline.messages if len(m.sources) > 1}
    boxes: dict[int, Box] = {}
    gutters: dict[int, float] = {}
    panels, columns = [], []
    x = 0.0
    for group in timeline.groups:
        left, middles = x, []
        for place, column in enumerate(group.columns):
            gutter = _gutter(group, column, place, joined)
            width = max((sizes[n.number][0] for n in column.nodes), default=CARRIED)
            x += gutter
            for node in column.nodes:
                own = CARRIED if node.phase == "carried" else width
                boxes[node.number] = Box(x + width / 2, lanes[lane_of(node)], own, sizes[node.number][1])
                gutters[node.number] = gutter
            middles.append(x + width / 2)
            x += width
        x += SIDE
        height = top + HEAD + FOOT
        panels.append(Box((left + x) / 2, height / 2 - FOOT, x - left, height))
        columns.append(tuple(middles))
        x += BETWEEN if group.phase != "carried" else 0.0
    return Layout(boxes, tuple(panels), tuple(columns), gutters, top + HEAD - 14.0, top + 14.0)


def lane_of(node: Node) -> Lane:
    """The lane of a node: its variable and sites."""
    return node.region.name, node.region.sites.tobytes()


def _gutter(group: Group, column: Column, place: int, joined: set[int]) -> float:
    if group.phase == "clamped":
        return SIDE
    if group.phase == "carried":
        return 0.0
    return GUTTER + (PRODUCT_ROOM if any(n.number in joined for n in column.nodes) else 0.0)


def _lanes(
    graph: FactorGraph, timeline: Timeline, sizes: Mapping[int, tuple[float, float]], loops: set[int]
) -> tuple[dict[Lane, float], float]:
    """The height of the middle of each lane, and of the top of the highest."""
    place = {v.name: n for n, v in enumerate(graph.variables)}
    first: dict[Lane, tuple[int, int, int]] = {}
    for node in timeline.nodes:
        rank = (place[node.region.name], -int(node.region.sites[0]), int(node.region.sites.size))
        first.setdefault(lane_of(node), rank)
    heights: dict[Lane, float] = {}
    over: dict[Lane, float] = {}
    for node in timeline.nodes:
        lane = lane_of(node)
        heights[lane] = max(heights.get(lane, 0.0), sizes[node.number][1])
        over[lane] = max(over.get(lane, 0.0), LOOP if node.number in loops else 0.0)
    y, middles = 0.0, {}
    for lane in sorted(first, key=lambda lane: (first[lane], lane)):
        middles[lane] = y + heights[lane] / 2
        y += heights[lane] + over[lane] + LANE_GAP
    return middles, y - LANE_GAP if middles else 0.0


def arrivals(messages: Sequence[Message], layout: Layout) -> dict[tuple[int, int], Point]:
    """Where each arrow ends, by the message's place and the source's number (-1: a product): spread over the left side as the sources stand."""
    into: dict[int, list[tuple[float, int, int]]] = {}
    for place, message in enumerate(messages):
        target = message.target.number
        if len(message.sources) > 1:
            heights = [layout.nodes[n.number].y for end in message.sources for n in end]
            into.setdefault(target, []).append((sum(heights) / len(heights), place, -1))
            continue
        for node in (n for end in message.sources for n in end):
            if not beside(layout, node, message.target):
                into.setdefault(target, []).append((layout.nodes[node.number].y, place, node.number))
    ends: dict[tuple[int, int], Point] = {}
    for number, arriving in into.items():
        box = layout.nodes[number]
        x, y = box.left
        arriving.sort()
        for index, (_, place, source) in enumerate(arriving):
            share = (index + 1) / (len(arriving) + 1) - 0.5
            ends[place, source] = x, y + share * box.height * 0.85
    return ends


def beside(layout: Layout, a: Node, b: Node) -> bool:
    """Whether two nodes stand in one column."""
    return layout.nodes[a.number].x == layout.nodes[b.number].x


def wire(start: Point, end: Point, bend: float, arrow: bool) -> str:
    """A line along the lane of `start`, and within `bend` of `end` over to it, as DOT's `pos`."""
    tip = f"e,{_point(end)} " if arrow else ""
    last = (end[0] - TIP, end[1]) if arrow else end
    turn = (max(start[0], end[0] - bend), start[1])
    middle = (turn[0] + last[0]) / 2
    path = [
        start,
        *([_between(start, turn, 1 / 3), _between(start, turn, 2 / 3), turn] if turn[0] > start[0] + 1 else []),
    ]
    path += [(middle, start[1]), (middle, last[1]), last]
    return tip + " ".join(map(_point, path))


def loop(box: Box) -> str:
    """An arrow from a node's top back to it."""
    top = box.y + box.height / 2
    path = [(box.x - 14, top), (box.x - 20, top + LOOP), (box.x + 20, top + LOOP), (box.x + 14, top + TIP)]
    return f"e,{_point((box.x + 12, top))} " + " ".join(map(_point, path))


def across(source: Box, target: Box) -> str:
    """An arrow between two nodes of one column, bent so that the way back is another line."""
    up = target.y > source.y
    side = 16.0 if up else -16.0
    start = (source.x + side, source.y + (source.height if up else -source.height) / 2)
    end = (target.x + side, target.y - (target.height if up else -target.height) / 2)
    last = (end[0], end[1] - TIP if up else end[1] + TIP)
    bow = 0.0 if abs(end[1] - start[1]) < LANE_GAP + LOOP + 1 else side * 5
    path = [start, (start[0] + bow, start[1]), (last[0] + bow, last[1]), last]
    return f"e,{_point(end)} " + " ".join(map(_point, path))


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _point(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"
