"""Shares equal nodes: two calls of one function with the same arguments are one value.

A draw is a pure function of its key, site and sweep: two draws of the same site in the same sweep are the same draw, and draws of different sites
differ in an argument, so no two draws merge that were not one.
"""

from __future__ import annotations

from typing import Any

from torch import fx
from torch.fx.passes.infra.pass_base import PassResult


def share(module: fx.GraphModule) -> PassResult:
    """Replaces each node by the first equal one; nodes fall by the number of repetitions."""
    seen: dict[Any, fx.Node] = {}
    modified = False
    for node in list(module.graph.nodes):
        if node.op not in ("call_function", "get_attr"):
            continue
        key = (node.op, node.target, _key(node.args), _key(node.kwargs))
        first = seen.setdefault(key, node)
        if first is not node:
            node.replace_all_uses_with(first)
            module.graph.erase_node(node)
            modified = True
    if modified:
        module.recompile()
    return PassResult(module, modified)


def _key(value: Any) -> Any:
    """A hashable stand-in for an argument; equal numbers of different types (1, 1.0, True) stay apart."""
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, *map(_key, value))
    if isinstance(value, dict):
        return ("dict", *((k, _key(v)) for k, v in sorted(value.items())))
    if isinstance(value, slice):
        return ("slice", _key(value.start), _key(value.stop), _key(value.step))
    return (type(value).__name__, repr(value) if isinstance(value, float) else value)
