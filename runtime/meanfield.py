"""Mean field run to its fixed point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gmc.compiler.split import Bound
from gmc.compiler.variational import Variational
from gmc.dsl.source import Span
from gmc.runtime.blame import located

MOST = 2000
"""Passes at most."""
LOOK = 10
"""Passes between two looks at whether the means still change, each of which waits for the device."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Fields of the free regions at the fixed point, `[rows, size]`; `change` is the most that a mean of each row changed in the last pass, as if undamped, `[rows]`."""

    eta: Mapping[str, Tensor]
    change: Tensor
    passes: int


@torch.no_grad()
def settle(
    graphs: Variational, values: Mapping[str, Tensor], tolerance: float, damping: float, span: Span, most: int = MOST
) -> Settled:
    """Passes over the blocks until no mean of any row changes by more than the tolerance, or `most` of them; `values` are the inputs but for eta and the damping."""
    given: dict[str, Any] = {**values, "damping": damping}
    eta: dict[str, Tensor] = located(span, lambda: graphs.first(given))
    climb = located(span, lambda: graphs.climb.bind(given))
    change, passes = torch.zeros_like(values["blank"][:, 0]), 0
    while eta and passes < most:
        eta, last = located(span, partial(_climbed, climb, eta))
        change = last / (1.0 - damping)
        passes += LOOK
        if bool((change <= tolerance).all()):
            break
    return Settled(eta, change, passes)


def _climbed(climb: Bound, eta: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """The fields after `LOOK` passes, and how much means changed in the last of them."""
    found: dict[str, Any] = {"eta": eta}
    for _ in range(LOOK):
        found = climb({f"eta.{name}": value for name, value in found["eta"].items()})
    return found["eta"], found["change"]
