"""Failures inside compiled graphs, told by the line of the .gm file."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any, TypeVar

import torch
from torch import fx
from torch.nn.modules.module import register_module_forward_pre_hook

from gmc.dsl.diagnostic import GmcError
from gmc.dsl.source import Span
from gmc.runtime import run_errors
from gmc.runtime.exact import TooLarge

T = TypeVar("T")


def located(model: Span, run: Callable[[], T]) -> T:
    """What `run` gives, which executes graphs; where one fails, `run` is called again with every graph interpreted node by node.

    `run` may be called twice: what it changes must not matter after a failure. Too little memory is nobody's line.

    Raises:
        MemoryError: there is too little, however torch says it.
        GmcError: a node failed; its place is what the node was emitted for, or `model` where that is not known.
    """
    heard = io.StringIO()
    try:
        with redirect_stderr(
            heard
        ):  # where torch.fx prints the code that it generated, for a user who knows of no such code
            found = run()
    except (GmcError, TooLarge):
        raise
    except Exception as error:
        if _of_memory(error):
            raise MemoryError(str(error).partition("\n")[0]) from error
        with _interpreted(model):
            run()
        raise  # it did not happen again
    if said := heard.getvalue():
        sys.stderr.write(said)
    return found


@contextmanager
def _interpreted(model: Span) -> Iterator[None]:
    """Inside, every graph runs node by node before it runs."""

    def look(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(module, fx.GraphModule):
            _Blaming(module, model).run(*args)

    hook = register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        hook.remove()


class _Blaming(fx.Interpreter):
    """Runs a graph and says of which line the node that fails is."""

    def __init__(self, module: fx.GraphModule, model: Span) -> None:
        super().__init__(module)
        self.extra_traceback = False  # nothing is to be added to the message
        self.model = model

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node.

        Raises:
            GmcError: it failed.
        """
        try:
            return super().run_node(n)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise GmcError([run_errors.graph_failed(n.meta.get("span", self.model), reason, self.model)]) from error


def _of_memory(error: Exception) -> bool:
    words = ("allocate memory", "not enough memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
