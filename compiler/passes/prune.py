"""Prunes what no output needs. Graphs are pure, draws too, so a value without a reader has no effect."""

from __future__ import annotations

from torch import fx
from torch.fx.passes.infra.pass_base import PassResult


def prune(module: fx.GraphModule) -> PassResult:
    """Erases nodes without users, inputs among them, from the end to the start."""
    modified = False
    for node in reversed(list(module.graph.nodes)):
        if node.op != "output" and not node.users:
            module.graph.erase_node(node)
            modified = True
    if modified:
        module.recompile()
    return PassResult(module, modified)
