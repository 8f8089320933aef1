"""Broken samplers, each a mistake that was shipped somewhere, for the suite to catch; and the right one beside them.

A `Sampler` is the transition matrix of a sweep over listed states, and the law that the sweep should leave as it is. `samples` runs
many chains from that law, one sample a chain: it answers as a program under test would.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gmc.dsl.model import Chain, Model
from tests.oracle import gained
from tests.oracle.laws import Law, law
from tests.oracle.sites import Site
from tests.oracle.sweeps import (
    Block,
    after,
    block_matrix,
    site_conditional,
    sitewise_matrix,
    stationarity_error,
    sweep_matrix,
    update_matrix,
)


@dataclass(frozen=True)
class Sampler:
    """A sweep's matrix over the states that `space` lists, and the probabilities `target` that it should leave as they are.

    `claim` is the law that the samples are said to follow; its states are those of `space` unless clamped sites move.
    """

    space: Law
    matrix: Tensor
    target: Tensor
    claim: Law

    @property
    def error(self) -> float:
        """The total variation that a sweep adds to its target: 0 for a right sampler."""
        return stationarity_error(self.target, self.matrix)

    def samples(self, n: int, seed: int, sweeps: int = 3, start: Tensor | None = None) -> dict[str, Tensor]:
        """The last states of `n` chains that start from the target, or from other probabilities of the states."""
        return self.space.draw(n, seed, after(self.target if start is None else start, self.matrix, sweeps))


def _over(claim: Law, matrix: Tensor) -> Sampler:
    return Sampler(claim, matrix, claim.p, claim)


def right(claim: Law, blocks: Sequence[Block]) -> Sampler:
    """Gibbs sampling as it should be, where no two sites of a block depend on each other."""
    return _over(claim, sweep_matrix(claim, blocks, sitewise_matrix))


def edge_inside_block(claim: Law, blocks: Sequence[Block]) -> Sampler:
    """The first two blocks are drawn as one, though edges join them."""
    merged = (tuple(sorted((*blocks[0], *blocks[1]))), *blocks[2:])
    return _over(claim, sweep_matrix(claim, merged, sitewise_matrix))


def all_at_once(claim: Law) -> Sampler:
    """All layers at once, each from the old state of the others."""
    return _over(claim, sitewise_matrix(claim, claim.free))


def clamped_redrawn(claim: Law, blocks: Sequence[Block]) -> Sampler:
    """The clamped sites are drawn along with the others, as a last block of a sweep."""
    space = law(claim.model, claim.weights)
    clamped = tuple(c for c in space.free if c not in claim.free)
    kept = torch.stack([space.values[:, c] == claim.clamped[space.sites[c]] for c in clamped], dim=1).all(1)
    target = torch.where(kept, space.p, 0.0)
    return Sampler(space, sweep_matrix(space, (*blocks, clamped)), target / target.sum(), claim)


def clamped_ignored(claim: Law, blocks: Sequence[Block]) -> Sampler:
    """Messages from the clamped sites never arrive."""
    deaf = law(claim.model, claim.weights, claim.clamped, silent=tuple(Site(*site) for site in claim.clamped))
    return _over(claim, sweep_matrix(deaf, blocks))


def bias_forgotten(claim: Law, blocks: Sequence[Block], variable: str) -> Sampler:
    """One variable's bias is left out of its field."""
    return _with(claim, blocks, {f"{variable}.bias": 0.0})


def weight_scaled(claim: Law, blocks: Sequence[Block], edge: str, by: float) -> Sampler:
    """One edge's message comes scaled: a lateral one counted twice (2), or a half too many in its field (1/2)."""
    return _with(claim, blocks, {f"{edge}.weight": by})


def wrong_temperature(claim: Law, blocks: Sequence[Block], power: float) -> Sampler:
    """Every conditional is raised to a power: a spin drawn by sigmoid(eta) has 1/2."""

    def tempered(held: Law, block: Block) -> Tensor:
        chances = [site_conditional(held, c) ** power for c in block]
        return update_matrix(held, block, [x / x.sum(1, keepdim=True) for x in chances])

    return _over(claim, sweep_matrix(claim, blocks, tempered))


def independent(claim: Law) -> Sampler:
    """Every site drawn from its marginal: right means, wrong pairs."""
    chances = [claim.marginal(c).expand(len(claim.p), -1) for c in claim.free]
    return _over(claim, update_matrix(claim, claim.free, chances))


def frozen(claim: Law, blocks: Sequence[Block]) -> Sampler:
    """The last block is never drawn: the law stays invariant, and is never reached."""
    return _over(claim, sweep_matrix(claim, blocks[:-1]))


# ── Gains, gates and masks ───────────────────────────────────────────────────────────────────────────────────────────


def right_gains(held: Law, chain: Chain, blocks: Sequence[Block]) -> Sampler:
    """A chain with gains as it should be; its claim is its own stationary law."""
    return _instead(held, chain, blocks, gained.sweep_matrix(held, chain, blocks))


def backwards(model: Model, chain: Chain) -> Chain:
    """The chain with the gains of variables on what these receive instead of what they send."""
    found = []
    for gain in chain.gains:
        if gain.variable is None:
            found.append(gain)
            continue
        ends = [edge.ends for edge in model.edges if gain.variable in edge.ends]
        near = {n for names in ends for n in (set(names) - {gain.variable} or {gain.variable})}
        targets = sorted(near) if gain.target is None else [gain.target]
        found += [replace(gain, variable=other, target=gain.variable) for other in targets]
    return replace(chain, gains=tuple(found))


def gains_backwards(held: Law, chain: Chain, blocks: Sequence[Block]) -> Sampler:
    """Gains scale the messages that come in."""
    return _instead(held, chain, blocks, gained.sweep_matrix(held, backwards(held.model, chain), blocks))


def gains_forgotten(held: Law, chain: Chain, blocks: Sequence[Block]) -> Sampler:
    """Every message at full gain."""
    return _instead(held, chain, blocks, gained.sweep_matrix(held, replace(chain, gains=()), blocks))


def impotent_in_one_block(held: Law, chain: Chain, blocks: Sequence[Block]) -> Sampler:
    """The first two blocks are drawn as one, though messages still go one way between them."""
    merged = (tuple(sorted((*blocks[0], *blocks[1]))), *blocks[2:])
    return _instead(held, chain, blocks, gained.sweep_matrix(held, chain, merged))


def gate_of_the_batch(held: Law, chain: Chain, blocks: Sequence[Block]) -> Sampler:
    """One gate for all chains: open where it is for most of those of the stationary law."""
    target = gained.stationary_law(held, chain, blocks).p
    opened = {number: target @ states.to(target.dtype) > 0.5 for number, states in gained.gates_of(held, chain).items()}
    return _instead(held, chain, blocks, _gated_by(held, chain, blocks, opened))


def gate_of_each_block(held: Law, chain: Chain, blocks: Sequence[Block]) -> Sampler:
    """The gate is tested anew before each block of a sweep."""
    return _instead(held, chain, blocks, _gated_by(held, chain, blocks, gained.gates_of(held, chain)))


def mask_of_another_row(claim: Law, blocks: Sequence[Block], other: Collection[Site]) -> Sampler:
    """What another row lacks is drawn, and what it has is held; `claim` is the law given what this row has."""
    common = {site: value for site, value in claim.clamped.items() if site in other}
    space = law(claim.model, claim.weights, common)
    kept = [space.values[:, c] == claim.clamped[site] for c, site in enumerate(space.sites) if site in claim.clamped]
    target = torch.where(torch.stack(kept, dim=1).all(1), space.p, 0.0)
    missing = tuple(c for c, site in enumerate(space.sites) if site in claim.clamped and site not in other)
    drawn = [tuple(c for c in block if space.sites[c] not in other) for block in (*blocks, missing)]
    return Sampler(space, sweep_matrix(space, [block for block in drawn if block]), target / target.sum(), claim)


def _instead(held: Law, chain: Chain, blocks: Sequence[Block], matrix: Tensor) -> Sampler:
    """A sweep that claims to be that of a chain."""
    claim = gained.stationary_law(held, chain, blocks)
    return Sampler(held, matrix, claim.p, claim)


def _gated_by(held: Law, chain: Chain, blocks: Sequence[Block], opened: gained.Open) -> Tensor:
    matrix = torch.eye(len(held.values), dtype=torch.float64)
    for block in blocks:
        matrix = matrix @ gained.block_matrix(held, chain, block, 1.0, opened)
    return matrix


def _with(claim: Law, blocks: Sequence[Block], factors: Mapping[str, float]) -> Sampler:
    """The exact sweep of a law with some weights scaled."""
    weights = {name: w * factors.get(name, 1.0) for name, w in claim.weights.items()}
    assert weights.keys() >= factors.keys()
    wrong = law(claim.model, weights, claim.clamped)
    return _over(claim, sweep_matrix(wrong, blocks, block_matrix))
