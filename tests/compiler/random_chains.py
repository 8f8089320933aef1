"""Small random models with random chains, as .gm text: every family of finitely many values, every factor, every item of a chain that can be enumerated.

A seed makes one. Nothing here asks the compiler or the checker anything: what is legal is decided from the language's definition.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2, prod
from random import Random

from tests.oracle.models import Example

Box = tuple[tuple[int, int], ...]
NAMES = "abcd"
STRENGTHS = (0.0, 0.0, 0.0, 0.0, 0.2, 0.5, 0.7, 1.0)
RAMPS = ((0.0, 1.0), (1.0, 0.0), (0.3, 0.8), (1.0, 0.25))


@dataclass(frozen=True)
class Node:
    """A variable of a draft: its declaration, its shape, how many values a site has."""

    name: str
    observed: bool
    family: str
    word: str
    shape: tuple[int, ...]
    values: int

    @property
    def sites(self) -> int:
        """How many it has."""
        return prod(self.shape)

    @property
    def bits(self) -> float:
        """The logarithm of the number of its states."""
        return self.sites * log2(self.values)

    @property
    def kind(self) -> tuple[str, int, tuple[int, ...]]:
        """What tied edges must share."""
        return (self.word, self.values, self.shape)

    def __str__(self) -> str:
        shape = f"[{', '.join(map(str, self.shape))}]" if self.shape else ""
        return f"{'observed' if self.observed else 'latent'} {self.name} : {self.family}{shape}"


@dataclass(frozen=True)
class Link:
    """An edge of a draft; `written` is whether the file names it."""

    name: str
    ends: tuple[str, ...]
    factor: str
    written: bool

    def __str__(self) -> str:
        name = f"{self.name} : " if self.written else ""
        return f"edge {name}{' -- '.join(self.ends)}{f' by {self.factor}' if self.factor != 'dense' else ''}"

    def into(self, end: str) -> set[str]:
        """The variables from which it sends one of its ends a message."""
        return set(self.ends) - {end} or {end}


@dataclass(frozen=True)
class Hold:
    """A part that is clamped: whole (None) or a box, at a constant, where observed, or at what is given."""

    name: str
    box: Box | None
    text: str
    constant: float | None = None
    observed: bool = False


@dataclass(frozen=True)
class Push:
    """A gain: of a variable, of what it sends another, or of an edge; `value` is None where it is no constant."""

    text: str
    variable: str | None
    target: str | None
    edge: str | None
    value: float | None


@dataclass(frozen=True)
class Draft:
    """A model and the items of its chain; `legal` is whether its written sweep, if there is one, may be written."""

    example: Example
    items: str
    sweeps: int
    sweep: tuple[tuple[str, ...], ...] | None
    legal: bool


def draft(seed: int) -> Draft:
    """The random model and chain of a seed."""
    rng = Random(seed)
    nodes = _nodes(rng)
    links, files = _links(rng, nodes)
    body = "\n".join(f"    {line}" for line in (*nodes, *links))
    example = Example(f"random{seed}", f"\n{body}\n", (), files)
    holds = _holds(rng, nodes)
    free = [n for n in nodes if not _covered(n, [h for h in holds if h.name == n.name and not h.observed])]
    pushes = _pushes(rng, nodes, links, holds)
    sweep = _sweep(rng, links, pushes, free)
    legal = sweep is None or not any(_meet(links, pushes, a, b) for block in sweep for a, b in _pairs(block))
    sweeps = rng.randint(1, 3)
    parts = [_clamps(rng, holds), *(push.text for push in pushes), _start(rng, free), _update(rng, free)]
    parts += ["sweep " + " then ".join("{" + ", ".join(block) + "}" for block in sweep)] if sweep else []
    return Draft(example, "  ".join([*(part for part in parts if part), f"sweeps {sweeps}"]), sweeps, sweep, legal)


# ── Models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _nodes(rng: Random) -> tuple[Node, ...]:
    budget = rng.choice((4, 5, 6, 6, 7, 7, 8, 8, 9, 10, 12))
    nodes: list[Node] = []
    for name in NAMES[: rng.choice((1, 2, 2, 3, 3, 3, 4, 4))]:
        for _ in range(20):
            node = _node(rng, name, nodes)
            if sum(other.bits for other in nodes) + node.bits <= budget:
                nodes.append(node)
                break
    return tuple(nodes) or (Node("a", True, "bernoulli", "bernoulli", (2,), 2),)


def _node(rng: Random, name: str, others: Sequence[Node]) -> Node:
    observed = rng.random() < 0.5
    if others and rng.random() < 0.3:  # so that edges can be tied
        like = rng.choice(others)
        return Node(name, observed, like.family, like.word, like.shape, like.values)
    word = rng.choice(("bernoulli", "bernoulli", "spin", "categorical"))
    values = rng.choice((2, 3, 3, 4)) if word == "categorical" else 2
    shape = _shape(rng, others)
    biases = ["", "", "", "bias = none", "bias = 0.3", *(["bias = channel"] if shape else [])]
    bias = rng.choice(biases)
    arguments = ", ".join(a for a in (str(values) if word == "categorical" else "", bias) if a)
    return Node(name, observed, f"{word}({arguments})" if arguments else word, word, shape, values)


def _shape(rng: Random, others: Sequence[Node]) -> tuple[int, ...]:
    images = [node.shape for node in others if len(node.shape) > 1]
    if images and rng.random() < 0.4:
        _, shape = rng.choice(_convolutions(rng.choice(images)))
        if prod(shape) <= 4:
            return shape if rng.random() < 0.8 else (1, *shape)
    flat = rng.choice(((), (1,), (2,), (3,), (3,), (4,)))
    deep = rng.choice(((1, 2), (2, 1), (2, 2), (2, 2), (1, 3), (3, 1), (1, 1), (4, 1), (1, 2, 2), (2, 1, 2)))
    return flat if rng.random() < 0.6 else deep


def _convolutions(shape: tuple[int, ...]) -> list[tuple[str, tuple[int, int]]]:
    """The convolutions of an image and the height and width that they give."""
    found = []
    for kernel, stride, padding in itertools.product((1, 2, 3), (1, 2), (0, 1)):
        size = [(n + 2 * padding - kernel) // stride + 1 for n in shape[-2:]]
        if min(size) > 0:
            found.append((f"conv({kernel}, stride = {stride}, padding = {padding})", (size[0], size[1])))
    return found


def _links(rng: Random, nodes: Sequence[Node]) -> tuple[tuple[Link, ...], dict[str, tuple[tuple[int, int], ...]]]:
    links: list[Link] = []
    files: dict[str, tuple[tuple[int, int], ...]] = {}
    for _ in range(rng.randint(1, len(nodes) + 2)):
        count = rng.choice((1, 2, 2, 2, 3)) if len(nodes) > 2 else rng.choice((1, 2, 2))
        ends = rng.sample(nodes, min(count, len(nodes)))
        ends = ends * 2 if len(ends) == 1 else ends
        factor = _factor(rng, ends, links, {node.name: node for node in nodes}, files)
        names = tuple(end.name for end in ends)
        if any(sorted(names) == sorted(link.ends) and factor == link.factor for link in links):
            continue
        made = "_".join(names)
        written = rng.random() < 0.6 or made in {link.name for link in links}
        links.append(Link(f"e{len(links)}" if written else made, names, factor, written))
    return tuple(links), files


def _factor(
    rng: Random,
    ends: Sequence[Node],
    links: Sequence[Link],
    nodes: dict[str, Node],
    files: dict[str, tuple[tuple[int, int], ...]],
) -> str:
    lateral = ends[0] is ends[1]
    kinds = [end.kind for end in ends]
    like = [
        x.name
        for x in links
        if [nodes[n].kind for n in x.ends] == kinds and (len(x.ends) == 2 and x.ends[0] == x.ends[1]) == lateral
    ]
    found = ["dense", "dense", f"lowrank({rng.randint(1, 2)})", *[f"tied({name})" for name in like]]
    if lateral and ends[0].sites > 1:
        coupling = rng.choice(("shared", "axis", "bond", "0.6"))
        found += [f"lattice(coupling = {coupling}, boundary = {rng.choice(('open', 'periodic'))})"] * 2
    if len(ends) == 2 and (not lateral or ends[0].sites > 1):
        name = f"pairs{len(files)}.npz"
        pairs = list(itertools.product(range(ends[0].sites), range(ends[1].sites)))
        if lateral:
            pairs = [(i, j) if rng.random() < 0.5 else (j, i) for i, j in pairs if i < j]
        files[name] = tuple(rng.sample(pairs, rng.randint(1, len(pairs))))
        found += [f'sparse("{name}")'] * 2
    if len(ends) == 2 and not lateral and all(len(end.shape) > 1 for end in ends):
        found += [text for text, size in _convolutions(ends[0].shape) if size == ends[1].shape[-2:]] * 2
    return rng.choice(found)


# ── Chains ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _holds(rng: Random, nodes: Sequence[Node]) -> tuple[Hold, ...]:
    found: list[Hold] = []
    for node in nodes:
        if rng.random() < 0.5:
            continue
        taken: list[Box] = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            box, text = _part(rng, node)
            if any(_overlap(box, other) for other in taken):
                continue
            taken.append(box)
            constant, observed = None, False
            if rng.random() < 0.2:
                low = -1 if node.word == "spin" else 0
                constant = float(rng.choice((-1, 1)) if low else rng.randrange(node.values))
            elif rng.random() < 0.35:
                observed = True
            found.append(Hold(node.name, box, node.name + text, constant, observed))
    return tuple(found)


def _part(rng: Random, node: Node) -> tuple[Box, str]:
    """A box of a variable and its slices."""
    whole = tuple((0, size) for size in node.shape)
    if not node.shape or rng.random() < 0.4:
        return whole, ""
    box, texts = [], []
    for size in node.shape[: rng.randint(1, len(node.shape))]:
        low = rng.randrange(size)
        high = rng.randint(low + 1, size)
        ways = [f"{low}:{high}"]
        ways += [str(low), str(low - size)] if high == low + 1 else []
        ways += [f"{low}:"] if high == size else [f"{low}:{high - size}"]
        ways += [f":{high}"] if low == 0 else []
        ways += [":"] * 2 if (low, high) == (0, size) else []
        box.append((low, high))
        texts.append(rng.choice(ways))
    return (*box, *whole[len(box) :]), f"[{', '.join(texts)}]"


def _overlap(a: Box, b: Box) -> bool:
    return all(max(low, first) < min(high, last) for (low, high), (first, last) in zip(a, b, strict=True))


def _covered(node: Node, holds: Sequence[Hold]) -> bool:
    return sum(prod(high - low for low, high in hold.box or ()) for hold in holds) == node.sites


def _clamps(rng: Random, holds: Sequence[Hold]) -> str:
    """The items: constants one by one, the others alone or together."""
    texts = [f"clamp {h.text} = {h.constant:g}" for h in holds if h.constant is not None]
    for observed, tail in ((False, ""), (True, " where observed")):
        plain = [h.text for h in holds if h.constant is None and h.observed == observed]
        if plain and rng.random() < 0.5:
            texts.append(f"clamp {', '.join(plain)}{tail}")
        else:
            texts += [f"clamp {text}{tail}" for text in plain]
    rng.shuffle(texts)
    return "  ".join(texts)


def _pushes(rng: Random, nodes: Sequence[Node], links: Sequence[Link], holds: Sequence[Hold]) -> tuple[Push, ...]:
    held = sorted({hold.name for hold in holds})
    messages = sorted({(other, end) for link in links for end in link.ends for other in link.into(end)})
    found = []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        of_edge = rng.random() < 0.3
        variable, target, edge = rng.choice(nodes).name, None, None
        if of_edge:
            edge = rng.choice(links).name
        elif rng.random() < 0.5:
            variable, target = rng.choice(messages)
        where = edge or f"{variable}{f' -> {target}' if target else ''}"
        who = None if of_edge else variable
        roll = rng.random()
        if roll < 0.2 and held and not of_edge:
            gate = f"surprise({rng.choice(held)}) {rng.choice(('>', '>=', '<', '<='))} {rng.uniform(0.3, 1.1):.6f}"
            found.append(Push(f"impotent {where} unless {gate}", who, target, edge, None))
        elif roll < 0.35:
            low, high = rng.choice(RAMPS)
            ramp = f"cosine({low}, {high})" if rng.random() < 0.3 else f"{low} -> {high}"
            found.append(Push(f"potent {where} = {ramp}", who, target, edge, None))
        else:
            value = rng.choice(STRENGTHS if not of_edge else (0.0, 0.4, 1.5, 2.0))
            text = f"impotent {where}" if value == 0 and rng.random() < 0.5 else f"potent {where} = {value}"
            found.append(Push(text, who, target, edge, value))
    return tuple(found)


def _meet(links: Sequence[Link], pushes: Sequence[Push], a: str, b: str) -> bool:
    """Whether one of two variables ever hears the other."""
    for link in links:
        for end, other in ((a, b), (b, a)):
            if end in link.ends and other in link.ends and not any(_hushes(push, link, end) for push in pushes):
                return True
    return False


def _hushes(push: Push, link: Link, end: str) -> bool:
    if push.value != 0.0:
        return False
    return push.edge == link.name or (push.variable in link.into(end) and push.target in (None, end))


def _pairs(block: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.combinations(block, 2))


def _sweep(
    rng: Random, links: Sequence[Link], pushes: Sequence[Push], free: Sequence[Node]
) -> tuple[tuple[str, ...], ...] | None:
    """A written sweep, most often one that is legal."""
    if not free or rng.random() < 0.5:
        return None
    tries = (_blocks(rng, [node.name for node in free]) for _ in range(rng.randint(1, 8)))
    blocks: tuple[tuple[str, ...], ...] = ()
    for blocks in tries:
        if not any(_meet(links, pushes, a, b) for block in blocks for a, b in _pairs(block)):
            break
    return blocks


def _blocks(rng: Random, names: list[str]) -> tuple[tuple[str, ...], ...]:
    """Names parted into blocks, one of them twice now and then."""
    rng.shuffle(names)
    if rng.random() < 0.2:
        names.insert(rng.randint(0, len(names)), rng.choice(names))
    blocks: list[list[str]] = []
    for name in names:
        if blocks and name not in blocks[-1] and rng.random() < 0.4:
            blocks[-1].append(name)
        else:
            blocks.append([name])
    return tuple(tuple(block) for block in blocks)


def _start(rng: Random, free: Sequence[Node]) -> str:
    if not free or rng.random() < 0.55:
        return ""
    names = [node.name for node in free]
    return (
        "start noise"
        if rng.random() < 0.4
        else f"start {', '.join(rng.sample(names, rng.randint(1, len(names))))} from noise"
    )


def _update(rng: Random, free: Sequence[Node]) -> str:
    roll = rng.random()
    if roll < 0.1 and not any(node.word == "categorical" for node in free):
        return "update mean"
    return "update mode" if 0.1 < roll < 0.2 else ""
