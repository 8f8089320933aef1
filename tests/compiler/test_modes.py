"""`update mode`: iterated conditional modes, block by block, against the oracle's most likely values; no number is drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gmc.compiler.draws import DRAWS
from gmc.compiler.region import Region
from gmc.compiler.split import Split
from gmc.runtime import chains
from gmc.runtime.chains import Given
from tests.compiler.replay import Case, case, decode, encode, key_of, maskable, part
from tests.oracle import gained
from tests.oracle.energy import energy
from tests.oracle.models import random_values
from tests.oracle.sites import as_columns

MODE = "update mode"
CASES = [
    ("rbm", "", ""),
    ("rbm", "clamp v[:, 1:]", ""),
    ("boltzmann", "clamp v[1:3]", ""),
    ("spin_boltzmann", "", ""),
    ("potts_lateral", "clamp y[1]", ""),
    ("dbm3", "clamp v", "potent h2 = 0.25"),
    ("dbm3", "clamp v", "impotent h2"),
    ("dbm2", "clamp v[0:3]", "potent h2 = 0.0 -> 1.0"),
    ("label_rbm", "clamp y = 2", ""),
    ("third_mixed", "clamp x", "potent y = 0.5"),
    ("third_order", "", ""),
    ("lattice_rbm", "clamp v[:, 0:2]", ""),
    ("boltzmann", "clamp v[1:3]", "impotent v unless surprise(v) > 0.6"),
    ("gaussian_rbm", "", ""),
    ("gaussian_rbm", "clamp x[:, 0]", "impotent h"),
    ("gaussian_mixed", "clamp y = 1", ""),
    ("learned", "clamp x[:, 0], g[1]", "potent h = 0.5"),
    ("rectified", "", ""),
    ("counted", "clamp h, t[0]", ""),
    ("counted", "clamp n[1:3]", "impotent t"),
    ("waited", "clamp w", "potent h = 0.5"),
]


def table_of(given: Case) -> Tensor:
    """States to begin from: all of them, or some where there are normals."""
    if given.law.finite == given.law.free:
        return given.law.values
    table = as_columns(given.model, random_values(given.model, 5, n=64))
    for c, site in enumerate(given.law.sites):
        if site in given.law.clamped:
            table[:, c] = given.law.clamped[site]
    return table


def blocks_of(given: Case, regions: tuple[tuple[Region, ...], ...]) -> list[tuple[int, ...]]:
    return [tuple(sorted(c for region in block for c in given.columns(region))) for block in regions]


def expected_sweep(given: Case, table: Tensor, sweep: int, of: int, late: bool) -> Tensor:
    """A sweep of the oracle's, with the gates of the table that it starts from."""
    opened = gained.gates(given.model, given.weights, given.chain, table, given.law.clamped)
    schedule = given.program.schedule
    blocks = blocks_of(given, (*schedule.blocks, *(schedule.deferred if late else ())))
    for block in blocks:
        at = gained.progress(sweep, of)
        table = gained.most_likely(given.model, given.weights, given.chain, table, block, at, opened)
    return table


def no_draws(split: Split) -> bool:
    return not any(node.target in DRAWS for node in split.whole.graph.nodes)


@pytest.mark.parametrize(("name", "clamp", "items"), CASES)
def test_sweeps_set_the_most_likely_values(name: str, clamp: str, items: str) -> None:
    given = case(name, clamp, f"{items}  {MODE}")
    table = table_of(given)
    states, schedule = given.statistics(table), given.program.schedule
    assert all(no_draws(split) for split in given.program.graphs().values())
    for sweep, of in ((1, 1), (1, 3), (2, 3)):
        values = given.values(states, sweep, of)
        found = given.program.sweep(values)
        expected = given.statistics(expected_sweep(given, table, sweep, of, late=False))
        for variable, region in schedule.active.items():
            torch.testing.assert_close(found[variable], part(expected[variable], region), rtol=0, atol=1e-10)
        out = given.program.last(values)["value"]
        expected = given.statistics(expected_sweep(given, table, sweep, of, late=True))
        for variable, value in out.items():
            torch.testing.assert_close(value, expected[variable], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "clamp", "items"), CASES)
def test_runs_are_the_oracles_from_pass_zero_on(name: str, clamp: str, items: str) -> None:
    """Pass 0 in its order, absent sites silent, then sweeps with the gains of each; whatever the seed."""
    given = case(name, clamp, f"{items}  {MODE}")
    schedule = given.program.schedule
    table = table_of(given)[:1].clone()
    present = {c for c, site in enumerate(given.law.sites) if site in given.law.clamped}
    for block in blocks_of(given, (*schedule.opening, *schedule.deferred)):
        present |= set(block)
        silent = [site for c, site in enumerate(given.law.sites) if c not in present]
        shut = gained.closed(given.chain)
        table = gained.most_likely(given.model, given.weights, given.chain, table, block, 0.0, shut, silent)
    states = given.statistics(table)
    clamped = {n: part(states[n], r).expand(5, -1) for n, r in schedule.clamped.items()}
    for sweeps in (0, 1, 4):
        moved = table
        for sweep in range(1, sweeps + 1):
            moved = expected_sweep(given, moved, sweep, sweeps, late=True)
        for seed in (1, 2):
            about = Given(clamped, {}, key_of(5, seed), seed)
            out = chains.run(given.program, given.weights, about, sweeps, torch.float64)
            for variable, value in decode(given.model, out.value).items():
                expected = decode(given.model, given.statistics(moved))[variable].expand_as(value)
                torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "clamp", "items"), [text for text in CASES if "potent" not in text[2]])
def test_the_energy_never_rises(name: str, clamp: str, items: str) -> None:
    """At full gain each block is set to its conditional's mode, so that runs end in states that no block improves."""
    given = case(name, clamp, f"{items}  {MODE}")
    table = table_of(given)
    level = energy(given.model, given.weights, table)
    for _ in range(40):
        out = given.program.last(given.values(given.statistics(table)))["value"]
        moved = as_columns(given.model, decode(given.model, out))
        lower = energy(given.model, given.weights, moved)
        assert (lower <= level + 1e-12).all()
        if torch.allclose(moved, table, rtol=0, atol=1e-12):
            break
        table, level = moved, lower
    else:
        pytest.fail("no state is reached that stays as it is")
    best = energy(given.model, given.weights, table_of(given)).min()
    if given.law.finite == given.law.free:
        assert level.min() == pytest.approx(float(best)), "the best state of all stays"


def test_rows_hold_what_they_have() -> None:
    given = case("boltzmann", "clamp v where observed", MODE)
    table = given.law.values
    generator = torch.Generator().manual_seed(4)
    flags = {"v": torch.rand(len(table), 4, generator=generator) < 0.5}
    out = given.program.last(given.values(given.statistics(table), observed=flags))["value"]
    expected = table
    assert len(maskable(given)) == 4
    for block in blocks_of(given, given.program.schedule.blocks):
        moved = gained.most_likely(given.model, given.weights, given.chain, expected, block, 1.0, {})
        expected = torch.where(torch.cat((flags["v"], torch.zeros(len(table), 3, dtype=torch.bool)), 1), table, moved)
    for variable, value in encode(given.model, expected).items():
        assert torch.equal(out[variable], value)


def test_modes_are_whole_numbers_where_means_are_not() -> None:
    """What a sweep updates first is the mean, or its nearest value."""
    mode, mean = case("rbm", "clamp v[:, 1:]", MODE), case("rbm", "clamp v[:, 1:]", "update mean")
    states = mode.statistics()
    first, second = (given.program.last(given.values(states))["value"]["v"] for given in (mode, mean))
    assert torch.equal(first, second.round())
    assert ((second - first).abs() > 0.05).any()
