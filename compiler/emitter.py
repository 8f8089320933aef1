"""Builds torch.fx graphs out of plain torch code.

Formulas are called with proxies; every operation becomes a `call_function` node, methods too, so that passes know one kind of node. Each node carries the
span of the .gm file that it comes from in `meta["span"]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.fx.node import map_aggregate
from torch.fx.proxy import GraphAppendingTracer, Proxy

from gmc.compiler.region import Index, Piece, Region, columns
from gmc.dsl.source import Span


class _Tracer(GraphAppendingTracer):
    """Turns method calls into function calls and stamps spans on nodes."""

    def __init__(self, graph: fx.Graph) -> None:
        super().__init__(graph)
        self.span: Span | None = None

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> fx.Node:
        if kind == "call_method":
            kind, target = "call_function", getattr(torch.Tensor, target)
        node = super().create_node(kind, target, args, kwargs, *rest, **more)
        if self.span is not None:
            node.meta["span"] = self.span
        return node


class Emitter:
    """One graph under construction, with the constants it refers to."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self._tracer = _Tracer(self.graph)
        self._inputs: dict[str, Proxy] = {}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._tensors: dict[str, torch.Tensor] = {}

    @contextmanager
    def at(self, span: Span) -> Iterator[None]:
        """Nodes made inside come from `span`."""
        before, self._tracer.span = self._tracer.span, span
        try:
            yield
        finally:
            self._tracer.span = before

    def input(self, name: str, fixed: bool) -> Any:
        """The graph's input of that name, made at its first use; `fixed` says that it does not change between sweeps."""
        if name not in self._inputs:
            node = self.graph.placeholder(identifier(name))
            node.meta["input"], node.meta["fixed"] = name, fixed
            self._inputs[name] = Proxy(node, self._tracer)
        return self._inputs[name]

    def constant(self, array: Index | torch.Tensor) -> Any:
        """A tensor kept in the module; equal ones are kept once."""
        tensor = torch.from_numpy(np.ascontiguousarray(array)) if isinstance(array, np.ndarray) else array
        key = (tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes())
        name = self._constants.setdefault(key, f"constant_{len(self._constants)}")
        self._tensors[name] = tensor
        return Proxy(self.graph.create_node("get_attr", name), self._tracer)

    def take(self, value: Any, index: Index, dim: int, size: int) -> Any:
        """The entries at `index` along `dim`, of length `size`: the value itself, a slice or a gather, whichever is least."""
        if index.size == size:
            return value
        if index.size and index[-1] - index[0] + 1 == index.size and (np.diff(index) == 1).all():
            return torch.narrow(value, dim, int(index[0]), int(index.size))
        return torch.index_select(value, dim, self.constant(index))

    def select(self, value: Any, region: Region, dim: int = 1) -> Any:
        """The part of a whole variable's statistic (along `dim`) that belongs to a region."""
        return self.take(value, region.columns, dim, region.variable.size)

    def embed(self, piece: Piece) -> Any:
        """The whole variable's statistic, zero outside the piece."""
        region = piece.region
        if region.whole:
            return piece.value
        place = np.full(region.variable.size, region.size, dtype=np.int64)
        place[region.columns] = np.arange(region.size)
        return torch.index_select(torch.nn.functional.pad(piece.value, (0, 1)), 1, self.constant(place))

    def assemble(self, pieces: Sequence[Piece], target: Region) -> Any:
        """The statistic of `target` from pieces that cover it without overlap."""
        if len(pieces) == 1:
            piece = pieces[0]
            width = piece.region.variable.family.width
            return self.take(piece.value, columns(target.within(piece.region), width), 1, piece.region.size)
        order = np.concatenate([p.region.columns for p in pieces])
        position = np.empty(target.variable.size, dtype=np.int64)
        position[order] = np.arange(order.size)
        return torch.index_select(torch.cat([p.value for p in pieces], 1), 1, self.constant(position[target.columns]))

    def module(self, outputs: Any, name: str) -> fx.GraphModule:
        """The finished graph; `outputs` is a tree of proxies. Inputs stand in the order of their first use."""
        self._tracer.span = None
        self._tracer.create_node("output", "output", (map_aggregate(outputs, _node),), {})
        root = torch.nn.Module()
        for key, tensor in self._tensors.items():
            root.register_buffer(key, tensor, persistent=False)
        return fx.GraphModule(root, self.graph, class_name=name)


def _node(value: Any) -> Any:
    return value.node if isinstance(value, Proxy) else value


def identifier(name: str) -> str:
    """A Python name for an input: `v.bias` gives `v_bias`."""
    return "".join(c if c.isalnum() else "_" for c in name)


def inputs(module: fx.GraphModule) -> tuple[str, ...]:
    """The names of a graph module's inputs, in the order in which it takes them."""
    return tuple(n.meta["input"] for n in module.graph.nodes if n.op == "placeholder")
