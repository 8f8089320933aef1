"""Functions that are one node of a graph: special functions whose own formulas branch, and know their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary


def opaque(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Makes a pure function of one tensor emit a single node when it is called with a proxy."""

    @wraps(function)
    def emitting(x: Tensor) -> Tensor:
        if has_torch_function_unary(x):
            found: Tensor = handle_torch_function(emitting, (x,), x)
            return found
        return function(x)

    return emitting
