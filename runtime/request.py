"""What is asked of a chain of a trained model: how many of it, clamped to what, started where, and which of its sweeps are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.emission import Want
from gmc.compiler.outcome import Outcome
from gmc.compiler.program import ALL
from gmc.compiler.tempering import tempering
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Chain, Split, Start
from gmc.runtime import run_errors
from gmc.runtime.clamping import Trained, Value, is_number, rows_of
from gmc.runtime.dataset import Dataset
from gmc.runtime.engine import Engine, Kept, Rows
from gmc.runtime.missing import may_lack, refuse_gaps
from gmc.runtime.replicas import replicas

DEFAULT_CHAINS = 64


@dataclass(frozen=True, slots=True)
class Course:
    """Which sweeps of a chain are kept: of those after the first `burn` every so many, and always the last one.

    Sweeps count from 1; a course of no sweeps keeps pass 0, whose number is 0.
    """

    sweeps: int
    every: int
    burn: int = 0

    @property
    def count(self) -> int:
        """How many are kept."""
        return max(1, -(-(self.sweeps - self.burn) // self.every))

    def number(self, position: int) -> int:
        """The number of the sweep that is kept at a position, counted from 0."""
        return min(self.sweeps, self.burn + (position + 1) * self.every)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Chains that are ready to run, all of them or some.

    `values` are whole statistics `[1 or count, size]` of what the chain, or one that it needs, is clamped to or starts from. `offset` is the number of the first
    chain among all that there are: it tells which random numbers are its own.
    """

    run: Trained
    compiled: Compiled
    chain: Chain
    seed: int
    count: int
    values: Mapping[str, Tensor]
    course: Course
    offset: int = 0

    def trace(
        self, first: int, count: int, every: int, burn: int = 0, want: Sequence[Want] = ALL
    ) -> Iterator[tuple[int, Outcome]]:
        """Runs `count` of the chains, from number `first` on: each sweep's number and how it ended, as of `Engine.trace`.

        A chain is the same whatever others it is run with.
        """
        values = {name: v if v.shape[0] == 1 else v[first : first + count] for name, v in self.values.items()}
        rows = Rows(values, count)
        engine = self._engine(self.offset + first, count, want)
        return engine.trace(self.chain.name, rows, self.course.sweeps, every, burn)

    def _engine(self, first: int, count: int, want: Sequence[Want]) -> Engine:
        """One for `count` chains, numbered from `first`; persistent ones go on from copies of the run's states."""
        wants = {self.chain.name: want}
        engine = Engine(self.compiled, self.run.params, self.seed, "sample", wants, replicas=True, first=first)
        for chain in self.compiled.checked.with_needs([self.chain.name]):
            if chain.name in self.run.kept and not engine.by_row(chain):
                each = replicas(chain)
                engine.kept[chain.name] = _copied(self.run.kept[chain.name], first * each, count * each)
        return engine


def ask(
    run: Trained,
    name: str,
    *,
    chains: int | None = None,
    sweeps: int | None = None,
    clamp: Mapping[str, Value] | None = None,
    seed: int = 0,
    start: str | None = None,
    every: int | None = None,
    burn: int = 0,
    fallback: int | None = None,
) -> Request:
    """A request, with names looked up, sources read and numbers checked; without `every` it keeps the last sweep.

    Where `chains` is None and no source has several rows, there are `fallback` chains, or, without it, as many as `Run.sample` says.

    Raises:
        GmcError: a name is unknown, a number out of range, or the sources do not fit.
    """
    chains = None if chains is None else whole("the number of chains", chains, 1)
    whole("the seed", seed, 0)
    compiled = started(run.compiled, name, start)
    chain = compiled.checked.chain(name)
    course = course_of(chain, sweeps, every, burn)
    clamp = clamp or {}
    involved = compiled.checked.with_needs([name])
    clamped = _clamped(involved)
    for variable in clamp:
        known = [v.name for v in compiled.checked.model.variables]
        if variable not in known:
            raise GmcError([run_errors.unknown_choice(None, "variable", variable, known)], exit_code=2)
        if variable not in clamped:
            raise GmcError([run_errors.clamp_of_free(chain.span, variable, name)], exit_code=2)
    values = {v: rows_of(run, v, source, may_lack(v, involved)) for v, source in clamp.items()}
    missing = [v for v in needed(involved) if v not in values]
    count = _count(run, values, chains, missing, clamp, fallback)
    values |= {v: _default(run, v, name, count) for v in missing}
    refuse_gaps(compiled.checked.model, involved, values)
    placed = {v: x.to(run.device, run.dtype) for v, x in values.items()}
    return Request(run, compiled, chain, seed, count, placed, course)


def whole(what: str, number: int, least: int) -> int:
    """A whole number of at least `least`, of whatever type of integer.

    Raises:
        GmcError: it is something else.
    """
    try:
        found = index(number)
    except TypeError:
        found = least - 1
    if found < least:
        raise GmcError([run_errors.out_of_range(None, what, number, least)], exit_code=2)
    return found


def chain_of(compiled: Compiled, name: str) -> Chain:
    """The chain of that name.

    Raises:
        GmcError: there is none.
    """
    names = [c.name for c in compiled.checked.chains]
    if name not in names:
        raise GmcError([run_errors.unknown_choice(None, "chain", name, names)], exit_code=2)
    return compiled.checked.chain(name)


def started(compiled: Compiled, name: str, other: str | None) -> Compiled:
    """The model with every free variable of a chain started from where another chain ends; without `other` as it is.

    Raises:
        GmcError: a chain is unknown, or the other chain needs this one.
    """
    chain = chain_of(compiled, name)
    if other is None:
        return compiled
    chain_of(compiled, other)
    if tempering(chain) is not None:
        what = f"another start was asked for, and `{name}` is tempered by its own"
        help = f"let another chain start from `{other}`, or leave `--from` out"
        raise GmcError([run_errors.options_disagree(chain.span, what, help)], exit_code=2)
    if name in [chain.name for chain in compiled.checked.with_needs([other])]:
        raise GmcError([run_errors.start_in_circle(chain.span, name, other)], exit_code=2)
    free = tuple(compiled.schedules[name].free)
    return compiled.with_chain(replace(chain, starts=(Start(free, other, chain.span),) if free else ()))


def needed(chains: Sequence[Chain]) -> list[str]:
    """The variables of which rows are needed: those clamped from outside, and those that start from data."""
    starts = [
        name
        for chain in chains
        for start in chain.starts
        if not isinstance(start.source, str) and start.source.word == "data"
        for name in start.variables
    ]
    return list(dict.fromkeys((*_clamped(chains), *starts)))


def course_of(chain: Chain, sweeps: int | None, every: int | None, burn: int) -> Course:
    """Which sweeps are kept; a ramp of lengths stands at its end.

    Raises:
        GmcError: a number is out of range, or nothing would be kept.
    """
    length = round(chain.sweeps.at(1.0)) if sweeps is None else whole("the number of sweeps", sweeps, 0)
    burn = whole("the number of sweeps before", burn, 0)
    every = max(1, length) if every is None else whole("the number of sweeps from one kept one to the next", every, 1)
    if burn and burn >= length:
        raise GmcError([run_errors.nothing_left(chain.span, chain.name, length, burn)], exit_code=2)
    return Course(length, every, burn)


def _clamped(chains: Sequence[Chain]) -> list[str]:
    """The variables that some of the chains clamp to what comes from outside."""
    names = [c.variable for chain in chains for c in chain.clamps if c.constant is None and c.chain is None]
    return list(dict.fromkeys(names))


def _count(
    run: Trained,
    values: Mapping[str, Tensor],
    chains: int | None,
    missing: list[str],
    clamp: Mapping[str, Value],
    fallback: int | None,
) -> int:
    """How many chains: `chains`, else the rows of the clamp sources, else `fallback`, else 64; these two, where rows of the data are needed, at most as there are."""
    told = [f"`--clamp {v}` has {x.shape[0]} rows" for v, x in values.items()]
    rows = {x.shape[0] for x in values.values()} - {1}
    if len(rows) > 1:
        raise GmcError([run_errors.rows_disagree(None, told)], exit_code=2)
    if chains is not None:
        if rows and rows != {chains}:
            raise GmcError([run_errors.rows_disagree(None, [*told, f"{chains} chains were asked for"])], exit_code=2)
        return chains
    if rows:
        return rows.pop()
    if fallback is None and any(not is_number(source) for source in clamp.values()):
        return 1
    have = [data.rows for v in missing if (data := _default_split(run, v)) is not None]
    return min([DEFAULT_CHAINS if fallback is None else fallback, *have])


def _default_split(run: Trained, variable: str) -> Dataset | None:
    """The rows a variable takes where none are named: test, else valid, else train."""
    splits: tuple[Split, ...] = ("test", "valid", "train")
    for split in splits:
        data = run.rows(split)
        if data is not None and variable in data.variables:
            return data
    return None


def _default(run: Trained, variable: str, chain: str, count: int) -> Tensor:
    data = _default_split(run, variable)
    span = run.compiled.checked.chain(chain).span
    if data is None:
        raise GmcError([run_errors.nothing_to_clamp(span, variable, chain)], exit_code=2)
    if count > data.rows:
        told = [f"the data have {data.rows} rows of {variable}", f"{count} chains were asked for"]
        raise GmcError([run_errors.rows_disagree(None, told)], exit_code=2)
    return data.batch(torch.arange(count, device=run.device), 0)[variable]


def _copied(kept: Kept, first: int, count: int) -> Kept:
    """Copies of kept states for the chains numbered from `first`, each used about equally often; the run's own stay as they are."""
    copy = Kept()
    for name, states in kept.states.items():
        copy.states[name] = states[torch.arange(first, first + count, device=states.device) % states.shape[0]]
    if kept.born is not None:
        copy.born = kept.born[torch.arange(first, first + count, device=kept.born.device) % kept.born.shape[0]]
    return copy
