"""The passes over a chain's graphs, in their order, and how they are run.

A pass is one file: a function from a graph module to a `PassResult`, registered in `ORDER`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import fx
from torch.fx.passes.infra.pass_base import PassResult

from gmc.compiler.passes.cse import share
from gmc.compiler.passes.hoist import hoist
from gmc.compiler.passes.prune import prune
from gmc.compiler.verify import verify

Pass = Callable[[fx.GraphModule], PassResult]

ORDER: dict[str, Pass] = {
    # first what is the same is computed once, so that a value has one name in what follows
    "share": share,
    # then what no output needs goes, shared or not, so that it is not hoisted
    "prune": prune,
    # last, since it marks the nodes that remain and the marks must stand
    "hoist": hoist,
}
DEFAULT: tuple[Pass, ...] = tuple(ORDER.values())


def chosen(switches: str) -> tuple[Pass, ...]:
    """The passes left by switches such as `-hoist` or `-share,-prune`.

    Raises:
        KeyError: a switch that is not `-` and the name of a pass; its argument is the switch.
    """
    off = [s for s in switches.replace(" ", "").split(",") if s]
    for switch in off:
        if not switch.startswith("-") or switch[1:] not in ORDER:
            raise KeyError(switch)
    return tuple(p for name, p in ORDER.items() if f"-{name}" not in off)


def run_passes(module: fx.GraphModule, passes: Sequence[Pass]) -> fx.GraphModule:
    """The module after the passes; what comes in stays as it is. Verified before the first and after each."""
    result = copy(module)
    verify(result)
    for step in passes:
        result = step(result).graph_module
        verify(result)
    return result


def copy(module: fx.GraphModule) -> fx.GraphModule:
    """A module with a copy of the graph and the same constants."""
    graph = fx.Graph()
    output = graph.graph_copy(module.graph, {}, return_output_node=True)
    assert isinstance(output, tuple)
    graph.output(output[0])
    return fx.GraphModule(module, graph, class_name=type(module).__name__)
