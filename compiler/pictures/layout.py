"""Where the nodes of a timeline stand: as in a score, a lane for each part of a variable, a column for each block.

A value is held from where it is drawn until it is drawn again, so its lane is empty there: a message runs along the lane of what it reads and
turns into what it reaches just before that one's column, where no node is in its way. What is computed once stands in the lane of the clamped value that it
comes from, and a gate has a lane of its own. Lengths are points, y runs upwards, the first variable is at the bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures.timeline import Column, Message, Node, Phase, Timeline

GUTTER = 44.0
PRODUCT_ROOM = 34.0
ARRIVAL = 16.0
"""Between two messages that reach one node, where labels or the marks of gates stand between them."""
ONCE_STEP = 24.0
"""Between two nodes in one lane that are computed once."""
SIDE = 16.0
BETWEEN = 14.0
LANE_GAP = 20.0
SPREAD = 0.85
"""The share of a node's side over which arrows are spread."""
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
    """Boxes of nodes by number, panels of groups, the middle of each column by group and place, and the height of titles.

    `rooms`: by number of node, how long messages run straight before it, for their labels.
    """

    nodes: Mapping[int, Box]
    panels: tuple[Box, ...]
    columns: tuple[tuple[float, ...], ...]
    rooms: Mapping[int, float]
    group_title: float
    column_title: float

    @property
    def width(self) -> float:
        """Of the whole, in points."""
        return self.panels[-1].right[0] if self.panels else 0.0


def lay_out(
    graph: FactorGraph,
    timeline: Timeline,
    size: Callable[[Node], tuple[float, float]],
    label: Callable[[Message], float] = lambda message: 0.0,
) -> Layout:
    """Places everything; `size` is the width and height that a node's text needs, `label` the width that a message's does."""
    sizes = _sizes(timeline, size, label)
    heights, top = _heights(graph, timeline, sizes)
    joined = {m.target.number for m in timeline.messages if m.joined}
    labels = {m.target.number: 0.0 for m in timeline.messages}
    for message in timeline.messages:
        labels[message.target.number] = max(labels[message.target.number], label(message))
    boxes: dict[int, Box] = {}
    rooms: dict[int, float] = {}
    panels, columns = [], []
    x = 0.0
    for group in timeline.groups:
        left, middles = x, []
        for place, column in enumerate(group.columns):
            room = max((labels.get(n.number, 0.0) for n in column.nodes), default=0.0)
            width = max((sizes[n.number][0] for n in column.nodes), default=CARRIED)
            x += _gutter(group.phase, column, place, joined) + room
            for node in column.nodes:
                own = CARRIED if node.phase == "carried" else width
                boxes[node.number] = Box(x + width / 2, heights[node.number], own, sizes[node.number][1])
                rooms[node.number] = room
            middles.append(x + width / 2)
            x += width
        x += SIDE
        height = top + HEAD + FOOT
        panels.append(Box((left + x) / 2, height / 2 - FOOT, x - left, height))
        columns.append(tuple(middles))
        x += BETWEEN if group.phase != "carried" else 0.0
    return Layout(boxes, tuple(panels), tuple(columns), rooms, top + HEAD - 14.0, top + 14.0)


def lane_of(node: Node) -> Lane:
    """The lane of a node: its variable and sites; that of the value it comes from, where it is computed once; one of its own, for a gate."""
    if node.anchor is not None:
        return lane_of(node.anchor)
    if node.gate is not None:
        return str(node.gate), b""
    return node.region.name, node.region.sites.tobytes()


def _gutter(phase: Phase, column: Column, place: int, joined: set[int]) -> float:
    if phase == "carried":
        return 0.0
    if phase == "clamped" and place == 0:
        return SIDE
    return GUTTER + (PRODUCT_ROOM if any(n.number in joined for n in column.nodes) else 0.0)


def _sizes(
    timeline: Timeline, size: Callable[[Node], tuple[float, float]], label: Callable[[Message], float]
) -> dict[int, tuple[float, float]]:
    """The sizes of nodes, high enough that labels and marks of what they read stand above one another."""
    arriving: dict[int, int] = {}
    marked: set[int] = set()
    for message in timeline.messages:
        number = message.target.number
        arriving[number] = arriving.get(number, 0) + (1 if message.joined else len(message.origins))
        if label(message) or message.gates:
            marked.add(number)
    sizes = {}
    for node in timeline.nodes:
        width, height = size(node)
        least = ARRIVAL * (arriving[node.number] + 1) / SPREAD if node.number in marked else 0.0
        sizes[node.number] = width, max(height, least)
    return sizes


def _heights(
    graph: FactorGraph, timeline: Timeline, sizes: Mapping[int, tuple[float, float]]
) -> tuple[dict[int, float], float]:
    """The height of the middle of each node, and of the top of the highest lane."""
    place = {v.name: n for n, v in enumerate(graph.variables)}
    loops = {m.target.number for m in timeline.messages if m.target in m.origins}
    first: dict[Lane, tuple[int, int, int]] = {}
    height: dict[Lane, float] = {}
    over: dict[Lane, float] = {}
    once: dict[Lane, list[Node]] = {}
    for node in timeline.nodes:
        lane = lane_of(node)
        if node.phase == "once":
            once.setdefault(lane, []).append(node)
            continue
        # a gate stands above its variable
        among, extent = (-int(node.region.sites[0]), int(node.region.sites.size)) if node.gate is None else (1, 0)
        first.setdefault(lane, (place[node.region.name], among, extent))
        height[lane] = max(height.get(lane, 0.0), sizes[node.number][1])
        over[lane] = max(over.get(lane, 0.0), LOOP if node.number in loops else 0.0)
    heard = [n for m in timeline.messages if m.target.phase != "once" for n in m.origins]
    direct = {lane_of(node) for node in heard if node.phase != "once"}
    direct |= {lane_of(node) for node, _ in timeline.tests}
    y = 0.0
    middles: dict[int, float] = {}
    for lane in sorted(first, key=lambda lane: (first[lane], lane)):
        offsets = _offsets(len(once.get(lane, ())), through=lane in direct)
        high = max([height[lane] / 2, *(offset + ONCE_STEP / 2 for offset in offsets)])
        middle = y + max([height[lane] / 2, *(ONCE_STEP / 2 - offset for offset in offsets)])
        middles |= {node.number: middle + o for node, o in zip(once.get(lane, ()), offsets, strict=True)}
        middles |= {n.number: middle for n in timeline.nodes if n.phase != "once" and lane_of(n) == lane}
        y = middle + high + over[lane] + LANE_GAP
    return middles, y - LANE_GAP if middles else 0.0


def _offsets(count: int, *, through: bool) -> list[float]:
    """How far above the middle of a lane its nodes stand that are computed once; with `through` a message runs along the middle itself."""
    if through:
        return [ONCE_STEP * (n + 1) for n in range(count)]
    return [ONCE_STEP * (n - (count - 1) / 2) for n in range(count)]


def arrivals(messages: Sequence[Message], layout: Layout) -> dict[tuple[int, int], Point]:
    """Where each arrow ends, by the message's place and the source's number (-1: a product): spread over the left side as the sources stand."""
    into: dict[int, list[tuple[float, int, int]]] = {}
    for place, message in enumerate(messages):
        target = message.target.number
        if message.joined:
            heights = [layout.nodes[n.number].y for n in message.origins]
            into.setdefault(target, []).append((sum(heights) / len(heights), place, -1))
            continue
        for node in message.origins:
            if not beside(layout, node, message.target):
                into.setdefault(target, []).append((layout.nodes[node.number].y, place, node.number))
    ends: dict[tuple[int, int], Point] = {}
    for number, arriving in into.items():
        box = layout.nodes[number]
        x, y = box.left
        arriving.sort()
        for index, (_, place, source) in enumerate(arriving):
            share = (index + 1) / (len(arriving) + 1) - 0.5
            ends[place, source] = x, y + share * box.height * SPREAD
    return ends


def beside(layout: Layout, a: Node, b: Node) -> bool:
    """Whether two nodes stand in one column."""
    return layout.nodes[a.number].x == layout.nodes[b.number].x


def wire(start: Point, end: Point, bend: float, arrow: bool, room: float = 0.0) -> str:
    """A line along the lane of `start`, within `bend` of `end` over to the height of that, and straight for the last `room`, as DOT's `pos`."""
    tip = f"e,{_point(end)} " if arrow else ""
    last = (end[0] - TIP, end[1]) if arrow else end
    level = (last[0] - room, end[1])
    turn = (max(start[0], level[0] - bend + (TIP if arrow else 0.0)), start[1])
    middle = (turn[0] + level[0]) / 2
    path = [start, *(_straight(start, turn) if turn[0] > start[0] + 1 else [])]
    path += [(middle, start[1]), (middle, level[1]), level, *(_straight(level, last) if room else [])]
    return tip + " ".join(map(_point, path))


def _straight(a: Point, b: Point) -> list[Point]:
    """The points of a curve that goes straight on from a to b."""
    return [_between(a, b, 1 / 3), _between(a, b, 2 / 3), b]


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
