"""Functions that are one node of a graph: special functions whose own formulas branch, and know their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary


def opaque(function: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    """Makes a pure function of one tensor emit a single node when it is called with a proxy."""

    # not annotated by what it wraps, since a proxy is no tensor
    @wraps(function, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def emitting(x: Any) -> Any:
        if has_torch_function_unary(x):
            return handle_torch_function(emitting, (x,), x)
        return function(x)

    return emitting
