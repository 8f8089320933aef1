"""Chains whose states stand in groups of replicas, one at each temperature, of which the last is shown."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gmc.compiler.outcome import Outcome
from gmc.compiler.tempering import tempering
from gmc.dsl.model import Chain
from gmc.dsl.vocabulary import KeptWord


def replicas(chain: Chain) -> int:
    """How many states stand for each that a chain shows."""
    kept = (s.source.replicas for s in chain.starts if isinstance(s.source, KeptWord))
    return next(kept, 1)


def shown(outcome: Outcome, replicas: int) -> Outcome:
    """The last of each group of replicas, with all exchanges of a group in one row."""
    found: dict[str, Any] = {}
    for part in fields(outcome):
        value = getattr(outcome, part.name)
        if part.name == "accepted":
            found["accepted"] = value if value is None else value.unflatten(0, (-1, replicas))[:, :-1]
        elif isinstance(value, Tensor):
            found[part.name] = value[replicas - 1 :: replicas]
        elif value is not None:
            found[part.name] = {name: x[replicas - 1 :: replicas] for name, x in value.items()}
    return Outcome(**found)


def betas(chain: Chain, count: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """The inverse temperatures of `count` states of a chain, where these are replicas, `[count, 1]`."""
    start = tempering(chain)
    if start is None or start.replicas == 1:
        return None
    return _column(start.ladder, count // start.replicas, device, dtype)


@lru_cache(maxsize=64)
def _column(ladder: tuple[float, ...], groups: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A ladder for each group, `[groups * temperatures, 1]`; kept, so that no step waits for it."""
    return torch.tensor(ladder, dtype=dtype, device=device).repeat(groups)[:, None]
