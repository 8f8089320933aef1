"""Which kernel draws each free variable of a chain: a `~>` edge, or the joint by its `--` and incoming `->` edges.

A variable is drawn by the edge that a written sweep names; else by its `~>` edge, if an input of that is clamped, wholly or in part, or is itself drawn by one; else by the
joint. The joint's field of a variable knows nothing of what is below it along `->` edges: that integrates to one as long as all of it is free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from gmc.dsl.model import Edge, Model


@dataclass(frozen=True, slots=True)
class Missing:
    """A free variable that no kernel draws: the `~>` edges to choose from, if there are several; why each candidate failed, and the edge that says so."""

    variable: str
    choices: tuple[Edge, ...]
    reasons: tuple[tuple[Edge, str], ...]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The `~>` edges by the variables that they draw, and the variables without a kernel; the joint draws all others."""

    by: Mapping[str, Edge]
    missing: tuple[Missing, ...]


def find_kernels(
    model: Model, clamped: Collection[str], free: Collection[str], named: Mapping[str, str] | None = None
) -> Kernels:
    """The kernels of the `free` variables; `clamped` are those of which a site or more is held, `named` the edges that a written sweep names."""
    named = {name: edge for name, edge in (named or {}).items() if name in free}
    recognised = _recognised(model, clamped, free, named)
    by: dict[str, Edge] = {}
    missing = []
    for name in (v.name for v in model.variables if v.name in free):
        fed = [e for e in _into(model, name) if any(s in clamped or s in recognised for s in e.sources)]
        if name in named:
            by[name] = model.edge(named[name])
        elif len(fed) == 1:
            by[name] = fed[0]
        elif len(fed) > 1:
            missing.append(Missing(name, tuple(fed), ()))
        elif blocked := [below for below in beneath(model, name) if below in clamped]:
            reasons = tuple(_why_not(model, name, clamped, blocked))
            missing.append(Missing(name, (), reasons))
    return Kernels(by, tuple(missing))


def _recognised(
    model: Model, clamped: Collection[str], free: Collection[str], named: Mapping[str, str]
) -> frozenset[str]:
    """The free variables that a `~>` edge draws, or one of several."""
    found = set(named)
    while True:
        more = {
            name
            for edge in model.edges
            if edge.kind == "recognition" and any(s in clamped or s in found for s in edge.sources)
            for name in edge.targets
            if name in free
        }
        if more <= found:
            return frozenset(found)
        found |= more


def _into(model: Model, name: str) -> Iterator[Edge]:
    """The `~>` edges into a variable."""
    return (edge for edge in model.edges if edge.kind == "recognition" and name in edge.targets)


def _why_not(model: Model, name: str, clamped: Collection[str], blocked: Collection[str]) -> Iterator[tuple[Edge, str]]:
    """Why each candidate failed."""
    down = next(e for e in model.edges if e.kind == "directed" and name in e.sources and _leads(model, e, blocked))
    held = next(b for b in blocked if _leads(model, down, (b,)))
    yield down, f"not by the joint: `{held}` lies below it along `{down}` and is clamped"
    for edge in _into(model, name):
        names = " and ".join(f"`{source}`" for source in edge.sources)
        what = "is" if len(edge.sources) == 1 else "are"
        yield edge, f"not by `{edge.name}`: {names} {what} neither clamped nor drawn by a `~>` edge"


def _leads(model: Model, edge: Edge, to: Collection[str]) -> bool:
    """Whether one of some variables is a target of a `->` edge, or lies below one."""
    return bool(_reached(model, edge.targets) & set(to))


def beneath(model: Model, name: str) -> tuple[str, ...]:
    """All that lies below a variable along `->` edges, as declared: its targets, what is joined to these by `--` edges, what is below those, and so on."""
    found = _reached(model, [t for e in model.edges if e.kind == "directed" and name in e.sources for t in e.targets])
    return tuple(v.name for v in model.variables if v.name in found)


def _reached(model: Model, names: Collection[str]) -> set[str]:
    found, front = set[str](), list(names)
    while front:
        here = front.pop()
        if here in found:
            continue
        found.add(here)
        for edge in model.edges:
            if edge.kind == "undirected" and here in edge.ends:
                front += edge.ends
            elif edge.kind == "directed" and here in edge.sources:
                front += edge.targets
    return found


def components(model: Model) -> dict[str, str]:
    """The component of each variable, by the name of its first variable: those that `--` edges join, directly or through others, are one."""
    found: dict[str, str] = {}
    for variable in model.variables:
        front = [variable.name] if variable.name not in found else []
        while front:
            here = front.pop()
            if here not in found:
                found[here] = variable.name
                front += [n for e in model.edges if e.kind == "undirected" and here in e.ends for n in e.ends]
    return found


def directed_circle(model: Model) -> tuple[Edge, ...]:
    """The `->` edges of a circle of components, one after the other; empty if there is none."""
    of = components(model)
    after: dict[str, list[Edge]] = {}
    for edge in (e for e in model.edges if e.kind == "directed"):
        for source in edge.sources:
            after.setdefault(of[source], []).append(edge)
    done: set[str] = set()

    def walk(here: str, path: tuple[Edge, ...], on: tuple[str, ...]) -> tuple[Edge, ...]:
        for edge in after.get(here, ()):
            for there in (of[target] for target in edge.targets):
                if there in on:
                    return (*path, edge)[on.index(there) :]
                if there not in done and (circle := walk(there, (*path, edge), (*on, there))):
                    return circle
        done.add(here)
        return ()

    return next((circle for start in after if start not in done and (circle := walk(start, (), (start,)))), ())
