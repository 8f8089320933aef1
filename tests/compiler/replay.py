"""Compiled models for the tests, and compiled graphs replayed over listed states.

A replay runs a graph on a batch that holds every state of the free sites, with each draw node replaced by a function that notes its field and gives
back what its region already is: the state stands still, and the fields noted are those of each block in every state. From them come
transition matrices of what the program does, to be held against those that the oracle makes of the joint table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

import gmc.runtime.words  # noqa: F401 - fills the vocabulary
from gmc.compiler.draws import DRAWS, row_keys
from gmc.compiler.driver import Compiled, compile_checked
from gmc.compiler.emitter import inputs
from gmc.compiler.graph import family
from gmc.compiler.program import Program
from gmc.compiler.region import Region
from gmc.compiler.split import Split
from gmc.dsl.model import Chain, Model
from tests.oracle import gained
from tests.oracle.laws import Law, law
from tests.oracle.models import CHAIN, DIRECTED, EXAMPLES, Example, load, random_values, random_weights
from tests.oracle.sites import Site, clamping, part_sites, sites
from tests.oracle.sweeps import update_matrix

SEED = 1
"""Of weights and values, with which every mistake shows."""
EXAMPLE = {example.name: example for example in (*EXAMPLES, *DIRECTED)}
PATTERNS = [(example.name, items) for example in EXAMPLES for items in example.clamps]
FINITE = [(name, items) for name, items in PATTERNS if not EXAMPLE[name].gaussian]
GAUSSIAN = [(name, items) for name, items in PATTERNS if EXAMPLE[name].gaussian]


@dataclass(frozen=True)
class Case:
    """A compiled example with its chain, the chain's program, and the exact law of what it samples."""

    compiled: Compiled
    program: Program
    weights: Mapping[str, Tensor]
    law: Law

    @property
    def model(self) -> Model:
        return self.compiled.checked.model

    @property
    def chain(self) -> Chain:
        return self.program.chain

    def statistics(self, table: Tensor | None = None) -> dict[str, Tensor]:
        """Whole statistics `[states, size]` of each variable in a table of values (the law's states)."""
        return encode(self.model, self.law.values if table is None else table)

    def columns(self, region: Region) -> tuple[int, ...]:
        """A region's columns in the law's table."""
        first = next(c for c, site in enumerate(self.law.sites) if site.variable == region.name)
        return tuple(first + int(site) for site in region.sites)

    def values(
        self,
        statistics: Mapping[str, Tensor],
        sweep: int = 1,
        of: int = 1,
        observed: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """All inputs that a graph of the chain may take, at those whole states, the free ones as start and as state; gains as in that sweep of the run.

        `observed` says which sites of variables that are clamped where observed each row has, `VAR` -> bool `[rows, sites]`; what it lacks is given as 0.
        """
        count = next(iter(statistics.values())).shape[0]
        schedule = self.program.schedule
        found: dict[str, Any] = dict(self.weights)
        found |= {f"clamped.{n}": part(statistics[n], r) for n, r in schedule.clamped.items()}
        found |= {f"start.{n}": part(statistics[n], r) for n, r in schedule.free.items()}
        found |= {f"state.{n}": part(statistics[n], r) for n, r in schedule.active.items()}
        for name in schedule.masked:
            free = schedule.free[name]
            width = free.variable.family.width
            has = torch.zeros(count, free.variable.sites, dtype=torch.bool) if observed is None else observed[name]
            has = part(has.repeat_interleave(width, dim=1), free)
            found[f"observed.{name}"] = has
            found[f"given.{name}"] = torch.where(has, part(statistics[name], free), 0.0)
        at = gained.progress(sweep, of)
        found |= {f"gain.{n}": gain.value.at(at) for n, gain in enumerate(self.chain.gains) if not gain.value.constant}
        found["blank"] = torch.zeros(count, 1, dtype=torch.float64)
        found["key"] = row_keys(0, "replay", torch.arange(count))
        found["sweep"] = sweep
        return found


def part(statistic: Tensor, region: Region) -> Tensor:
    """The columns of a region."""
    return statistic[:, torch.from_numpy(region.columns)]


def encode(model: Model, table: Tensor) -> dict[str, Tensor]:
    """A table of values `[n, sites]` as whole statistics `[n, size]` in float64."""
    parts = table.split([v.sites for v in model.variables], dim=1)
    return {v.name: family(v).encode(x.reshape(-1, *v.shape)) for v, x in zip(model.variables, parts, strict=True)}


def decode(model: Model, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole statistics as values `VAR` -> `[n, *shape]` in float64."""
    return {v.name: family(v).decode(statistics[v.name], v.shape).to(torch.float64) for v in model.variables}


_folder = tempfile.TemporaryDirectory()


def compile_example(example: Example, items: str = "", extra: str = "") -> Compiled:
    """An example compiled with a chain of those items; files that it names are written aside."""
    folder = Path(_folder.name) / example.name  # examples call different files by one name
    folder.mkdir(exist_ok=True)
    return compile_checked(load(example, folder, items, extra))


@cache
def exact_law(name: str, values: tuple[tuple[tuple[str, int], float], ...], seed: int = SEED) -> Law:
    """The oracle's law of an example given clamped values; kept, since it is slow."""
    model = model_of(name)
    return law(model, random_weights(model, seed), dict(values))


@cache
def model_of(name: str) -> Model:
    """An example's model."""
    return compile_example(EXAMPLE[name]).checked.model


@cache
def case(name: str, clamp: str = "", more: str = "") -> Case:
    """An example compiled with a clamp pattern and more items; made once for all tests."""
    compiled = compile_example(EXAMPLE[name], f"{clamp} {more}")
    model, chain = compiled.checked.model, compiled.checked.chain(CHAIN)
    always = replace(chain, clamps=tuple(c for c in chain.clamps if not c.observed))
    given = clamping(model, always, random_values(model, SEED))
    return Case(compiled, compiled.program(CHAIN), random_weights(model, SEED), exact_law(name, tuple(given.items())))


SPOILT = 7.5
"""What a draw gives where a row holds a value: it must go nowhere."""


class Replay(fx.Interpreter):
    """Runs a graph and notes each draw's site, region and field; a draw gives back `current` of its region.

    At what `held` marks, `VAR` -> bool `[rows, size]`, it gives a number that is not theirs.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        drawn: Mapping[int, Region],
        current: Mapping[str, Tensor],
        held: Mapping[str, Tensor],
    ) -> None:
        super().__init__(module)
        self.drawn, self.current, self.held = drawn, current, held
        self.noted: list[tuple[int, Region, Tensor]] = []

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target not in DRAWS:
            return super().call_function(target, args, kwargs)
        region = self.drawn[args[2]]
        value = part(self.current[region.name], region)
        if region.name in self.held:
            value = torch.where(part(self.held[region.name], region), SPOILT, value)
        assert args[0].shape == value.shape
        self.noted.append((args[2], region, args[0]))
        return value


def replay(
    module: fx.GraphModule,
    values: Mapping[str, Any],
    drawn: Mapping[int, Region],
    current: Mapping[str, Tensor],
    held: Mapping[str, Tensor] | None = None,
) -> tuple[list[tuple[int, Region, Tensor]], Any]:
    """The draws of a graph, in order, with their fields `[states, region.size]`, and its output."""
    interpreter = Replay(module, drawn, current, held or {})
    out = interpreter.run(*(values[name] for name in inputs(module)))
    return interpreter.noted, out


def replay_split(
    split: Split,
    values: Mapping[str, Any],
    drawn: Mapping[int, Region],
    current: Mapping[str, Tensor],
    held: Mapping[str, Tensor] | None = None,
) -> tuple[list[tuple[int, Region, Tensor]], Any]:
    """The same through the two parts of a split graph."""
    none, hoisted = replay(split.once, values, drawn, current, held)
    assert not none
    return replay(split.each, {**values, **hoisted}, drawn, current, held)


def chances(region: Region, eta: Tensor) -> list[Tensor]:
    """What the family says of each site at its field: the probabilities `[states, values]` of its values in ascending order."""
    kind = family(region.variable)
    table = kind.values()
    width = region.variable.family.width
    # p(x) is proportional to exp(<eta, T(x)>), and its mean statistic must be what the family calls its mean
    found = [torch.softmax(site @ table.T, 1) for site in eta.split(width, dim=1)]
    mean = torch.cat([p @ table for p in found], dim=1)
    torch.testing.assert_close(mean, kind.mean(eta), rtol=1e-12, atol=1e-12)
    return found


def matrices(case: Case, noted: Sequence[tuple[int, Region, Tensor]]) -> list[tuple[tuple[int, ...], Tensor]]:
    """The update that each draw is, as a block of columns and a transition matrix over the law's states."""
    return [
        (case.columns(region), update_matrix(case.law, case.columns(region), chances(region, eta)))
        for _, region, eta in noted
    ]


def transition(
    case: Case, split: Split, sweep: int = 1, of: int = 1, observed: Mapping[str, Tensor] | None = None
) -> Tensor:
    """The whole matrix of a graph of a sweep over the law's states, from the fields of each block on the way from every state to every other.

    What the graph reads before it is drawn is that of the first state, what it reads after that of the second; so gates, which look at the state before
    the sweep, are those of the first. `observed`: the sites that every row has of what is clamped where observed, `VAR` -> bool `[sites]`.
    """
    count = len(case.law.p)
    before, after = torch.arange(count).repeat_interleave(count), torch.arange(count).repeat(count)
    states = case.statistics()
    flags = {n: x.expand(count**2, -1) for n, x in (observed or {}).items()}
    values = case.values({n: x[before] for n, x in states.items()}, sweep, of, flags)
    current = {n: x[after] for n, x in states.items()}
    noted, _ = replay_split(split, values, case.program.drawn, current, wide(case.model, flags))
    p = chance_of(case, noted, after)
    drawn = {c for _, region, _ in noted for c in case.columns(region)}
    digits = case.law.digits
    still = torch.ones(len(p), dtype=torch.bool)
    for column in set(case.law.free) - drawn:  # what this graph does not draw stays
        still &= digits[before, column] == digits[after, column]
    return (p * still).reshape(count, count)


def wide(model: Model, flags: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flags of sites `[rows, sites]` as flags of statistics `[rows, size]`."""
    return {n: x.repeat_interleave(model.variable(n).family.width, dim=1) for n, x in flags.items()}


def chance_of(case: Case, noted: Sequence[tuple[int, Region, Tensor]], rows: Tensor) -> Tensor:
    """The chance that the draws of free sites give what these are in the states numbered `rows`, `[rows]`."""
    p = torch.ones(len(rows), dtype=torch.float64)
    for _, region, eta in noted:
        for column, chance in zip(case.columns(region), chances(region, eta), strict=True):
            if column in case.law.free:  # else a row holds it
                p = p * chance.gather(1, case.law.digits[rows, column].unsqueeze(1))[:, 0]
    return p


def order_of(case: Case) -> list[tuple[int, ...]]:
    """The blocks of a sweep with what is deferred, as columns of the law, in the order in which they are drawn."""
    return _columns(case, [*case.program.schedule.blocks, *case.program.schedule.deferred])


def _columns(case: Case, blocks: Sequence[Sequence[Region]]) -> list[tuple[int, ...]]:
    """Blocks as free columns of the law; those of which a row holds all are left out."""
    found = [tuple(sorted({c for r in block for c in case.columns(r)} & set(case.law.free))) for block in blocks]
    return [block for block in found if block]


def opening_of(case: Case) -> tuple[list[tuple[int, ...]], list[int]]:
    """The blocks of pass 0 as columns, and the free columns that it leaves out: those that are deferred, or that a start supplies."""
    blocks = _columns(case, case.program.schedule.opening)
    drawn = {c for block in blocks for c in block}
    return blocks, [c for c in case.law.free if c not in drawn]


def maskable(case: Case) -> tuple[Site, ...]:
    """The sites that a chain clamps where they are observed."""
    found = {site for clamp in case.chain.clamps if clamp.observed for site in part_sites(case.model, clamp)}
    return tuple(site for site in case.law.sites if site in found)


def with_mask(case: Case, observed: Collection[Site]) -> tuple[Case, dict[str, Tensor]]:
    """A case with the law given what a row has, at the values that clamps have elsewhere, and its flags `VAR` -> bool `[sites]`."""
    values = random_values(case.model, SEED)
    given = {site: float(values[site.variable].reshape(-1)[site.number]) for site in observed}
    flags = {
        name: torch.tensor([Site(name, i) in observed for i in range(region.variable.sites)])
        for name, region in case.program.schedule.masked.items()
    }
    return replace(case, law=law(case.model, case.weights, {**case.law.clamped, **given})), flags


def key_of(count: int, seed: int = 0) -> Tensor:
    """Keys of that many chains."""
    return row_keys(seed, "test", torch.arange(count))


def site_numbers(model: Model) -> int:
    """How many sites a model has."""
    return len(sites(model))
