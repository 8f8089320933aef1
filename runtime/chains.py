"""Runs compiled chains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gmc.compiler.program import Program
from gmc.dsl.vocabulary import StartWord

States = Mapping[str, Tensor]
"""Statistics by variable, `[chains, size]`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How chains ended: whole variables as drawn (`value`) and with the mean of what was drawn last (`mean`), and the free regions (`state`)."""

    state: States = field(default_factory=dict)
    value: States = field(default_factory=dict)
    mean: States = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """What a run of chains is given.

    `clamped`: statistics of the clamped regions. `start`: of the free regions of variables that a start supplies. `keys`: int32 [chains, 2].
    `turn`: the number of pass 0 in the life of the chains; sweeps count on from it. `anew`: which chains leave their persistent state, bool [chains].
    """

    clamped: States
    start: States
    keys: Tensor
    turn: int
    anew: Tensor | None = None


@torch.no_grad()
def run(program: Program, params: Mapping[str, Tensor], given: Given, sweeps: int, dtype: torch.dtype) -> Outcome:
    """Runs chains for pass 0 and a number of sweeps."""
    values: dict[str, object] = dict(params)
    values |= {f"clamped.{name}": value for name, value in given.clamped.items()}
    values |= {f"start.{name}": value for name, value in given.start.items()}
    values["blank"] = torch.zeros(given.keys.shape[0], 1, dtype=dtype, device=given.keys.device)
    values["key"], values["sweep"] = given.keys, given.turn
    if given.anew is not None:
        values |= _renewed(program, values, given.start, given.anew)
    if sweeps == 0:
        return Outcome(**program.alone(values))
    state = program.opening(values)
    if sweeps > 1:
        sweep = program.sweep.bind(values)
        for turn in range(given.turn + 1, given.turn + sweeps):
            state = sweep(_inputs(state, turn))
    return Outcome(**program.last.bind(values)(_inputs(state, given.turn + sweeps)))


@torch.no_grad()
def opening(program: Program, params: Mapping[str, Tensor], given: Given, dtype: torch.dtype) -> States:
    """Pass 0 as if nothing were persistent: the free regions, `[chains, size]`."""
    values: dict[str, object] = dict(params)
    values |= {f"clamped.{name}": value for name, value in given.clamped.items()}
    values |= {f"start.{name}": value for name, value in given.start.items()}
    values["blank"] = torch.zeros(given.keys.shape[0], 1, dtype=dtype, device=given.keys.device)
    values["key"], values["sweep"] = given.keys, given.turn
    fresh: States = program.fresh(values)
    return fresh


def _renewed(program: Program, values: Mapping[str, object], start: States, anew: Tensor) -> dict[str, Tensor]:
    """The persistent starts, with pass 0's states for the chains that start anew."""
    fresh = program.fresh(values)
    return {f"start.{n}": torch.where(anew[:, None], fresh[n], start[n]) for n in program.persistent}


def _inputs(state: States, turn: int) -> dict[str, object]:
    return {"sweep": turn, **{f"state.{name}": value for name, value in state.items()}}


def persistence(program: Program) -> StartWord | None:
    """The start that keeps a chain's states, if it has one."""
    if not program.persistent:
        return None
    start = program.chain.start(program.persistent[0])
    return start.source if start is not None and isinstance(start.source, StartWord) else None
