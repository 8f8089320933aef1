"""Hoists out of the sweep what depends on parameters and clamped values alone: it is computed once a run, not once a sweep."""

from __future__ import annotations

from torch import fx
from torch.fx.passes.infra.pass_base import PassResult

from gmc.compiler.draws import DRAWS


def hoist(module: fx.GraphModule) -> PassResult:
    """Marks each call whose inputs do not change between sweeps with `meta["once"]`; `split` parts the graph there."""
    modified = False
    for node in module.graph.nodes:
        if node.op != "call_function" or node.target in DRAWS or node.meta.get("once"):
            continue
        if node.all_input_nodes and all(map(fixed, node.all_input_nodes)):
            node.meta["once"] = True
            modified = True
    return PassResult(module, modified)


def fixed(node: fx.Node) -> bool:
    """Whether a node's value is the same in every sweep."""
    if node.op == "placeholder":
        return bool(node.meta["fixed"])
    return node.op == "get_attr" or bool(node.meta.get("once"))
