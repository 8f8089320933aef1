"""Runs the chains of a compiled model on rows: resolves what each clamps and starts from, chains that need chains, and persistent states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gmc.compiler.draws import row_keys, uniform
from gmc.compiler.driver import Compiled
from gmc.compiler.emission import Want
from gmc.compiler.graph import family
from gmc.compiler.outcome import Outcome, States
from gmc.compiler.program import ALL, Program
from gmc.compiler.region import Index, Region, sites_of
from gmc.compiler.region import columns as columns_of
from gmc.dsl.model import Chain, Clamp, Variable
from gmc.dsl.vocabulary import KeptWord
from gmc.runtime import chains
from gmc.runtime.chains import Given, persistence
from gmc.runtime.replicas import betas, replicas, shown


@dataclass(slots=True)
class Kept:
    """The persistent states of a chain: free regions by variable, `[states, size]`, and how far their draws have counted.

    What takes finitely many values is held as int8. `born` says which states have been drawn, on the CPU, so that nothing waits to ask.
    """

    states: dict[str, Tensor] = field(default_factory=dict)
    born: Tensor | None = None
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """What a run of chains is about: whole statistics of variables, `[rows, size]`, and, in training, the rows' numbers in the data, on the CPU."""

    values: Mapping[str, Tensor]
    count: int
    numbers: Tensor | None = None
    of: int = 0


@dataclass(frozen=True, slots=True)
class Slots:
    """Which of the `total` states that a chain keeps a run of `count` chains goes on from: those numbered `at`, or all."""

    count: int
    total: int
    at: Tensor | None


class Engine:
    """Runs chains with given parameters; holds the persistent states and the counters of all draws.

    `stream` names the random numbers: the same seed and stream give the same chains. With `replicas` every chain has a state a row, also one that
    keeps states: it goes on from those that it is given. `first` is the number of the first chain, so that chains that are run in parts are the same as in one run.
    `progress` is where schedules over a stage stand, those of chains that others need too.
    """

    def __init__(
        self,
        compiled: Compiled,
        params: Mapping[str, Tensor],
        seed: int,
        stream: str,
        wants: Mapping[str, Sequence[Want]] | None = None,
        replicas: bool = False,
        first: int = 0,
    ) -> None:
        self.compiled, self.params, self.seed, self.stream = compiled, params, seed, stream
        self.wants, self.replicas, self.first = wants or {}, replicas, first
        self.progress = 1.0
        self.kept: dict[str, Kept] = {}
        some = next(iter(params.values()), torch.zeros(()))
        self.dtype, self.device = some.dtype, some.device
        self._keys: dict[str, Tensor] = {}
        self._placed: set[str] = set()

    def run(
        self,
        name: str,
        rows: Rows,
        sweeps: int | None = None,
        ended: dict[str, Outcome] | None = None,
        params: Mapping[str, Tensor] | None = None,
        differentiate: bool = False,
    ) -> Outcome:
        """Runs a chain, and first those it needs, on the same rows; `ended` collects how each ended.

        `sweeps` replaces the chain's own number, and `params` the engine's parameters. A chain that keeps states has as many as it keeps, else it has a state a row. With `differentiate` what
        comes out can be differentiated by the parameters, through the mean-field updates of this chain alone: where those that it needs ended is taken as given.
        """
        ended = {} if ended is None else ended
        for _, outcome in self.trace(name, rows, sweeps, ended=ended, params=params, differentiate=differentiate):
            ended[name] = outcome
        return ended[name]

    def trace(
        self,
        name: str,
        rows: Rows,
        sweeps: int | None = None,
        every: int | None = None,
        burn: int = 0,
        ended: dict[str, Outcome] | None = None,
        params: Mapping[str, Tensor] | None = None,
        differentiate: bool = False,
    ) -> Iterator[tuple[int, Outcome]]:
        """Runs a chain as `run` does, and gives how it stands after each `every`th sweep beyond `burn` (None: none), with its number, and after the last one."""
        ended = {} if ended is None else ended
        chain = self.compiled.checked.chain(name)
        for other in chain.needs:
            if other not in ended:
                self.run(other, rows, ended=ended, params=params)
        program = self._program(name)
        length = round(chain.sweeps.at(self.progress)) if sweeps is None else sweeps
        start = persistence(program)
        slots = self._slots(program, start, rows) if start is not None else None
        count = rows.count if slots is None else slots.count
        keys, turn = self._at(program, count)
        given = self._given(program, rows, ended, count, keys, turn)
        if start is not None and slots is not None:
            given = self._continued(program, start, slots, given)
        kept = self.kept[name]
        params = self.params if params is None else params
        for turn, outcome in chains.trace(program, params, given, length, self.dtype, every, burn, differentiate):
            if turn == length:
                if slots is not None:
                    self._write(program, kept, slots, outcome.state)
                kept.turn += length + 1
            yield turn, outcome if start is None or start.replicas == 1 else shown(outcome, start.replicas)

    def _slots(self, program: Program, start: KeptWord, rows: Rows) -> Slots:
        """Which of the states that a chain keeps a run goes on from."""
        if self.replicas:
            count = rows.count * start.replicas
            return Slots(count, count, None)
        each = start.n * start.replicas
        if not self.by_row(program.chain):
            return Slots(each, each, None)
        numbers = torch.arange(rows.count) if rows.numbers is None else rows.numbers
        at = (numbers[:, None] * each + torch.arange(each)).flatten()
        return Slots(rows.count * each, max(rows.of, rows.count) * each, at)

    def _continued(self, program: Program, start: KeptWord, slots: Slots, given: Given) -> Given:
        """A run that goes on from the states that a chain keeps."""
        kept = self.kept[program.chain.name]
        if kept.born is None:
            kept.born = torch.zeros(slots.total, dtype=torch.bool)
        stored = self._read(program, kept, slots)
        unborn = ~(kept.born if slots.at is None else kept.born[slots.at])
        anew = unborn.to(self.device) if bool(unborn.any()) else None
        if start.leaves:
            leaves = uniform(given.keys, RESTART, given.turn, 1)[:, 0] < start.leaves
            anew = leaves if anew is None else anew | leaves
        return replace(given, start={**given.start, **stored}, anew=anew)

    def _program(self, name: str) -> Program:
        """A chain's graphs, on the device of the parameters."""
        program = self.compiled.program(name, self.wants.get(name, ALL))
        if self.device.type != "cpu" and name not in self._placed:
            for graph in program.graphs().values():
                graph.place(self.device)
            self._placed.add(name)
        return program

    def held(self, name: str, rows: Rows) -> dict[str, Tensor]:
        """Whole statistics `[rows, size]` of what a chain clamps, zero at the sites that it leaves free."""
        chain = self.compiled.checked.chain(name)
        ended: dict[str, Outcome] = {}
        for other in (c.chain for c in chain.clamps if c.chain is not None):
            if other not in ended:
                self.run(other, rows, ended=ended)
        out: dict[str, Tensor] = {}
        for variable in (r.variable for r in self.compiled.schedules[name].clamped.values()):
            parts = [c for c in chain.clamps if c.variable == variable.name and not c.observed]
            sources = [self._clamp_source(c, variable, rows, ended, rows.count) for c in parts]
            out[variable.name] = _whole(sources, parts, variable)
        return out

    def by_row(self, chain: Chain) -> bool:
        """Whether a chain's states belong to rows of data: it clamps data, starts from data, or needs a chain of which that is true."""
        clamps = any(c.constant is None and c.chain is None for c in chain.clamps)
        starts = any(not isinstance(s.source, str) and s.source.word == "data" for s in chain.starts)
        return clamps or starts or any(self.by_row(self.compiled.checked.chain(n)) for n in chain.needs)

    def _at(self, program: Program, count: int) -> tuple[Tensor, int]:
        """The keys of a chain's first `count` states and the number of its next pass 0."""
        name = program.chain.name
        kept = self.kept.setdefault(name, Kept())
        if name not in self._keys or self._keys[name].shape[0] < count:
            first = self.first * replicas(program.chain)
            rows = torch.arange(first, first + count, device=self.device)
            self._keys[name] = row_keys(self.seed, f"{self.stream}/{name}", rows)
        return self._keys[name][:count], kept.turn

    def _given(
        self,
        program: Program,
        rows: Rows,
        ended: Mapping[str, Outcome],
        count: int,
        keys: Tensor,
        turn: int,
    ) -> Given:
        """The states of clamped regions, what rows have of others, and those of free regions that data or another chain supplies."""
        schedule = program.schedule
        clamped = {}
        for name, region in schedule.clamped.items():
            parts = [c for c in program.chain.clamps if c.variable == name and not c.observed]
            sources = [self._clamp_source(c, region.variable, rows, ended, count) for c in parts]
            clamped[name] = _part(sources, parts, region.variable, region.columns)
        starts = {}
        for name in schedule.supplied:
            start = program.chain.start(name)
            assert start is not None
            if isinstance(start.source, str):
                whole = ended[start.source].value[name]
            elif start.source.word == "data":
                whole = rows.values[name]
            else:
                continue
            starts[name] = _spread(_columns(whole, schedule.free[name]), count)
        held, observed = {}, {}
        for name, region in schedule.masked.items():
            free = schedule.free[name]
            part = _spread(_columns(rows.values[name], free), count)
            there = torch.zeros(free.sites.size, dtype=torch.bool)
            there[torch.from_numpy(region.within(free))] = True
            may = there.repeat_interleave(region.variable.family.width).to(part.device)
            # a value that is missing is NaN, and goes no further than this
            observed[name] = ~torch.isnan(part) & may
            held[name] = torch.where(observed[name], part, torch.zeros_like(part))
        return Given(
            clamped,
            starts,
            keys,
            turn,
            held=held,
            observed=observed,
            beta=betas(program.chain, count, keys.device, self.dtype),
        )

    def _clamp_source(
        self, clamp: Clamp, variable: Variable, rows: Rows, ended: Mapping[str, Outcome], count: int
    ) -> Tensor:
        if clamp.constant is not None:
            value = torch.full((1, *variable.shape), clamp.constant, dtype=self.dtype, device=self.device)
            return family(variable).encode(value).to(self.dtype).expand(count, -1)
        whole = ended[clamp.chain].value[variable.name] if clamp.chain is not None else rows.values[variable.name]
        return _spread(whole, count)

    def _read(self, program: Program, kept: Kept, slots: Slots) -> dict[str, Tensor]:
        """The stored states, as the chain's dtype."""
        for name in program.persistent:
            region = program.schedule.free[name]
            if name not in kept.states:
                small = region.variable.family.states is not None and program.chain.update != "mean"
                dtype = torch.int8 if small else self.dtype
                kept.states[name] = torch.zeros(slots.total, region.size, dtype=dtype, device=self.device)
        return {
            name: (kept.states[name] if slots.at is None else kept.states[name][slots.at]).to(self.dtype)
            for name in program.persistent
        }

    def _write(self, program: Program, kept: Kept, slots: Slots, state: States) -> None:
        assert kept.born is not None
        for name in program.persistent:
            if slots.at is None:
                kept.states[name].copy_(state[name].detach())
            else:
                kept.states[name][slots.at] = state[name].detach().to(kept.states[name].dtype)
        if slots.at is None:
            kept.born.fill_(True)
        else:
            kept.born[slots.at] = True


RESTART = 1 << 24
"""The site number of restarts, above those of all draws."""


def _spread(value: Tensor, count: int) -> Tensor:
    """One row for all chains, a row each, each row for as many chains as it has states, or, of chains that belong to no rows, as many as needed in turn."""
    if value.shape[0] == count:
        return value
    if value.shape[0] == 1:
        return value.expand(count, -1)
    if count % value.shape[0] == 0:
        return value.repeat_interleave(count // value.shape[0], dim=0)
    return value[torch.arange(count, device=value.device) % value.shape[0]]


def _columns(whole: Tensor, region: Region) -> Tensor:
    """A region's columns of whole states."""
    return whole if region.whole else whole[:, torch.from_numpy(region.columns).to(whole.device)]


def _part(sources: Sequence[Tensor], clamps: Sequence[Clamp], variable: Variable, columns: Index) -> Tensor:
    """The clamped columns of a variable, from the clamps that cover them."""
    whole = _whole(sources, clamps, variable)
    return whole if columns.size == variable.size else whole[:, torch.from_numpy(columns).to(whole.device)]


def _whole(sources: Sequence[Tensor], clamps: Sequence[Clamp], variable: Variable) -> Tensor:
    """A variable's statistic with each clamp's sites from its source, zero elsewhere."""
    if len(sources) == 1 and clamps[0].part is None:
        return sources[0]
    whole = torch.zeros_like(sources[0])
    for source, clamp in zip(sources, clamps, strict=True):
        at = torch.from_numpy(columns_of(sites_of(variable, clamp.part), variable.family.width)).to(whole.device)
        whole[:, at] = source[:, at]
    return whole
