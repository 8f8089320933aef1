"""Runs compiled chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gmc.compiler.program import Program
from gmc.compiler.region import columns
from gmc.dsl.vocabulary import StartWord

States = Mapping[str, Tensor]
"""Statistics by variable, `[chains, size]`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How chains stand after a sweep.

    Whole variables as drawn (`value`), with the mean of what was drawn last (`mean`), and with the mean of each draw (`smooth`); the free regions (`state`); where a mean-field chain stands at means
    (`spread`). Of chains with gates the
    numbers that these were tested by as the sweep started, `[chains]` by the condition's text, and which were open, bool `[chains]` by the gate's.
    """

    state: States = field(default_factory=dict)
    value: States = field(default_factory=dict)
    mean: States = field(default_factory=dict)
    smooth: States = field(default_factory=dict)
    spread: States = field(default_factory=dict)
    measured: States = field(default_factory=dict)
    open: States = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """What a run of chains is given.

    `clamped`: states of the clamped regions. `start`: of the free regions of variables that a start supplies. `held`, `observed`: what rows have of the free
    regions of variables that are clamped where observed, zero where they have nothing, and where they have something (bool). `keys`: int32 [chains, 2].
    `turn`: the number of pass 0 in the life of the chains; sweeps count on from it. `anew`: which chains leave their persistent state, bool [chains].
    """

    clamped: States
    start: States
    keys: Tensor
    turn: int
    anew: Tensor | None = None
    held: States = field(default_factory=dict)
    observed: States = field(default_factory=dict)


def run(program: Program, params: Mapping[str, Tensor], given: Given, sweeps: int, dtype: torch.dtype) -> Outcome:
    """Runs chains for pass 0 and a number of sweeps."""
    (end,) = trace(program, params, given, sweeps, dtype)
    return end[1]


def trace(
    program: Program,
    params: Mapping[str, Tensor],
    given: Given,
    sweeps: int,
    dtype: torch.dtype,
    every: int | None = None,
    burn: int = 0,
) -> Iterator[tuple[int, Outcome]]:
    """Runs chains, and gives how they stand after each `every`th sweep beyond `burn` (None: only after the last), with its number, and after the last one."""
    values = _values(program, params, given, dtype)
    if given.anew is not None:
        values |= _renewed(program, values, given.start, given.anew)
    with torch.no_grad():
        if sweeps == 0:
            yield 0, Outcome(**program.alone(values))
            return
        state = program.opening(values)
        sweep = last = None
    ramps = {f"gain.{n}": gain.value for n, gain in program.schedule.ramps}
    for turn in range(1, sweeps + 1):
        inputs: dict[str, object] = {"sweep": given.turn + turn, **{f"state.{n}": value for n, value in state.items()}}
        inputs |= {name: ramp.at((turn - 1) / (sweeps - 1) if sweeps > 1 else 1.0) for name, ramp in ramps.items()}
        shown = turn == sweeps or (every is not None and turn > burn and (turn - burn) % every == 0)
        if not shown:
            with torch.no_grad():
                sweep = program.sweep.bind(values) if sweep is None else sweep
                state = sweep(inputs)
            continue
        with torch.no_grad():
            last = program.last.bind(values) if last is None else last
            outcome = Outcome(**last(inputs))
        yield turn, outcome
        if turn < sweeps:
            state = _going_on(program, outcome.state)


@torch.no_grad()
def opening(program: Program, params: Mapping[str, Tensor], given: Given, dtype: torch.dtype) -> States:
    """Pass 0 as if nothing were persistent: the free regions, `[chains, size]`."""
    fresh: States = program.fresh(_values(program, params, given, dtype))
    return fresh


def _values(program: Program, params: Mapping[str, Tensor], given: Given, dtype: torch.dtype) -> dict[str, object]:
    """The inputs that stay the same for a run, and those of pass 0."""
    values: dict[str, object] = dict(params)
    values |= {f"clamped.{name}": value for name, value in given.clamped.items()}
    values |= {f"start.{name}": value for name, value in given.start.items()}
    values |= {f"given.{name}": value for name, value in given.held.items()}
    values |= {f"observed.{name}": value for name, value in given.observed.items()}
    values["blank"] = torch.zeros(given.keys.shape[0], 1, dtype=dtype, device=given.keys.device)
    values["key"], values["sweep"] = given.keys, given.turn
    return values


@torch.no_grad()
def _renewed(program: Program, values: Mapping[str, object], start: States, anew: Tensor) -> dict[str, Tensor]:
    """The persistent starts, with pass 0's states for the chains that start anew."""
    fresh = program.fresh(values)
    return {f"start.{n}": torch.where(anew[:, None], fresh[n], start[n]) for n in program.persistent}


def _going_on(program: Program, state: States) -> dict[str, Tensor]:
    """What the next sweep reads of free regions: the parts of them that sweeps draw."""
    schedule = program.schedule
    found = {}
    for name in schedule.read:
        active, free = schedule.active[name], schedule.free[name]
        whole = active.sites.size == free.sites.size
        index = None if whole else torch.from_numpy(columns(active.within(free), free.variable.family.width))
        found[name] = state[name] if index is None else state[name][:, index.to(state[name].device)]
    return found


def persistence(program: Program) -> StartWord | None:
    """The start that keeps a chain's states, if it has one."""
    if not program.persistent:
        return None
    start = program.chain.start(program.persistent[0])
    return start.source if start is not None and isinstance(start.source, StartWord) else None
