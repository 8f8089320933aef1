"""Energies, free energies and partition functions as graphs, against the oracle's loops and lists."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gmc.compiler.emitter import inputs
from gmc.compiler.energy import free_energy
from gmc.compiler.region import Region
from gmc.runtime import exact
from tests.compiler.replay import EXAMPLE, FINITE, PATTERNS, Case, case, encode
from tests.oracle.energy import energy
from tests.oracle.models import random_values
from tests.oracle.sites import as_columns

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def at(given: Case, module: torch.fx.GraphModule, table: Tensor) -> Tensor:
    """A graph's output at a table of values."""
    values = {f"value.{n}": x for n, x in given.statistics(table).items()} | dict(given.weights)
    values["blank"] = torch.zeros(len(table), 1, dtype=torch.float64)
    return module(*(values[n] for n in inputs(module)))


@pytest.mark.parametrize("name", EXAMPLE)
def test_energy_is_the_definition(name: str) -> None:
    given = case(name)
    table = as_columns(given.model, random_values(given.model, 7, n=50))
    torch.testing.assert_close(
        at(given, given.compiled.energy, table), energy(given.model, given.weights, table), **EXACT
    )


@pytest.mark.parametrize(("name", "items"), FINITE)
def test_free_energy_sums_a_block_out(name: str, items: str) -> None:
    """The free energy over each block of a chain's schedule, against sums over the oracle's table."""
    given = case(name, items)
    for block in given.program.schedule.blocks:
        columns = [c for region in block for c in given.columns(region)]
        rest = [c for c in range(given.law.values.shape[1]) if c not in columns]
        groups, where = torch.unique(given.law.values[:, rest], dim=0, return_inverse=True)
        total = torch.zeros(len(groups), dtype=torch.float64).index_add_(0, where, given.law.p)
        first = torch.stack([(where == g).nonzero()[0, 0] for g in range(len(groups))])
        found = at(given, free_energy(given.compiled.graph, block), given.law.values[first])
        torch.testing.assert_close(-found, total.log() + given.law.log_z, **EXACT)


def test_free_energy_does_not_read_what_it_sums_out() -> None:
    given = case("label_rbm")
    hidden = Region.whole_of(given.model.variable("h"))
    module = free_energy(given.compiled.graph, (hidden,))
    assert "value.h" not in inputs(module) or torch.equal(
        at(given, module, given.law.values[:64]), at(given, module, given.law.values[:64].flip(0)).flip(0)
    )
    table = as_columns(given.model, random_values(given.model, 3, n=20))
    other = table.clone()
    other[:, -4:] = 1 - other[:, -4:]
    assert torch.equal(at(given, module, table), at(given, module, other))


def clamped_statistics(given: Case) -> dict[str, Tensor]:
    """One row of whole statistics of what a chain clamps."""
    whole = given.statistics(given.law.values[:1])
    return {name: whole[name] for name in given.program.schedule.clamped}


@pytest.mark.parametrize(("name", "items"), PATTERNS)
def test_log_partition_is_the_oracles(name: str, items: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """log Z given every clamp pattern, in one piece and in chunks of a few states."""
    given = case(name, items)
    marginal = given.compiled.marginal(dict(given.program.schedule.clamped))
    assert marginal.refusal is None
    held = clamped_statistics(given)
    assert exact.log_partition(marginal, given.weights, held).log_z.item() == pytest.approx(given.law.log_z, abs=1e-9)
    monkeypatch.setattr(exact, "CHUNK", 200)
    assert exact.log_partition(marginal, given.weights, held).log_z.item() == pytest.approx(given.law.log_z, abs=1e-9)


def test_rows_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several rows, in one piece and in chunks, are as each alone."""
    given = case("dbm2", "clamp v[0:3]")
    marginal = given.compiled.marginal(dict(given.program.schedule.clamped))
    rows = encode(given.model, as_columns(given.model, random_values(given.model, 11, n=7)))
    held = {"v": rows["v"]}
    alone = [exact.log_partition(marginal, given.weights, {"v": rows["v"][n : n + 1]}).log_z for n in range(7)]
    for chunk in (1 << 22, 64, 1):
        monkeypatch.setattr(exact, "CHUNK", chunk)
        found = exact.log_partition(marginal, given.weights, held, rows=7, gradient=True)
        torch.testing.assert_close(found.log_z, torch.cat(alone), rtol=0, atol=1e-12)
        slopes = [
            exact.log_partition(marginal, given.weights, {"v": rows["v"][n : n + 1]}, gradient=True).gradient
            for n in range(7)
        ]
        for parameter, value in found.gradient.items():
            expected = torch.stack([s[parameter] for s in slopes]).mean(0)
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def test_one_row_of_clamps_serves_all_rows() -> None:
    given = case("rbm", "clamp v[0, :] = 1")
    marginal = given.compiled.marginal(dict(given.program.schedule.clamped))
    found = exact.log_partition(marginal, given.weights, clamped_statistics(given), rows=3).log_z
    assert found.tolist() == pytest.approx([given.law.log_z] * 3, abs=1e-9)
