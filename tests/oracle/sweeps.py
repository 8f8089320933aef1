"""What samplers do to a law whose states are all listed: transition matrices, made from the joint table and never from fields.

A matrix M is `[states, states]`, `M[s, t]` the chance to go from s to t, so that a distribution p becomes `p @ M`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from tests.oracle.energy import energy
from tests.oracle.laws import Law
from tests.oracle.sites import Site, supports

LARGEST = 4096
"""States for which a matrix is still made: 128 MB."""

Block = Sequence[int]
Kernel = Callable[[Law, Block], Tensor]


def _agree_outside(held: Law, block: Block) -> Tensor:
    """Which pairs of states differ in the block at most, `[states, states]` bool."""
    n = len(held.values)
    if n > LARGEST:
        raise ValueError(f"{n} states are too many for a matrix; {LARGEST} are allowed")
    if not set(block) <= set(held.free):
        raise ValueError("a block holds a clamped site")
    if set(held.free) != set(held.finite):
        raise ValueError("a law with free normals has no transition matrix")
    outside = [c for c in held.free if c not in block]
    group = torch.zeros(n, dtype=torch.int64)
    for c in outside:
        group = group * len(supports(held.model)[c] or ()) + held.digits[:, c]
    return group.unsqueeze(1) == group.unsqueeze(0)


def block_matrix(held: Law, block: Block) -> Tensor:
    """The exact update of a block: drawn as a whole from p(block | rest)."""
    reach = _agree_outside(held, block) * held.p
    return reach / reach.sum(1, keepdim=True)


def site_conditional(held: Law, column: int) -> Tensor:
    """p(site | all others) in each state, `[states, values]`."""
    return block_matrix(held, (column,)) @ held.indicators(column)


def update_matrix(held: Law, block: Block, probabilities: Sequence[Tensor]) -> Tensor:
    """An update that draws the sites of a block at once and apart, with the given chances `[states, values]` for each site.

    The chances may come from a program under test, run on `held.variables()`. With other chances than the conditionals, or with
    sites that depend on each other, this is not the exact update.
    """
    matrix = _agree_outside(held, block).to(torch.float64)
    for column, chances in zip(block, probabilities, strict=True):
        matrix = matrix * chances.to(torch.float64)[:, held.digits[:, column]]
    return matrix


def sitewise_matrix(held: Law, block: Block) -> Tensor:
    """What a Gibbs sampler does with a block: each site from its own conditional given the old state.

    It is the exact update where no two sites of the block depend on each other given the rest, and no other.
    """
    return update_matrix(held, block, [site_conditional(held, c) for c in block])


def sweep_matrix(held: Law, blocks: Sequence[Block], kernel: Kernel = block_matrix) -> Tensor:
    """The updates of the blocks, one after the other."""
    matrix = torch.eye(len(held.values), dtype=torch.float64)
    for block in blocks:
        matrix = matrix @ kernel(held, block)
    return matrix


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the sum of absolute differences."""
    return 0.5 * (p - q).abs().sum().item()


def stationarity_error(p: Tensor, matrix: Tensor) -> float:
    """The total variation between p and p after a step: 0, to rounding, where p is stationary (pi T = pi)."""
    if (matrix.sum(1) - 1).abs().max() > 1e-6:
        raise ValueError("the rows of the matrix do not sum to one")
    return total_variation(p, p @ matrix)


def irreducible(matrix: Tensor) -> bool:
    """Whether every state can be reached from every other."""
    components, _ = connected_components(csr_array((matrix > 0).numpy()), directed=True, connection="strong")
    return bool(components == 1)


def uniform(held: Law) -> Tensor:
    """The law of `start noise` over the listed states."""
    return torch.full_like(held.p, 1 / len(held.p))


def after(start: Tensor, matrix: Tensor, sweeps: int) -> Tensor:
    """The distribution after so many sweeps."""
    for _ in range(sweeps):
        start = start @ matrix
    return start


def sweeps_to_mix(held: Law, matrix: Tensor, start: Tensor, distance: float = 1e-6, most: int = 10_000) -> int:
    """The first number of sweeps after which the total variation to the law is at most `distance`.

    Raises:
        ValueError: it is not reached within `most` sweeps.
    """
    for sweeps in range(most + 1):
        if total_variation(start, held.p) <= distance:
            return sweeps
        start = start @ matrix
    raise ValueError(f"still {total_variation(start, held.p):.2g} away after {most} sweeps")


def pass_zero(held: Law, order: Sequence[Block], start: Sequence[int] = ()) -> Tensor:
    """The distribution of the listed states after pass 0, from the blocks of free columns in the order they are drawn.

    The sites of a block are drawn at once, given what is present: the clamped sites, the columns of `start` (uniform, as by
    `start noise`) and earlier blocks. Absent sites send nothing.
    """
    if sorted([*start, *(c for block in order for c in block)]) != sorted(held.free):
        raise ValueError("every free column is either started or drawn once")
    present = {c for c in range(len(held.sites)) if c not in held.free} | set(start)
    p = torch.ones_like(held.p)
    for c in start:
        p = p / len(supports(held.model)[c] or ())
    for block in order:
        present |= set(block)
        silent = [Site(*site) for c, site in enumerate(held.sites) if c not in present]
        with torch.no_grad():
            # only ratios within a block count, whatever the absent sites are
            weight = (-energy(held.model, held.weights, held.values, silent)).exp()
        same = _agree_outside(held, block)
        p = p * weight / (same * weight).sum(1)
    return p
