"""Parts a graph into what is computed once a run and what is computed each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from gmc.compiler.emitter import inputs

Values = Mapping[str, Any]
"""Inputs of graphs by name: tensors, and the number of the sweep."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A graph as emitted (`raw`), after the passes (`whole`), and its two parts.

    `once` gives a dictionary of `hoisted.N` values, which `each` takes beside its other inputs.
    """

    raw: fx.GraphModule
    whole: fx.GraphModule
    once: fx.GraphModule
    each: fx.GraphModule

    def place(self, device: torch.device) -> None:
        """Moves the constants of both parts to a device."""
        self.once.to(device)
        self.each.to(device)

    def bind(self, values: Values) -> Bound:
        """Computes what is computed once; `values` has at least the inputs that do not change."""
        hoisted = self.once(*(values[name] for name in inputs(self.once)))
        return Bound(self.each, {**values, **hoisted})

    def __call__(self, values: Values) -> Any:
        """The graph's outputs, for a single call."""
        return self.bind(values)({})


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A graph with all inputs that do not change."""

    module: fx.GraphModule
    values: Values

    def __call__(self, values: Values) -> Any:
        """The outputs for the inputs that change."""
        names = inputs(self.module)
        return self.module(*(values[n] if n in values else self.values[n] for n in names))


def split(raw: fx.GraphModule, whole: fx.GraphModule) -> Split:
    """The parts of a graph whose hoistable nodes are marked."""
    exported = [n for n in whole.graph.nodes if n.meta.get("once") and any(not u.meta.get("once") for u in n.users)]
    names = {node: f"hoisted.{index}" for index, node in enumerate(exported)}
    return Split(raw, whole, _once(whole, names), _each(whole, names))


def _once(whole: fx.GraphModule, names: Mapping[fx.Node, str]) -> fx.GraphModule:
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in whole.graph.nodes:
        feeds = any(user.meta.get("once") for user in node.users)
        if node.meta.get("once") or (node.op in ("placeholder", "get_attr") and feeds):
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    graph.output({name: copied[node] for node, name in names.items()})
    return fx.GraphModule(whole, graph, class_name="Prologue")


def _each(whole: fx.GraphModule, names: Mapping[fx.Node, str]) -> fx.GraphModule:
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node, name in names.items():
        copied[node] = graph.placeholder(name.replace(".", "_"))
        copied[node].meta.update(input=name, fixed=True)
    for node in whole.graph.nodes:
        if node.meta.get("once"):
            continue
        used = any(not user.meta.get("once") for user in node.users)
        if node.op in ("placeholder", "get_attr") and not used:
            continue
        copied[node] = graph.node_copy(node, lambda n: copied[n])
    return fx.GraphModule(whole, graph, class_name=type(whole).__name__)
