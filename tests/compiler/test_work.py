"""What a sweep costs: the multiply-adds of its products, counted from the graph; what is clamped or never sent costs nothing."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

import gmc
from gmc.compiler.draws import row_keys
from gmc.compiler.emitter import inputs
from gmc.compiler.program import Program
from gmc.compiler.split import Split

RBM = "observed v : bernoulli[28, 28]  latent h : bernoulli[500]  edge v -- h"
DBM = """observed v : bernoulli[28, 28]  latent h1 : bernoulli[256]  latent h2 : bernoulli[256]
    edge v -- h1  edge h1 -- h2"""
HALF = ("clamp v[:, 14:]", "clamp v[0:14, :]", "clamp v[:, 0:7], v[:, 21:]")
"""Half of the visibles, in one piece or two, along either axis."""
ROWS = 3


class Work(fx.Interpreter):
    """Runs a graph and adds up the multiply-adds of its products, by the number of their rows."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.products: list[tuple[int, ...]] = []

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is torch.mm or target is torch.matmul:
            self.products.append((*args[0].shape, args[1].shape[1]))
        elif target is torch.einsum:
            letters = dict(
                zip(args[0].split("->")[0].replace(",", ""), (n for x in args[1:] for n in x.shape), strict=True)
            )
            self.products.append(tuple(letters.values()))
        else:
            assert "mm" not in getattr(target, "__name__", ""), f"{target} is not counted"
        return super().call_function(target, args, kwargs)


def program_of(body: str, items: str) -> Program:
    """The program of a model's chain."""
    return gmc.compile(f"model m {{ {body} }}\nchain c {{ {items}  sweeps 9 }}").compiled.program("c")


def values_of(body: str, items: str, program: Program) -> dict[str, Any]:
    """Inputs of the right shapes; a product costs the same whatever is in it."""
    compiled = gmc.compile(f"model m {{ {body} }}\nchain c {{ {items} }}").compiled
    found: dict[str, Any] = {p.name: torch.zeros(p.shape) for p in compiled.graph.parameters}
    schedule = program.schedule
    for kind, regions in (("clamped", schedule.clamped), ("state", schedule.active), ("given", schedule.free)):
        found |= {f"{kind}.{n}": torch.zeros(ROWS, r.size) for n, r in regions.items()}
    found |= {f"observed.{n}": torch.zeros(ROWS, r.size, dtype=torch.bool) for n, r in schedule.free.items()}
    return {**found, "blank": torch.zeros(ROWS, 1), "key": row_keys(0, "work", torch.arange(ROWS)), "sweep": 1}


def work(split: Split, values: dict[str, Any]) -> tuple[int, int]:
    """Multiply-adds a chain of what is computed once and of what is computed in each sweep; torch's own counter agrees."""
    once, each = Work(split.once), Work(split.each)
    with FlopCounterMode(display=False) as counter:
        hoisted = once.run(*(values[n] for n in inputs(split.once)))
        each.run(*({**values, **hoisted}[n] for n in inputs(split.each)))
    totals = [sum(prod(product) for product in part.products) for part in (once, each)]
    assert counter.get_total_flops() == 2 * sum(totals)
    assert all(total % ROWS == 0 for total in totals)
    return totals[0] // ROWS, totals[1] // ROWS


def sweep(body: str, items: str) -> tuple[int, int]:
    program = program_of(body, items)
    return work(program.sweep, values_of(body, items, program))


@pytest.mark.parametrize("items", HALF)
def test_half_of_the_visibles_costs_half(items: str) -> None:
    """The messages of what is clamped are computed once a run."""
    free, (once, each) = sweep(RBM, "")[1], sweep(RBM, items)
    assert free == 2 * 784 * 500
    assert each <= 0.52 * free
    assert each == 2 * 392 * 500
    assert once == 392 * 500


@pytest.mark.parametrize("items", HALF)
def test_half_of_the_visibles_of_a_deep_machine(items: str) -> None:
    """The products with v cost half; those between the hidden layers are what they were."""
    free, (once, each) = sweep(DBM, "")[1], sweep(DBM, items)
    between = 2 * 256 * 256
    assert free == 2 * 784 * 256 + between
    assert each - between <= 0.52 * (free - between)
    assert each == 2 * 392 * 256 + between
    assert once == 392 * 256


def test_all_of_the_visibles_cost_nothing() -> None:
    """An RBM whose visibles are given has nothing to sweep; a deep one goes on between its hidden layers."""
    assert sweep(RBM, "clamp v") == (0, 0)
    assert sweep(DBM, "clamp v") == (784 * 256, 2 * 256 * 256)


@pytest.mark.parametrize(
    ("items", "cost"),
    [
        ("impotent h2", 0),  # h1 and v go on without h2, which is drawn after the last sweep
        ("impotent h1", 0),
        ("potent h1_h2 = 0", 0),
        ("potent h2 = 0.5", 2 * 256 * 256),
    ],
)
def test_messages_that_are_never_sent_cost_nothing(items: str, cost: int) -> None:
    layers = {"impotent h1": 0}.get(items, 2 * 784 * 256)
    assert sweep(DBM, items)[1] == layers + cost


def test_masks_cost_what_the_free_chain_costs() -> None:
    """Where the pattern is not known when compiling, the sites that a row has are chosen after the draw."""
    assert sweep(RBM, "clamp v where observed")[1] == sweep(RBM, "")[1]
    assert sweep(RBM, "clamp v[:, 14:] where observed  clamp v[:, 0:14]")[1] == sweep(RBM, "clamp v[:, 0:14]")[1]


def test_the_counter_sees_third_order_products() -> None:
    body = "observed x : bernoulli[5]  observed y : bernoulli[4]  latent h : bernoulli[3]  edge x -- y -- h"
    program = program_of(body, "")
    values = values_of(body, "", program)
    counted = Work(program.sweep.whole)
    counted.run(*(values[n] for n in inputs(program.sweep.whole)))
    assert sorted(counted.products) == sorted([(ROWS, 4, 3, 5), (ROWS, 5, 3, 4), (ROWS, 5, 4, 3)])
