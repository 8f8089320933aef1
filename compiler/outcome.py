"""What the graphs of chains and sums come out as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as entry

from torch import Tensor

States = Mapping[str, Tensor]
"""Statistics by variable, `[chains, size]`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How chains stand after a sweep.

    Whole variables as drawn (`value`), with the mean of what was drawn last (`mean`), with the mean of each draw (`smooth`), and after a mean-field pass over the free latent ones
    (`settled`); the free regions (`state`); where a mean-field chain stands at means (`spread`); the natural parameters of the laws that sites were last updated by, zero at clamped sites (`field`).
    Of chains with gates the numbers that these were tested by as the sweep started, `[chains]` by the condition's text, and which were open, bool `[chains]` by the gate's.
    Of chains that stop by themselves the largest `change` of a number in the last sweep, `[chains]`, and how many `sweeps` each took, int64 `[chains]`.
    Of tempered chains which Metropolis moves of the last sweep were `accepted`, 0 or 1: `[chains, temperatures - 1]` exchanges, or `[chains, 1]` transitions.
    """

    state: States = entry(default_factory=dict)
    value: States = entry(default_factory=dict)
    mean: States = entry(default_factory=dict)
    smooth: States = entry(default_factory=dict)
    spread: States = entry(default_factory=dict)
    measured: States = entry(default_factory=dict)
    open: States = entry(default_factory=dict)
    field: States = entry(default_factory=dict)
    settled: States = entry(default_factory=dict)
    change: Tensor | None = None
    sweeps: Tensor | None = None
    accepted: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """log Z a row, float64 `[rows]`, and, if asked for, the gradient of its mean by parameter."""

    log_z: Tensor
    gradient: dict[str, Tensor]
