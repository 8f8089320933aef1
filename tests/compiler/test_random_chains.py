"""Random models with random chains, compiled and held against the oracle: what they draw, pass 0, their laws after some sweeps, and what stays stationary.

A graph is run on every way that its draws can come out, from every state: each draw gives what the way says and notes the field it would have been drawn
from. The chance of a way is the product of its draws', where it leads is what the graph gives out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from gmc.compiler import ending, schedule, stationary
from gmc.compiler.draws import DRAWS
from gmc.compiler.emitter import inputs
from gmc.compiler.gains import Potency
from gmc.compiler.outcome import Outcome
from gmc.compiler.program import build_program
from gmc.compiler.region import Region
from gmc.compiler.split import Split
from gmc.compiler.stationary import is_model_law, stationarity
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Edge
from gmc.runtime import chains
from gmc.runtime.chains import Given
from tests.compiler.random_chains import Draft, draft
from tests.compiler.replay import (
    SEED,
    SPOILT,
    Case,
    chances,
    compile_example,
    decode,
    encode,
    key_of,
    maskable,
    order_of,
    part,
    wide,
    with_mask,
)
from tests.oracle import gained, stats
from tests.oracle.energy import bias, statistics_of, tied_to
from tests.oracle.laws import Law, law
from tests.oracle.models import CHAIN, random_values, random_weights
from tests.oracle.sites import clamping, supports
from tests.oracle.terms import term

EXACT = 1e-10
SEEDS = (*range(24), 26, 45, 48, 57)
"""Some, and those at which the broken compilers below are caught."""
WAYS = 1 << 14
"""Ways through a graph that are followed in one batch."""
STATES = 128
"""States between which a matrix is made."""

# ── Cases ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Row:
    """A random chain with the mask of a row: the law of what the row leaves free, and its flags `VAR` -> bool `[sites]`."""

    case: Case
    flags: Mapping[str, Tensor]
    draft: Draft


@cache
def rows(seed: int) -> tuple[Row, ...]:
    """The chain of a seed with some masks of rows; none where the sweep that it writes is refused."""
    made = draft(seed)
    try:
        compiled = compile_example(made.example, made.items)
    except GmcError as error:
        if made.legal or {d.code for d in error.diagnostics if d.is_error} != {"GM417"}:
            raise
        return ()
    assert made.legal, "an edge inside a block was not seen"
    model, chain = compiled.checked.model, compiled.checked.chain(CHAIN)
    weights = random_weights(model, seed)
    always = replace(chain, clamps=tuple(c for c in chain.clamps if not c.observed))
    given = law(model, weights, clamping(model, always, random_values(model, SEED)))
    case = Case(compiled, compiled.program(CHAIN), weights, given)
    if not case.program.schedule.masked:
        return (Row(case, {}, made),)
    may, rng = maskable(case), Random(seed)
    masks = {(), may, tuple(site for site in may if rng.random() < 0.5)}
    return tuple(Row(*with_mask(case, mask), made) for mask in sorted(masks))


def sweeps_of(row: Row) -> list[tuple[int, int]]:
    """The sweeps of runs that tell one place of a ramp from another."""
    return [(1, 1)] if all(g.value.constant for g in row.case.chain.gains) else [(1, 1), (1, 3), (2, 3)]


def written_order(row: Row) -> list[tuple[int, ...]]:
    """The blocks of a sweep as columns; where it is written, what the compiler leaves to the end of the run stands where it is written.

    The colours of a variable with lateral edges are the compiler's.
    """
    case, sweep = row.case, row.draft.sweep
    if sweep is None:
        return order_of(case)
    plan = case.program.schedule
    left = [tuple(c for r in block for c in case.columns(r)) for block in plan.blocks]
    late = [tuple(c for r in block for c in case.columns(r)) for block in plan.deferred]
    found = list[tuple[int, ...]]()
    for names in sweep:
        missing = {c for n in names if n in plan.active for c in case.columns(plan.active[n])}
        while missing:
            block = left.pop(0)
            assert set(block) <= missing, "a block has what is written elsewhere"
            missing -= set(block)
            found.append(block)
        found += [tuple(c for c in block if case.law.sites[c].variable in names) for block in late]
    assert not left
    kept = [tuple(sorted(set(block) & set(case.law.free))) for block in found]
    return [block for block in kept if block]


def opening_order(row: Row) -> list[tuple[int, ...]]:
    """The blocks of pass 0, and what is drawn after it: by distance from what has a value, as declared where that ties, colour by colour.

    The colours are the compiler's, the order of variables is found here.
    """
    case, plan = row.case, row.case.program.schedule
    names = [v.name for v in case.model.variables if v.name in plan.active]
    start = gained.closed(case.chain)
    heard = {(edge.name, end): float(gained.strength(case.chain, edge, end, 0.0, start)) for edge, end in ends(case)}
    near = dict.fromkeys(plan.supplied, 0)
    sources, distance = {*plan.clamped, *plan.masked, *plan.supplied}, 0
    while sources:
        distance += 1
        sources = {
            end
            for edge, end in ends(case)
            if end in names and end not in near and heard[edge.name, end] and others(edge, end) & sources
        }
        near |= dict.fromkeys(sources, distance)
    order = sorted((n for n in names if n not in plan.supplied), key=lambda n: near.get(n, len(case.model.variables)))
    assert [*dict.fromkeys(r.name for block in plan.opening for r in block)] == order
    late = [[r for r in block if r.name not in plan.supplied] for block in plan.deferred]
    found = [
        tuple(sorted({c for r in b for c in case.columns(r)} & set(case.law.free))) for b in (*plan.opening, *late)
    ]
    return [block for block in found if block]


def ends(case: Case) -> list[tuple[Edge, str]]:
    """Every edge with each of its variables."""
    return [(edge, end) for edge in case.model.edges for end in dict.fromkeys(edge.ends)]


def others(edge: Edge, end: str) -> set[str]:
    """The variables that send along an edge into an end."""
    return set(edge.ends) - {end} or {end}


def supplied(row: Row) -> list[int]:
    """The free columns that a start supplies."""
    held = row.case.law
    return [c for c in held.free if held.sites[c].variable in row.case.program.schedule.supplied]


# ── Ways through a graph ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ways:
    """All ways that the draws of a graph can come out: the row each begins from, its chance, all columns as they were drawn last, and the graph's output."""

    begin: Tensor
    p: Tensor
    table: Tensor
    out: Any


class Walk(fx.Interpreter):
    """Runs a graph whose draws give what they are told, and keeps their fields."""

    def __init__(self, module: fx.GraphModule, told: Mapping[int, Tensor]) -> None:
        super().__init__(module)
        self.told = told
        self.fields: dict[int, Tensor] = {}

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target not in DRAWS:
            return super().call_function(target, args, kwargs)
        self.fields[args[2]] = args[0]
        assert args[0].shape == self.told[args[2]].shape
        return self.told[args[2]]


def ways(
    row: Row, split: Split, drawn: Mapping[int, Region], table: Tensor, sweep: int = 1, of: int = 1
) -> Ways | None:
    """Every way through a graph from each row of a table of values; None where there are more than `WAYS`."""
    case, held = row.case, row.case.law
    numbers = [node.args[2] for node in split.each.graph.nodes if node.target in DRAWS]
    assert not any(node.target in DRAWS for node in split.once.graph.nodes)
    assert len(set(numbers)) == len(numbers), "two draws of one number"
    free = {n: [c for c in case.columns(drawn[n]) if c in held.free] for n in numbers}
    values = {n: torch.tensor([*itertools.product(*(supports(case.model)[c] or () for c in free[n]))]) for n in numbers}
    count = len(table) * torch.tensor([len(values[n]) for n in numbers]).prod().item()
    if count > WAYS:
        return None
    rest, chosen = torch.arange(int(count)), dict[int, Tensor]()
    for n in numbers:
        chosen[n], rest = values[n][rest % len(values[n])].to(torch.float64), rest // len(values[n])
    begin, told, after = table[rest], dict[int, Tensor](), table[rest].clone()
    flags = {n: x.expand(int(count), -1) for n, x in row.flags.items()}
    noisy = wide(case.model, flags)
    for n in numbers:
        region, now = drawn[n], begin.clone()
        now[:, free[n]] = after[:, free[n]] = chosen[n]
        told[n] = part(encode(case.model, now)[region.name], region)
        if region.name in noisy:
            told[n] = torch.where(part(noisy[region.name], region), SPOILT, told[n])
    given = case.values(encode(case.model, begin), sweep, of, flags)
    given |= split.once(*(given[name] for name in inputs(split.once)))
    walk = Walk(split.each, told)
    out = walk.run(*(given[name] for name in inputs(split.each)))
    p = torch.ones(int(count), dtype=torch.float64)
    for n in numbers:
        for column, chance in zip(case.columns(drawn[n]), chances(drawn[n], walk.fields[n]), strict=True):
            if column in free[n]:
                digit = torch.tensor(supports(case.model)[column], dtype=torch.float64)
                at = torch.searchsorted(digit, chosen[n][:, free[n].index(column)].contiguous())
                p = p * chance.gather(1, at.unsqueeze(1))[:, 0]
    return Ways(rest, p, after, out)


def number(held: Law, table: Tensor) -> Tensor:
    """Which of the listed states each row of a table of values is, `[n]`."""
    found = torch.zeros(len(table), dtype=torch.int64)
    for c, support in enumerate(supports(held.model)):
        if c in held.free:
            listed = torch.tensor(support, dtype=torch.float64)
            digit = torch.searchsorted(listed, table[:, c].contiguous())
            assert torch.equal(listed[digit.clamp(max=len(listed) - 1)], table[:, c]), "no value of the site"
            found = found * len(listed) + digit
        else:
            assert (table[:, c] == held.values[0, c]).all(), "a clamped site has moved"
    return found


def joined(row: Row, table: Tensor, out: Mapping[str, Tensor], regions: Mapping[str, Region]) -> Tensor:
    """A table of values with those of some regions in their places, from statistics `[n, region.size]`."""
    table = table.clone()
    for name, value in out.items():
        region, width = regions[name], regions[name].variable.family.width
        for at, column in enumerate(row.case.columns(region)):
            one = value[:, at * width : (at + 1) * width]
            table[:, column] = one[:, 0] if width == 1 else one @ torch.arange(width, dtype=torch.float64)
            if width > 1:
                assert torch.equal(torch.nn.functional.one_hot(table[:, column].long(), width).to(one.dtype), one)
    return table


def everything(row: Row) -> dict[str, Region]:
    """The variables as regions."""
    return {v.name: Region.whole_of(v) for v in row.case.model.variables}


def check_outputs(row: Row, found: Ways) -> None:
    """What comes out of a last sweep: the draws, their states, and means that enter statistics with the right expectation from every beginning."""
    case, out = row.case, found.out
    free = case.program.schedule.free
    for name, value in out["value"].items():
        if name in free:
            assert torch.equal(out["state"][name], part(value, free[name]))

    def expected(number: Tensor) -> Tensor:
        weighed = number * found.p.reshape(-1, *[1] * (number.ndim - 1))
        total = torch.zeros(int(found.begin.max()) + 1, *number.shape[1:], dtype=torch.float64)
        return total.index_add(0, found.begin, weighed)

    for kind in ("mean", "smooth"):
        for name, value in out[kind].items():
            torch.testing.assert_close(expected(value), expected(out["value"][name]), rtol=0, atol=EXACT)
    drawn, mean = (
        {n: x.unflatten(1, (-1, case.model.variable(n).family.width)) for n, x in out[kind].items()}
        for kind in ("value", "mean")
    )
    for edge in case.model.edges:
        a, b = (term(case.model, tied_to(case.model, edge), edge, case.weights, x) for x in (drawn, mean))
        torch.testing.assert_close(expected(a), expected(b), rtol=0, atol=EXACT)


def matrix(row: Row, split: Split, sweep: int, of: int) -> Tensor | None:
    """The chances of going from every state to every other by a graph of a sweep; None where there are too many ways."""
    held = row.case.law
    if len(held.p) > STATES:
        return None
    found = ways(row, split, row.case.program.drawn, held.values, sweep, of)
    if found is None:
        return None
    if "value" in found.out:
        after = joined(row, found.table, found.out["value"], everything(row))
        check_outputs(row, found)
    else:
        after = joined(row, held.values[found.begin], found.out, row.case.program.schedule.active)
        drawn = [c for r in row.case.program.schedule.active.values() for c in row.case.columns(r) if c in held.free]
        assert torch.equal(after[:, drawn], found.table[:, drawn])
    total = torch.zeros((len(held.p),) * 2, dtype=torch.float64)
    return total.index_put((found.begin, number(held, after)), found.p, accumulate=True)


def numbered(row: Row, blocks: Sequence[Sequence[Region]]) -> dict[int, Region]:
    """The regions of the draws of a graph of pass 0 by their numbers."""
    case, plan = row.case, row.case.program.schedule
    noise = {n: plan.free[v.name] for n, v in enumerate(case.model.variables) if v.name in plan.free}
    opening = dict(enumerate((r for block in blocks for r in block), len(case.model.variables)))
    return {**case.program.drawn, **noise, **opening}


def law_of_opening(row: Row, split: Split) -> Tensor | None:
    """The probabilities of the states after a graph of pass 0; what it does not give stands at its first value."""
    case, plan = row.case, row.case.program.schedule
    alone = split is case.program.alone
    drawn = numbered(row, plan.opening if alone else plan.begun)
    found = ways(row, split, drawn, case.law.values[:1])
    if found is None:
        return None
    if alone:
        check_outputs(row, found)
    out, regions = (found.out["value"], everything(row)) if alone else (found.out, plan.active)
    after = joined(row, case.law.values[:1].expand(len(found.p), -1), out, regions)
    return torch.zeros_like(case.law.p).index_add(0, number(case.law, after), found.p)


# ── Draws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def sampled(seed: int) -> list[Row]:
    """The rows of a seed, where its chain samples."""
    return [row for row in rows(seed) if row.case.chain.update == "sample"]


def check_draws(row: Row) -> None:
    """In every state each site is drawn from the oracle's conditional, and no block holds what it reads."""
    case, held = row.case, row.case.law
    opened = gained.gates_of(held, case.chain)
    for sweep, of in sweeps_of(row):
        for columns, found in stills(row, sweep, of):
            expected = gained.chances(held, case.chain, columns, gained.progress(sweep, of), opened)
            for chance, other in zip(found, expected, strict=True):
                torch.testing.assert_close(chance, other, rtol=0, atol=EXACT)
    gates = gained.gated(case.chain)
    for columns in order_of(case):
        group = outside(held, columns)
        for at in sorted({gained.progress(sweep, of) for sweep, of in sweeps_of(row)}):
            # gates look at the state before the sweep, not at the block
            for way in itertools.product((False, True), repeat=len(gates)):
                as_if = {n: torch.tensor(flag) for n, flag in zip(gates, way, strict=True)}
                for chance in gained.chances(held, case.chain, columns, at, as_if):
                    first = torch.zeros(int(group.max()) + 1, chance.shape[1], dtype=chance.dtype)
                    first[group] = chance
                    torch.testing.assert_close(first[group], chance, rtol=0, atol=1e-12)


def outside(held: Law, columns: Sequence[int]) -> Tensor:
    """Which states agree outside of a block: the number of a group each."""
    key = torch.zeros(len(held.p), dtype=torch.int64)
    for c in held.free:
        if c not in columns:
            key = key * len(supports(held.model)[c] or ()) + held.digits[:, c]
    return key.unique(return_inverse=True)[1]


def stills(row: Row, sweep: int, of: int) -> list[tuple[tuple[int, ...], list[Tensor]]]:
    """The free columns of every draw of the last sweep, and the chances of their values in every state that stands still."""
    case, held = row.case, row.case.law
    split, drawn = case.program.last, case.program.drawn
    numbers = [node.args[2] for node in split.each.graph.nodes if node.target in DRAWS]
    flags = {n: x.expand(len(held.p), -1) for n, x in row.flags.items()}
    states, noisy = case.statistics(), wide(case.model, flags)
    told = {n: part(states[drawn[n].name], drawn[n]) for n in numbers}
    for n in numbers:
        if drawn[n].name in noisy:
            told[n] = torch.where(part(noisy[drawn[n].name], drawn[n]), SPOILT, told[n])
    given = case.values(states, sweep, of, flags)
    given |= split.once(*(given[name] for name in inputs(split.once)))
    walk = Walk(split.each, told)
    out = walk.run(*(given[name] for name in inputs(split.each)))
    assert all(torch.equal(out["value"][name], value) for name, value in states.items())
    found = []
    for n in numbers:
        each = zip(case.columns(drawn[n]), chances(drawn[n], walk.fields[n]), strict=True)
        free = [(c, chance) for c, chance in each if c in held.free]
        found.append((tuple(c for c, _ in free), [chance for _, chance in free]))
    assert {c for columns, _ in found for c in columns} == set(held.free)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_draws(seed: int) -> None:
    for row in sampled(seed):
        check_draws(row)


# ── Laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def reached(row: Row) -> Law:
    """The oracle's law after pass 0 and the sweeps of the chain, in which every free variable is drawn where it is written."""
    held, chain = row.case.law, row.case.chain
    begun = gained.pass_zero(held, chain, opening_order(row), supplied(row))
    return gained.law_after(held, chain, begun, written_order(row), row.draft.sweeps)


def check_laws(row: Row) -> bool:
    """Pass 0 alone, and the law after pass 0 and some sweeps; whether there were few enough ways to follow all."""
    case, held, count = row.case, row.case.law, row.draft.sweeps
    alone = law_of_opening(row, case.program.alone)
    if alone is not None:
        begun = gained.pass_zero(held, case.chain, opening_order(row), supplied(row))
        torch.testing.assert_close(alone, begun, rtol=0, atol=EXACT)
    p = law_of_opening(row, case.program.opening)
    for sweep in range(1, count + 1):
        step = matrix(row, case.program.last if sweep == count else case.program.sweep, sweep, count)
        p = None if p is None or step is None else p @ step
    if p is None:
        return False
    torch.testing.assert_close(p, reached(row).p, rtol=0, atol=EXACT)
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_laws_after_some_sweeps(seed: int) -> None:
    for row in sampled(seed):
        check_laws(row)


def test_laws_of_most_chains_are_followed() -> None:
    """Few of the chains have more ways than are followed."""
    sizes = [len(row.case.law.p) for seed in SEEDS for row in sampled(seed)]
    assert sum(1 < size <= STATES for size in sizes) > 0.6 * len(sizes)


# ── Stationary laws ──────────────────────────────────────────────────────────────────────────────────────────────────


def scaled(row: Row, uneven: bool = False) -> Tensor | None:
    """The law of the energy whose terms between free and clamped parts are scaled by the gains; None where these are not the same into all free ends.

    With `uneven` they are scaled by the largest instead.
    """
    case, held = row.case, row.case.law
    statistics = statistics_of(case.model, held.values, (), case.weights)
    total = torch.zeros_like(held.p)
    for v in case.model.variables:
        total = total + (statistics[v.name] * bias(v, case.weights)).sum((1, 2))
    parts = {True: dict[str, Tensor](), False: dict[str, Tensor]()}
    for v in case.model.variables:
        free = torch.tensor([c in held.free for c, s in enumerate(held.sites) if s.variable == v.name])
        for kind in (True, False):
            parts[kind][v.name] = statistics[v.name] * (free == kind).to(torch.float64).unsqueeze(1)
    for edge in case.model.edges:
        names = list(dict.fromkeys(edge.ends))
        for way in itertools.product((True, False), repeat=len(names)):
            some = {n: parts[kind][n] for n, kind in zip(names, way, strict=True)}
            if len(names) == 1 and way[0]:  # all of its pairs of which one is free
                some = {names[0]: statistics[names[0]]}
            value = term(case.model, tied_to(case.model, edge), edge, case.weights, some)
            if len(names) == 1 and way[0]:
                clamped = {names[0]: parts[False][names[0]]}
                value = value - term(case.model, tied_to(case.model, edge), edge, case.weights, clamped)
            heard = [n for n, kind in zip(names, way, strict=True) if kind]
            if not heard or value.abs().max() < 1e-13:
                continue
            moving = [g for g in case.chain.gains if not g.value.constant or g.unless]
            gains = [float(gained.strength(case.chain, edge, n, 1.0, gained.closed(case.chain))) for n in heard]
            known = not any(gained.applies(g, edge, n) for g in moving for n in heard)
            if not uneven and (not known or max(gains) - min(gains) > 1e-12):
                return None
            total = total + max(gains) * value
    return torch.softmax(total, 0)


def invariant(row: Row, p: Tensor, sweep: int = 1, of: int = 1) -> float:
    """By how much p is not invariant under the draws of a sweep, block by block: the largest difference of a probability."""
    held, worst = row.case.law, 0.0
    drawn = {c: chance for columns, found in stills(row, sweep, of) for c, chance in zip(columns, found, strict=True)}
    for columns in order_of(row.case):
        group = outside(held, columns)
        mass = torch.zeros(int(group.max()) + 1, dtype=p.dtype).index_add(0, group, p)[group]
        for c in columns:
            mass = mass * drawn[c].gather(1, held.digits[:, c : c + 1])[:, 0]
        worst = max(worst, float((mass - p).abs().max()))
    return worst


def check_stationary(row: Row) -> str:
    """What the compiler says of a chain is so: `same` for the model's own law, `scaled`; else `moving` where a gain runs or is gated.

    What remains is `none` where the likeliest candidate is not invariant either, or else `perhaps`.
    """
    case, plan = row.case, row.case.program.schedule
    verdict = stationarity(case.compiled.graph, plan)
    p = scaled(row)
    if not verdict.holds:
        assert verdict.span is not None
        if any(gain.unless or not gain.value.constant for gain in case.chain.gains):
            return "moving"
        other = scaled(row, uneven=True)
        return "none" if p is None and other is not None and invariant(row, other) > 1e-9 else "perhaps"
    assert p is not None, "gains are uneven"
    for sweep, of in sweeps_of(row):
        assert invariant(row, p, sweep, of) < EXACT
    if len(case.law.p) <= STATES and (step := matrix(row, case.program.last, 1, 1)) is not None:
        torch.testing.assert_close(p @ step, p, rtol=0, atol=EXACT)
    if is_model_law(case.compiled.graph, plan):
        torch.testing.assert_close(p, case.law.p, rtol=0, atol=EXACT)
        return "same"
    return "scaled"


def test_stationary_laws() -> None:
    """What is said to leave a law invariant does; most of what is not, does not leave the likeliest candidate so."""
    told = [check_stationary(row) for seed in SEEDS for row in sampled(seed)]
    assert {"same", "scaled", "none"} <= set(told)
    assert told.count("none") > told.count("perhaps")


# ── Means and modes ──────────────────────────────────────────────────────────────────────────────────────────────────


def settled(
    row: Row, table: Tensor, blocks: Sequence[Sequence[int]], at: float, opened: gained.Open, absent: Sequence[int] = ()
) -> Tensor:
    """A table after blocks of it were set to their means, or most likely values, given the rest; absent columns send nothing until then."""
    case, missing = row.case, set(absent)
    for block in blocks:
        missing -= set(block)
        silent = [case.law.sites[c] for c in missing]
        if case.chain.update == "mode":
            table = gained.most_likely(case.model, case.weights, case.chain, table, block, at, opened, silent)
            continue
        before, table = table, table.clone()
        for c in block:
            into = gained.strengths_into(case.model, case.chain, case.law.sites[c].variable, at, opened)
            chance = gained.conditional(case.model, case.weights, before, c, into, silent)
            table[:, c] = chance @ torch.tensor(supports(case.model)[c], dtype=torch.float64)
    return table


def check_settled(row: Row) -> None:
    """Pass 0 and sweeps of chains that set their variables to means or modes, from some beginnings."""
    case, held, plan = row.case, row.case.law, row.case.program.schedule
    given = ways(row, case.program.alone, numbered(row, plan.opening), held.values[:1])
    if given is not None:
        absent = [c for c in held.free if c not in supplied(row)]
        expected = settled(row, given.table, opening_order(row), 0.0, gained.closed(case.chain), absent)
        check_values(row, given.out["value"], expected)
    table = held.values[:: max(1, len(held.p) // 64)]
    if case.chain.update == "mean":
        generator = torch.Generator().manual_seed(3)
        weight = torch.rand(50, len(held.p), dtype=torch.float64, generator=generator) ** 20
        table = weight / weight.sum(1, keepdim=True) @ held.values
        table = torch.where(torch.tensor([c in held.free for c in range(len(held.sites))]), table, held.values[:1])
    for sweep, of in sweeps_of(row):
        opened = gained.gates(case.model, case.weights, case.chain, table, held.clamped)
        expected = settled(row, table, order_of(case), gained.progress(sweep, of), opened)
        found = ways(row, case.program.last, {}, table, sweep, of)
        assert found is not None
        check_values(row, found.out["value"], expected)


def check_values(row: Row, out: Mapping[str, Tensor], expected: Tensor) -> None:
    """Whole statistics against a table of values."""
    for name, value in encode(row.case.model, expected).items():
        torch.testing.assert_close(out[name], value, rtol=0, atol=EXACT)


@pytest.mark.parametrize("seed", SEEDS)
def test_means_and_modes(seed: int) -> None:
    for row in rows(seed):
        if row.case.chain.update != "sample":
            check_settled(row)


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CHAINS = 24


def about(given: Sequence[Row], count: int) -> Given:
    """What a run of so many chains is given, which have the masks of these rows by turns."""
    case, turn = given[0].case, [given[n % len(given)] for n in range(count)]
    states = encode(case.model, torch.stack([row.case.law.values[0] for row in turn]))
    flags = {n: torch.stack([row.flags[n] for row in turn]) for n in given[0].flags}
    values = case.values(states, observed=flags)
    return Given(
        {n: values[f"clamped.{n}"] for n in case.program.schedule.clamped},
        {},
        key_of(count),
        3,
        held={n: values[f"given.{n}"] for n in flags},
        observed={n: values[f"observed.{n}"] for n in flags},
    )


def same(a: Outcome, b: Outcome) -> None:
    """Two ends of chains are equal to the bit."""
    for kind in ("state", "value", "mean", "smooth", "measured", "open"):
        here, there = getattr(a, kind), getattr(b, kind)
        assert here.keys() == there.keys()
        assert all(torch.equal(x, there[n]) for n, x in here.items())


def check_runs(given: Sequence[Row]) -> None:
    """With and without passes, looking on or not, in a batch of all masks: one end."""
    case, what = given[0].case, about(given, 24)
    bare = build_program(case.compiled.graph, case.program.schedule, passes=())
    for sweeps in (0, 1, 3):
        end = chains.run(case.program, case.weights, what, sweeps, torch.float64)
        same(end, chains.run(bare, case.weights, what, sweeps, torch.float64))
        if sweeps:
            shown = dict(chains.trace(case.program, case.weights, what, sweeps, torch.float64, every=1))
            assert sorted(shown) == list(range(1, sweeps + 1))
            same(shown[sweeps], end)


def check_samples(given: Sequence[Row], each: int = 2000) -> None:
    """The ends of many chains, with all masks in one batch, follow the oracle's laws after so many sweeps."""
    case, count = given[0].case, given[0].draft.sweeps
    end = chains.run(case.program, case.weights, about(given, each * len(given)), count, torch.float64)
    found = decode(case.model, end.value)
    for n, row in enumerate(given):
        if not row.case.law.free:
            continue
        verdict = stats.compare(row.case.law, {name: x[n :: len(given)] for name, x in found.items()}, reached(row).p)
        assert verdict.ok, verdict


@pytest.mark.parametrize("seed", SEEDS)
def test_passes_and_looking_on_change_nothing(seed: int) -> None:
    if given := rows(seed):
        check_runs(given)


@pytest.mark.parametrize("seed", SEEDS)
def test_samples(seed: int) -> None:
    if given := sampled(seed):
        check_samples(given)


# ── Broken compilers ─────────────────────────────────────────────────────────────────────────────────────────────────


def follow(seed: int) -> None:
    """All checks of the chain of a seed that samples, compiled anew."""
    for row in rows.__wrapped__(seed):
        check_draws(row)
        check_laws(row)
        check_stationary(row)


BROKEN: Mapping[str, tuple[int, Any, str, Callable[..., Any], str]] = {
    "left to the end too early": (45, schedule, "_comes_last", lambda *_: True, "not close"),
    "means where something read the draw": (57, ending, "reads", lambda *_: False, "not close"),
    "one way along an edge is no edge": (
        48,
        Potency,
        "meet",
        lambda self, term, a, b: not self.silent(term, a) and not self.silent(term, b),
        "not close",
    ),
    "what a gate reads is not drawn": (5, schedule, "neighbours", lambda *_: frozenset(), "not close"),
    "pass 0 draws only what is read": (26, schedule, "_needed", lambda graph, read, *_: read, "not close"),
    "every gain has an energy": (0, stationary, "_disturbances", lambda *_: iter(()), "gains are uneven"),
}
"""The seed, what is replaced by what, and what the failure says."""


@pytest.mark.parametrize("name", BROKEN)
def test_broken_compilers_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, owner, attribute, wrong, says = BROKEN[name]
    follow(seed)
    monkeypatch.setattr(owner, attribute, wrong)
    with pytest.raises(AssertionError, match=says):
        follow(seed)
