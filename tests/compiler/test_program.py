"""Compiled sweeps leave the exact conditional law invariant: every model of the oracle's, every clamp pattern, through the programs' own fields."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gmc.compiler.colouring import Block
from gmc.compiler.draws import DRAWS
from gmc.compiler.emitter import inputs
from gmc.compiler.region import Region
from gmc.compiler.split import Split
from tests.compiler.replay import (
    FINITE,
    GAUSSIAN,
    Case,
    case,
    chances,
    matrices,
    part,
    replay,
    replay_split,
)
from tests.oracle.energy import energy
from tests.oracle.laws import precision_of
from tests.oracle.models import random_values
from tests.oracle.sites import as_columns, supports
from tests.oracle.sweeps import block_matrix, pass_zero, total_variation, update_matrix
from tests.oracle.tails import base

EXACT = 1e-10
LARGE = {
    "rbm",
    "dbm3",
    "dbm2",
    "third_order",
    "ising_open",
    "conv",
    "conv_channels",
    "conv_padded",
    "sparse",
    "label_rbm",
    "potts",
}
"""Examples whose free states are many: for matrices of what a smaller one shows as well."""
WRITTEN = [
    ("rbm", "", "sweep {v} then {h}"),
    ("rbm", "clamp v[:, 1:]", "sweep {h} then {v} then {h}"),
    ("boltzmann", "", "sweep {h} then {v}"),
    ("boltzmann", "clamp v[1:3]", "sweep {h} then {v} then {h}"),
    ("dbm2", "", "sweep {v, h2} then {h1}"),
    ("dbm2", "clamp v", "sweep {h1} then {h2} then {h1}"),
    ("dbm3", "", "sweep {h3} then {h2} then {h1} then {v}"),
    ("triangle", "", "sweep {c} then {a} then {b}"),
    ("third_order", "", "sweep {h} then {x} then {y} then {x}"),
    ("potts_lateral", "", "sweep {h} then {y}"),
    ("ising_periodic", "clamp s[1, 1]", "sweep {s}"),
    ("sparse_lateral", "", "sweep {y} then {v}"),
    ("single", "", "sweep {u, v} then {h}"),
]


def mixes(law_states: int, updates: Sequence[Tensor]) -> bool:
    """Whether the product of the updates is irreducible: one state reaches all, and all reach it."""
    forth, back = torch.zeros(2, law_states, dtype=torch.float64)
    forth[0] = back[0] = 1.0
    for _ in range(law_states):
        before = int((forth > 0).sum() + (back > 0).sum())
        for matrix in updates:
            forth = (((forth > 0).to(torch.float64) @ matrix) > 0).to(torch.float64)
        for matrix in reversed(updates):
            back = ((matrix @ (back > 0).to(torch.float64)) > 0).to(torch.float64)
        if int((forth > 0).sum() + (back > 0).sum()) == before:
            break
    return bool((forth > 0).all() and (back > 0).all())


def check_invariance(given: Case, written: bool = False) -> None:
    """Each draw of the last sweep is the exact update of its block, and the sweep has the law as its only stationary one."""
    program, law = given.program, given.law
    current = given.statistics()
    values = given.values(current)
    noted, out = replay(program.last.whole, values, program.drawn, current)
    regions = [r for block in (*program.schedule.blocks, *program.schedule.deferred) for r in block]
    assert [(r.name, r.sites.tolist()) for _, r, _ in noted] == [(r.name, r.sites.tolist()) for r in regions]
    assert [n for n, _, _ in noted] == list(program.drawn)
    updates = matrices(given, noted)
    drawn = [c for block, _ in updates for c in block]
    assert set(drawn) == set(law.free)
    assert written or len(drawn) == len(set(drawn)), "a derived sweep draws every site once"
    for block, matrix in updates:
        torch.testing.assert_close(matrix, block_matrix(law, block), rtol=0, atol=EXACT)
        assert total_variation(law.p @ matrix, law.p) < EXACT
    assert mixes(len(law.p), [matrix for _, matrix in updates])
    for block in program.schedule.blocks:
        if len(block) > 1:  # drawn at once: the chances of its sites multiply
            columns = tuple(sorted(c for region in block for c in given.columns(region)))
            product = update_matrix(law, columns, chances_of(given, noted, columns))
            torch.testing.assert_close(product, block_matrix(law, columns), rtol=0, atol=EXACT)
    check_means(given, current, out["mean"], updates)
    check_parts(given, values, current, noted, out)


def chances_of(given: Case, noted: list, columns: Sequence[int]) -> list[Tensor]:
    """The chances of single sites, as the draws had them."""
    found = {
        column: chance
        for _, region, eta in noted
        for column, chance in zip(given.columns(region), chances(region, eta), strict=True)
    }
    return [found[column] for column in columns]


def check_parts(given: Case, values: dict, current: dict, noted: list, out: dict) -> None:
    """The raw, the optimised and the parted graphs of a sweep and of the last one have the same draws and fields; the outputs are whole."""
    program = given.program
    blocks = sum(len(block) for block in program.schedule.blocks)
    for found, end in (
        replay(program.last.raw, values, program.drawn, current),
        replay_split(program.last, values, program.drawn, current),
    ):
        assert [n for n, _, _ in found] == [n for n, _, _ in noted]
        for (_, _, eta), (_, _, expected) in zip(found, noted, strict=True):
            assert torch.equal(eta, expected)
        assert end.keys() == out.keys()
        for want in out:
            assert all(torch.equal(end[want][name], out[want][name]) for name in out[want])
    for found, end in (
        replay(program.sweep.whole, values, program.drawn, current),
        replay_split(program.sweep, values, program.drawn, current),
    ):
        assert [n for n, _, _ in found] == [n for n, _, _ in noted][:blocks]
        assert all(torch.equal(a[2], b[2]) for a, b in zip(found, noted, strict=False))
        assert end.keys() == program.schedule.active.keys()
        for name, region in program.schedule.active.items():
            assert torch.equal(end[name], part(current[name], region))
    for name, region in program.schedule.free.items():
        assert torch.equal(out["state"][name], part(current[name], region))
    for name in current:
        assert torch.equal(out["value"][name], current[name])


@pytest.mark.parametrize(("name", "items"), FINITE)
def test_sweeps_leave_the_law_invariant(name: str, items: str) -> None:
    check_invariance(case(name, items))


@pytest.mark.parametrize(("name", "items", "sweep"), WRITTEN)
def test_written_sweeps_leave_the_law_invariant(name: str, items: str, sweep: str) -> None:
    given = case(name, items, sweep)
    written = [part.strip(" {}").split(", ") for part in sweep.removeprefix("sweep ").split(" then ")]
    blocks = [[r.name for r in block] for block in given.program.schedule.blocks]
    merged = [blocks[0]]
    for names in blocks[1:]:  # what has lateral edges runs colour by colour, one block after the other
        merged += [] if names == merged[-1] else [names]
    free = given.program.schedule.active
    assert [set(names) for names in merged] == [w for names in written if (w := {n for n in names if n in free})]
    check_invariance(given, written=True)


def check_means(given: Case, current: dict, means: dict, updates: list) -> None:
    """`mean` is E[T | the rest] of the last block and of what is deferred: products with what is not smoothed keep their expectation (Rao and Blackwell)."""
    schedule, law = given.program.schedule, given.law
    smoothed = [r for block in (*schedule.blocks[-1:], *schedule.deferred) for r in block]
    expected = dict(current)
    for region in smoothed:
        matrix = next(matrix for block, matrix in reversed(updates) if block == given.columns(region))
        expected[region.name] = expected[region.name].clone()
        expected[region.name][:, torch.from_numpy(region.columns)] = matrix @ part(current[region.name], region)
    names = {region.name for region in smoothed}
    for a in current:
        torch.testing.assert_close(means[a], expected[a], rtol=0, atol=EXACT)
        for b in current:
            smooth = law.p @ (means[a].unsqueeze(2) * means[b].unsqueeze(1)).flatten(1)
            drawn = law.p @ (current[a].unsqueeze(2) * current[b].unsqueeze(1)).flatten(1)
            if not (a in names and b in names):
                torch.testing.assert_close(smooth, drawn, rtol=0, atol=EXACT)


# ── Normals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def table_of(given: Case, rows: int = 64) -> Tensor:
    """States at random, what is clamped as the law has it."""
    table = as_columns(given.model, random_values(given.model, 5, n=rows))
    for c, site in enumerate(given.law.sites):
        if site in given.law.clamped:
            table[:, c] = given.law.clamped[site]
    return table


def check_conditionals(given: Case, region: Region, eta: Tensor, table: Tensor) -> None:
    """Each site's law given all others, from differences of the oracle's energy."""
    for at, column in enumerate(given.columns(region)):
        support = supports(given.model)[column]

        def minus_energy(value: Tensor | float, column: int = column) -> Tensor:
            other = table.clone()
            other[:, column] = value
            return -energy(given.model, given.weights, other)

        if support is not None:
            expected = torch.softmax(torch.stack([minus_energy(value) for value in support], dim=1), 1)
            torch.testing.assert_close(chances(region, eta)[at], expected, rtol=0, atol=EXACT)
            continue
        beta = precision_of(given.model, given.weights, column)
        ones = torch.ones(len(table), dtype=torch.float64)
        one, two, four = (minus_energy(x) - base(region.variable, x * ones, beta) for x in (1.0, 2.0, 4.0))
        # without its base measure it is linear in x, and the statistic is beta x
        torch.testing.assert_close(four - two, 2 * (two - one), rtol=0, atol=1e-9)
        torch.testing.assert_close(eta[:, at], (two - one) / beta, rtol=0, atol=EXACT)


@pytest.mark.parametrize(("name", "items"), GAUSSIAN)
def test_conditionals_with_normals(name: str, items: str) -> None:
    given = case(name, items)
    table = table_of(given)
    current = given.statistics(table)
    values = given.values(current)
    noted, out = replay(given.program.last.whole, values, given.program.drawn, current)
    assert sorted(c for _, r, _ in noted for c in given.columns(r)) == list(given.law.free)
    for _, region, eta in noted:
        check_conditionals(given, region, eta, table)
    check_parts(given, values, current, noted, out)


# ── Pass 0 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def order_of(given: Case) -> list[str]:
    """The order of pass 0 by the language's words, over variables; a clamped part counts as a neighbour of the free part if lateral."""
    schedule, model = given.program.schedule, given.model
    distance = dict.fromkeys(schedule.supplied, 0)
    for reach in range(1, len(model.variables) + 2):
        for variable in model.variables:
            if variable.name in distance or variable.name not in schedule.free:
                continue
            for edge in model.edges:
                if variable.name in edge.ends:
                    others = [n for n in edge.ends if n != variable.name] or [variable.name]
                    near = [n for n in others if distance.get(n, reach) < reach]
                    clamped = reach == 1 and any(n in schedule.clamped for n in others)
                    if near or clamped:
                        distance[variable.name] = reach
    names = [v.name for v in model.variables if v.name in schedule.free and v.name not in schedule.supplied]
    return sorted(names, key=lambda name: distance.get(name, 99))


def opened(given: Case) -> tuple[Tensor, list[tuple[int, ...]]]:
    """The distribution of the listed states after pass 0 as the program makes it, and its blocks of columns in order."""
    current = given.statistics()
    drawn = draws_of(given, given.program.alone, given.program.schedule.opening)
    noted, _ = replay_split(given.program.alone, given.values(current), drawn, current)
    p, blocks = torch.ones(len(given.law.p), dtype=torch.float64), []
    for number, region, eta in noted:
        columns = given.columns(region)
        for chance, column in zip(chances(region, eta), columns, strict=True):
            p = p * chance.gather(1, given.law.digits[:, column : column + 1])[:, 0]
        if number >= len(given.model.variables):  # the first numbers are those of starts from noise
            blocks.append(columns)
    return p, blocks


def draws_of(given: Case, split: Split, opening: Sequence[Block]) -> dict[int, Region]:
    """The region of each numbered draw of a graph of pass 0 whose blocks are `opening`."""
    schedule = given.program.schedule
    noise = {n: schedule.free[v.name] for n, v in enumerate(given.model.variables) if v.name in schedule.free}
    drawn = noise | dict(given.program.drawn)
    numbers = [n.args[2] for n in split.whole.graph.nodes if n.target in DRAWS and n.args[2] not in drawn]
    return drawn | dict(zip(numbers, (r for block in opening for r in block), strict=True))


@pytest.mark.parametrize(("name", "items"), FINITE)
def test_pass_zero(name: str, items: str) -> None:
    """Pass 0 alone, where absent neighbours send nothing."""
    given = case(name, items)
    p, blocks = opened(given)
    torch.testing.assert_close(p, pass_zero(given.law, blocks), rtol=0, atol=EXACT)
    names = list(dict.fromkeys(r.name for block in given.program.schedule.opening for r in block))
    active = given.program.schedule.active
    assert names == [n for n in order_of(given) if n in active]


STARTED = [
    ("rbm", "", "start noise", ("v", "h")),
    ("rbm", "", "start h from noise", ("h",)),
    ("rbm", "clamp v[:, 1:]", "start v from noise", ("v",)),
    ("rbm", "clamp v", "start h from noise", ("h",)),
    ("dbm2", "", "start h2 from noise", ("h2",)),
    ("dbm3", "", "start h2 from noise", ("h2",)),
    ("triangle", "", "start c from noise", ("c",)),
    ("boltzmann", "clamp v[1:3]", "start h from noise", ("h",)),
    ("third_mixed", "", "start y from noise", ("y",)),
    ("sparse", "", "start v from noise", ("v",)),
]


@pytest.mark.parametrize(("name", "items", "start", "supplied"), STARTED)
def test_pass_zero_from_noise(name: str, items: str, start: str, supplied: tuple[str, ...]) -> None:
    given = case(name, items, start)
    p, blocks = opened(given)
    torch.testing.assert_close(p, pass_zero(given.law, blocks, start=given.law.block(supplied)), rtol=0, atol=EXACT)
    names = list(dict.fromkeys(r.name for block in given.program.schedule.opening for r in block))
    assert names == [n for n in order_of(given) if n in given.program.schedule.active]


@pytest.mark.parametrize(
    ("name", "items", "start", "supplied"),
    [
        ("rbm", "", "start persistent(5)", ()),
        ("rbm", "", "start h from persistent(5)  start v from noise", ("v",)),
        ("dbm2", "clamp v[0:3]", "start h1, h2 from persistent(2)", ()),
        ("boltzmann", "", "start v from persistent(2)", ()),
    ],
)
def test_persistent_chains_begin_by_pass_zero(name: str, items: str, start: str, supplied: tuple[str, ...]) -> None:
    """`fresh` draws what is not kept yet as if nothing were persistent."""
    given = case(name, items, start)
    fresh, plain = given.program, case(name, items, "start v from noise" if supplied else "")
    order = [r for block in plain.program.schedule.opening for r in block]
    current = given.statistics()
    drawn = draws_of(given, fresh.fresh, plain.program.schedule.opening)
    noted, out = replay_split(fresh.fresh, given.values(current), drawn, current)
    p = torch.ones(len(given.law.p), dtype=torch.float64)
    for _, region, eta in noted:
        for chance, column in zip(chances(region, eta), given.columns(region), strict=True):
            p = p * chance.gather(1, given.law.digits[:, column : column + 1])[:, 0]
    torch.testing.assert_close(
        p,
        pass_zero(given.law, [given.columns(r) for r in order], start=given.law.block(supplied)),
        rtol=0,
        atol=EXACT,
    )
    assert {n: tuple(v.shape) for n, v in out.items()} == {
        n: (len(given.law.p), r.size) for n, r in given.program.schedule.free.items()
    }


@pytest.mark.parametrize(
    ("name", "items", "more"),
    [
        *((name, items, "") for name, items in FINITE if name not in LARGE),
        *((name, items, start) for name, items, start, _ in STARTED),
        *WRITTEN,
        ("dbm3", "clamp h3", "sweep {v, h2} then {h1}"),
        ("dbm3", "", "start h1 from noise  sweep {h2} then {h1} then {v, h3}"),
        ("boltzmann", "", "start h from noise  sweep {h} then {v}"),
    ],
)
def test_pass_zero_before_sweeps_draws_enough(name: str, items: str, more: str) -> None:
    """Pass 0 leaves out what the first sweep does not read; after that sweep the law of the states is as if it had not."""
    given = case(name, items, more)
    program, law = given.program, given.law
    p, blocks = opened(given)
    started = [c for c in law.free if not any(c in block for block in blocks)]
    torch.testing.assert_close(p, pass_zero(law, blocks, start=started), rtol=0, atol=EXACT)
    current = given.statistics()
    values = given.values(current)
    drawn = draws_of(given, program.opening, program.schedule.begun)
    noted, out = replay_split(program.opening, values, drawn, current)
    assert set(out) == set(program.schedule.read)
    short = torch.ones_like(law.p)
    for column in law.free:
        chance = [
            c.gather(1, law.digits[:, column : column + 1])[:, 0]
            for _, region, eta in noted
            for at, c in zip(given.columns(region), chances(region, eta), strict=True)
            if at == column
        ]
        # what is not drawn may be anything: no sweep may depend on it
        short = short * (chance[0] if chance else 1 / len(supports(given.model)[column] or ()))
    updates, _ = replay(program.last.whole, values, program.drawn, current)
    for _, matrix in matrices(given, updates):
        p, short = p @ matrix, short @ matrix
    torch.testing.assert_close(short, p, rtol=0, atol=EXACT)


# ── What the graphs take ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "items"), [("rbm", "clamp v[:, 1:]"), ("dbm2", "clamp v"), ("potts", "")])
def test_inputs_are_named_and_needed(name: str, items: str) -> None:
    given = case(name, items)
    known = {*given.weights, "blank", "key", "sweep"}
    schedule = given.program.schedule
    known |= {f"clamped.{n}" for n in schedule.clamped} | {f"start.{n}" for n in schedule.free}
    known |= {f"state.{n}" for n in schedule.active}
    parts = [inputs(part) for split in given.program.graphs().values() for part in (split.once, split.each)]
    assert all(len(names) == len(set(names)) for names in parts)
    plain = {n for names in parts for n in names if not n.startswith("hoisted.")}
    assert plain <= known
    assert "key" in plain and "sweep" in plain


def test_every_node_of_a_sweep_knows_its_line() -> None:
    """A failure at run time can name the line of the file: each call carries the span of its variable or edge."""
    given = case("dbm2", "clamp v[0:3]")
    for split in given.program.graphs().values():
        for node in split.whole.graph.nodes:
            if node.op == "call_function" and node.name.startswith(("draw_", "mm", "sigmoid")):
                assert node.meta["span"].source is given.compiled.checked.source
