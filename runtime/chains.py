"""Runs compiled chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from gmc.compiler.outcome import Outcome, States
from gmc.compiler.program import Program
from gmc.compiler.region import columns
from gmc.dsl.vocabulary import KeptWord
from gmc.runtime.transition import Transition


@dataclass(frozen=True, slots=True)
class Given:
    """What a run of chains is given.

    `clamped`: states of the clamped regions. `start`: of the free regions of variables that a start supplies. `held`, `observed`: what rows have of the free
    regions of variables that are clamped where observed, zero where they have nothing, and where they have something (bool). `keys`: int32 [chains, 2].
    `turn`: the number of pass 0 in the life of the chains; sweeps count on from it. `anew`: which chains leave their persistent state, bool [chains].
    `beta`: the inverse temperatures of rows that are replicas, [chains, 1].
    """

    clamped: States
    start: States
    keys: Tensor
    turn: int
    anew: Tensor | None = None
    held: States = field(default_factory=dict)
    observed: States = field(default_factory=dict)
    beta: Tensor | None = None


@dataclass(slots=True)
class _Stops:
    """Which chains have not stopped, bool `[chains, 1]`, and how many sweeps each has taken, int64 `[chains]`."""

    tolerance: float
    live: Tensor
    sweeps: Tensor

    @classmethod
    def of(cls, program: Program, keys: Tensor) -> _Stops:
        """Those of a run as it starts: nothing is to be done where sweeps draw nothing."""
        moves = bool(program.schedule.active)
        live = torch.full((keys.shape[0], 1), moves, dtype=torch.bool, device=keys.device)
        return cls(program.stops, live, torch.zeros(keys.shape[0], dtype=torch.int64, device=keys.device))

    def note(self, change: Tensor) -> None:
        """Counts a sweep, and lets the chains stop in which nothing changed by as much as the tolerance."""
        self.sweeps = self.sweeps + self.live[:, 0]
        self.live = self.live & (change.detach() >= self.tolerance)[:, None]

    def swept(self, found: Mapping[str, Any]) -> States:
        """The states after a sweep."""
        self.note(found["change"])
        state: States = found["state"]
        return state

    def outcome(self, found: dict[str, Any]) -> Outcome:
        """How chains stand after a sweep that is shown."""
        change = found.pop("change", torch.zeros_like(self.sweeps, dtype=torch.float32))
        self.note(change)
        return Outcome(**found, change=change, sweeps=self.sweeps)


def run(
    program: Program,
    params: Mapping[str, Tensor],
    given: Given,
    sweeps: int,
    dtype: torch.dtype,
    differentiate: bool = False,
) -> Outcome:
    """Runs chains for pass 0 and a number of sweeps; with `differentiate` as of `trace`."""
    (end,) = trace(program, params, given, sweeps, dtype, differentiate=differentiate)
    return end[1]


def trace(
    program: Program,
    params: Mapping[str, Tensor],
    given: Given,
    sweeps: int,
    dtype: torch.dtype,
    every: int | None = None,
    burn: int = 0,
    differentiate: bool = False,
) -> Iterator[tuple[int, Outcome]]:
    """Runs chains, and gives how they stand after each `every`th sweep beyond `burn` (None: only after the last), with its number, and after the last one.

    Where the chain's update has a tolerance each chain stops by itself, and stays as it is from then on. With `differentiate` what comes out can be differentiated by the parameters and by what
    is given, through all mean-field updates; draws of discrete states are constants.
    """
    values = _values(program, params, given, dtype)
    if given.anew is not None:
        values |= _renewed(program, values, given.start, given.anew)
    if sweeps == 0:
        with torch.set_grad_enabled(differentiate):
            outcome = Outcome(**program.alone(values))
        yield 0, outcome
        return
    with torch.set_grad_enabled(differentiate):
        state = program.opening(values)
    stops = _Stops.of(program, given.keys) if program.stops else None
    transition = Transition.of(program, values, given.keys)
    sweep = last = moved = None
    ramps = {f"gain.{n}": gain.value for n, gain in program.schedule.ramps}
    for turn in range(1, sweeps + 1):
        shown = turn == sweeps or (every is not None and turn > burn and (turn - burn) % every == 0)
        if stops is not None and not shown and not bool(stops.live.any()):
            continue
        if transition is not None:
            state, moved = transition(state, given.turn + turn)
        inputs: dict[str, object] = {"sweep": given.turn + turn, **{f"state.{n}": value for n, value in state.items()}}
        inputs |= {name: ramp.at((turn - 1) / (sweeps - 1) if sweeps > 1 else 1.0) for name, ramp in ramps.items()}
        inputs |= {} if stops is None else {"live": stops.live}
        if not shown:
            with torch.set_grad_enabled(differentiate):
                sweep = program.sweep.bind(values) if sweep is None else sweep
                state = sweep(inputs) if stops is None else stops.swept(sweep(inputs))
            continue
        with torch.set_grad_enabled(differentiate):
            last = program.last.bind(values) if last is None else last
            outcome = Outcome(**last(inputs)) if stops is None else stops.outcome(last(inputs))
            outcome = outcome if moved is None else replace(outcome, accepted=moved)
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
    values |= {} if given.beta is None else {"beta": given.beta}
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


def persistence(program: Program) -> KeptWord | None:
    """The start that keeps a chain's states, if it has one."""
    if not program.persistent:
        return None
    start = program.chain.start(program.persistent[0])
    return start.source if start is not None and isinstance(start.source, KeptWord) else None
